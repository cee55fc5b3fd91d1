"""Worst-case inputs against closed forms and against all inputs in the box."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness import fgsm, pgd
from flow.robustness._adversary import Adversary
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import Builder, write_mlp

QUIET = {"progress": lambda fraction, text: None}
STEP = 2.0**-4  # of the input words of the networks


def mse(output, target):
    return ((output - target) ** 2).mean(1).astype(np.float64)


def build(twin, x, y=None, loss=lambda o, t: (o - t).square().mean(1), per_sample=mse, **options):
    if y is None:  # what a trained network is near to
        with torch.no_grad():
            out = twin(twin.params, torch.from_numpy(x)).to(torch.float32).numpy()
        y = out + np.random.default_rng(9).normal(0, 0.05, out.shape).astype(np.float32)
    problem = build_problem(twin, None, loss, torch.from_numpy(x[:5]), torch.from_numpy(y[:5]))
    score = Score("mse", "MSE", "u", "lower", per_sample, lambda t: t.mean(0))
    return build_subject(twin, None, score, x, y, problem=problem, **options)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    twin = load_twin(write_mlp(tmp_path_factory.mktemp("a") / "m.onnx", (3, 8, 2), bits=5))
    return build(twin, np.random.default_rng(0).uniform(0, 1.9, (60, 3)).astype(np.float32))


def losses(adversary, x):
    return adversary.ascent(x)[0].numpy()


@pytest.mark.parametrize("find", [lambda a, e: a.one_step(e), lambda a, e: list(a.climb(a.x, e, 10))[-1]], ids=["fgsm", "pgd"])
def test_a_linear_loss_rises_by_eps_times_the_l1_norm(find, tmp_path):
    """The closed form of Goodfellow et al.; eps is a multiple of the step of the words, so nothing is rounded."""
    w = np.array([[3, -5, 0, 7, -1]]) / 8
    b = Builder(5)
    y = b.node("Gemm", b.quant("x", 8, STEP), b.weight(w), transB=1)
    twin = load_twin(b.save(tmp_path / "m.onnx", b.quant(y, 16, STEP / 8)))
    x = (np.random.default_rng(1).integers(-60, 60, (40, 5)) * STEP).astype(np.float32)
    a = build(twin, x, np.zeros((40, 1), np.float32), lambda o, t: o[:, 0], lambda o, t: o[:, 0].astype(np.float64))
    adversary = Adversary(a, a.problem)
    eps = 4 * STEP
    assert np.allclose(losses(adversary, find(adversary, eps)) - losses(adversary, adversary.x), eps * np.abs(w).sum(), atol=1e-9)
    assert np.allclose(adversary.harm(find(adversary, eps)), eps * np.abs(w).sum(), atol=1e-6)


@pytest.mark.parametrize("size", [0.6 * STEP, 2 * STEP, 6 * STEP])
def test_ascent_beats_one_step_beats_random_signs(subject, size):
    adversary = Adversary(subject, subject.problem)
    random = adversary.project(adversary.x + size * torch.from_numpy(np.random.default_rng(2).choice([-1, 1], (60, 3))).float(), size)
    one = losses(adversary, adversary.one_step(size))
    many = np.max([losses(adversary, x) for x in adversary.climb(adversary.one_step(size), size, 10)], axis=0)
    assert losses(adversary, random).mean() < one.mean()
    assert (many >= one).all()
    assert many.mean() > one.mean()


def all_words(subject, size):
    """The largest degradation of each sample over all words in the box, in numpy integers only."""
    w1, b1, w2, b2 = (code.numpy() for code in subject.codes.values())
    ends = (np.clip(np.round((subject.x + sign * np.float32(size)) / STEP), 0, 31) for sign in (-1, 1))
    result = np.zeros(len(subject.x))
    for i, (low, high) in enumerate(zip(*ends, strict=True)):
        a = np.array(list(itertools.product(*(range(int(lo), int(hi) + 1) for lo, hi in zip(low, high, strict=True)))))
        h = np.clip(np.round(np.maximum(a @ w1.T * 2 + b1 * 4, 0) / 32), 0, 31)
        y = np.clip(np.round((h @ w2.T + b2 * 2) / 4), -128, 127) / 64
        result[i] = mse(y, subject.targets[i]).max() - subject.clean[i]
    return result


@pytest.mark.parametrize("size", [0.3 * STEP, STEP, 4 * STEP])
def test_is_a_lower_bound_of_the_worst_words_and_close_to_them(subject, size):
    adversary = Adversary(subject, subject.problem)
    found, worst = pgd.worst(adversary, size, np.random.default_rng(3)), all_words(subject, size)
    assert (found <= worst + 1e-6).all()
    assert found.mean() > 0.8 * worst.mean() > 0
    assert (found >= adversary.harm(adversary.one_step(size)) - 1e-12).all()


def test_inputs_stay_in_the_box_and_in_the_range_of_the_words(subject):
    x = np.array([[0, 1.99, 0.03], [31 / 16, 0, 1.0]], np.float32)  # 1.99 would be word 32, of which there are 31
    adversary = Adversary(build(subject._twin, x, np.full((2, 2), 0.3, np.float32)), subject.problem)
    for size in (0.1, 3.0):
        for tried in [adversary.one_step(size), *adversary.climb(adversary.x, size, 10)]:
            assert 0 <= tried.min() <= tried.max() <= 31 / 16
            assert (tried - torch.from_numpy(x)).abs().max() <= max(size, 1.99 - 31 / 16) + 1e-6
    assert adversary.ascent(adversary.x)[1][0, 1] != 0, "an input that the quantizer clips has a gradient nevertheless"


def test_metrics(subject):
    config = RobustnessConfig(levels={"pgd": (20.0, 2.0), "fgsm": (20.0, 2.0)})

    def run(subject):
        return {k: m for p in (fgsm, pgd) for k, m in p.measure(subject, config, np.random.default_rng(4), **QUIET).items()}

    metrics = run(subject)
    assert {"mse_fgsm_2", "mse_fgsm_20", "mse_fgsm_area", "mse_pgd_2", "mse_pgd_20", "mse_pgd_area", "mse_pgd_critical"} <= set(metrics)
    assert 0 < metrics["mse_pgd_2"].value < metrics["mse_pgd_20"].value
    assert metrics["mse_fgsm_20"].value <= metrics["mse_pgd_20"].value
    assert "lower bound" in metrics["mse_pgd_20"].source
    assert "60 samples" in metrics["mse_pgd_20"].source
    little = run(dataclasses.replace(subject, memory=100_000))  # batches of 27
    assert {k: m.value for k, m in little.items()} == {k: m.value for k, m in metrics.items()}, "whatever the memory"
    assert run(dataclasses.replace(subject, problem=None)) == {}
    halved = run(dataclasses.replace(subject, unit=0.5))["mse_pgd_20"].value
    assert halved == pytest.approx(run_level(subject, 10.0), rel=1e-9), "100 % is the unit of the inputs"


def run_level(subject, percent):
    config = RobustnessConfig(levels={"pgd": (1.0, percent)})
    return pgd.measure(subject, config, np.random.default_rng(4), **QUIET)[f"mse_pgd_{percent:g}"].value
