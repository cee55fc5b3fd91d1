"""Regularizers against closed forms."""

import math

import pytest
import torch
from torch import nn

from flow.core.errors import UnknownPlugin
from flow.regularizers import Batch, combine, jacobian, orthogonality


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(matrix):
    """The network y = A x."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, dtype=matrix.dtype)
    layer.weight.data = matrix.clone()
    return layer


def batch(network, x, seed=0, output=lambda y: y):
    x = x.clone().requires_grad_()
    return Batch(network, x, output(network(x)), generator(seed))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def orthonormal(rows, columns):
    q, _ = torch.linalg.qr(normal(max(rows, columns), min(rows, columns)))
    return q if rows >= columns else q.T


# --- Jacobian


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3), (2, 4)])
def test_jacobian_of_a_linear_map_is_half_its_frobenius_norm(shape):
    """Mean over 20 000 draws, within four standard errors; the output has the shape of an image or of a vector."""
    matrix = normal(math.prod(shape), 7)
    exact = 0.5 * float(matrix.square().sum())
    network, x = linear(matrix), normal(200, 7)
    means = torch.stack([jacobian.penalty(batch(network, x, seed, lambda y: y.unflatten(1, shape))) for seed in range(100)]).detach()
    error = float(means.std()) / len(means) ** 0.5
    assert 0 < error < 0.01 * exact
    assert abs(float(means.mean()) - exact) < 4 * error


def test_jacobian_of_a_nonlinear_network_by_autograd():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = normal(4, 1, 2, 3)
    rows = torch.stack([torch.autograd.functional.jacobian(lambda v: network(v[None])[0], sample).flatten(1) for sample in x])
    exact = 0.5 * float(rows.square().sum((1, 2)).mean())
    means = torch.stack([jacobian.penalty(batch(network, x.repeat(50, 1, 1, 1), seed)) for seed in range(60)]).detach()
    assert abs(float(means.mean()) - exact) < 4 * float(means.std()) / len(means) ** 0.5
    assert float(means.std()) < 0.2 * exact


@pytest.mark.parametrize("samples", [1, 2, 64])
def test_jacobian_does_not_depend_on_the_batch_size(samples):
    """For a multiple of an orthogonal matrix every projection has the same length, so the estimate is exact for any batch."""
    network = linear(3.0 * orthonormal(4, 4))
    value = jacobian.penalty(batch(network, normal(samples, 4), output=lambda y: y.unflatten(1, (2, 2))))
    assert float(value.detach()) == pytest.approx(0.5 * 9.0 * 4, rel=1e-12)


def test_jacobian_draws_a_vector_for_each_sample_from_its_generator():
    network, x = linear(normal(3, 3)), normal(2, 3)
    one, again, other = (float(jacobian.penalty(batch(network, x, seed)).detach()) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    state = torch.random.get_rng_state()
    jacobian.penalty(batch(network, x))
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's random numbers are used up"


def test_jacobian_has_the_gradient_of_its_closed_form():
    matrix = 2.0 * orthonormal(3, 3)
    network = linear(matrix)
    totals = torch.zeros_like(matrix)
    for seed in range(400):
        network.zero_grad()
        jacobian.penalty(batch(network, normal(50, 3), seed)).backward()
        totals += network.weight.grad
    assert torch.allclose(totals / 400, matrix, atol=0.05), "d/dA of 1/2 ||A||^2 is A"


# --- orthogonality


@pytest.mark.parametrize(
    "shape", [(3, 3), (2, 5), (5, 2), (4, 1, 3, 3), (12, 1, 3, 3), (3, 2, 1, 1)], ids=lambda shape: "x".join(map(str, shape))
)
def test_orthogonality_is_zero_for_orthonormal_weights(shape):
    matrix = orthonormal(shape[0], math.prod(shape[1:]))
    layer = nn.Conv2d(shape[1], shape[0], shape[2:]).double() if len(shape) == 4 else linear(matrix)
    layer.weight.data = matrix.reshape(shape).clone()
    assert float(orthogonality.penalty(Batch(layer, None, None, None)).detach()) == pytest.approx(0.0, abs=1e-24)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, -2.0])
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3)])
def test_orthogonality_of_a_multiple_of_an_orthonormal_matrix(factor, shape):
    """G = c^2 I of size min(shape), so R = min(shape) (c^2 - 1)^2."""
    layer = linear(factor * orthonormal(*shape))
    expected = min(shape) * (factor**2 - 1) ** 2
    assert float(orthogonality.penalty(Batch(layer, None, None, None)).detach()) == pytest.approx(expected, abs=1e-12)


def test_orthogonality_sums_over_layers_from_singular_values():
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)).double()
    expected = 0.0
    for layer in (network[0], network[3]):
        expected += float(((torch.linalg.svdvals(layer.weight.detach().flatten(1)) ** 2 - 1) ** 2).sum())
    value = orthogonality.penalty(Batch(network, None, None, None))
    assert float(value.detach()) == pytest.approx(expected, rel=1e-12)
    value.backward()
    assert network[0].weight.grad.abs().max() > 0
    assert network[0].bias.grad is None, "biases and normalisations are left alone"
    assert network[1].weight.grad is None


def test_orthogonality_can_be_minimised_to_zero():
    layer = linear(normal(3, 5))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        value = orthogonality.penalty(Batch(layer, None, None, None))
        value.backward()
        optimizer.step()
    assert float(value.detach()) < 1e-6
    assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(3, dtype=torch.float64), atol=1e-3)


# --- together


def test_combine():
    network, x = linear(normal(3, 4)), normal(8, 4)
    both = combine({"orthogonality": 0.5, "jacobian": 2.0})(batch(network, x))
    apart = 2.0 * jacobian.penalty(batch(network, x)) + 0.5 * orthogonality.penalty(batch(network, x))
    assert float(both.detach()) == pytest.approx(float(apart.detach()), rel=1e-12)
    both.backward()
    assert network.weight.grad.abs().max() > 0
    assert combine({}) is None
    with pytest.raises(UnknownPlugin, match="Did you mean 'jacobian'"):
        combine({"jacobain": 1.0})
