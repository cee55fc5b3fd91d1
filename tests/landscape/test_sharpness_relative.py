"""Relative sharpness against closed forms of linear and quadratic losses, and on a real network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import sharpness_relative
from flow.landscape._directions import find_filters
from flow.statistics import mean_interval
from tests.landscape.quadratic import closed, network, quadratic


@pytest.fixture
def problem(tmp_path):
    return network(tmp_path)


def measure(problem, **options):
    return sharpness_relative.measure(problem, LandscapeConfig(**options), np.random.default_rng(0), lambda f, t: None)


def norms_and_groups(problem):
    filters, centre = find_filters(problem), problem.quantized(problem.point[None])[0]
    groups = [np.flatnonzero(filters.group == number) for number in range(filters.count)]
    return [float(np.linalg.norm(centre[group])) for group in groups], groups


def test_mean_of_a_quadratic(problem):
    """A uniform direction of n components has the covariance 1 / n, filters are independent: only the traces of the blocks remain."""
    root = np.random.default_rng(1).normal(size=(problem.point.size,) * 2)
    matrix = root @ root.T
    norms, groups = norms_and_groups(problem)
    exact = 0.5 * sum(n**2 * np.trace(matrix[np.ix_(g, g)]) / len(g) for n, g in zip(norms, groups, strict=True))
    metrics = measure(quadratic(problem, matrix, slope=100.0, level=1.0), relative_error=0.01, probes=200)
    for radius in sharpness_relative.RADII:
        metric = metrics[f"sharpness_relative_mean_{radius:g}"]
        assert metric.value == pytest.approx(radius**2 * exact, rel=0.03)
        low, high = metric.ci
        assert (high - low) / 2 < 0.022 * metric.value


def test_interval_holds_the_truth_in_95_of_100_runs(problem):
    """Although a run stops when its own error is small enough; 90 or fewer would be one chance in 35."""
    root = np.random.default_rng(1).normal(size=(problem.point.size, 6))
    made, config, held = quadratic(problem, root @ root.T, slope=10.0, level=1.0), LandscapeConfig(relative_error=0.04), 0
    norms, groups = norms_and_groups(problem)
    exact = 0.005 * sum(n**2 * np.square(root[g]).sum() / len(g) for n, g in zip(norms, groups, strict=True))
    for seed in range(100):
        rises = sharpness_relative.average_rises(made, find_filters(made), 0.1, config, np.random.default_rng(seed))
        _, (low, high) = mean_interval(rises)
        held += low <= exact <= high
    assert 90 < held < 100


def test_equal_curvature_needs_no_luck(problem):
    norms, _ = norms_and_groups(problem)
    metrics = measure(quadratic(problem, np.full(problem.point.size, 3.0), slope=-2.0), probes=2)
    value = metrics["sharpness_relative_mean_0.1"].value
    assert value == pytest.approx(0.5 * 3.0 * 0.01 * np.square(norms).sum(), rel=1e-9)


def test_worst_of_a_linear_loss(problem):
    """Each filter goes its whole radius along its part of the slope."""
    slope = np.random.default_rng(2).normal(size=problem.point.size)
    norms, groups = norms_and_groups(problem)
    exact = sum(n * np.linalg.norm(slope[g]) for n, g in zip(norms, groups, strict=True))
    metrics = measure(quadratic(problem, np.zeros(problem.point.size), slope=torch.from_numpy(slope)))
    for radius in sharpness_relative.RADII:
        assert metrics[f"sharpness_relative_worst_{radius:g}"].value == pytest.approx(radius * exact, rel=1e-9)
        assert metrics[f"sharpness_relative_mean_{radius:g}"].value == pytest.approx(0, abs=1e-12)


def test_worst_of_a_quadratic_is_below_the_largest_eigenvalue(problem):
    """At a minimum the slope says nothing; then the worst of the random changes counts."""
    curvature = np.linspace(1, 9, problem.point.size)
    norms, _ = norms_and_groups(problem)
    metrics = measure(quadratic(problem, curvature))
    mean, worst = (metrics[f"sharpness_relative_{name}_0.2"].value for name in ("mean", "worst"))
    assert mean < worst <= 0.5 * 9 * 0.04 * np.square(norms).sum()


def test_constant_loss(problem):
    metrics = measure(closed(problem, lambda points: (0 * points).sum(1) + 3))
    assert {metric.value for metric in metrics.values()} == {0.0}


def test_scales_of_filters_do_not_matter(tmp_path):
    """Doubling the weights and the grid of one layer and halving the slope with it changes nothing."""
    problem = network(tmp_path)
    slope, unit = np.random.default_rng(0).normal(size=problem.point.size), problem.quantized(problem.point[None])[0]
    unit = torch.from_numpy(unit)

    def function(scale):
        factors = torch.ones_like(unit)
        factors[problem.slices[problem.chip[0]]] = scale

        def loss(points):
            return torch.tanh((points - unit) / factors @ torch.from_numpy(slope)).square() + 1.0

        return loss

    results = []
    for scale in (1.0, 2.0):
        made, filters = closed(problem, function(scale)), find_filters(problem)
        centre = unit.numpy().copy()
        centre[problem.slices[problem.chip[0]]] *= scale
        shifts = filters.scale(np.random.default_rng(1).normal(size=(5, len(centre))), filters.norms(centre[None])[0])
        results.append(made.mean_losses(unit.numpy() + 0.1 * shifts, quantize=False))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


def test_real_network(problem):
    before = {name: value.clone() for name, value in problem.params.items()}
    first, *others = (measure(p, probes=8) for p in (problem, replace(problem, memory=1), problem.subset(np.arange(24)[::-1].copy())))
    for other in others:
        for name, metric in first.items():
            assert other[name].value == pytest.approx(metric.value, rel=1e-4), name
    for radius in sharpness_relative.RADII:
        assert first[f"sharpness_relative_worst_{radius:g}"].value > first[f"sharpness_relative_mean_{radius:g}"].value
    assert first["sharpness_relative_worst_0.2"].value > first["sharpness_relative_worst_0.05"].value > 0
    assert all(torch.equal(before[name], value) for name, value in problem.params.items())
