"""The Jacobian penalty against autograd's exact Jacobian and closed forms."""

import math

import pytest
import torch
from torch import nn

from flow.regularizers import jacobian
from tests.regularizers.networks import batch, layer, mean_and_error, normal, orthonormal


def exact(network, x):
    rows = torch.stack([torch.autograd.functional.jacobian(lambda v: network(v[None])[0], sample).flatten() for sample in x])
    return 0.5 * float(rows.square().sum(1).mean())


@pytest.mark.parametrize("samples", [64, 1024])
@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)], ids=["vector", "image"])
def test_the_strength_means_the_same_for_any_batch_and_output_shape(samples, shape):
    """The mean over draws is that of autograd's Jacobian, within four standard errors."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6), nn.Unflatten(1, shape)).double()
    images = normal(16, 1, 2, 3)
    mean, error = mean_and_error(lambda seed: jacobian.penalty(batch(network, images.repeat(samples // 16, 1, 1, 1), seed=seed)), 60)
    assert 0 < error < 0.02 * mean
    assert abs(mean - exact(network, images)) < 4 * error


def test_linear_map():
    matrix = normal(5, 7)
    mean, error = mean_and_error(lambda seed: jacobian.penalty(batch(layer(matrix), normal(200, 7), seed=seed)), 100)
    assert abs(mean - 0.5 * float(matrix.square().sum())) < 4 * error + 1e-3
    assert error < 0.01 * mean


@pytest.mark.parametrize("samples", [1, 2, 64])
def test_every_projection_of_a_scaled_orthogonal_map_is_exact(samples):
    network = nn.Sequential(layer(3.0 * torch.eye(4)), nn.Unflatten(1, (2, 2)))
    assert float(jacobian.penalty(batch(network, normal(samples, 4))).detach()) == pytest.approx(0.5 * 9.0 * 4, rel=1e-12)


def test_projections_average_independent_draws():
    network, x = layer(normal(4, 5)), normal(8, 5)
    (mean, one), (again, many) = (
        mean_and_error(lambda seed, n=n: jacobian.penalty(batch(network, x, seed=seed), projections=n), 300) for n in (1, 9)
    )
    assert abs(mean - again) < 4 * math.hypot(one, many)
    assert many == pytest.approx(one / 3, rel=0.25)


def test_gradient_of_the_closed_form():
    """d/dA of 1/2 ||A||^2 is A."""
    matrix = 2.0 * orthonormal(3, 3)
    network = layer(matrix)
    jacobian.penalty(batch(network, normal(20_000, 3))).backward()
    assert torch.allclose(network.weight.grad, matrix, atol=0.1)
    assert not torch.allclose(network.weight.grad, matrix, atol=1e-3), "it is an estimate"
