"""Exponents against a search over everything."""

import math

import pytest
import torch
from torch import nn

from flow.config import NetworkConfig
from flow.core.errors import ConfigError
from flow.quant.calibrate import calibrate, exponent_for, feeding_sites
from flow.quant.layers import FloatLayers, Site
from tests.quant import toy


def site_of(role, bits):
    return Site("s", role, bits, signed=role in ("weight", "output"))


DRAWS = {
    "normal": lambda g, n: torch.randn(n, generator=g, dtype=torch.float64),
    "uniform": lambda g, n: 2 * torch.rand(n, generator=g, dtype=torch.float64) - 1,
    "laplace": lambda g, n: torch.randn(n, generator=g, dtype=torch.float64) * torch.rand(n, generator=g, dtype=torch.float64).log(),
    "sparse": lambda g, n: torch.randn(n, generator=g, dtype=torch.float64) * (torch.rand(n, generator=g) < 0.1),
    "two values": lambda g, n: (torch.rand(n, generator=g) < 0.5).double(),
}


def mean_square(values, site, exponent):
    low, high = site.code_range
    codes = torch.round(values / 2.0**exponent).clamp(low, high)
    return float((codes * 2.0**exponent - values).square().mean())


@pytest.mark.parametrize("role", ["weight", "hidden", "output"])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("name", DRAWS)
def test_exponent_is_the_best_of_all(role, bits, name):
    site = site_of(role, bits)
    for seed in range(4):
        values = DRAWS[name](torch.Generator().manual_seed(seed), 300) * 10.0 ** (seed - 2)
        values = values if site.signed else values.clamp(min=0)
        found = exponent_for(values, site)
        best = min(mean_square(values, site, e) for e in range(-40, 20))
        assert mean_square(values, site, found) == pytest.approx(best, rel=1e-12, abs=0)


@pytest.mark.parametrize("role", ["weight", "hidden", "output"])
@pytest.mark.parametrize("exponent", [-20, -3, 0, 7])
def test_values_on_a_grid_lose_nothing(role, exponent):
    site = site_of(role, 5)
    low, high = site.code_range
    values = torch.arange(low, high + 1) * 2.0**exponent
    assert exponent_for(values, site) == exponent


def test_nothing_to_quantize():
    assert exponent_for(torch.zeros(5), site_of("weight", 6)) == -6


@pytest.mark.parametrize(
    ("role", "expected"), [("weight", (-7, 7)), ("output", (-8, 7)), ("hidden", (0, 15)), ("input", (0, 15))]
)  # fmt: skip
def test_code_range(role, expected):
    assert site_of(role, 4).code_range == expected


def test_calibrate_looks_at_each_site():
    config = NetworkConfig(weight_bits=4, activation_bits=5, latent_bits=7)
    chain, layers = toy.floats(config)
    x = torch.from_numpy(toy.dataset().x["train"])
    seen = {}
    hooks = [m.register_forward_hook(lambda m, i, out, k=k: seen.__setitem__(k, out.detach())) for k, m in layers.modules.items()]
    chain.on_chip(x)
    for hook in hooks:
        hook.remove()
    scales = calibrate(chain.on_chip, layers, x, 2.0)
    assert scales.feeds == {"conv": "input", "dense": "relu"}
    assert scales.exponents == {
        "input": 1 - 8,
        "conv": exponent_for(chain.on_chip[1].weight.detach(), site_of("weight", 4)),
        "relu": exponent_for(seen["relu"], site_of("hidden", 5)),
        "dense": exponent_for(chain.on_chip[4].weight.detach(), site_of("weight", 4)),
        "out": exponent_for(seen["out"], site_of("output", 7)),
    }
    assert not any(m._forward_hooks for m in layers.modules.values()), "no hook is left behind"


@pytest.mark.parametrize("top", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_input_words_cover_what_the_data_can_be(top):
    chain, layers = toy.floats()
    exponent = calibrate(chain.on_chip, layers, torch.zeros(1, 1, 4, 4), top).exponents["input"]
    assert 2.0**exponent * 2**8 >= top
    assert exponent == math.ceil(math.log2(top)) - 8


def test_signed_input_words_cover_both_signs():
    layers = FloatLayers(NetworkConfig(input_bits=8))
    network = nn.Sequential(layers.input("i", signed=True), layers.linear("f", 2, 2), layers.output("o"))
    assert calibrate(network, layers, torch.zeros(1, 2), 8.0).exponents["i"] == 3 - 7


def test_maximum_never_clips():
    values = torch.tensor([0.06] * 1000 + [1.0])
    site = site_of("weight", 4)
    assert exponent_for(values, site, clip=False) == -2
    assert exponent_for(values, site) < -2


def test_one_scale_per_channel():
    config = NetworkConfig(weight_bits=4, per_channel=True)
    chain, layers = toy.floats(config)
    chain.on_chip[1].weight.data[1] *= 16
    exponents = calibrate(chain.on_chip, layers, torch.zeros(1, 1, 4, 4), 2.0).exponents
    assert exponents["conv"] == [exponent_for(row, site_of("weight", 4)) for row in chain.on_chip[1].weight.detach()]
    assert exponents["conv"][1] > exponents["conv"][0]
    assert isinstance(exponents["relu"], int)


class Branches(nn.Module):
    """Two quantizers meet with or without a layer that joins them."""

    def __init__(self, layers, joined):
        super().__init__()
        self.first, self.one, self.two = layers.input("i"), layers.relu("one"), layers.relu("two")
        self.join = layers.add("sum") if joined else torch.add
        self.last = layers.linear("f", 4, 2)

    def forward(self, x):
        x = self.first(x)
        return self.last(self.join(self.one(x), self.two(2 * x)).reshape(len(x), -1))


def test_feeding_quantizer_through_views_and_joins():
    layers = FloatLayers(NetworkConfig())
    assert feeding_sites(Branches(layers, joined=True), layers, torch.rand(1, 2, 2)) == {"f": "sum"}
    layers = FloatLayers(NetworkConfig())
    with pytest.raises(ConfigError, match="layer 'f': its input comes from no quantizer or from several"):
        feeding_sites(Branches(layers, joined=False), layers, torch.rand(1, 2, 2))
    layers = FloatLayers(NetworkConfig())
    with pytest.raises(ConfigError, match="layer 'f'"):
        feeding_sites(nn.Sequential(layers.linear("f", 4, 2)), layers, torch.rand(1, 4))


def test_biases_get_the_bits_that_they_need():
    x = torch.full((1, 1, 4, 4), 2.0**-6)
    chain, layers = toy.floats()
    assert calibrate(chain.on_chip, layers, torch.from_numpy(toy.dataset().x["train"]), 2.0).bias_bits == 16
    chain.on_chip[4].bias.data[1] = 4.0
    scales = calibrate(chain.on_chip, layers, x, 2.0)
    codes = 4.0 / 2.0 ** (scales.exponents["dense"] + scales.exponents["relu"])
    assert 2 ** (scales.bias_bits - 4) <= codes <= 2 ** (scales.bias_bits - 3), "with two bits to grow"


def test_biases_that_would_be_clipped():
    chain, layers = toy.floats(NetworkConfig(bias_bits=12))
    chain.on_chip[4].bias.data[1] = 1.0
    with pytest.raises(ConfigError, match=r"network\.bias_bits = 12: the biases of layer 'dense' need \d+ bits"):
        calibrate(chain.on_chip, layers, torch.full((1, 1, 4, 4), 2.0**-6), 2.0)
