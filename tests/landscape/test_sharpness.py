"""Sharpness against closed forms of a quadratic loss, and on a real network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import sharpness
from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.landscape.quadratic import closed, network, quadratic
from tests.qonnx_models import write_mlp


@pytest.fixture
def problem(tmp_path):
    return network(tmp_path)


def in_steps(problem, slope=0.0):
    """A quadratic with a curvature of 3 per squared step of each weight."""
    return quadratic(problem, 3.0 / problem.steps**2, slope=torch.as_tensor(slope / problem.steps))


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_average_of_a_quadratic(problem, radius):
    """Uniform changes in [-r, r] have variance r^2 / 3; those at the end of a range are cut off, as in the sum here."""
    made = in_steps(problem)
    centre, low, high = sharpness.box(made, radius)
    a, b = (low - centre) / made.steps, (high - centre) / made.steps
    expected = 0.5 * 3.0 * ((a * a + a * b + b * b) / 3).sum()
    config = LandscapeConfig(relative_error=0.005, probes=200)
    rises = sharpness.average_rises(made, radius, config, np.random.default_rng(0))
    assert 2 * sharpness.BATCH <= len(rises) < sharpness.MOST * 200
    assert rises.mean() == pytest.approx(expected, rel=0.02)


def test_a_slope_cancels(problem):
    """Far from the ends of the ranges, pairs of opposite changes see only the curvature."""
    config = LandscapeConfig(probes=4)
    radius = 1e-3
    inside = replace(problem, params={name: 0 * value for name, value in problem.params.items()})
    rises = [sharpness.average_rises(in_steps(inside, s), radius, config, np.random.default_rng(0)) for s in (0.0, 1000.0)]
    np.testing.assert_allclose(rises[0], rises[1], rtol=1e-5)
    assert rises[0].mean() == pytest.approx(0.5 * 3.0 * radius**2 / 3 * len(problem.point), rel=0.1)


def test_rises_stop_at_the_cap(problem):
    config = LandscapeConfig(probes=2, relative_error=1e-6)
    assert len(sharpness.average_rises(problem, 1.0, config, np.random.default_rng(0))) == 2 * sharpness.MOST


def test_box_holds_the_format(problem):
    centre, low, high = sharpness.box(problem, 1000.0)
    for name, where in problem.slices.items():
        form = problem.twin.weights[name.removeprefix("chip.")]
        np.testing.assert_allclose(low[where] / problem.steps[where], form.low)
        np.testing.assert_allclose(high[where] / problem.steps[where], form.high)
    assert (low <= centre).all() and (centre <= high).all()


def test_worst_is_worse_than_average(problem):
    config = LandscapeConfig(sharpness_steps=(1.0, 2.0), probes=64)
    metrics = sharpness.measure(problem, config, np.random.default_rng(0), lambda f, t: None)
    for steps in ("1", "2"):
        assert metrics[f"sharpness_worst_{steps}"].value > metrics[f"sharpness_mean_{steps}"].value
    assert metrics["sharpness_worst_2"].value > metrics["sharpness_worst_1"].value > 0


def test_worst_against_every_corner(tmp_path):
    """On one layer of two weights the ascent finds the worst corner of the box."""
    twin = load_twin(write_mlp(tmp_path / "s.onnx", (2, 1)))
    x = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), x, torch.full((30, 1), 9.0))
    centre, low, high = sharpness.box(problem, 1.0)
    grids = np.meshgrid(*zip(low, high, strict=True))
    corners = np.stack([g.reshape(-1) for g in grids], axis=1)
    losses = problem.mean_losses(corners, quantize=False)
    clean = problem.mean_losses(centre[None], quantize=False)[0]
    assert sharpness.worst_in_box(problem, 1.0) == pytest.approx(losses.max() - clean, rel=1e-6)
    assert losses.max() > clean


def test_constant_loss(problem):
    made = closed(problem, lambda points: (0 * points).sum(1) + 3)
    metrics = sharpness.measure(made, LandscapeConfig(), np.random.default_rng(0), lambda f, t: None)
    assert {metric.value for metric in metrics.values()} == {0.0}


def test_order_and_memory_change_nothing(problem):
    config = LandscapeConfig(probes=2)
    before = {name: value.clone() for name, value in problem.params.items()}
    first, *others = (
        sharpness.measure(p, config, np.random.default_rng(1), lambda f, t: None)
        for p in (problem, replace(problem, memory=1), problem.subset(np.arange(24)[::-1].copy()))
    )
    for other in others:
        for name, metric in first.items():
            assert other[name].value == pytest.approx(metric.value, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in problem.params.items())
