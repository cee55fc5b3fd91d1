"""Sharpness-aware minimization on a quadratic loss, where each step is known exactly."""

import pytest
import torch
from torch import nn

from flow.regularizers import sam
from tests.regularizers.networks import batch, half_square, layer, normal

RHO = 0.3


def quadratic(samples):
    """The loss 1/2 mean (w x - t)^2 with its gradient g and Hessian H in w."""
    x = normal(16, 4).repeat(samples // 16, 1)
    network = layer(normal(1, 4) / 2)
    w = network.quantized_weight().detach()[0]
    hessian = x.T @ x / len(x)
    return network, batch(network, x, half_square(0.7)), ((x @ w - 0.7)[:, None] * x).mean(0), hessian


@pytest.mark.parametrize("samples", [64, 1024])
def test_value_and_gradient_on_a_quadratic(samples):
    """R = rho |g| + rho^2 g H g / (2 |g|^2); with strength 1 the gradient is g + H eps, that at w + eps."""
    network, info, g, hessian = quadratic(samples)
    value = sam.penalty(info, rho=RHO)
    eps = RHO * g / g.norm()
    assert float(value.detach()) == pytest.approx(float(RHO * g.norm() + 0.5 * eps @ hessian @ eps), rel=1e-9)
    (info.loss.mean() + value).backward()
    assert torch.allclose(network.weight.grad[0], g + hessian @ eps, rtol=1e-9)


def test_all_layers_share_one_step():
    network = nn.Sequential(layer(normal(3, 2)), nn.Tanh(), layer(normal(1, 3)))
    seen = {}
    info = batch(network, normal(8, 2))
    spy = info.__class__(**{**vars(info), "evaluate": lambda x, shifts: seen.update(shifts) or info.loss})
    sam.penalty(spy, rho=RHO)
    info.loss.mean().backward()
    gradient = torch.cat([network[i].weight.grad.flatten() for i in (0, 2)])
    steps = torch.cat([seen[name].flatten() for name in ("0", "2")])
    assert torch.allclose(steps, RHO * gradient / gradient.norm(), rtol=1e-12)
    assert not steps.requires_grad


def test_no_step_without_a_gradient():
    network = layer(torch.zeros(1, 2))
    value = sam.penalty(batch(network, torch.zeros(3, 2, dtype=torch.float64)))
    value.backward()
    assert float(value.detach()) == 0.0
    assert network.weight.grad.isfinite().all()
