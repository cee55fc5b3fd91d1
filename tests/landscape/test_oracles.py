"""Landscape metrics against dense Hessians and plain loops on a tiny network."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from flow.config import LandscapeConfig
from flow.core.plugins import load, names
from flow.landscape._problem import build_problem
from flow.landscape._products import HessianProduct
from flow.landscape.gradient_norm import gradient_norms
from flow.landscape.hessian_trace import probe_values
from flow.landscape.top_eigenvalue import largest_eigenvalue
from flow.twin import load_twin
from tests.qonnx_models import write_convolutions, write_mlp

QUIET = {"progress": lambda fraction, text: None}


def make(folder, head=True, samples=40):
    twin = load_twin(write_mlp(folder / "m.onnx", (4, 6, 3), clip=1.2))
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)) if head else None
    x = torch.from_numpy(rng.uniform(0, 1.5, (samples, 4)).astype(np.float32))
    y = torch.from_numpy(rng.normal(size=(samples, 2 if head else 3)).astype(np.float32))
    return build_problem(twin, module, lambda o, t: (o - t).square().mean(1), x, y)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return make(tmp_path_factory.mktemp("l"))


def dense(problem, names):
    """The Hessian by forward over reverse differentiation with `torch.func`, one column at a time."""
    rest = {k: v.detach() for k, v in problem.params.items() if k not in names}
    blocks = torch.func.hessian(lambda p: problem.loss({**rest, **p}))({k: problem.params[k].detach() for k in names})
    sizes = {k: problem.params[k].numel() for k in names}
    return torch.cat([torch.cat([blocks[a][b].reshape(sizes[a], sizes[b]) for b in names], 1) for a in names]).double().numpy()


def test_names_and_value_of_the_loss(problem):
    assert len(problem.chip) == 4
    assert {n.split(".")[0] for n in problem.params} == {"chip", "head"}
    assert float(problem.loss(problem.params)) == pytest.approx(float(problem.per_sample(problem.params).mean()))


@pytest.mark.parametrize("block", ["", "_chip"])
def test_product_is_the_dense_hessian_in_every_column(problem, block):
    names = problem.blocks[block]
    exact, operator = dense(problem, names), HessianProduct(problem, names)
    columns = np.array([operator @ unit for unit in np.eye(operator.size)]).T
    assert np.abs(exact).max() > 0.03
    assert np.abs(columns - exact).max() < 1e-5
    assert np.abs(columns - columns.T).max() < 1e-5


@pytest.mark.parametrize("block", ["", "_chip"])
def test_trace_is_within_its_own_error(problem, block):
    exact = dense(problem, problem.blocks[block])
    metrics = load("landscape", "hessian_trace").measure(
        problem, LandscapeConfig(probes=400, relative_error=1e-9), np.random.default_rng(3), **QUIET
    )
    metric = metrics["hessian_trace" + block]
    off = exact - np.diag(np.diag(exact))
    error = np.sqrt(2 * (off**2).sum() / 400)  # Hutchinson's variance with Rademacher probes
    assert abs(metric.value - np.trace(exact)) < 4 * error
    assert metric.ci is not None
    assert (metric.ci[1] - metric.ci[0]) / 2 == pytest.approx(1.966 * error, rel=0.2)


def test_trace_interval_covers_the_truth_in_95_percent(problem):
    """Coverage over 200 repetitions of 16 probes: between 90 % and 99 %."""
    names = problem.chip
    exact = dense(problem, names)

    class Dense:
        size = len(exact)

        def __matmul__(self, v):
            return exact @ v

    from flow.statistics import mean_interval

    rng = np.random.default_rng(0)
    values = probe_values(Dense(), 200 * 16, rng, lambda n: None).reshape(200, 16)
    inside = [low <= np.trace(exact) <= high for _, (low, high) in map(mean_interval, values)]
    assert 0.90 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("block", ["", "_chip"])
def test_top_eigenvalue(problem, block):
    exact = float(np.linalg.eigvalsh(dense(problem, problem.blocks[block]))[-1])
    metrics = load("landscape", "top_eigenvalue").measure(problem, LandscapeConfig(), np.random.default_rng(0), **QUIET)
    assert metrics["top_eigenvalue" + block].value == pytest.approx(exact, rel=1e-4)


def test_lanczos_against_arpack_and_closed_forms():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(150, 150))
    a = a + a.T
    value, residual, products = largest_eigenvalue(a, rng.normal(size=150), 1e-8)
    assert value == pytest.approx(float(eigsh(LinearOperator(a.shape, matvec=a.__matmul__), 1, which="LA")[0][0]), rel=1e-8)
    assert residual < 1e-2
    assert 10 < products < 150
    assert largest_eigenvalue(np.zeros((5, 5)), np.ones(5)) == (0.0, 0.0, 1)
    assert largest_eigenvalue(np.array([[-3.0]]), np.ones(1))[0] == -3.0
    assert largest_eigenvalue(np.diag([-9.0, 1.0, 2.0]), np.ones(3))[0] == pytest.approx(2.0)  # not the largest in magnitude
    assert largest_eigenvalue(np.eye(4), np.ones(4))[0] == pytest.approx(1.0)
    stuck = largest_eigenvalue(np.diag(np.linspace(0, 1, 300)), rng.normal(size=300), 0.0)
    assert stuck[2] == 200  # the limit of products; the residual then says how good it is
    assert abs(stuck[0] - 1.0) <= stuck[1] + 1e-9


def test_gradient_norms_against_a_loop(problem):
    big = dataclasses.replace(problem, x=problem.x.repeat(8, 1), y=problem.y.repeat(8, 1))  # more than one chunk
    got = gradient_norms(big)
    for i in range(40):
        leaves = {k: v.detach().clone().requires_grad_() for k, v in problem.params.items()}
        problem.per_sample(leaves)[i].backward()
        expected = sum(float(v.grad.double().square().sum()) for v in leaves.values()) ** 0.5
        assert got[i] == pytest.approx(expected, rel=1e-5)
    assert np.allclose(got[:40], got[-40:], rtol=1e-6)
    metrics = load("landscape", "gradient_norm").measure(problem, LandscapeConfig(), np.random.default_rng(0), **QUIET)
    assert metrics["gradient_norm_mean"].value == pytest.approx(got[:40].mean(), rel=1e-6)
    assert metrics["gradient_norm_p50"].value == pytest.approx(np.median(got[:40]), rel=1e-6)
    low, high = metrics["gradient_norm_p95"].ci
    assert low < metrics["gradient_norm_p95"].value <= high


def test_without_a_head_both_blocks_are_the_same(tmp_path):
    problem = make(tmp_path, head=False)
    assert problem.chip == tuple(problem.params)
    metrics = load("landscape", "hessian_trace").measure(problem, LandscapeConfig(probes=4), np.random.default_rng(0), **QUIET)
    assert metrics["hessian_trace"] == metrics["hessian_trace_chip"]


def test_a_loss_without_curvature(problem):
    """A constant loss has no gradient graph at all."""
    flat = dataclasses.replace(problem, losses=lambda p, x, y: (0.0 * p["head.0.bias"].sum()) * x[:, 0])
    operator = HessianProduct(flat, problem.chip)
    assert not (operator @ np.ones(operator.size)).any()
    metrics = load("landscape", "top_eigenvalue").measure(flat, LandscapeConfig(), np.random.default_rng(0), **QUIET)
    assert metrics["top_eigenvalue"].value == 0.0


def test_convolutions_have_the_same_two_hessians(tmp_path):
    twin = load_twin(write_convolutions(tmp_path / "b.onnx"))
    x = torch.from_numpy(np.random.default_rng(0).random((6, 1, 8, 8)).astype(np.float32))
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), x, torch.zeros(6, 5))
    names = tuple(n for n in problem.params if problem.params[n].dim() == 4 or problem.params[n].dim() == 1)
    exact, operator = dense(problem, names), HessianProduct(problem, names)
    v = np.random.default_rng(1).normal(size=operator.size)
    assert np.abs(exact).max() > 0.01
    assert np.allclose(operator @ v, exact @ v, atol=1e-4 * np.abs(exact @ v).max())


@pytest.mark.parametrize("name", [name for name in names("landscape") if hasattr(load("landscape", name), "measure")])
def test_every_plugin_keeps_the_contract(problem, name):
    module = load("landscape", name)
    shown = []
    config = LandscapeConfig(probes=3, surface_points=11, surface_planes=2)
    first = module.measure(problem, config, np.random.default_rng(5), progress=lambda f, t: shown.append((f, t)))
    assert first == module.measure(problem, config, np.random.default_rng(5), **QUIET)
    assert isinstance(module.TITLE, str)
    assert all(0 <= f <= 1 and t for f, t in shown)
    assert shown
    assert all(i.startswith(name) or "trace" in i or "eigen" in i for i in first)
