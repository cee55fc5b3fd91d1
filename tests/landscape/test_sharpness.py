"""Sharpness against closed forms of a quadratic loss, and on a real network."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import sharpness
from flow.landscape._problem import Problem, build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_mlp


@dataclass(frozen=True)
class Quadratic(Problem):
    """Half of sum_i h_i (d_i / step_i)^2, d the distance from the deployed weights; the same for every sample."""

    curvature: float = 3.0

    def _losses(self, points, quantize):
        centre = Problem.quantized(self, self.point[None])[0]
        values = 0.5 * self.curvature * (((points - centre) / self.steps) ** 2).sum(1)
        return np.repeat(values[:, None], len(self.x), axis=1)


@pytest.fixture
def problem(tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx", (4, 5, 3)))
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1.5, (24, 4)).astype(np.float32))
    return build_problem(twin, None, lambda o, t: (o - t).square().mean(1), x, torch.ones(24, 3))


def quadratic(problem):
    return Quadratic(**{name: getattr(problem, name) for name in Problem.__dataclass_fields__})


def test_average_of_a_quadratic(problem):
    """Uniform changes in [-r, r] have variance r^2 / 3; those at the end of a range are cut off, as in the sum here."""
    made = quadratic(problem)
    for radius in (0.5, 2.0):
        _, low, high = sharpness.box(made, radius)
        centre = made.quantized(made.point[None])[0]
        a, b = (low - centre) / made.steps, (high - centre) / made.steps
        expected = 0.5 * 3.0 * ((a * a + a * b + b * b) / 3).sum()
        config = LandscapeConfig(relative_error=0.01, probes=2000)
        rises = sharpness.average_rises(made, radius, config, np.random.default_rng(0))
        assert 16 <= len(rises) < 2000
        assert rises.mean() == pytest.approx(expected, rel=0.04)


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
    assert sharpness.worst_rise(problem, 1.0) == pytest.approx(losses.max() - clean, rel=1e-6)
    assert losses.max() > clean


def test_order_and_memory_change_nothing(problem):
    config = LandscapeConfig(probes=16)
    first, *others = (
        sharpness.measure(p, config, np.random.default_rng(1), lambda f, t: None)
        for p in (problem, replace(problem, memory=1), problem.subset(np.arange(24)[::-1].copy()))
    )
    for other in others:
        for name, metric in first.items():
            assert other[name].value == pytest.approx(metric.value, rel=1e-5)
