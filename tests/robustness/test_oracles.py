"""Perturbations against brute force on networks small enough to try everything."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import RobustnessConfig
from flow.core.errors import InvalidInput
from flow.core.plugins import load
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness import gauss, salt_pepper
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp

QUIET = {"progress": lambda fraction, text: None}


def mse(output, target):
    return ((output - target) ** 2).mean(1).astype(np.float64)


SCORE = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return load_twin(write_mlp(tmp_path_factory.mktemp("r") / "m.onnx", (3, 4, 2), bits=3))


def make(twin, score=SCORE, head=None, samples=30, width=2):
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 32, (samples, 3)) / 16).astype(np.float32)
    y = rng.normal(size=(samples, width)).astype(np.float32)
    problem = build_problem(twin, head, lambda o, t: (o - t).square().mean(1), torch.from_numpy(x), torch.from_numpy(y))
    return build_subject(twin, head, score, x, y, problem=problem)


@pytest.fixture(scope="module")
def subject(twin):
    return make(twin)


def rebuilt(code: int, bit: int, width: int) -> int:
    """The code with one bit flipped, through its text in two's complement."""
    text = list(format(code % 2**width, f"0{width}b"))
    text[width - 1 - bit] = "10"[int(text[width - 1 - bit])]
    value = int("".join(text), 2)
    return value - 2**width if text[0] == "1" else value


def brute_force(subject):
    """The mean degradation of every single flip, in a forward pass of numpy integers only."""
    names = list(subject.formats)
    w1, b1, w2, b2 = (subject.codes[n].numpy() for n in names)
    a = np.clip(np.round(subject.x * 16), 0, 31).astype(int)

    def score(w1, w2):
        h = np.clip(np.round(np.maximum(a @ w1.T * 2 + b1, 0) / 8), 0, 31)
        y = np.clip(np.round((h @ w2.T * 2 + b2) / 2), -128, 127) / 64
        return mse(y, subject.targets)

    clean, result = score(w1, w2), []
    for which, w in enumerate((w1, w2)):
        for i in range(w.size):
            for bit in range(3):
                faulty = [w1.copy(), w2.copy()]
                faulty[which].flat[i] = rebuilt(int(w.flat[i]), bit, 3)
                result.append((score(*faulty) - clean).mean())
    return np.array(result), clean


@pytest.fixture(scope="module")
def exhaustive(subject):
    space = subject.space(("weight",))
    return subject.degradations(space, space.flipped(np.arange(space.total)[:, None]), len(subject.x)).mean(axis=1)


def test_every_single_flip_against_brute_force(subject, exhaustive):
    expected, clean = brute_force(subject)
    assert len(exhaustive) == (12 + 8) * 3
    assert np.allclose(clean, subject.clean, atol=1e-6)
    assert np.allclose(exhaustive, expected, atol=1e-6)
    assert (exhaustive > 0.05).any()


def test_gauss_by_definition(subject):
    random = np.full(subject.x.shape, 2.0, np.float32)
    top = subject.x.max()
    assert np.allclose(gauss.apply(subject, random, 10), np.minimum(subject.x + 0.2, top), atol=1e-6)
    assert np.allclose(gauss.apply(subject, -random, 10), np.maximum(subject.x - 0.2, 0), atol=1e-6)
    z = gauss.draw(dataclasses.replace(subject, x=np.zeros((5000, 4), np.float32)), np.random.default_rng(0))
    assert abs(z.mean()) < 0.03
    assert z.std() == pytest.approx(1, abs=0.02)


def test_salt_and_pepper_by_definition(subject):
    many = dataclasses.replace(subject, x=np.full((20000, 5), 0.5, np.float32))
    random = salt_pepper.draw(many, np.random.default_rng(0))
    noisy = salt_pepper.apply(many, random, 20)
    for value, share in ((1.0, 0.1), (0.0, 0.1), (0.5, 0.8)):
        assert np.mean(noisy == value) == pytest.approx(share, abs=0.004)
    low, high = (salt_pepper.apply(many, random, p) != 0.5 for p in (5, 20))
    assert (high | ~low).all()  # nested
    assert set(np.unique(salt_pepper.apply(many, random, 100))) <= {0.0, 1.0}
    assert noisy.dtype == np.float32


@pytest.mark.parametrize("name", ["gauss", "salt_pepper"])
def test_noise_against_a_plain_loop(twin, subject, name):
    module = load("robustness", name)
    config = RobustnessConfig(noise_percent=(5.0, 12.5), noise_draws=3)
    metrics = module.measure(subject, config, np.random.default_rng(4), **QUIET)
    rng = np.random.default_rng(4)
    draws = [module.draw(subject, rng) for _ in range(3)]
    for percent, label in ((5.0, "5"), (12.5, "12.5")):
        table = []
        for random in draws:
            x = torch.from_numpy(module.apply(subject, random, percent))
            table.append(mse(twin(twin.params, x).detach().numpy(), subject.targets) - subject.clean)
        by_sample = np.mean(table, axis=0)
        metric = metrics[f"mse_{name.split('_')[0]}_{label}"]
        assert metric.value == pytest.approx(by_sample.mean(), rel=1e-6)
        half = 2.045230 * by_sample.std(ddof=1) / 30**0.5  # Student's t with 29 degrees of freedom
        assert metric.ci == pytest.approx((by_sample.mean() - half, by_sample.mean() + half), rel=1e-4)
        assert (metric.unit, metric.direction) == ("u", "lower")


def test_only_changed_samples_are_scored_again(twin):
    seen = []

    def counted(output, target):
        seen.append(len(output))
        return mse(output, target)

    subject = make(twin, dataclasses.replace(SCORE, per_sample=counted))
    x = subject.x.copy()
    assert (subject.score_inputs(x) == subject.clean).all()
    x[[3, 8]] = 2.0 - x[[3, 8]]
    changed = subject.score_inputs(x) != subject.clean
    assert seen == [30, int(changed.sum())]
    assert 1 <= changed.sum() <= 2


def test_head_direction_and_samples_without_a_score(twin):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(2, 4)

    def higher(output, target):
        assert output.dtype == np.float32
        score = -mse(output, target)
        score[target[:, 0] > 1] = np.nan
        return score

    better = make(twin, dataclasses.replace(SCORE, direction="higher", per_sample=higher), head, width=4)
    plain = make(twin, SCORE, head, width=4)
    kept = plain.targets[:, 0] <= 1
    assert 10 < kept.sum() < 30
    assert len(better.x) == len(better.clean) == kept.sum()
    noisy = plain.x[kept][:, ::-1].copy()
    full = plain.x.copy()
    full[kept] = noisy
    assert np.allclose(better.degradation(better.score_inputs(noisy)), plain.degradation(plain.score_inputs(full))[kept])
    none = dataclasses.replace(SCORE, per_sample=lambda o, t: np.full(len(o), np.nan))
    with pytest.raises(InvalidInput, match="0 of 30"):
        make(twin, none)
