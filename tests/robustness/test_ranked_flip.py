"""Ranked flips: each ranking against its definition, the order of the bits, and the flips counted."""

import dataclasses

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.landscape._problem import build_problem
from flow.robustness import _ranking, ranked_flip
from flow.robustness._ranking import fkeras, gradient, ranked_bits, taylor
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp
from tests.robustness.test_oracles import QUIET, SCORE, rebuilt

BITS = 3


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    twin = load_twin(write_mlp(tmp_path_factory.mktemp("ranked") / "m.onnx", (3, 4, 2), bits=BITS))
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 32, (60, 3)) / 16).astype(np.float32)
    y = rng.normal(size=(60, 2)).astype(np.float32)
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), torch.from_numpy(x[30:]), torch.from_numpy(y[30:]))
    return build_subject(twin, None, SCORE, x[:30], y[:30], problem=problem)


def weight_vector(subject, parts):
    return np.concatenate([parts["chip." + n].reshape(-1) for n, f in subject.formats.items() if f.role == "weight"])


@pytest.fixture(scope="module")
def dense(subject):
    """Gradient, deployed weights and Hessian of the weights, by double backward of the twin in a loop over its outputs."""
    problem = subject.problem
    leaves = {n: p.detach().clone().requires_grad_() for n, p in problem.params.items()}
    names = ["chip." + n for n, f in subject.formats.items() if f.role == "weight"]
    loss = problem.loss(leaves)
    first = torch.autograd.grad(loss, [leaves[n] for n in names], create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in first])
    rows = [
        torch.cat([p.reshape(-1) for p in torch.autograd.grad(g, [leaves[n] for n in names], retain_graph=True, materialize_grads=True)])
        for g in flat
    ]
    deployed = {
        "chip." + n: subject.codes[n].numpy() * np.asarray(f.steps(torch.zeros(subject.codes[n].shape))) for n, f in subject.formats.items()
    }
    return flat.detach().double().numpy(), weight_vector(subject, deployed), torch.stack(rows).double().numpy()


def test_each_ranking_is_what_it_says(subject, dense):
    slope, weights, hessian = dense
    rng = np.random.default_rng(0)
    assert np.allclose(gradient(subject.problem, rng), np.abs(slope), rtol=1e-5, atol=1e-7)
    assert np.allclose(taylor(subject.problem, rng), np.square(slope * weights), rtol=1e-4, atol=1e-8)
    values, vectors = np.linalg.eigh(hessian)
    top = vectors[:, -1]
    assert np.allclose(fkeras(subject.problem, rng), np.abs((top @ weights) * values[-1] * top), rtol=2e-2, atol=1e-3 * values[-1])
    assert len({tuple(np.argsort(-rank(subject.problem, rng))) for rank in (gradient, taylor, fkeras)}) == 3


def test_sign_bits_of_the_worst_weights_come_first(subject):
    scores = np.arange(20.0)
    bits = ranked_bits(subject.space(("weight",)), scores)
    assert sorted(bits) == list(range(20 * BITS))
    assert list(bits[:3]) == [19 * BITS + 2, 18 * BITS + 2, 17 * BITS + 2]
    assert list(bits[20:22]) == [19 * BITS + 1, 18 * BITS + 1]
    assert list(bits[-2:]) == [BITS, 0]


def test_order_with_mixed_widths(subject):
    """The highest bit of each weight first, whatever its width; then the next of those that have one."""
    formats = {n: dataclasses.replace(f, bits=2 if n == next(iter(subject.formats)) else f.bits) for n, f in subject.formats.items()}
    bits = ranked_bits(dataclasses.replace(subject, formats=formats).space(("weight",)), np.zeros(20))
    assert sorted(bits) == list(range(12 * 2 + 8 * 3))
    assert list(bits[:20]) == [*range(1, 24, 2), *range(26, 48, 3)]
    assert list(bits[-8:]) == list(range(24, 48, 3))


def harm(subject):
    """The mean loss with each weight bit flipped alone, by the twin, bit by bit."""
    space, problem, losses = subject.space(("weight",)), subject.problem, []
    for bit in range(space.total):
        codes = {**subject.codes, **space.codes(space.flipped(np.array([[bit]]))[0])}
        losses.append(float(problem.loss_function(subject.twin.forward_codes(codes, problem.x), problem.y).mean()))
    return np.array(losses)


def test_exact_is_the_order_of_the_losses(subject, monkeypatch):
    losses = harm(subject)
    bits, tried, samples = _ranking.exact_bits(subject, subject.problem, QUIET["progress"])
    assert (sorted(bits), tried, samples) == (list(range(60)), 60, 30)
    assert np.allclose(losses[bits], np.sort(losses)[::-1], rtol=1e-6)
    assert losses.max() > 1.5 * losses.min()
    monkeypatch.setattr(_ranking, "TRIED", 7)
    few, tried, _ = _ranking.exact_bits(subject, subject.problem, QUIET["progress"])
    first = ranked_bits(subject.space(("weight",)), gradient(subject.problem, np.random.default_rng(0)))
    assert (tried, set(few[:7])) == (7, set(first[:7]))
    assert np.array_equal(few[7:], first[7:])
    assert (np.diff(losses[few[:7]]) <= 1e-6).all()


@pytest.mark.parametrize("ranking", ["gradient", "exact"])
def test_the_asked_bits_flip_and_are_scored(subject, ranking):
    """Against one flip after the other in text, and a forward pass of the twin."""
    config = RobustnessConfig(flips=(5, 1), rankings=(ranking,))
    metrics = ranked_flip.measure(subject, config, np.random.default_rng(0), **QUIET)
    space = subject.space(("weight",))
    order, _ = ranked_flip.ranked(subject, subject.problem, ranking, np.random.default_rng(0), QUIET["progress"])
    for flips in (1, 5):
        words = space.words.copy()
        for bit in order[:flips]:
            words[bit // BITS] = rebuilt(int(words[bit // BITS]), int(bit % BITS), BITS)
        outputs = subject.twin.forward_codes({**subject.codes, **space.codes(words)}, torch.from_numpy(subject.x))
        worse = (SCORE.per_sample(outputs.numpy(), subject.targets) - subject.clean).mean()
        metric = metrics[f"mse_ranked_flip_{ranking}_{flips}"]
        assert metric.value == pytest.approx(worse, abs=1e-6)
        assert metric.ci[0] < worse < metric.ci[1]
        assert ("all 60 bits tried alone on 30" if ranking == "exact" else "ranked on 30") in metric.source


def test_ranked_flips_hurt_more_than_random_ones(subject):
    from flow.robustness import bit_flip

    config = RobustnessConfig(flips=(2,), trials=200, flip_samples=30)
    random = bit_flip.measure(subject, config, np.random.default_rng(0), **QUIET)["mse_flip_2"]
    ranked = ranked_flip.measure(subject, config, np.random.default_rng(0), **QUIET)
    assert max(m.value for m in ranked.values()) > random.ci[1]


def test_more_flips_than_bits(subject):
    with pytest.raises(ConfigError, match="61: the weights of this network have 60 bits only"):
        ranked_flip.measure(subject, RobustnessConfig(flips=(61,)), np.random.default_rng(0), **QUIET)


def test_nothing_to_rank_with(subject):
    assert ranked_flip.measure(dataclasses.replace(subject, problem=None), RobustnessConfig(), np.random.default_rng(0), **QUIET) == {}
