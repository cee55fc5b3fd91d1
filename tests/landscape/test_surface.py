"""Slices of losses in closed form, and of a real network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import surface
from flow.landscape._directions import find_filters, random_directions, steps_per_unit
from flow.landscape._slice import lines, plane
from tests.landscape.quadratic import closed, network, quadratic

CONFIG = LandscapeConfig(surface_points=9, surface_planes=3)


@pytest.fixture
def problem(tmp_path):
    return network(tmp_path)


def run(problem, config=CONFIG):
    problem.records.clear()
    return surface.measure(problem, config, np.random.default_rng(0), lambda f, t: None), dict(problem.records)


def positive(problem, seed=3):
    root = np.random.default_rng(seed).normal(size=(problem.point.size,) * 2)
    return root @ root.T


def test_plane_and_lines_are_loops_over_points(problem):
    filters, centre = find_filters(problem), problem.quantized(problem.point[None])[0]
    pair = random_directions(filters, centre, 2, np.random.default_rng(1))
    axes = np.array([[-0.5, 0.0, 0.3], [-1.0, 0.0, 0.7]])
    for quantize in (False, True):
        expected = [[problem.mean_losses((centre + a * pair[0] + b * pair[1])[None], quantize)[0] for b in axes[1]] for a in axes[0]]
        found = plane(problem, centre, pair, axes, quantize)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(lines(problem, centre, pair[1:], axes[1], quantize)[0], found[1], rtol=1e-6)
        assert len(np.unique(found)) == 9


def test_random_lines_of_a_quadratic(problem):
    """On a line the mean rise is half the curvature along it times the mean square of the axis; a slope adds nothing to it."""
    matrix = positive(problem)
    metrics, records = run(quadratic(problem, matrix, slope=5.0, level=2.0))
    filters, centre = find_filters(problem), problem.quantized(problem.point[None])[0]
    directions = random_directions(filters, centre, 6, np.random.default_rng(0))
    axis = np.linspace(-1, 1, 9)
    curvatures = np.einsum("ki,ij,kj->k", directions, matrix, directions)
    assert metrics["surface_rise"].value == pytest.approx((curvatures / 2).mean() * (axis**2).mean(), rel=1e-9)
    low, high = metrics["surface_rise"].ci
    assert low < metrics["surface_rise"].value < high
    steps = steps_per_unit(problem, filters, directions)
    assert metrics["surface_lsb"].value == pytest.approx(steps.mean())
    np.testing.assert_allclose(records["surface_random_axis_lsb"], steps[:2, None] * axis)
    line = 2.0 + axis * (5.0 * directions[1].sum()) + axis**2 * curvatures[1] / 2
    np.testing.assert_allclose(records["surface_random_float"][4], line)
    np.testing.assert_allclose(records["surface_lines_float"][1], line)
    np.testing.assert_allclose(records["surface_lines_quantized"][0], records["surface_random_quantized"][:, 4])


def test_hessian_slice_of_a_quadratic(problem):
    matrix = positive(problem) * 100
    metrics, records = run(quadratic(problem, matrix, level=2.0))
    filters = find_filters(problem)
    block = matrix[np.ix_(filters.weights, filters.weights)]
    values, basis = np.linalg.eigh(block)
    width = np.sqrt(2 * 2.0 / values[-1])
    rms = np.sqrt(np.mean((basis[:, -1] / problem.steps[filters.weights]) ** 2))
    assert metrics["surface_hessian_width"].value == pytest.approx(width * rms, rel=1e-2)
    assert metrics["surface_hessian_rise"].value == pytest.approx(1.0, rel=1e-3)
    np.testing.assert_allclose(records["surface_hessian_eigenvalues"], values[:-3:-1], rtol=1e-3)
    corners = records["surface_hessian_float"][[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, 2.0 + 2.0 + 2.0, rtol=1e-3)
    assert records["surface_hessian_float"].min() == pytest.approx(2.0)


def test_half_width_is_no_larger_than_the_weights(problem):
    flat = quadratic(problem, np.linspace(1e-9, 2e-9, problem.point.size), level=2.0)
    _, records = run(flat)
    weights = problem.quantized(problem.point[None])[0][find_filters(problem).weights]
    np.testing.assert_allclose(records["surface_hessian_axis"][:, -1], np.linalg.norm(weights))


def test_terraces_are_flat_where_one_weight_moves(problem):
    """Between two roundings the quantized loss is one number, which is that of the float line at the integer."""
    metrics, records = run(problem, LandscapeConfig(surface_points=41, surface_planes=2))
    axis, float_, quantized = (records[f"surface_weight_{name}"] for name in ("axis_lsb", "float", "quantized"))
    np.testing.assert_allclose(axis, np.linspace(-4, 4, 41))
    inside = np.abs(axis - np.rint(axis)) < 0.49
    cells = np.rint(axis).astype(int)
    for cell in np.unique(cells):
        assert len(np.unique(quantized[inside & (cells == cell)])) == 1
    assert 3 <= len(np.unique(quantized[inside])) <= 9
    assert len(np.unique(float_)) > 20
    assert quantized[20] == float_[20]
    assert metrics["surface_terrace"].value > 0
    assert metrics["surface_hessian_terrace"].value > 0


def test_both_slices_agree_at_the_centre(problem):
    _, records = run(problem)
    clean = problem.mean_losses(problem.point[None])[0]
    for name in ("random", "hessian"):
        for form in ("float", "quantized"):
            assert records[f"surface_{name}_{form}"][4, 4] == pytest.approx(clean, rel=1e-9)
            assert records[f"surface_{name}_{form}"].shape == (9, 9)
    assert all(name.startswith("surface_") for name in records)


def test_constant_loss_is_flat_and_has_no_hessian_slice(problem):
    metrics, records = run(closed(problem, lambda points: torch.full((len(points),), 3.0, dtype=torch.float64)))
    assert {name: m.value for name, m in metrics.items() if name != "surface_lsb"} == {
        "surface_rise": 0.0, "surface_rise_quantized": 0.0, "surface_terrace": 0.0,
    }  # fmt: skip
    assert (records["surface_random_quantized"] == 3.0).all()
    assert not any("hessian" in name or "weight" in name for name in records)


def test_order_memory_and_batches_change_nothing(problem):
    before = {name: value.clone() for name, value in problem.params.items()}
    first, *others = (run(p)[0] for p in (problem, replace(problem, memory=1), problem.subset(np.arange(24)[::-1].copy())))
    for other in others:
        for name, metric in first.items():
            assert other[name].value == pytest.approx(metric.value, rel=1e-4), name
    assert all(torch.equal(before[name], value) for name, value in problem.params.items())
