"""Spectra against dense Hessians in float64, and against matrices in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import LandscapeConfig
from flow.landscape import spectrum
from flow.landscape._spectrum_density import FEWEST, Quadrature, Rest, effective_rank, probe_rest, smooth
from flow.landscape._spectrum_lanczos import krylov_space
from tests.landscape.networks import KINDS, block, dense_hessian, flat, make


class Dense:
    """A matrix that knows its size as an operator does."""

    def __init__(self, matrix):
        self.matrix, self.size, self.products = matrix, len(matrix), 0

    def __matmul__(self, vector):
        self.products += 1
        return self.matrix @ vector


@pytest.fixture(scope="module", params=KINDS)
def problem(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("spectrum"))


@pytest.fixture(scope="module")
def hessian(problem):
    return dense_hessian(problem)


def measure(problem, seed=0, **config):
    problem.records.clear()
    return spectrum.measure(problem, LandscapeConfig(**config), np.random.default_rng(seed), lambda fraction, text: None)


def sample(matrix, seed, space=8, steps=10, most=16, relative_error=1e-9):
    operator, rng = Dense(matrix), np.random.default_rng(seed)
    krylov = krylov_space(operator, rng.standard_normal(len(matrix)), space)
    return probe_rest(operator, krylov, steps, most, relative_error, rng, lambda count: None)


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_all_eigenvalues_of_a_small_network(problem, hessian, suffix, monkeypatch):
    monkeypatch.setattr(spectrum, "MOST_DENSE", 1000)
    exact = np.linalg.eigvalsh(block(problem, hessian, suffix))
    found, records = measure(problem), problem.records
    assert exact[0] < -1e-3 * exact[-1]
    assert np.abs(records["spectrum_eigenvalues" + suffix] - exact).max() < 1e-5 * exact[-1]
    expected = {
        "effective_rank": exact.sum() ** 2 / (exact**2).sum(),
        "condition": exact[-1] / np.sqrt((exact**2).mean()),
        "smallest": exact[0],
        "convexity": exact[0] / exact[-1],
        "negative": -exact[exact < 0].sum() / np.abs(exact).sum(),
    }
    for name, value in expected.items():
        metric = found[f"spectrum_{name}{suffix}"]
        assert metric.value == pytest.approx(value, rel=1e-4), name
        assert metric.ci is None
        assert metric.source.startswith(f"all {len(exact)} eigenvalues")
    grid, density = records["spectrum_grid" + suffix], records["spectrum_density" + suffix]
    assert density.min() >= 0
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1)


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_sampling_finds_the_same(problem, hessian, suffix, monkeypatch):
    """The ends converge; what is sampled has an interval, here of many probes, and the figure is within twice of it."""
    monkeypatch.setattr(spectrum, "MOST_DENSE", 0)
    monkeypatch.setattr(spectrum, "KRYLOV", 25)
    exact = np.linalg.eigvalsh(block(problem, hessian, suffix))
    found = measure(problem, probes=40, relative_error=1e-4)
    assert found["spectrum_smallest" + suffix].value == pytest.approx(exact[0], rel=0.02)
    assert "spectrum_negative" + suffix not in found
    for name, value in (
        ("effective_rank", exact.sum() ** 2 / (exact**2).sum()),
        ("condition", exact[-1] / np.sqrt((exact**2).mean())),
    ):
        metric = found[f"spectrum_{name}{suffix}"]
        half = (metric.ci[1] - metric.ci[0]) / 2
        assert half < 0.2 * abs(value)
        assert abs(metric.value - value) <= 2 * half + 1e-4 * abs(value)
        assert "Rademacher probes" in metric.source
    nodes, weights = problem.records["spectrum_nodes" + suffix], problem.records["spectrum_weights" + suffix]
    assert weights.sum() == pytest.approx(1)
    # the cut between the largest eigenvalues is seen as in the dense spectrum
    cut = (exact[-3] + exact[-4]) / 2
    assert len(exact) * weights[nodes > cut].sum() == pytest.approx(3, abs=0.5)


def test_the_truth_is_inside_in_95_of_100_runs(tmp_path):
    for kind in ("with head", "convolutions"):
        matrix = dense_hessian(make(kind, tmp_path))
        exact = np.trace(matrix) ** 2 / np.square(matrix).sum()
        hits = 0
        for seed in range(100):
            sums, _ = sample(matrix, seed, steps=2)
            _, (low, high), _ = sums.interval(effective_rank)
            hits += low <= exact <= high
        assert hits >= 95, kind


def test_sums_are_unbiased_and_the_coupling_is_needed():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(40, 40))
    matrix = matrix + matrix.T
    sums, _ = sample(matrix, 1, space=5, steps=3, most=4000)
    for known, probes, exact in (
        (sums.trace, sums.traces, np.trace(matrix)),
        (sums.square, sums.squares, np.square(matrix).sum()),
    ):
        error = probes.std(ddof=1) / len(probes) ** 0.5
        assert abs(known + probes.mean() - exact) < 4 * error
        assert error < 0.02 * np.square(matrix).sum() ** 0.5 * (1 if exact == np.trace(matrix) else 10)


def test_the_rest_is_what_the_space_leaves():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(30, 30))
    matrix = matrix + matrix.T
    space = krylov_space(matrix, rng.normal(size=30), 6)
    p = np.eye(30) - space.basis.T @ space.basis
    rest, v = Rest(Dense(matrix), space), p @ rng.normal(size=30)
    assert np.allclose(rest.project(v), v)
    assert np.allclose(rest @ v, p @ matrix @ p @ v)


def test_probes_end_at_the_relative_error():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(60, 60))
    matrix = matrix @ matrix.T
    assert len(sample(matrix, 0, relative_error=0.5)[0].traces) == FEWEST
    some = sample(matrix, 0, most=500, relative_error=0.01)[0]
    assert FEWEST < len(some.traces) < 500
    assert len(sample(matrix, 0, most=FEWEST + 9, steps=4)[1].nodes) == 8 + 4 * FEWEST, "later probes only add to the sums"
    value, _, error = some.interval(effective_rank)
    assert error <= 0.01 * value
    assert len(sample(matrix, 0, most=2, relative_error=1e-9)[0].traces) == 2


def test_closed_forms():
    one = np.ones(50) / 50**0.5
    for matrix, rank in ((3 * np.eye(50), 50), (7 * np.outer(one, one), 1)):
        sums, quadrature = sample(matrix, 0)
        value, ci, _ = sums.interval(effective_rank)
        assert value == pytest.approx(rank, rel=0.02 if rank > 1 else 1e-6)
        assert ci[0] - 1e-6 <= rank <= ci[1] + 1e-6
        assert quadrature.weights @ quadrature.nodes == pytest.approx(np.trace(matrix) / 50)
    assert spectrum.dense_eigenvalues(Dense(np.diag([3.0, -1.0, 2.0]))) == pytest.approx([-1, 2, 3])


def test_a_space_may_be_everything():
    matrix = np.diag(np.arange(1.0, 11.0))
    sums, quadrature = sample(matrix, 0, space=30)
    assert sums.interval(effective_rank)[:2] == (pytest.approx(55**2 / 385), pytest.approx((55**2 / 385,) * 2))
    assert quadrature.nodes == pytest.approx(np.diag(matrix))


def test_a_line_keeps_its_mass():
    grid, density = smooth(Quadrature(np.array([-1.0, 0.0, 3.0]), np.array([0.25, 0.5, 0.25])))
    step = grid[1] - grid[0]
    for low, high, mass in ((-1.2, -0.8, 0.25), (-0.2, 0.2, 0.5), (2.8, 3.2, 0.25)):
        assert density[(grid > low) & (grid < high)].sum() * step == pytest.approx(mass, abs=1e-4)
    assert np.isfinite(smooth(Quadrature(np.zeros(2), np.array([0.5, 0.5])))[1]).all()


def test_both_blocks_are_the_same_without_a_head_however_often_it_is_measured(tmp_path):
    problem = make("classifier", tmp_path)
    found = measure(problem)
    records = set(problem.records)
    assert {"spectrum_eigenvalues", "spectrum_eigenvalues_chip", "spectrum_density_chip"} <= records
    assert all(metric == found[name.removesuffix("_chip")] for name, metric in found.items())
    spectrum.measure(problem, LandscapeConfig(), np.random.default_rng(0), lambda fraction, text: None)
    assert set(problem.records) == records


def test_memory_decides_and_order_changes_nothing(tmp_path, monkeypatch):
    problem = make("classifier", tmp_path)
    before = {k: v.clone() for k, v in problem.params.items()}
    first = measure(problem)
    assert "spectrum_eigenvalues" in problem.records
    assert all(metric.ci is None for metric in first.values())
    turned = measure(problem.subset(np.arange(len(problem.x))[::-1].copy()))
    for name, metric in first.items():
        assert turned[name].value == pytest.approx(metric.value, rel=1e-4, abs=1e-6)
    monkeypatch.setattr(spectrum, "KRYLOV", 12)
    little = replace(problem, memory=1)
    assert "Rademacher" in measure(little, probes=3)["spectrum_effective_rank"].source
    assert "spectrum_eigenvalues" not in little.records
    assert all(torch.equal(before[k], v) for k, v in problem.params.items())


def test_a_flat_loss_has_ends_only(tmp_path, monkeypatch):
    problem = make("alone", tmp_path, loss=flat)
    for most in (0, 1000):
        monkeypatch.setattr(spectrum, "MOST_DENSE", most)
        metrics = measure(problem)
        assert {name: metric.value for name, metric in metrics.items()} == {"spectrum_smallest": 0.0, "spectrum_smallest_chip": 0.0}
