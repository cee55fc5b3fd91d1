"""Filters, random directions and eigenvectors against what is known of them."""

import numpy as np
import onnx
import pytest
import torch

from flow.landscape._directions import find_filters, hessian_directions, random_directions, steps_per_unit
from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.landscape.quadratic import network, quadratic
from tests.qonnx_models import Builder, write_convolutions


def squared(output, target):
    return (output - target).square().mean(1)


@pytest.fixture
def problem(tmp_path):
    return network(tmp_path)


def test_filters_of_a_convolution_are_its_output_channels(tmp_path):
    twin = load_twin(write_convolutions(tmp_path / "b.onnx"))
    x = torch.rand(4, *twin.input_shape, generator=torch.Generator().manual_seed(0))
    problem = build_problem(twin, None, lambda o, t: o.flatten(1).square().mean(1), x, x)
    filters, seen = find_filters(problem), 0
    for name, where in problem.slices.items():
        form = twin.weights[name.removeprefix("chip.")]
        if form.role == "bias":
            assert (filters.group[where] == -1).all()
            continue
        rows = filters.group[where].reshape(len(problem.params[name]), -1)
        np.testing.assert_array_equal(rows, np.broadcast_to(seen + np.arange(len(rows))[:, None], rows.shape))
        seen += len(rows)
    assert seen == filters.count
    assert any(p.ndim == 4 for p in problem.params.values())


@pytest.mark.parametrize(("op", "attributes", "rows"), [("Gemm", {"transB": 1}, True), ("Gemm", {}, False), ("MatMul", {}, False)])
@pytest.mark.parametrize("transposed", [False, True])
def test_filters_of_a_matrix_are_what_leads_to_one_output(op, attributes, rows, transposed, tmp_path):
    b = Builder(3)
    outputs_first = rows != transposed
    weight = b.weight(np.random.default_rng(0).uniform(-1, 1, (2, 3) if outputs_first else (3, 2)), 4, 0.125)
    if transposed:
        weight = b.node("Transpose", weight, perm=[1, 0])
    model = b.model(b.quant(b.node(op, b.quant("x", 5, 0.25), weight, **attributes), 6, 0.25))
    onnx.save(model, str(tmp_path / "m.onnx"))
    problem = build_problem(load_twin(tmp_path / "m.onnx"), None, squared, torch.rand(4, 3), torch.zeros(4, 2))
    group = find_filters(problem).group.reshape(next(iter(problem.params.values())).shape)
    np.testing.assert_array_equal(group, np.array([[0] * 3, [1] * 3]) if outputs_first else np.array([[0, 1]] * 3))


def test_each_filter_keeps_its_norm(problem):
    filters, centre = find_filters(problem), problem.quantized(problem.point[None])[0]
    centre[filters.group == 2] = 0.0
    many = random_directions(filters, centre, 7, np.random.default_rng(0))
    for number in range(filters.count):
        where = filters.group == number
        np.testing.assert_allclose(np.linalg.norm(many[:, where], axis=1), np.linalg.norm(centre[where]), rtol=1e-12)
    assert not many[:, filters.group == -1].any()
    assert not many[:, filters.group == 2].any()
    assert np.linalg.matrix_rank(many) == 7


def test_networks_of_one_shape_get_the_same_numbers(tmp_path):
    both = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        made = network(tmp_path / str(seed), seed=seed)
        filters, centre = find_filters(made), made.quantized(made.point[None])[0]
        directions = random_directions(filters, centre, 3, np.random.default_rng(5))
        both.append(filters.scale(directions, np.ones(filters.count)))
    np.testing.assert_allclose(both[0], both[1], atol=1e-12)


def test_steps_are_the_root_mean_square_over_the_weights(problem):
    filters = find_filters(problem)
    whole = np.where(filters.weights, 3.0, 50.0) * problem.steps
    share = np.count_nonzero(filters.group == 1) / np.count_nonzero(filters.weights)
    few = np.where(filters.group == 1, -2.0 * problem.steps, 0.0)
    np.testing.assert_allclose(steps_per_unit(problem, filters, np.stack([whole, few, 0 * few])), [3.0, 2.0 * share**0.5, 0.0])


def test_eigenvectors_of_a_known_hessian(problem):
    filters, rng = find_filters(problem), np.random.default_rng(2)
    root = rng.normal(size=(problem.point.size,) * 2)
    matrix = root @ root.T
    values, vectors = hessian_directions(quadratic(problem, matrix), filters, 2, rng)
    block = matrix[np.ix_(filters.weights, filters.weights)]
    expected, basis = np.linalg.eigh(block)
    np.testing.assert_allclose(values, expected[:-3:-1], rtol=1e-4)
    overlap = vectors[:, filters.weights] @ basis[:, :-3:-1]
    np.testing.assert_allclose(np.abs(overlap), np.eye(2), atol=2e-2)
    assert not vectors[:, ~filters.weights].any()


def test_no_curvature_no_eigenvectors(problem):
    filters = find_filters(problem)
    for curvature in (0.0, -1.0):
        flat = quadratic(problem, np.full(problem.point.size, curvature), slope=1.0)
        values, vectors = hessian_directions(flat, filters, 2, np.random.default_rng(0))
        assert values.shape == (0,)
        assert vectors.shape == (0, problem.point.size)
