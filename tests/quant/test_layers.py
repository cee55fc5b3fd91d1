"""Quantized layers against integer arithmetic in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import NetworkConfig
from flow.quant.layers import QuantLayers, plain
from flow.quant.training import predict_exactly
from tests.quant import toy

CONFIGS = [
    NetworkConfig(), NetworkConfig(weight_bits=3, rounding="FLOOR"), NetworkConfig(weight_bits=2, activation_bits=5, latent_bits=4),
    NetworkConfig(weight_bits=5, activation_bits=3, input_bits=6, latent_bits=6, bias_bits=8, rounding="FLOOR"),
]  # fmt: skip


def integers(chain, exponents, config, x):
    """The network in integers and exact powers of two: no Brevitas, no torch arithmetic, no float rounding."""

    def codes(values, exponent, low, high):
        return np.clip(np.rint(np.asarray(values, np.float64) * 2.0**-exponent), low, high).astype(np.int64)

    def shrink(total, step, low, high):
        exact = total * 2.0**step
        return np.clip(np.floor(exact) if config.rounding == "FLOOR" else np.rint(exact), low, high).astype(np.int64)

    def layer(module, name, inputs, scale):
        top = 2 ** (config.weight_bits - 1) - 1
        weight = codes(module.weight.detach().numpy(), exponents[name], -top, top)
        bias = codes(module.bias.detach().numpy(), exponents[name] + scale, -(2 ** (config.bias_bits - 1)), 2 ** (config.bias_bits - 1) - 1)
        return inputs @ weight.reshape(len(weight), -1).T + bias, exponents[name] + scale

    words = codes(x, exponents["input"], 0, 2**config.input_bits - 1)
    padded = np.pad(words[:, 0], ((0, 0), (1, 1), (1, 1)))
    patches = np.stack([padded[:, r : r + 3, c : c + 3].reshape(len(x), 9) for r in (0, 2) for c in (0, 2)], 1)
    total, scale = layer(chain.on_chip[1], "conv", patches, exponents["input"])
    hidden = shrink(np.maximum(total, 0), scale - exponents["relu"], 0, 2**config.hidden_bits - 1)
    flat = hidden.transpose(0, 2, 1).reshape(len(x), 8)
    total, scale = layer(chain.on_chip[4], "dense", flat, exponents["relu"])
    half = 2 ** (config.latent_bits - 1)
    return shrink(total, scale - exponents["out"], -half, half - 1) * 2.0 ** exponents["out"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"w{c.weight_bits}a{c.hidden_bits}{c.rounding}")
@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_network_is_integer_arithmetic(config, stretch):
    chain, exponents = toy.quantized(config, stretch=stretch)
    x = np.random.default_rng(1).uniform(-0.5, 2.5, (500, 1, 4, 4)).astype(np.float32)
    expected = integers(chain, exponents, config, x)
    assert len(np.unique(expected)) > 5
    assert np.array_equal(predict_exactly(chain.on_chip, x).numpy(), expected)


def test_both_builds_have_the_same_parameters():
    floats, layers = toy.floats()
    chain, exponents = toy.quantized()
    shapes = {name: p.shape for name, p in floats.named_parameters()}
    assert {name: p.shape for name, p in chain.named_parameters()} == shapes, "and no scale is a parameter"
    assert chain.load_state_dict(floats.state_dict(), strict=False).unexpected_keys == []
    for name, p in floats.named_parameters():
        assert torch.equal(p, chain.get_parameter(name))
    assert list(layers.sites) == list(exponents) == ["input", "conv", "relu", "dense", "out"]
    assert {k: s.bits for k, s in layers.sites.items()} == {"input": 8, "conv": 6, "relu": 6, "dense": 6, "out": 9}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("exponent", [-9, -1, 3])
def test_weights_are_codes_in_the_narrow_range_times_the_scale(bits, exponent):
    layer = QuantLayers(NetworkConfig(weight_bits=bits), {"l": exponent}).linear("l", 50, 20)
    layer.weight.data = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 2.0 ** (exponent + bits)
    weight = layer.quant_weight()
    codes, top = weight.value / 2.0**exponent, 2 ** (bits - 1) - 1
    assert float(weight.scale) == 2.0**exponent
    assert torch.equal(codes, codes.round())
    assert (codes.min(), codes.max()) == (-top, top)
    assert torch.equal(codes, torch.round(layer.weight.detach() / 2.0**exponent).clamp(-top, top))


def test_gradient_stops_where_a_weight_is_clipped():
    layer = QuantLayers(NetworkConfig(weight_bits=3), {"l": 0}).linear("l", 3, 1)
    layer.weight.data = torch.tensor([[2.2, 5.0, -7.0]])
    layer.quant_weight().value.sum().backward()
    assert layer.weight.grad.tolist() == [[1.0, 0.0, 0.0]]


VALUES = torch.tensor([-9.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 3.5, 900.0]) * 2.0**-3
HALF_TO_EVEN = [-9, -2, -1, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4]
DOWN = [-9, -2, -1, -1, -1, 0, 0, 0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(("rounding", "expected"), [("ROUND", HALF_TO_EVEN), ("FLOOR", DOWN)])
def test_rounding_and_clipping(rounding, expected):
    config = NetworkConfig(activation_bits=4, latent_bits=4, input_bits=4, rounding=rounding)
    layers = QuantLayers(config, {"r": -3, "o": -3, "i": -3})

    def codes(module):
        return (plain(module.eval()(VALUES)) * 8).int().tolist()

    assert codes(layers.relu("r")) == [*(max(c, 0) for c in expected), 15]
    assert codes(layers.output("o")) == [*(max(c, -8) for c in expected), 7], "the output has its lowest code"
    assert codes(layers.input("i")) == [*(max(c, 0) for c in HALF_TO_EVEN), 15], "the host always rounds half to even"


def test_scales_stay_when_training():
    chain, exponents = toy.quantized()
    chain.train()
    for _ in range(3):
        chain(torch.rand(8, 1, 4, 4) * 100)
    chain.eval()
    for index, name in ((0, "input"), (2, "relu"), (5, "out")):
        assert float(chain.on_chip[index](torch.rand(2, 3) + 1).scale) == 2.0 ** exponents[name]


def test_plain():
    x = torch.ones(2)
    assert plain(x) is x
    with pytest.raises(TypeError, match="returned list, not a tensor"):
        plain([x])
    assert isinstance(plain(nn.Identity()(x)), torch.Tensor)
