"""Bit flips during training against the enumeration of all flips, which knows two's complement only as text."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from flow.core.errors import ConfigError
from flow.regularizers import bit_flip
from tests.regularizers.networks import batch, generator, half_square, layer, mean_and_error, normal

BITS, STEP = 3, 2.0**-2


def flipped(code, place):
    """The code with the bit that stands at `place` of its text flipped; 0 is the sign."""
    text = format(code % 2**BITS, f"0{BITS}b")
    text = text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :]
    value = int(text, 2)
    return value - 2**BITS if value >= 2 ** (BITS - 1) else value


def enumerate_losses(codes, x, flips, target):
    """The mean loss of every set of distinct bits."""
    losses = []
    for bits in itertools.combinations(range(len(codes) * BITS), flips):
        faulty = list(codes)
        for bit in bits:
            faulty[bit // BITS] = flipped(faulty[bit // BITS], bit % BITS)
        losses.append(0.5 * np.mean((x @ np.array(faulty) * STEP - target) ** 2))
    return np.array(losses)


@pytest.mark.parametrize("flips", [1, 2, 4])
def test_expectation_is_the_mean_over_all_sets(flips):
    codes = [-3, 0, 3, 1]
    network, x = layer(torch.tensor([codes]) * STEP, bits=BITS, exponent=-2), normal(16, 4)
    target = x[:, :1] - 0.1
    clean, faulty = (enumerate_losses(codes, x.numpy(), n, target[:, 0].numpy()).mean() for n in (0, flips))
    mean, error = mean_and_error(lambda seed: bit_flip.penalty(batch(network, x, half_square(target), seed), flips=flips), 1500)
    assert abs(mean - (faulty - clean)) < 4 * error
    assert error < 0.1 * abs(faulty - clean)


def test_single_flips_are_the_enumerated_ones():
    """Each of the 18 losses occurs, and nothing else; codes reach -2^(b-1)."""
    codes = [-3, -2, -1, 0, 2, 3]
    network, x = layer(torch.tensor([codes]) * STEP, bits=BITS, exponent=-2), normal(4, 6)
    possible = np.sort(enumerate_losses(codes, x.numpy(), 1, 0.3))
    draws = [bit_flip.penalty(batch(network, x, half_square(0.3), seed)).detach() for seed in range(300)]
    seen = np.unique(np.round(np.array(draws) + enumerate_losses(codes, x.numpy(), 0, 0.3).mean(), 12))
    assert len(possible) == 18
    assert seen == pytest.approx(possible, abs=1e-9)
    assert -4 in {flipped(code, place) for code in codes for place in range(BITS)}


@pytest.mark.parametrize("flips", [1, 5, 40])
def test_exactly_so_many_bits_change(flips):
    network = nn.Sequential(
        layer(normal(3, 4, seed=1), bits=4, exponent=-2), nn.Identity(), layer(normal(2, 1, 2, 2), bits=6, exponent=[-3, -4])
    )
    layers = {name: network.get_submodule(name) for name in ("0", "2")}
    for seed in range(50):
        shifts, changed = bit_flip.draw_flips(layers, flips, generator(seed)), 0
        for name, shift in shifts.items():
            old, change = layers[name].codes().long(), shift / layers[name].scale()
            assert torch.equal(change, change.round()), "the scale stays"
            words = (old ^ (old + change.long())) & (2 ** layers[name].bits - 1)
            changed += sum(int(word).bit_count() for word in words.flatten())
            limit = 2 ** (layers[name].bits - 1)
            assert (old + change).min() >= -limit
            assert (old + change).max() < limit
        assert changed == flips


def test_all_bits_flipped_is_the_complement():
    network = layer(torch.tensor([[3, -3, 0, -1]]) * STEP, bits=BITS, exponent=-2)
    shift = bit_flip.draw_flips({"": network}, 12, generator())[""]
    assert ((network.quantized_weight().detach() + shift) / STEP).tolist() == [[-4, 2, -1, 0]]


def test_with_strength_one_the_loss_and_its_gradient_are_those_of_the_faulty_network():
    network, x = layer(normal(2, 3), bits=6, exponent=-4), normal(8, 3)
    info = batch(network, x, half_square(0.1), seed=3)
    total = info.loss.mean() + bit_flip.penalty(info, flips=3)
    total.backward()
    shift = bit_flip.draw_flips({"": network}, 3, generator(3))[""]
    weight = (network.quantized_weight().detach() + shift).requires_grad_()
    loss = half_square(0.1)(x @ weight.T).mean()
    loss.backward()
    assert float(total.detach()) == pytest.approx(float(loss.detach()), rel=1e-12)
    inside = (network.codes().abs() < 31) | (network.weight.detach().abs() < 31.5 * 2**-4)
    assert torch.allclose(network.weight.grad, weight.grad * inside, rtol=1e-9)


def test_draws_are_averaged():
    network, x = layer(normal(2, 3), bits=6, exponent=-4), normal(4, 3)
    (mean, one), (again, nine) = (
        mean_and_error(lambda seed, n=n: bit_flip.penalty(batch(network, x, seed=seed), draws=n), 400) for n in (1, 9)
    )
    assert abs(mean - again) < 4 * (one**2 + nine**2) ** 0.5
    assert nine == pytest.approx(one / 3, rel=0.3)


def test_more_flips_than_bits():
    with pytest.raises(ConfigError, match=r"regularizers.bit_flip.flips = 13: the weights of this network have 12 bits only"):
        bit_flip.penalty(batch(layer(torch.ones(1, 4), bits=3, exponent=-2), normal(2, 4)), flips=13)
