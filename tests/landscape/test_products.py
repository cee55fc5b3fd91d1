"""Products, traces and eigenvalues of chains of layers against dense Hessians in float64, in any memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import hessian_trace, top_eigenvalue
from flow.landscape._exact_trace import chain_split, general_traces, multilinear_split, sample_traces
from flow.landscape._lanczos import errors, top_eigenpairs
from flow.landscape._problem import CHIP, HEAD, build_problem
from flow.landscape._products import HessianProduct, _Chain, _Graph
from flow.landscape.hessian_trace import probe_values
from flow.statistics import mean_interval
from flow.twin import load_twin
from tests.landscape.networks import KINDS, make
from tests.qonnx_models import write_mlp


def autoencoder(folder, samples=12):
    """Convolutions and their transposes with strides, uneven padding and a wide output."""
    head = nn.Sequential(
        nn.Linear(3, 12), nn.ReLU(), nn.Unflatten(1, (3, 2, 2)), nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1),
        nn.LeakyReLU(0.1), nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=1, bias=False), nn.Flatten(), nn.Linear(36, 5), nn.Sigmoid(),
    )  # fmt: skip
    twin = load_twin(write_mlp(folder / "a.onnx", (4, 6, 3), clip=1.2))
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.uniform(0, 1.5, (samples, n)).astype(np.float32)) for n in (4, 5))
    return build_problem(twin, head, lambda o, t: (o - t).square().mean(1) * 3, x, y)


@pytest.fixture(params=[*KINDS, "autoencoder"])
def problem(request, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return autoencoder(tmp_path) if request.param == "autoencoder" else make(request.param, tmp_path)


def dense(problem):
    """The Hessian of the mean loss by double backward, one row at a time, all in float64.

    The rounding of the weights is taken at its float32 value; a change of a weight passes it as its straight-through gradient says.
    """
    leaves = {n: v.detach().double().requires_grad_() for n, v in problem.params.items()}
    rounded = problem.twin.quantized({n.removeprefix(CHIP): v for n, v in leaves.items() if n.startswith(CHIP)})
    output = problem.twin._walk(rounded, problem.x.double(), ste=True)[problem.twin._graph.output]
    head = {n.removeprefix(HEAD): v for n, v in leaves.items() if n.startswith(HEAD)}
    if problem.head is not None:
        output = torch.func.functional_call(problem.head, head, (output,))
    loss = problem.loss_function(output, problem.y.double()).mean()
    gradient = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, materialize_grads=True)
    flat = torch.cat([g.reshape(-1) for g in gradient])
    rows = [torch.autograd.grad(g, list(leaves.values()), retain_graph=True, materialize_grads=True) for g in flat]
    return torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows]).numpy()


def in_double(problem):
    """Let the twin compute in float64."""
    twin = problem.twin
    twin.dtype = torch.float64
    twin._constants = {n: v.double() if v.is_floating_point() else v for n, v in twin._constants.items()}
    return problem


@pytest.fixture
def exact(problem, tmp_path, request):
    name = request.node.callspec.params["problem"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        again = autoencoder(tmp_path) if name == "autoencoder" else make(name, tmp_path)
    return dense(in_double(again))


def metrics(module, problem, **config):
    return module.measure(problem, LandscapeConfig(**config), np.random.default_rng(0), lambda fraction, text: None)


def test_trace_and_every_product_are_those_of_the_dense_hessian(problem, exact):
    assert chain_split(problem) is not None
    found = metrics(hessian_trace, problem)["hessian_trace"]
    assert found.source.startswith("exact")
    assert found.value == pytest.approx(np.trace(exact), rel=1e-4)
    operator = HessianProduct(problem, problem.blocks[""])
    assert isinstance(operator._source, _Chain)
    columns = np.array([operator @ unit for unit in np.eye(operator.size)])
    assert np.abs(columns - exact).max() < 1e-4 * np.abs(exact).max()
    on_chip = np.array([n in problem.chip for n, v in problem.params.items() for _ in range(v.numel())])
    chip = operator.block(problem.chip)
    assert np.abs(np.array([chip @ u for u in np.eye(chip.size)]) - exact[on_chip][:, on_chip]).max() < 1e-4 * np.abs(exact).max()


def test_eigenpairs_are_those_of_the_dense_hessian(problem, exact):
    before = {n: v.clone() for n, v in problem.params.items()}
    found = metrics(top_eigenvalue, problem, eigenvalues=3)
    values, vectors = np.linalg.eigh(exact)
    assert found["top_eigenvalue"].value == pytest.approx(values[-1], rel=1e-4)
    for i in (2, 3):
        assert found[f"top_eigenvalue_{i}"].value == pytest.approx(values[-i], rel=3e-3, abs=1e-4 * values[-1])
    recorded = problem.records["top_eigenvalue_vectors"]
    assert recorded.shape == (3, len(values))
    assert abs(recorded[0] @ vectors[:, -1]) > 0.999
    assert np.allclose(recorded @ recorded.T, np.eye(3), atol=1e-8)
    assert all(torch.equal(before[n], v) for n, v in problem.params.items())


def test_chains_agree_with_automatic_differentiation_in_any_memory_and_order(problem):
    split = multilinear_split(problem)
    chain, general = sample_traces(problem, split), general_traces(problem, split)
    for name, values in chain.items():
        assert torch.allclose(values, general[name], rtol=1e-4, atol=1e-6)
    names = problem.blocks[""]
    whole = HessianProduct(problem, names)
    v = np.random.default_rng(3).standard_normal(whole.size)
    expected, size = whole @ v, np.abs(whole @ v).max()
    little = replace(problem, memory=1000)
    turned = problem.subset(np.arange(len(problem.x))[::-1].copy())
    for other in (
        HessianProduct(little, names), HessianProduct(turned, names),
        HessianProduct(problem, names, _Graph(problem, names)), HessianProduct(little, names, _Graph(little, names)),
    ):  # fmt: skip
        assert np.abs(other @ v - expected).max() < 2e-5 * size
        assert np.allclose(other.gradient, whole.gradient, rtol=1e-3, atol=1e-6)
    assert HessianProduct(little, names)._source._pieces == []
    assert HessianProduct(little, names, _Graph(little, names))._source._whole is None


@pytest.mark.parametrize("kind", ["alone", "convolutions", "with head"])
def test_estimates_are_inside_of_their_interval_in_95_percent(kind, tmp_path):
    problem = make(kind, tmp_path)
    truth = sum(float(v.mean()) for v in sample_traces(problem, multilinear_split(problem)).values())
    operator = HessianProduct(problem, problem.blocks[""])
    matrix = np.array([operator @ unit for unit in np.eye(operator.size)])

    class Dense:
        size = operator.size

        def __matmul__(self, v):
            return matrix @ v

    inside = 0
    for seed in range(1000):
        _, (low, high) = mean_interval(probe_values(Dense(), 64, np.random.default_rng(seed), lambda n: None))
        inside += low <= truth <= high
    assert 930 <= inside <= 970  # of a binomial with 95 %, less or more come once in two hundred


def test_small_matrices_have_known_eigenvalues():
    matrix = np.diag([5.0, 3.0, 2.0, -7.0])
    pairs = top_eigenpairs(matrix, 3, np.ones(4), 1e-10)
    assert np.allclose(pairs.values, [5.0, 3.0, 2.0])
    assert np.allclose(np.abs(pairs.vectors), np.eye(4)[:3], atol=1e-6)
    assert top_eigenpairs(np.eye(4), 3, np.ones(4)).values == pytest.approx([1.0, 1.0, 1.0])
    assert len(top_eigenpairs(np.eye(2), 5, np.ones(2)).values) == 2
    assert not top_eigenpairs(np.zeros((6, 6)), 3, np.ones(6)).values.any()


def test_a_linear_layer_behind_the_chip_has_the_trace_of_least_squares(tmp_path):
    problem = make("alone", tmp_path)
    last = nn.Linear(3, 2)
    problem = build_problem(problem.twin, nn.Sequential(last), lambda o, t: (o - t[:, :2]).square().sum(1), problem.x, problem.y)
    with torch.no_grad():
        features = problem.twin(problem.twin.params, problem.x).double()
    found = sample_traces(problem, multilinear_split(problem))
    assert torch.allclose(found["head.0.weight"], 2 * 2 * features.square().sum(1), rtol=1e-5)
    assert torch.allclose(found["head.0.bias"], torch.full((len(features),), 4.0, dtype=torch.float64))


def test_errors_bound_the_distance_to_an_eigenvalue():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 60))
    a = a @ a.T
    pairs = top_eigenpairs(a, 2, rng.normal(size=60), 1e-3)
    exact = np.linalg.eigvalsh(a)[::-1]
    assert abs(pairs.values[0] - exact[0]) <= 1e-3 * exact[0]
    assert np.abs(pairs.values - exact[:2]).max() <= 0.02 * exact[0]
    assert errors(np.array([3.0]), np.array([0.5]))[0] == 0.5
    assert errors(np.array([3.0, 1.0]), np.array([0.1, 0.0]))[0] == pytest.approx(0.01 / 2)


def test_samples_whose_loss_is_not_bent_have_no_trace(tmp_path):
    """A loss that is linear in the output; and one that is for some samples only, in pieces of one sample."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        problem = autoencoder(tmp_path)
    head = problem.head[:-1]  # without the sigmoid
    linear = build_problem(problem.twin, head, lambda o, t: (o * t).sum(1), problem.x, problem.y)
    assert all(not trace.any() for trace in sample_traces(linear, multilinear_split(linear)).values())
    half = problem.y * (torch.arange(len(problem.y)) % 2)[:, None]
    mixed = build_problem(problem.twin, head, lambda o, t: (o.square() * t).sum(1), problem.x, half)
    whole = sample_traces(mixed, multilinear_split(mixed))
    pieces = sample_traces(replace(mixed, memory=1000), multilinear_split(mixed))
    for name, trace in pieces.items():
        assert not trace[::2].any()
        assert torch.allclose(trace, whole[name], rtol=1e-5)
    assert sum(float(trace.sum()) for trace in pieces.values()) > 0
