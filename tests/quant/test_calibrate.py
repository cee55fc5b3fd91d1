"""Exponents against a search over everything."""

import math

import pytest
import torch

from flow.config import NetworkConfig
from flow.quant.calibrate import calibrate, exponent_for
from flow.quant.layers import Site
from tests.quant import toy

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


@pytest.mark.parametrize("role", ["weight", "relu", "output"])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("name", DRAWS)
def test_exponent_is_the_best_of_all(role, bits, name):
    site = Site(role, bits)
    for seed in range(4):
        values = DRAWS[name](torch.Generator().manual_seed(seed), 300) * 10.0 ** (seed - 2)
        values = values if site.signed else values.clamp(min=0)
        found = exponent_for(values, site)
        best = min(mean_square(values, site, e) for e in range(-40, 20))
        assert mean_square(values, site, found) == pytest.approx(best, rel=1e-12, abs=0)


@pytest.mark.parametrize("role", ["weight", "relu", "output"])
@pytest.mark.parametrize("exponent", [-20, -3, 0, 7])
def test_values_on_a_grid_lose_nothing(role, exponent):
    site = Site(role, 5)
    low, high = site.code_range
    values = torch.arange(low, high + 1) * 2.0**exponent
    assert exponent_for(values, site) == exponent


def test_nothing_to_quantize():
    assert exponent_for(torch.zeros(5), Site("weight", 6)) == -6


@pytest.mark.parametrize(
    ("role", "expected"), [("weight", (-7, 7)), ("output", (-8, 7)), ("relu", (0, 15)), ("input", (0, 15))]
)  # fmt: skip
def test_code_range(role, expected):
    assert Site(role, 4).code_range == expected


def test_calibrate_looks_at_each_site():
    config = NetworkConfig(weight_bits=4, activation_bits=5, latent_bits=7)
    chain, layers = toy.floats(config)
    x = torch.from_numpy(toy.dataset().x["train"])
    seen = {}
    hooks = [m.register_forward_hook(lambda m, i, out, k=k: seen.__setitem__(k, out.detach())) for k, m in layers.modules.items()]
    chain.on_chip(x)
    for hook in hooks:
        hook.remove()
    assert calibrate(chain.on_chip, layers, x, 2.0) == {
        "input": 1 - 8,
        "conv": exponent_for(chain.on_chip[1].weight.detach(), Site("weight", 4)),
        "relu": exponent_for(seen["relu"], Site("relu", 5)),
        "dense": exponent_for(chain.on_chip[4].weight.detach(), Site("weight", 4)),
        "out": exponent_for(seen["out"], Site("output", 7)),
    }
    assert not any(m._forward_hooks for m in layers.modules.values()), "no hook is left behind"


@pytest.mark.parametrize("top", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_input_words_cover_what_the_data_can_be(top):
    chain, layers = toy.floats()
    exponent = calibrate(chain.on_chip, layers, torch.zeros(1, 1, 4, 4), top)["input"]
    assert 2.0**exponent * 2**8 >= top
    assert exponent == math.ceil(math.log2(top)) - 8
