"""The spectral norm against singular values: of the flattened weights, and of the dense matrix of the whole operator."""

import math

import pytest
import torch
from torch import nn

from flow.regularizers import spectral
from flow.regularizers.spectral import _norm
from tests.regularizers.networks import alone, dense, layer, normal

OPERATORS = [
    ((3, 2, 3), {}), ((2, 3, 4), {"stride": 3}), ((3, 1, 3), {"stride": 2, "dilation": 2}), ((3, 2, 2, 2), {"stride": 2}),
    ((4, 2, 1, 1), {}), ((4, 2, 2, 2), {"stride": 2, "groups": 2}), ((2, 1, 3, 3), {"stride": 2}), ((4, 1, 2), {"groups": 4}), ((3, 4), {}),
]  # fmt: skip


def value(network, **options):
    return float(spectral.penalty(alone(network), **options).detach())


def top(matrix):
    return float(torch.linalg.svdvals(matrix)[0])


def test_sum_over_layers_of_the_flattened_weights():
    network = nn.Sequential(layer(normal(3, 2, 2, 2)), nn.Flatten(), layer(normal(4, 12, seed=1)), layer(normal(4, 1, 3, 3), groups=4))
    first, _, second, depthwise = (getattr(m, "quantized_weight", lambda: None)() for m in network)
    tops = [top(first.detach().flatten(1)), top(second.detach()), float(depthwise.detach().flatten(1).norm(dim=1).max())]
    assert value(network) == pytest.approx(0.5 * sum(t**2 for t in tops), rel=1e-12)


@pytest.mark.parametrize(("shape", "options"), OPERATORS, ids=str)
def test_operator_from_its_dense_matrix(shape, options):
    """Exact on a periodic image of eight kernels."""
    made = layer(normal(*shape), **options)
    reach = (max(shape[2:], default=1) - 1) * made.kernel.dilation + 1
    phases = math.ceil(reach / made.kernel.stride)
    size = 8 * phases * made.kernel.stride
    assert value(made, operator=True) == pytest.approx(0.5 * top(dense(made, size, periodic=True)) ** 2, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_operator_bounds_every_padded_image(seed):
    """Up to the frequencies between those looked at, here 1 %; and large images come close to it."""
    made = layer(normal(3, 2, 3, 3, seed=seed), padding=1)
    norm = (2 * value(made, operator=True)) ** 0.5
    sizes = [top(dense(made, n, periodic=False)) for n in (2, 4, 8, 16)]
    assert sizes == sorted(sizes)
    assert 0.9 * norm < sizes[-1] < 1.01 * norm


def test_gradient_is_the_product_of_the_top_singular_vectors():
    made = layer(normal(3, 5))
    spectral.penalty(alone(made)).backward()
    u, s, v = torch.linalg.svd(made.quantized_weight().detach())
    assert torch.allclose(made.weight.grad, s[0] * torch.outer(u[:, 0], v[0]), atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 3, 2, 1, 1), (1, 2, 3, 2, 2), (2, 3, 2, 2, 1)], ids=str)
def test_gradient_of_an_operator(shape):
    assert torch.autograd.gradcheck(_norm, normal(*shape).requires_grad_())


@pytest.mark.parametrize("operator", [False, True])
def test_gradient_is_finite_where_singular_values_meet(operator):
    for weight in (torch.zeros(2, 2, 3, 3), torch.eye(2).reshape(2, 2, 1, 1)):
        made = layer(weight)
        spectral.penalty(alone(made), operator=operator).backward()
        assert made.weight.grad.isfinite().all()
