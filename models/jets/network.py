"""The network that tells jets apart by their high-level features, and its loss (Duarte et al., arXiv:1804.06913)."""

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from flow.quant.layers import Layers

INPUT_MAX = 8.0
"""Features are in standard deviations from their mean."""
INPUTS, CLASSES = 16, 5

_WIDTHS = {"small": (16, 16), "baseline": (64, 32, 32)}
SIZES = tuple(_WIDTHS)


def on_chip(layers: "Layers", size: str) -> nn.Module:
    """Build the network: features (N, 16) in [-8, 8) -> logits (N, 5), without a softmax, which does not change the largest.

    Args:
        layers: factory of quantized layers.
        size: one of `SIZES`.
    """
    parts = [layers.input("input", signed=True)]
    inputs = INPUTS
    for number, width in enumerate(_WIDTHS[size]):
        parts += [layers.linear(f"dense_{number}", inputs, width), layers.relu(f"relu_{number}")]
        inputs = width
    return nn.Sequential(*parts, layers.linear("classifier", inputs, CLASSES), layers.output("logits"))


def off_chip(size: str) -> None:
    """Return nothing: the whole network is on the chip."""


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each sample, logits and one-hot (N, 5) -> (N,). Pure, so `torch.func` may transform it."""
    return -(target.to(output.dtype) * output.log_softmax(dim=1)).sum(dim=1)
