"""The noise of the gradient against gradients in a loop, and against a population whose moments are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import gradient_noise
from tests.landscape.networks import KINDS, flat, make


@pytest.fixture(scope="module", params=KINDS)
def problem(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("noise"), samples=40)


def measure(problem, seed=0):
    return gradient_noise.measure(problem, LandscapeConfig(), np.random.default_rng(seed), lambda fraction, text: None)


def gradients(problem, names):
    """The gradient of each sample in a loop, (N, D)."""
    rows = []
    for i in range(len(problem.x)):
        leaves = {k: v.detach().clone().requires_grad_(k in names) for k, v in problem.params.items()}
        problem.subset(slice(i, i + 1)).loss(leaves).backward()
        rows.append(np.concatenate([leaves[k].grad.double().reshape(-1).numpy() for k in names]))
    return np.array(rows)


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_figures_are_those_of_all_gradients(problem, suffix):
    found, g = measure(problem), gradients(problem, problem.blocks[suffix])
    variance = np.trace(np.atleast_2d(np.cov(g.T)))
    signal = (np.square(g.mean(0)).sum() - variance / len(g)) / variance
    norms = np.linalg.norm(g, axis=1)
    assert found["gradient_noise_variance" + suffix].value == pytest.approx(variance, rel=1e-4)
    assert found["gradient_noise_signal" + suffix].value == pytest.approx(signal, rel=1e-4)
    assert found["gradient_noise_tail" + suffix].value == pytest.approx(np.quantile(norms, 0.95) / np.median(norms), rel=1e-4)
    low, high = found["gradient_noise_signal" + suffix].ci
    assert low < signal < high
    scale = found.get("gradient_noise_scale" + suffix)
    assert (scale is not None) == (low > 0)
    if scale is not None:
        assert (scale.value, *scale.ci) == pytest.approx((1 / signal, 1 / high, 1 / low), rel=1e-4)
        assert scale.unit == "samples"


def test_jackknife_is_that_of_a_loop(problem):
    g = gradients(problem, tuple(problem.params))
    n, left = len(g), []
    for i in range(n):
        rest = np.delete(g, i, 0)
        variance = np.trace(np.atleast_2d(np.cov(rest.T)))
        left.append((np.square(rest.mean(0)).sum() - variance / (n - 1)) / variance)
    error = np.sqrt((n - 1) * np.var(left))
    low, high = measure(problem)["gradient_noise_signal"].ci
    assert (high - low) / 2 == pytest.approx(gradient_noise.stats.t.ppf(0.975, n - 1) * error, rel=1e-3)


def test_the_truth_is_inside_in_95_of_100_runs():
    """Samples of a population of gradients: correlated, of different size, with a mean."""
    rng = np.random.default_rng(0)
    shape, mean = rng.normal(size=(12, 12)), rng.normal(size=12)

    def draw(count):
        return mean + rng.normal(size=(count, 12)) @ shape * rng.uniform(0, 2, (count, 1))

    truth = mean @ mean / (4 / 3 * np.square(shape).sum())  # 4 / 3 is the mean square of the size
    hits = np.zeros(2)
    for _ in range(100):
        g = draw(400)
        squares, average = np.square(g).sum(1), g.mean(0)
        _, (low, high) = gradient_noise.signal(squares, average @ average, g @ average)
        metrics = gradient_noise._figures(squares, average @ average, g @ average, rng, "")
        hits[0] += low <= truth <= high
        hits[1] += np.prod(np.array(metrics["gradient_noise_variance"].ci) - 4 / 3 * np.square(shape).sum()) <= 0
        assert metrics["gradient_noise_signal"].ci == (low, high)
    assert (hits >= 95).all(), hits


def test_without_a_mean_there_is_no_scale():
    rng = np.random.default_rng(0)
    g = rng.normal(size=(300, 10))
    g = np.concatenate([g, -g])
    metrics = gradient_noise._figures(np.square(g).sum(1), 0.0, np.zeros(600), rng, "")
    assert set(metrics) == {"gradient_noise_variance", "gradient_noise_signal", "gradient_noise_tail"}
    assert metrics["gradient_noise_signal"].value == pytest.approx(-1 / 600)


def test_order_memory_and_batches_change_nothing(problem):
    before = {k: v.clone() for k, v in problem.params.items()}
    first, little = measure(problem), measure(replace(problem, memory=1))
    turned = measure(problem.subset(np.arange(len(problem.x))[::-1].copy()))
    for name, metric in first.items():
        assert little[name].value == pytest.approx(metric.value, rel=1e-4, abs=1e-9)
        assert turned[name].value == pytest.approx(metric.value, rel=1e-4, abs=1e-9)
        assert little[name].ci == pytest.approx(metric.ci, rel=1e-4, abs=1e-9)
    assert all(torch.equal(before[k], v) for k, v in problem.params.items())


def test_pieces_fit_the_memory(problem, monkeypatch):
    sizes = []
    norms = gradient_noise.gradient_norms
    monkeypatch.setattr(gradient_noise, "gradient_norms", lambda part: sizes.append(len(part.x)) or norms(part))
    bytes_each = 4 * sum(p.numel() for p in problem.params.values())
    gradient_noise.squared_norms(replace(problem, memory=8 * bytes_each * 7))
    assert max(sizes) == 7
    assert sum(sizes) == len(problem.x)


def test_no_noise_and_no_gradient(tmp_path):
    problem = make("alone", tmp_path, samples=5)
    same = problem.subset(np.zeros(6, int))
    metrics = measure(same)
    assert metrics["gradient_noise_variance"].value == pytest.approx(0, abs=1e-6)
    assert metrics["gradient_noise_tail"].value == pytest.approx(1)
    assert {m.value for m in measure(make("with head", tmp_path, loss=flat)).values()} == {0.0}
    assert measure(problem.subset(slice(0, 2))) == {}


def test_without_a_head_both_blocks_are_the_same(tmp_path):
    found = measure(make("alone", tmp_path))
    assert all(metric == found[name.removesuffix("_chip")] for name, metric in found.items())
    assert "gradient_noise_variance_chip" in found
