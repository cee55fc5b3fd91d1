"""The network that follows the n = 1 mode in camera frames, and its loss (Wei et al., arXiv:2312.00128).

Layers as in the fusion example of Baldi et al., arXiv:2502.08355.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from flow.quant.layers import Layers

INPUT_MAX = 1.0
GAUSS = 20.0
"""G in one unit of the output; published."""

# filters of the three convolutions, widths of the two hidden dense layers
_SHAPES = {"small": ((4, 4, 8), (16, 16)), "baseline": ((16, 16, 24), (42, 64))}
SIZES = tuple(_SHAPES)


def on_chip(layers: "Layers", size: str) -> nn.Module:
    """Build the network: image (N, 1, 32, 32) in [0, 1) -> sine and cosine component of the mode (N, 2), in units of `GAUSS`.

    Batch normalisation is for float training only: frames are positive and nearly alike, and without it most filters die.

    Args:
        layers: factory of quantized layers.
        size: one of `SIZES`.
    """
    filters, widths = _SHAPES[size]
    parts = [layers.input("input")]
    channels = 1
    for number, more in enumerate(filters):
        parts += [layers.conv2d(f"conv_{number}", channels, more, 3, norm=True), layers.relu(f"relu_{number}"), layers.max_pool2d(2)]
        channels = more
    parts.append(nn.Flatten())
    inputs = channels * 2 * 2
    for number, more in enumerate(widths, len(filters)):
        parts += [layers.linear(f"dense_{number}", inputs, more, norm=True), layers.relu(f"relu_{number}")]
        inputs = more
    return nn.Sequential(*parts, layers.linear("classifier", inputs, 2), layers.output("output"))


def off_chip(size: str) -> None:
    """Return nothing: the whole network is on the chip."""


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of each sample, averaged over the two components, (N, 2) twice -> (N,). Pure, so `torch.func` may transform it."""
    return (output - target.to(output.dtype)).square().mean(dim=1)
