"""Unstructured pruning: which weights become zero, because on an FPGA a zero weight needs no logic at all."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flow.config import PruningConfig
from flow.quant.straight import Weighted, weighted_layers

RAMP = 0.5
"""Fraction of the training over which the sparsity grows; after that the masks are fixed and the rest of the weights recover."""


def signed_digits(codes: Tensor) -> Tensor:
    """Return the number of nonzero digits of each integer in canonical signed digits (Avizienis, 1961).

    A constant multiplier made of LUTs has one adder less than that.

    >>> signed_digits(torch.tensor([0, 1, 7, 11, -6]))
    tensor([0, 1, 2, 3, 2])
    """
    n = codes.abs().long()
    return torch.stack([((n ^ (3 * n)) >> bit) & 1 for bit in range(1, 40)]).sum(0)


def cost(codes: Tensor, by: str) -> Tensor:
    """Return what each weight costs, up to a factor.

    ``magnitude``: all the same; ``lut``: its adders, one per nonzero signed digit; ``dsp``: a multiplier, unless it is a power of two,
    which is a shift.
    """
    digits = signed_digits(codes).to(torch.float32)
    if by == "lut":
        return digits.clamp(min=1)
    return (digits > 1).float() if by == "dsp" else torch.ones_like(digits)


def saliency(layer: Weighted, by: str) -> Tensor:
    """Return what each weight is worth per cost, relative to the root mean square of its layer; free weights are worth most."""
    weight = layer.weight.detach()
    size = weight.abs() / weight.square().mean().sqrt().clamp(min=1e-30)
    price = cost(layer.codes(), by)
    return torch.where(price > 0, size / price.clamp(min=1), size + size.max() + 1e6)


def set_masks(network: nn.Module, sparsity: float, by: str) -> None:
    """Mask the fraction `sparsity` of all weights, those with the least saliency.

    Weights that are masked stay so: their saliency is set below all others, so at constant sparsity nothing changes any more.
    """
    layers = list(weighted_layers(network).values())
    masks = [torch.ones_like(x.weight) if x.mask is None else x.mask for x in layers]
    worth = torch.cat([saliency(x, by).masked_fill(mask.eq(0), -1.0).flatten() for x, mask in zip(layers, masks, strict=True)])
    keep = torch.ones_like(worth)
    keep[torch.argsort(worth, stable=True)[: round(sparsity * len(worth))]] = 0.0
    for layer, mask in zip(layers, torch.split(keep, [x.weight.numel() for x in layers]), strict=True):
        layer.mask = mask.reshape(layer.weight.shape)


def pruner(network: nn.Module, config: PruningConfig) -> Callable[[float], None]:
    """Return what `flow.quant.training.fit` calls before each epoch.

    The sparsity follows the cubic schedule of Zhu and Gupta, arXiv:1710.01878, over the first half of the training.
    """

    def prepare(done: float) -> None:
        if config.sparsity:
            set_masks(network, config.sparsity * (1 - (1 - min(done / RAMP, 1.0)) ** 3), config.by)

    return prepare


def bake(network: nn.Module) -> None:
    """Write the masks into the weights and drop them."""
    for layer in weighted_layers(network).values():
        if layer.mask is not None:
            layer.weight.data *= layer.mask
            layer.mask = None


def zero_fraction(network: nn.Module) -> float:
    """Return the fraction of deployed weights that are zero, pruned or rounded to it."""
    codes = torch.cat([layer.codes().flatten() for layer in weighted_layers(network).values()])
    return float((codes == 0).double().mean())
