"""Lipschitz bounds against operator matrices from other code, and against pairs of inputs of the deployed network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from flow.config import LandscapeConfig
from flow.landscape import _lipschitz_norms, lipschitz
from flow.landscape._lipschitz_norms import matrix_norm, schur_norm, torus_norm
from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.landscape.networks import KINDS, make, squared
from tests.qonnx_models import Builder
from tests.quant.repairs import networks as net
from tests.twin.test_networks import NETWORKS


@pytest.fixture(scope="module", params=KINDS)
def problem(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("lipschitz"))


def measure(problem):
    return lipschitz.measure(problem, LandscapeConfig(), np.random.default_rng(0), lambda fraction, text: None)


def values_of(problem):
    return {name: metric.value for name, metric in measure(problem).items()}


def load(model, tmp_path, head=None, samples=20):
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    twin = load_twin(tmp_path / "m.onnx")
    x = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (samples, *twin.input_shape)).astype(np.float32))
    return build_problem(twin, head, squared, x, torch.zeros(samples, 1))


def deployed(problem, layer):
    """The deployed weight of a layer, float64."""
    codes = problem.twin.codes(problem.twin.params)
    (name,) = (n for n, f in problem.twin.weights.items() if f.layer == layer and f.role == "weight")
    return codes[name].double() * problem.twin.weights[name].steps(codes[name].double())


def operator(function, *shape):
    jacobian = torch.autograd.functional.jacobian(function, torch.zeros(1, *shape, dtype=torch.float64))
    return np.linalg.norm(jacobian.reshape(-1, math.prod(shape)).numpy(), 2)


def test_dense_layers_have_the_norm_of_their_deployed_matrix(tmp_path):
    problem = make("alone", tmp_path)
    found = values_of(problem)
    gemms = [node.name for node in problem.twin.nodes if node.op == "Gemm"]
    norms = [np.linalg.norm(deployed(problem, name).numpy(), 2) for name in gemms]
    assert len(norms) == 2
    for name, norm in zip(gemms, norms, strict=True):
        assert found[f"lipschitz_layer_{name}"] == pytest.approx(norm, rel=1e-8)
        assert found[f"lipschitz_layer_{name}"] >= norm * (1 - 1e-12)
    floats = [np.linalg.norm(p.numpy(), 2) for p in problem.params.values() if p.dim() == 2]
    assert np.abs(np.array(floats) / norms - 1).min() > 1e-3, "clipped weights are not those of training"
    assert found["lipschitz_chip"] == pytest.approx(norms[0] * norms[1], rel=1e-7)
    steps = 2.0**-4 * 4**0.5, 2.0**-4 * 6**0.5, 2.0**-6 * 3**0.5
    assert found["lipschitz_rounding_chip"] == pytest.approx((steps[0] * norms[0] + steps[1]) * norms[1] + steps[2], rel=1e-7)
    assert found["lipschitz"] == found["lipschitz_chip"]


def test_convolutions_have_the_norm_of_their_operator(tmp_path):
    problem = make("convolutions", tmp_path)
    first, second = (node.name for node in problem.twin.nodes if node.op == "Conv")
    found = values_of(problem)
    weights = deployed(problem, first), deployed(problem, second)
    expected = (
        operator(lambda x: functional.conv2d(x, weights[0], stride=2, padding=1), 1, 8, 8),
        operator(lambda x: functional.conv2d(x, weights[1]), 3, 4, 4),
    )
    for name, norm, weight in zip((first, second), expected, weights, strict=True):
        assert found[f"lipschitz_layer_{name}"] == pytest.approx(norm, rel=1e-8)
        assert abs(np.linalg.norm(weight.flatten(1).numpy(), 2) / norm - 1) > 0.01, "the reshaped kernel is another matrix"


def test_a_head_is_multiplied(tmp_path):
    problem = make("with head", tmp_path)
    linear, transposed = problem.head[0], problem.head[3]
    found = values_of(problem)
    norms = (
        np.linalg.norm(linear.weight.double().numpy(), 2),
        operator(lambda x: functional.conv_transpose2d(x, transposed.weight.double(), stride=2), 2, 2, 2),
    )
    assert found["lipschitz_layer_head_0"] == pytest.approx(norms[0], rel=1e-8)
    assert found["lipschitz_layer_head_3"] == pytest.approx(norms[1], rel=1e-8)
    for name in ("lipschitz", "lipschitz_rounding"):
        assert found[name] == pytest.approx(found[name + "_chip"] * norms[0] * norms[1] / 4, rel=1e-8)


def pairs(problem, whole):
    """Inputs at all distances: along random directions, and along the gradient of the output that varies most."""
    rng = np.random.default_rng(1)
    x = problem.x.repeat(60, *[1] * (problem.x.dim() - 1))
    step = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
    step /= step.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))
    leaf = problem.x.clone().requires_grad_()
    y = outputs(problem, leaf, whole).flatten(1)
    along = torch.autograd.grad(y[:, torch.argmax(y.std(0))].sum(), leaf)[0]
    step[: len(leaf) * 30] = along.repeat(30, *[1] * (x.dim() - 1)) / (along.norm() + 1e-9) * len(leaf) ** 0.5
    size = torch.from_numpy(np.exp2(rng.uniform(-14, 3, len(x))).astype(np.float32))
    return x, x + step * size.reshape(-1, *[1] * (x.dim() - 1))


def outputs(problem, x, whole):
    chip = problem.twin(problem.twin.params, x).float()
    return problem.head(chip) if whole and problem.head is not None else chip


def check_pairs(problem):
    found, ratios = values_of(problem), []
    for suffix in ("_chip", ""):
        a, b = pairs(problem, not suffix)
        with torch.no_grad():
            moved = (outputs(problem, a, not suffix) - outputs(problem, b, not suffix)).double().flatten(1).norm(dim=1)
        distance = (a - b).double().flatten(1).norm(dim=1)
        slope, jump = found["lipschitz" + suffix], found["lipschitz_rounding" + suffix]
        assert bool((moved <= slope * distance + jump).all())
        ratios.append(((moved - jump) / (slope * distance + 1e-12), moved / (slope * distance + 1e-12)))
    return ratios


def test_no_pair_of_inputs_is_further_apart(problem):
    ratios = check_pairs(problem)
    assert float(ratios[0][1].max()) > 1, "without what rounding adds the bound does not hold"


@pytest.mark.parametrize("i", range(len(NETWORKS)))
def test_no_pair_is_further_apart_whatever_the_operator(i, tmp_path):
    problem = load(NETWORKS[i], tmp_path)
    ratios = check_pairs(problem)
    assert float(ratios[0][1].max()) > 0.1, "the bound says something"


def test_overlapping_windows_of_a_maximum(tmp_path):
    """One pixel that is the maximum of four windows: the bound is reached but for the rounding."""
    problem = load(net.pool("MaxPool", (1, 3, 3), [2, 2], strides=[1, 1]), tmp_path)
    assert values_of(problem)["lipschitz_chip"] == pytest.approx(2)
    x = torch.zeros(2, 1, 3, 3)
    x[1, 0, 1, 1] = 1
    y = problem.twin(problem.twin.params, x)
    assert float((y[1] - y[0]).norm()) == pytest.approx(2)
    assert lipschitz._overlap((3, 2), (2, 2)) == pytest.approx(2**0.5)


def test_branches_and_products(tmp_path):
    b = Builder(3)
    x = b.quant("x", 6, 0.125)
    w = [b.weight(net.values(3, 3, seed=i)) for i in range(2)]
    model = b.model(b.quant(b.node("Add", b.node("MatMul", x, w[0]), b.node("MatMul", x, w[1])), 12, 2.0**-6))
    problem = load(model, tmp_path)
    found = values_of(problem)
    layers = [value for name, value in found.items() if "_layer_" in name]
    assert found["lipschitz_chip"] == pytest.approx(sum(layers), rel=1e-8)
    check_pairs(problem)
    b = Builder(3)
    x = b.quant("x", 5, 0.125)
    y = b.quant(b.node("MatMul", x, b.weight(net.values(3, 3))), 6, 0.125)
    found = values_of(load(b.model(b.quant(b.node("Mul", x, y), 8, 2.0**-3)), tmp_path))
    assert "lipschitz_chip" not in found
    assert "lipschitz" not in found
    assert len([name for name in found if "_layer_" in name]) == 1


def test_a_head_of_an_unknown_kind_leaves_no_bound(tmp_path):
    problem = make("alone", tmp_path)

    class Cube(nn.Module):
        def forward(self, x):
            return x**3

    found = values_of(build_problem(problem.twin, nn.Sequential(nn.Linear(3, 3), Cube()), squared, problem.x, problem.y))
    assert "lipschitz" not in found
    assert found["lipschitz_chip"] == values_of(problem)["lipschitz_chip"]
    nested = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2)), nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2, 1))
    nested = nested.requires_grad_(requires_grad=False)
    inner = build_problem(problem.twin, nested, squared, problem.x, problem.y)
    found = values_of(inner)
    assert found["lipschitz"] == pytest.approx(found["lipschitz_chip"] * found["lipschitz_layer_head_0_0"] * 2**0.5, rel=1e-9)
    check_pairs(inner)


CONVOLUTIONS = [((4, 3, 3, 3), (3, 9, 8), 1, 1, 1, 1), ((4, 3, 3, 3), (3, 9, 8), 2, 0, 1, 1), ((4, 2, 2, 3), (4, 7, 8), 1, 2, 2, 2),
                ((6, 5, 1, 1), (5, 4, 4), 1, 0, 1, 1)]  # fmt: skip


@pytest.mark.parametrize(("kernel", "shape", "stride", "padding", "dilation", "groups"), CONVOLUTIONS)
def test_bounds_of_large_convolutions(kernel, shape, stride, padding, dilation, groups):
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=kernel))

    def run(x, w=weight):
        return functional.conv2d(x, w, None, stride, padding, dilation, groups)

    exact = operator(run, *shape)
    padded = [size + 2 * padding for size in shape[1:]]
    torus, schur = torus_norm(weight, groups, [dilation] * 2, padded, 2**30), schur_norm(lambda x: run(x, weight.abs()), shape)
    assert matrix_norm(run, shape, 2**30) == pytest.approx(exact, rel=1e-8)
    assert exact <= torus <= (1.001 if kernel[2:] == (1, 1) else 1.8) * exact
    assert exact <= schur <= 4 * exact
    assert torus_norm(weight, groups, [dilation] * 2, padded, 100) is None
    assert matrix_norm(run, shape, 100) is None


def test_large_layers_get_the_better_bound(tmp_path, monkeypatch):
    for kind in ("convolutions", "with head"):
        problem = make(kind, tmp_path)
        exact = values_of(problem)
        with monkeypatch.context() as patch:
            patch.setattr(_lipschitz_norms, "MOST_SIDE", 1)
            metrics = measure(problem)
        for name in exact:
            assert metrics[name].value >= exact[name] * (1 - 1e-9)
            assert metrics[name].value <= 16 * exact[name]
        assert any("Schur" in metric.source for metric in metrics.values())


@pytest.mark.parametrize("suffix", ["", "_chip"])
def test_local_norm_is_that_of_the_jacobian_and_below_the_bound(problem, suffix):
    expected = []
    for x in problem.x:
        jacobian = torch.autograd.functional.jacobian(lambda x: outputs(problem, x[None], not suffix)[0], x)
        expected.append(np.linalg.norm(jacobian.reshape(-1, x.numel()).double().numpy(), 2))
    local = lipschitz.local_norms(problem, not suffix)
    np.testing.assert_allclose(local, expected, rtol=1e-5, atol=1e-7)
    found = measure(problem)
    assert 0 < local.max() <= found["lipschitz" + suffix].value
    assert found["lipschitz_local" + suffix].value == pytest.approx(local.mean())
    assert found["lipschitz_local" + suffix].ci[0] < local.mean()


def test_order_and_memory_change_nothing(problem):
    before = {k: v.clone() for k, v in problem.params.items()}
    first = measure(problem)
    turned = measure(problem.subset(np.arange(len(problem.x))[::-1].copy()))
    some = measure(replace(problem, memory=2**21))
    for name, metric in first.items():
        assert turned[name].value == pytest.approx(metric.value, rel=1e-6)
        assert some[name].value == pytest.approx(metric.value, rel=1e-6)
        assert (metric.ci is not None) == ("local" in name)
    assert all(torch.equal(before[k], v) for k, v in problem.params.items())


def test_no_weights_no_change(tmp_path):
    problem = make("alone", tmp_path)
    zero = replace(problem, params={k: torch.zeros_like(v) for k, v in problem.params.items()})
    found = values_of(zero)
    assert found["lipschitz_chip"] == 0
    assert found["lipschitz_local_chip"] == 0
    assert found["lipschitz_rounding_chip"] == pytest.approx(2.0**-6 * 3**0.5)
