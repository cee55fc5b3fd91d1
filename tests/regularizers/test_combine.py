"""Several regularizers with strengths and options."""

import pytest
from torch import nn

from flow.core.errors import ConfigError, UnknownPlugin
from flow.regularizers import combine, jacobian, orthogonality, sam
from tests.regularizers.networks import batch, layer, normal


def test_weighted_sum():
    network, x = layer(normal(3, 4)), normal(8, 4)
    both = combine({"orthogonality": 0.5, "jacobian": 2.0})(batch(network, x))
    apart = 2.0 * jacobian.penalty(batch(network, x)) + 0.5 * orthogonality.penalty(batch(network, x))
    assert float(both.detach()) == pytest.approx(float(apart.detach()), rel=1e-12)
    both.backward()
    assert network.weight.grad.abs().max() > 0


def test_options():
    network, x = nn.Sequential(layer(normal(3, 4))), normal(8, 4)
    given = combine({"sam": {"strength": 0.5, "rho": 0.2}})(batch(network, x))
    assert float(given.detach()) == pytest.approx(0.5 * float(sam.penalty(batch(network, x), rho=0.2).detach()), rel=1e-12)
    assert float(given.detach()) != pytest.approx(0.5 * float(sam.penalty(batch(network, x)).detach()), rel=0.1)


def test_none():
    assert combine({}) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sam": {"rho": 0.1}}, r"regularizers.sam.strength = 0.0: give a number above 0"),
        ({"sam": {"strength": 1.0, "roh": 0.1}}, r"regularizers.sam.roh: unknown option. Known: rho. Did you mean 'rho'\?"),
        ({"l2": {"strength": 1.0, "rho": 0.1}}, r"regularizers.l2.rho: unknown option. Known: none"),
        ({"bit_flip": {"strength": -1.0}}, r"regularizers.bit_flip.strength = -1.0: give a number above 0"),
        ({"bit_flip": {"strength": True}}, r"regularizers.bit_flip.strength = True: a value of type float is needed"),
        ({"bit_flip": {"strength": 1, "flips": 1.5}}, r"regularizers.bit_flip.flips = 1.5: a value of type int is needed"),
        ({"bit_flip": {"strength": 1, "flips": 0}}, r"regularizers.bit_flip.flips = 0: give a number above 0"),
        ({"sam": {"strength": 1, "rho": -1}}, r"regularizers.sam.rho = -1: give a number above 0"),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(ConfigError, match=message):
        combine(given)


def test_unknown_name():
    with pytest.raises(UnknownPlugin, match="Did you mean 'jacobian'"):
        combine({"jacobain": 1.0})
