"""The orthogonality penalty against singular values: of the flattened weights, and of the dense matrix of the whole operator."""

import math

import pytest
import torch
from torch import nn

from flow.regularizers import orthogonality
from flow.regularizers.orthogonality import _distance
from tests.regularizers.networks import alone, dense, layer, normal, orthonormal

OPERATORS = [
    ((3, 2, 3, 3), {}), ((5, 2, 3, 3), {}), ((3, 2, 3, 3), {"stride": 2}), ((6, 1, 3, 3), {"stride": 2}), ((2, 3, 2, 3), {"dilation": 2}),
    ((4, 2, 3, 3), {"groups": 2, "stride": 2, "dilation": 2}), ((4, 1, 2, 2), {"groups": 4}), ((2, 3, 5), {}), ((4, 1, 4), {"stride": 3}),
    ((3, 4), {}), ((4, 3), {}),
]  # fmt: skip


def value(network, **options):
    return float(orthogonality.penalty(alone(network), **options).detach())


def from_singular_values(matrix):
    return float(((torch.linalg.svdvals(matrix) ** 2 - 1) ** 2).sum())


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (4, 1, 3, 3), (12, 1, 3, 3), (3, 2, 1, 1)], ids=str)
def test_zero_for_orthonormal_weights(shape):
    assert value(layer(orthonormal(shape[0], math.prod(shape[1:])).reshape(shape))) == pytest.approx(0.0, abs=1e-5)


def test_a_shift_of_the_image_is_orthogonal_as_an_operator():
    weight = torch.zeros(2, 2, 3, 3)
    weight[0, 1, 1, 2] = weight[1, 0, 0, 1] = 1.0
    assert value(layer(weight), operator=True) == 0.0
    assert value(layer(2 * weight), operator=True) == 2 * 3**2
    blur = torch.full((1, 1, 1, 2), 0.5**0.5)  # orthonormal as a row of weights, not as an operator
    assert value(layer(blur)) < 1e-6
    assert value(layer(blur), operator=True) == pytest.approx(2 * 0.5**2, rel=1e-3)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, -2.0])
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3)])
def test_multiple_of_an_identity(factor, shape):
    """G = c^2 I of size min(shape), so R = min(shape) (c^2 - 1)^2."""
    assert value(layer(factor * torch.eye(*shape))) == min(shape) * (factor**2 - 1) ** 2


def test_sum_over_layers_from_singular_values():
    network = nn.Sequential(layer(normal(3, 2, 2, 2)), nn.BatchNorm2d(3).double(), nn.Flatten(), layer(normal(4, 12, seed=1)))
    expected = sum(from_singular_values(network[i].quantized_weight().detach().flatten(1)) for i in (0, 3))
    assert value(network) == pytest.approx(expected, rel=1e-12)


def test_groups_are_apart():
    """Channels of different groups never meet, whatever their weights are."""
    made = layer(normal(4, 2, 3, 3), groups=2)
    blocks = made.quantized_weight().detach().flatten(1).split(2)
    assert value(made) == pytest.approx(sum(map(from_singular_values, blocks)), rel=1e-12)


@pytest.mark.parametrize(("shape", "options"), OPERATORS, ids=str)
def test_operator_from_the_singular_values_of_its_dense_matrix(shape, options):
    """Without borders each place counts the same: R is the sum over the singular values, by the number of places."""
    made = layer(normal(*shape) / 2, **options)
    size = made.kernel.stride * 10
    matrix = dense(made, size, periodic=True)
    places = 10**made.kernel.rank
    assert value(made, operator=True) == pytest.approx(from_singular_values(matrix) / places, rel=1e-9)


@pytest.mark.parametrize(("shape", "options"), OPERATORS[1:5], ids=str)
def test_operator_can_be_minimised_to_zero(shape, options):
    """At R = 0 the operator without borders is an isometry of its shorter side; one with zero padding lengthens nothing."""
    made = layer(normal(*shape) / 4, padding=1, **options)
    made.quantized_weight = lambda: made.weight  # no rounding here: the grid does not have the minimum
    optimizer = torch.optim.LBFGS(made.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = orthogonality.penalty(alone(made), operator=True)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert value(made, operator=True) < 1e-6
    size = 8 * made.kernel.stride
    assert torch.linalg.svdvals(dense(made, size, periodic=True)) == pytest.approx(1, abs=0.01)
    assert torch.linalg.svdvals(dense(made, size, periodic=False)).max() < 1.01


@pytest.mark.parametrize("shape", [(1, 3, 2, 1, 1), (1, 2, 3, 2, 2), (2, 3, 2, 2, 1)], ids=str)
def test_gradient(shape):
    assert torch.autograd.gradcheck(_distance, normal(*shape).requires_grad_())


def test_gradient_reaches_the_float_weights_through_the_quantizer():
    """4 (W W^T - I) W at the deployed weights; none where a weight is clamped."""
    made = layer(torch.tensor([[0.3, 0.9, -2.0], [0.1, -0.6, 0.2]]), bits=4, exponent=-3)
    orthogonality.penalty(alone(made)).backward()
    w = made.quantized_weight().detach()
    expected = 4 * (w @ w.T - torch.eye(2)) @ w
    expected[0, 2] = 0.0
    assert float(w[0, 2]) == -7 / 8
    assert torch.allclose(made.weight.grad, expected, atol=1e-12)
