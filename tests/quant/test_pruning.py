"""Pruning against brute force."""

import pytest
import torch

from flow.config import PruningConfig
from flow.quant.pruning import bake, cost, pruner, set_masks, signed_digits, zero_fraction
from flow.quant.straight import weighted_layers
from tests.quant import toy


def fewest_digits(n, digits=(-1, 1)):
    """Fewest powers of two, added or subtracted, that make n, by search."""
    reach, count = {0}, 0
    while n not in reach:
        reach |= {a + sign * 2**k for a in reach for sign in digits for k in range(8)}
        count += 1
    return count


def test_signed_digits_are_the_fewest():
    codes = torch.arange(-70, 71)
    assert signed_digits(codes).tolist() == [fewest_digits(int(n)) for n in codes]


def test_cost():
    codes = torch.tensor([0.0, 1.0, -4.0, 3.0, 11.0])
    assert cost(codes, "magnitude").tolist() == [1] * 5
    assert cost(codes, "lut").tolist() == [1, 1, 1, 2, 3]
    assert cost(codes, "dsp").tolist() == [0, 0, 0, 1, 1], "a power of two is a shift"


def masks(network):
    return torch.cat([layer.mask.flatten() for layer in weighted_layers(network).values()])


@pytest.mark.parametrize("by", ["magnitude", "lut", "dsp"])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9])
def test_the_asked_fraction_is_masked_and_stays_so(by, sparsity):
    network = toy.quantized()[0].on_chip
    set_masks(network, sparsity, by)
    before = masks(network)
    assert int((before == 0).sum()) == round(sparsity * len(before))
    for layer in weighted_layers(network).values():
        layer.weight.data = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(9))
    set_masks(network, sparsity, by)
    assert torch.equal(masks(network), before), "other weights do not revive what is masked"


def test_smallest_weights_go_first():
    network = toy.quantized()[0].on_chip
    set_masks(network, 0.5, "magnitude")
    for layer in weighted_layers(network).values():
        size = layer.weight.detach().abs()
        assert size[layer.mask == 0].max() <= size[layer.mask == 1].min() or (layer.mask == 1).all()


def test_dsp_pruning_spares_powers_of_two():
    network = toy.quantized()[0].on_chip
    layers = weighted_layers(network).values()
    costly = int(sum((signed_digits(layer.codes()) > 1).sum() for layer in layers))
    total = sum(layer.weight.numel() for layer in layers)
    set_masks(network, costly / total, "dsp")
    assert all(int((signed_digits(layer.codes()) > 1).sum()) == 0 for layer in layers)
    assert zero_fraction(network) < 1


def test_schedule_and_bake():
    chain = toy.quantized()[0]
    prepare, found = pruner(chain.on_chip, PruningConfig(sparsity=0.8)), []
    for done in (0.0, 0.125, 0.25, 0.375, 0.5, 0.75):
        prepare(done)
        found.append(float((masks(chain.on_chip) == 0).float().mean()))
    assert found == pytest.approx([0.8 * (1 - (1 - min(2 * d, 1)) ** 3) for d in (0, 0.125, 0.25, 0.375, 0.5, 0.75)], abs=0.02)
    x = torch.rand(4, 1, 4, 4)
    before = chain(x)
    bake(chain.on_chip)
    assert torch.equal(chain(x), before)
    assert all(layer.mask is None for layer in weighted_layers(chain.on_chip).values())
    assert zero_fraction(chain.on_chip) >= 0.79
    pruner(chain.on_chip, PruningConfig())(0.7)
    assert all(layer.mask is None for layer in weighted_layers(chain.on_chip).values()), "no pruning, no masks"
