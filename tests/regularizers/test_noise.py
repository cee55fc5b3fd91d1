"""Noise on weights and on inputs, on linear networks with squared errors, where the excess loss is known exactly."""

import pytest
import torch
from torch import nn

from flow.regularizers import input_noise, weight_noise
from tests.regularizers.networks import batch, half_square, layer, mean_and_error, normal

SAMPLES = pytest.mark.parametrize("samples", [64, 1024])


@SAMPLES
def test_weight_noise_of_linear_regression(samples):
    """1/2 E (e x)^2 = 1/2 sigma^2 LSB^2 sum x^2 for each output, whatever the batch size."""
    x = normal(16, 5)
    network = layer(normal(3, 5) / 4, bits=8, exponent=-4)
    expected = 3 * 0.5 * (0.7 * 2**-4) ** 2 * float(x.square().sum(1).mean())
    mean, error = mean_and_error(
        lambda seed: weight_noise.penalty(batch(network, x.repeat(samples // 16, 1), half_square(0.3), seed), sigma=0.7), 400
    )
    assert abs(mean - expected) < 4 * error
    assert error < 0.2 * expected


def test_weight_noise_has_the_step_of_each_channel_and_of_each_layer():
    network = nn.Sequential(layer(torch.ones(2, 1), exponent=[-2, -5]), layer(torch.zeros(1, 2), exponent=-3))
    seen = []
    info = batch(network, normal(4, 1))
    for seed in range(3000):
        drawn = info.__class__(**{**vars(info), "generator": torch.Generator().manual_seed(seed),
                                  "evaluate": lambda x, shifts: seen.append(shifts) or info.loss})  # fmt: skip
        weight_noise.penalty(drawn, sigma=2.0)
    first, second = (torch.stack([shifts[name] for shifts in seen]) for name in ("0", "1"))
    assert first.std(0).flatten().tolist() == pytest.approx([2 * 2**-2, 2 * 2**-5], rel=0.06)
    assert second.std(0).flatten().tolist() == pytest.approx([2 * 2**-3] * 2, rel=0.06)
    assert first.mean(0).abs().max() < 4 * 0.5 / 3000**0.5


def test_pruned_weights_have_no_noise():
    network = layer(torch.ones(1, 4))
    network.mask = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[0.0, 3.0, 5.0, 0.0]], dtype=torch.float64)
    assert float(weight_noise.penalty(batch(network, x), sigma=9.0).detach()) == 0.0
    assert float(weight_noise.penalty(batch(network, x + 1), sigma=9.0).detach()) != 0.0


def test_with_strength_one_the_gradient_is_that_of_the_noisy_network():
    network, x = layer(normal(2, 3)), normal(8, 3)
    info = batch(network, x, half_square(0.1), seed=5)
    (info.loss.mean() + weight_noise.penalty(info)).backward()
    noise = 0.5 * 2**-12 * torch.randn(2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weight = (network.quantized_weight().detach() + noise).requires_grad_()
    half_square(0.1)(x @ weight.T).mean().backward()
    assert torch.allclose(network.weight.grad, weight.grad, rtol=1e-12)


@SAMPLES
def test_input_noise_of_linear_regression(samples):
    """1/2 E |W n|^2 = 1/2 sigma^2 mean(x^2) ||W||_F^2, and so Tikhonov's penalty (Bishop 1995), whatever the batch size."""
    x, network = normal(16, 5) + 1, layer(normal(3, 5))
    expected = 0.5 * 0.3**2 * float(x.square().mean()) * float(network.quantized_weight().square().sum())
    mean, error = mean_and_error(
        lambda seed: input_noise.penalty(batch(network, x.repeat(samples // 16, 1), half_square(0.3), seed), sigma=0.3), 200
    )
    assert abs(mean - expected) < 4 * error
    assert error < 0.1 * expected


def test_input_noise_has_the_gradient_of_its_closed_form():
    x, network = normal(20_000, 3), layer(normal(2, 3))
    input_noise.penalty(batch(network, x, seed=1), sigma=0.5, draws=4).backward()
    expected = 0.25 * x.square().mean() * network.quantized_weight().detach()
    assert torch.allclose(network.weight.grad, expected, atol=0.05 * float(expected.abs().max()))


@pytest.mark.parametrize("module", [weight_noise, input_noise])
def test_draws_are_independent_and_averaged(module):
    network, x = layer(normal(2, 3), exponent=-8), normal(4, 3)
    (mean, one), (again, nine) = (
        mean_and_error(lambda seed, n=n: module.penalty(batch(network, x, half_square(0.3), seed), draws=n), 300) for n in (1, 9)
    )
    assert abs(mean - again) < 4 * (one**2 + nine**2) ** 0.5
    assert nine == pytest.approx(one / 3, rel=0.25)
