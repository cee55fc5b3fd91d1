"""The Gauss-Newton matrix against whole Jacobians in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import gauss_newton
from flow.landscape._problem import build_problem
from flow.landscape._spectrum_lanczos import krylov_space
from tests.landscape.networks import KINDS, block, dense_gauss_newton, dense_hessian, flat, make, telescope


@pytest.fixture(scope="module", params=KINDS)
def problem(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("gauss"))


def measure(problem, seed=0, **config):
    return gauss_newton.measure(problem, LandscapeConfig(**config), np.random.default_rng(seed), lambda fraction, text: None)


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_trace_and_eigenvalue_are_those_of_the_dense_matrix(problem, suffix):
    found, exact = measure(problem), block(problem, dense_gauss_newton(problem), suffix)
    trace, top = found["gauss_newton_trace" + suffix], found["gauss_newton_eigenvalue" + suffix]
    assert np.trace(exact) > 0.005
    assert trace.source.startswith("exact")
    assert trace.value == pytest.approx(np.trace(exact), rel=1e-4)
    assert trace.ci[0] < trace.value < trace.ci[1]
    assert top.value == pytest.approx(np.linalg.eigvalsh(exact)[-1], rel=1e-4)


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_product_is_the_dense_matrix_in_every_column(problem, suffix):
    exact = block(problem, dense_gauss_newton(problem), suffix)
    operator = gauss_newton.GaussNewtonProduct(problem, problem.blocks[suffix])
    assert operator.size == len(exact)
    columns = np.array([operator @ unit for unit in np.eye(operator.size)])
    assert np.abs(columns - exact).max() < 1e-5 * np.abs(exact).max()
    v = np.random.default_rng(0).normal(size=operator.size)
    little = gauss_newton.GaussNewtonProduct(replace(problem, memory=2**13), problem.blocks[suffix])
    assert 1 <= little._each < len(problem.x)
    for some in (operator, little):
        assert some.square(v) == pytest.approx(v @ exact @ v, rel=1e-5)
        assert np.allclose(some @ v, exact @ v, atol=1e-5 * np.abs(exact @ v).max())


def test_it_is_not_the_hessian_but_that_of_a_linear_network(problem):
    """Behind the output, what is left out is the curvature of the network: none for a parameter that feeds the output alone."""
    hessian, gauss = dense_hessian(problem), dense_gauss_newton(problem)
    assert np.abs(hessian - gauss).max() > 1e-3 * np.abs(hessian).max()
    if problem.head is None:
        last = problem.params[problem.chip[-1]].numel()
        assert np.allclose(hessian[-last:, -last:], gauss[-last:, -last:], atol=1e-8)


def test_order_and_memory_change_nothing(problem):
    before = {k: v.clone() for k, v in problem.params.items()}
    first, little = measure(problem), measure(replace(problem, memory=1))
    turned = measure(problem.subset(np.arange(len(problem.x))[::-1].copy()))
    for name, metric in first.items():
        assert little[name].value == pytest.approx(metric.value, rel=1e-5)
        assert turned[name].value == pytest.approx(metric.value, rel=1e-5)
    assert all(torch.equal(before[k], v) for k, v in problem.params.items())


def test_many_outputs_are_sampled_and_the_truth_is_inside(tmp_path, monkeypatch):
    problem = make("with head", tmp_path)
    matrix = dense_gauss_newton(problem)
    monkeypatch.setattr(gauss_newton, "MOST_OUTPUTS", 24)
    monkeypatch.setattr(gauss_newton, "multilinear_split", lambda problem: None)
    metrics = measure(problem, probes=50, relative_error=1e-9)
    assert metrics["gauss_newton_trace"].source.startswith("Hutchinson, 50 ")
    few = measure(problem, probes=50, relative_error=0.5)["gauss_newton_trace"].source
    assert int(few.split()[1]) < 50

    class Dense:
        size = len(matrix)

        def square(self, v):
            return v @ matrix @ v

    rng, config, hits = np.random.default_rng(0), LandscapeConfig(probes=64, relative_error=1e-9), 0
    for _ in range(100):
        _, (low, high) = gauss_newton.mean_interval(gauss_newton._sampled(Dense(), config, rng, lambda done: None))
        hits += low <= np.trace(matrix) <= high
    assert hits >= 95


def test_a_head_of_any_kind(tmp_path):
    """A head with a bend between its layers, which has no exact Hessian trace, and one that is no sequence."""
    problem = make("with head", tmp_path)

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 6)

        def forward(self, x):
            return torch.tanh(self.layer(x)).reshape(-1, 2, 3).sin()

    for head in (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 6), nn.Sigmoid(), nn.Unflatten(1, (2, 3))), Other()):
        other = build_problem(problem.twin, head.requires_grad_(False), telescope, problem.x, problem.y[:, 0, :2, :3])
        found, exact = measure(other), dense_gauss_newton(other)
        assert found["gauss_newton_trace"].value == pytest.approx(np.trace(exact), rel=1e-4)
        assert found["gauss_newton_eigenvalue"].value == pytest.approx(np.linalg.eigvalsh(exact)[-1], rel=1e-4)


def test_a_flat_loss_has_none(tmp_path):
    for kind in ("alone", "classifier"):
        metrics = measure(make(kind, tmp_path, loss=flat))
        assert {metric.value for metric in metrics.values()} == {0.0}


def test_without_a_head_both_blocks_are_the_same(tmp_path):
    found = measure(make("alone", tmp_path))
    assert found["gauss_newton_trace"] == found["gauss_newton_trace_chip"]
    assert found["gauss_newton_eigenvalue"] == found["gauss_newton_eigenvalue_chip"]


def test_krylov_space():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 60))
    a = a + a.T
    exact = np.linalg.eigvalsh(a)
    space = krylov_space(a, rng.normal(size=60), 30)
    assert np.abs(space.basis @ space.basis.T - np.eye(30)).max() < 1e-12
    rest = a @ space.basis.T - space.basis.T @ space.matrix
    assert np.allclose(rest[:, -1], space.rest * space.following)
    assert np.abs(rest[:, :-1]).max() < 1e-10
    values, weights, residuals = space.ritz()
    assert weights.sum() == pytest.approx(1)
    for value, residual in zip(values, residuals, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-9
    # Gauss quadrature of 30 nodes is exact for polynomials of degree 59
    v = space.basis[0]
    assert weights @ values**5 == pytest.approx(v @ np.linalg.matrix_power(a, 5) @ v)
    whole = krylov_space(a, rng.normal(size=60), 100)
    assert np.allclose(whole.ritz()[0], exact)
    assert whole.rest == 0
    assert krylov_space(np.eye(4), np.ones(4), 9).ritz()[0] == pytest.approx([1.0])
    early = krylov_space(a, rng.normal(size=60), 60, lambda space: bool(space.ritz()[2][-1] <= 1e-3 * abs(space.ritz()[0][-1])))
    assert 5 < len(early.diagonal) < 60
    assert early.ritz()[0][-1] == pytest.approx(exact[-1], rel=1e-3)
