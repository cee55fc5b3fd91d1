"""Persistence of closed forms, against counts of connected parts, and of slices through known wells."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from flow.config import LandscapeConfig
from flow.landscape import topology
from flow.landscape.topology import persistence
from tests.landscape.quadratic import closed, network, quadratic

X, Y = np.meshgrid(np.linspace(-4, 4, 33), np.linspace(-3, 3, 25), indexing="ij")


def well(a, b, height):
    return (X - a) ** 2 + (Y - b) ** 2 + height


def test_two_wells():
    """The wells x^2 and (x - 4)^2 + 2 meet at x = (16 + 2) / 8, at a level of 2.25^2."""
    values = np.minimum(well(-2, 0, 0), well(2, 0, 2))
    np.testing.assert_allclose(persistence(values), [[2.0, 2.25**2]])
    np.testing.assert_allclose(persistence(values.T + 7), [[9.0, 7 + 2.25**2]])


def test_three_wells_die_in_order_of_height():
    """The middle one of (-3, 0), (0, 3), (3, 1.5) drains to the left at x = -1, and then the right one to both at x = 1.25."""
    values = np.minimum.reduce([well(-3, 0, 0), well(0, 0, 3), well(3, 0, 1.5)])
    np.testing.assert_allclose(persistence(values), [[1.5, 1.25**2 + 3], [3.0, 4.0]])


@pytest.mark.parametrize("values", [np.zeros((5, 7)), X, well(0.3, 0.2, 1), np.zeros((1, 1))], ids=["constant", "slope", "bowl", "point"])
def test_one_basin(values):
    assert persistence(values).shape == (0, 2)


def test_valley_across_the_grid_is_one_basin():
    assert persistence(1.0 - np.eye(9)).shape == (0, 2)


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_each_level_set(seed):
    rng = np.random.default_rng(seed)
    values = ndimage.gaussian_filter(rng.normal(size=(30, 20)), 1.0)
    if seed == 2:
        values = np.round(values, 1)  # many equal values
    found = persistence(values)
    assert len(found) > 10
    assert (np.diff(found[:, 1] - found[:, 0]) <= 0).all()
    for level in np.quantile(values, np.linspace(0.01, 1, 40)):
        parts = ndimage.label(values <= level, structure=np.ones((3, 3)))[1]
        assert parts == np.count_nonzero((found[:, 0] <= level) & (found[:, 1] > level)) + (level >= values.min())


def measure(problem, **options):
    config = LandscapeConfig(**{"surface_points": 11, "surface_planes": 3, **options})
    return topology.measure(problem, config, np.random.default_rng(0), lambda f, t: None)


def test_second_basin_of_a_loss(tmp_path):
    """Two pits with flat floors in a plain, around the two weights and around 0.2 times them: no grid changes how deep they are."""
    problem = network(tmp_path, (2, 1))
    centre = torch.from_numpy(problem.quantized(problem.point[None])[0])[:2]

    def pits(points):
        here, there = ((points[:, :2] - c).norm(dim=1) < 0.15 * centre.norm() for c in (centre, 0.2 * centre))
        return 1.0 - 0.9 * here - 0.85 * there

    metrics = measure(closed(problem, pits), surface_points=81, surface_radius=6.0)
    for name, value in {"basins": 2, "depth": 0.85, "persistence": 0.85}.items():
        assert metrics[f"topology_{name}"].value == pytest.approx(value)
        assert metrics[f"topology_{name}"].ci == pytest.approx((value, value))


def test_bowl_and_constant_have_one_basin(tmp_path):
    problem = network(tmp_path)
    constant = closed(problem, lambda points: torch.full((len(points),), 3.0, dtype=torch.float64))
    for made in (quadratic(problem, np.ones(problem.point.size)), constant):
        metrics = measure(made)
        assert [metrics[f"topology_{name}"].value for name in ("basins", "depth", "persistence")] == [1, 0, 0]
    assert metrics["topology_basins_quantized"].value == 1
    assert constant.records["topology_pairs_float"].shape == (0, 3)


def test_rounding_makes_basins(tmp_path):
    """A bowl in which weights compensate each other is one basin; seen through weights of 3 bits it is several."""
    problem = network(tmp_path, bits=3)
    root = np.random.default_rng(3).normal(size=(problem.point.size, 10))
    made = quadratic(problem, root @ root.T, level=0.1)
    metrics = measure(made, surface_points=21)
    assert metrics["topology_basins"].value == 1
    assert metrics["topology_basins_quantized"].value > 1
    pairs = made.records["topology_pairs_quantized"]
    depths = [(pairs[pairs[:, 0] == i, 2] - pairs[pairs[:, 0] == i, 1]) for i in range(3)]
    assert metrics["topology_basins_quantized"].value == pytest.approx(1 + np.mean([(d > 0.001).sum() for d in depths]))
    assert metrics["topology_depth_quantized"].value == pytest.approx(np.mean([d.max(initial=0) for d in depths]))
    assert metrics["topology_persistence_quantized"].value == pytest.approx(np.mean([d.sum() for d in depths]))


def test_shallow_basins_are_not_counted(tmp_path):
    """Ripples of 0.2 % of the loss have depth, and make no basins."""
    problem = network(tmp_path, (2, 1))
    made = closed(problem, lambda points: 1.0 + 0.001 * torch.sin(60 * points[:, :2]).sum(1))
    metrics = measure(made)
    assert metrics["topology_basins"].value == 1
    assert metrics["topology_depth"].value > 0
    assert metrics["topology_persistence"].value > metrics["topology_depth"].value


def test_first_samples_only(tmp_path):
    problem = network(tmp_path, samples=topology.SAMPLES + 50)
    few = problem.subset(slice(0, topology.SAMPLES))
    metrics, same = measure(problem, surface_points=5), measure(few, surface_points=5)
    assert metrics == same
    assert f"{topology.SAMPLES} samples" in metrics["topology_depth"].source


def test_order_and_memory_change_nothing(tmp_path):
    problem = network(tmp_path)
    before = {name: value.clone() for name, value in problem.params.items()}
    first, *others = (measure(p) for p in (problem, replace(problem, memory=1), problem.subset(np.arange(24)[::-1].copy())))
    for other in others:
        for name, metric in first.items():
            assert other[name].value == pytest.approx(metric.value, rel=1e-4, abs=1e-6), name
    assert all(torch.equal(before[name], value) for name, value in problem.params.items())
