import math

import pytest
import torch

from flow.config import NetworkConfig
from flow.model import load_model
from flow.quant.layers import FloatLayers

MODEL = load_model("jets")


def logits(n, seed=0):
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def one_hot(*classes):
    return torch.eye(5, dtype=torch.float64)[list(classes)]


@pytest.mark.parametrize(("size", "parameters"), [("small", 2 * 17 * 16 + 17 * 5), ("baseline", 17 * 64 + 65 * 32 + 33 * 32 + 33 * 5)])
def test_sizes(size, parameters):
    layers = FloatLayers(NetworkConfig())
    network = MODEL.on_chip(layers, size)
    assert sum(p.numel() for p in network.parameters()) == parameters
    output = network(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (50, 5)
    assert (output < 0).any()
    assert layers.sites["input"].signed
    assert not layers.sites["relu_0"].signed


def test_everything_is_on_the_chip():
    assert MODEL.off_chip("baseline") is None
    assert MODEL.input_max == 8.0
    assert MODEL.sizes == ("small", "baseline")


def test_input_words_cover_eight_deviations_both_ways():
    layers = FloatLayers(NetworkConfig(input_bits=10))
    MODEL.on_chip(layers, "small")
    low, high = layers.sites["input"].code_range
    assert (low, high) == (-512, 511)


def test_loss_by_closed_forms():
    flat = torch.zeros(2, 5, dtype=torch.float64)
    torch.testing.assert_close(MODEL.loss(flat, one_hot(0, 4)), torch.full((2,), math.log(5), dtype=torch.float64))
    two = torch.tensor([[2.0, 0.0, -700.0, -700.0, -700.0]], dtype=torch.float64)
    assert MODEL.loss(two, one_hot(1)).item() == pytest.approx(math.log1p(math.exp(2)))
    assert MODEL.loss(two, one_hot(2)).item() == pytest.approx(702 + math.log1p(math.exp(-2)))


def test_loss_equals_torch_and_ignores_a_shift_of_all_logits():
    output, classes = logits(20), [n % 5 for n in range(20)]
    expected = torch.nn.functional.cross_entropy(output, torch.tensor(classes), reduction="none")
    torch.testing.assert_close(MODEL.loss(output, one_hot(*classes)), expected)
    torch.testing.assert_close(MODEL.loss(output + 7, one_hot(*classes)), expected)


def test_loss_can_be_transformed():
    output, target = logits(4), one_hot(0, 1, 2, 3)
    assert torch.autograd.gradcheck(lambda o: MODEL.loss(o, target), output.clone().requires_grad_())

    def one(o, t):
        return MODEL.loss(o[None], t[None])[0]

    gradient = torch.func.vmap(torch.func.grad(one))(output, target)
    torch.testing.assert_close(gradient, output.softmax(dim=1) - target)
    stacked = torch.func.vmap(MODEL.loss, in_dims=(0, None))(torch.stack([output, 2 * output]), target)
    torch.testing.assert_close(stacked[1], MODEL.loss(2 * output, target))


def test_loss_keeps_float32():
    assert MODEL.loss(logits(2).float(), one_hot(0, 1)).dtype == torch.float32
