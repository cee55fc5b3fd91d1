"""Excess loss under bit flips in the deployed weights: the network is trained for its faults.

R = E[L(w with k flipped bits)] - L(w) over sets of k distinct bits, drawn uniformly from all weight bits of the chip, as
`flow.robustness.bit_flip` draws them. A bit of the two's-complement code changes, so codes down to -2^(b-1) occur that training alone
never makes; scales do not change. With strength 1 the total loss is that of the faulty network (training with random bit errors:
Stutz et al., arXiv:2006.13977).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flow.core.errors import ConfigError
from flow.quant.straight import Weighted, weighted_layers
from flow.regularizers import Batch

TITLE = "bit flips"


def draw_flips(layers: Mapping[str, Weighted], flips: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return what a random set of bit flips adds to the quantized weights, by layer; layers without a flip are left out.

    Raises:
        ConfigError: the weights do not have as many bits.
    """
    counts = {name: layer.weight.numel() * layer.bits for name, layer in layers.items()}
    total = sum(counts.values())
    if flips > total:
        raise ConfigError(f"regularizers.bit_flip.flips = {flips}: the weights of this network have {total} bits only. Take fewer.")
    chosen, shifts = torch.randperm(total, generator=generator)[:flips], {}
    for name, layer in layers.items():
        mine = chosen[(chosen >= 0) & (chosen < counts[name])]
        chosen = chosen - counts[name]
        if len(mine):
            weight, place = mine // layer.bits, mine % layer.bits
            is_set = (layer.codes().flatten().long()[weight] >> place) & 1
            worth = torch.where(place == layer.bits - 1, -1, 1) << place  # the top bit of two's complement counts negative
            change = torch.zeros(layer.weight.numel(), dtype=torch.long).index_add(0, weight, (1 - 2 * is_set) * worth)
            shifts[name] = change.reshape(layer.weight.shape) * layer.scale()
    return shifts


def penalty(batch: Batch, *, flips: int = 1, draws: int = 1) -> Tensor:
    """Return the estimate of R, a scalar of any sign, in units of the loss.

    Args:
        batch: its samples share the flips.
        flips: bits flipped at once.
        draws: independent sets of flips that are averaged.

    Raises:
        ConfigError: the weights do not have as many bits.
    """
    layers = weighted_layers(batch.on_chip)
    faulty = [batch.evaluate(batch.x.detach(), draw_flips(layers, flips, batch.generator)).mean() for _ in range(draws)]
    return torch.stack(faulty).mean() - batch.loss.mean()
