"""Encoder, decoder and training loss of the ECON-T autoencoder (Di Guglielmo et al., arXiv:2105.01683).

Sizes and decoder as in Baldi et al., arXiv:2502.08355.
"""

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from .geometry import CELLS, DOMAINS, PIXEL, SUPERCELL_WEIGHTS, SUPERCELLS, membership

if TYPE_CHECKING:
    from flow.quant.layers import Layers

INPUT_MAX = 2.0
LATENT = 16

# filters, kernel, side of the convolution's output. Encoder parameters: 282, 2,144 and 5,456, as published. The last needs the
# same padding of 1 as the others, which a 5x5 kernel turns into 3x3 pixels (32 * 9 = 288 inputs of the dense layer).
_SHAPES = {"small": (1, 3, 4), "baseline": (8, 3, 4), "large": (32, 5, 3)}
SIZES = tuple(_SHAPES)


def on_chip(layers: "Layers", size: str) -> nn.Module:
    """Build the encoder: image (N, 1, 8, 8) in [0, 2) -> latent (N, 16).

    There is no activation after the dense layer, so the latent words are signed.

    Args:
        layers: factory of quantized layers.
        size: one of `SIZES`.
    """
    filters, kernel, side = _SHAPES[size]
    return nn.Sequential(
        layers.input("input"),
        layers.conv2d("conv", 1, filters, kernel, stride=2, padding=1),
        layers.relu("relu"),
        nn.Flatten(),
        layers.linear("dense", filters * side * side, LATENT),
        layers.output("latent"),
    )


def off_chip(size: str) -> nn.Module:
    """Build the float decoder, latent (N, 16) -> image (N, 1, 8, 8) in (0, 1); 2,833 parameters whatever the encoder's size."""
    last = nn.ConvTranspose2d(8, 1, 3, stride=1, padding=1)
    # A wafer sums to 1.5 on average. From the usual start, 0.5 in each cell, training first pushes all cells towards 0, where it
    # often stays with an encoder that answers the same for every wafer.
    mean = 1.5 / CELLS
    nn.init.constant_(cast(torch.Tensor, last.bias), math.log(mean / (1 - mean)))
    return nn.Sequential(
        nn.Linear(LATENT, 128),
        nn.ReLU(),
        nn.Unflatten(1, (8, 4, 4)),
        nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        last,
        nn.Sigmoid(),
    )


def _sums() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 0/1 matrix image (64) -> cells, supercells and domains (87), and the factor of each in the loss."""
    cells = np.zeros((64, CELLS))
    cells[PIXEL, np.arange(CELLS)] = 1.0
    matrix = cells @ np.concatenate([np.eye(CELLS), membership(SUPERCELLS), membership(DOMAINS)], axis=1)
    factors = np.concatenate([np.full(CELLS, 4 / CELLS), 2 * SUPERCELL_WEIGHTS / len(SUPERCELLS), np.full(3, 1 / 3)])
    return torch.from_numpy(matrix), torch.from_numpy(factors)


_MATRIX, _FACTORS = _sums()


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Telescope loss of each sample, (N, 1, 8, 8) twice -> (N,).

    With T(a, b) = mean_j (a_j - b_j)^2 max(a_j, b_j): ``4 T(cells) + 2 T(supercells, weighted) + T(domains)``, of the 48 cells,
    36 overlapping sums of 2x2 and 3 sums of 4x4 cells. All three levels are one product with a constant 0/1 matrix, which
    unlike indexing has a cheap backward pass. Pure, so `torch.func` may transform it.
    """
    matrix = _MATRIX.to(output.device, output.dtype)
    a, b = output.flatten(1) @ matrix, target.to(output.dtype).flatten(1) @ matrix
    return ((a - b).square() * torch.maximum(a, b)) @ _FACTORS.to(output.device, output.dtype)
