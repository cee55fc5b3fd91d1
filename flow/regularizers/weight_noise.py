"""Excess loss under Gaussian noise on the deployed weights (Murray and Edwards, IEEE Trans. Neural Networks 5, 1994).

R = E_e[L(w + e)] - L(w), e ~ N(0, (sigma * LSB)^2) independent for each quantized weight, with the LSB of its tensor or channel. To
second order R = 1/2 sigma^2 sum_i LSB_i^2 H_ii: it is a penalty on the curvature. With strength 1 the total loss is that of the noisy
network.
"""

import torch

from flow.quant.straight import Weighted, weighted_layers
from flow.regularizers import Batch

TITLE = "weight noise"


def _draw(layer: Weighted, sigma: float, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(layer.weight.shape, generator=generator, dtype=layer.weight.dtype)
    return sigma * layer.scale() * (noise if layer.mask is None else noise * layer.mask)


def penalty(batch: Batch, *, sigma: float = 0.5, draws: int = 1) -> torch.Tensor:
    """Return the estimate of R, a scalar of any sign, in units of the loss.

    Args:
        batch: one draw is shared by its samples.
        sigma: standard deviation in LSB; rounding alone has 0.29. Pruned weights have no noise.
        draws: independent draws that are averaged.
    """
    layers = weighted_layers(batch.on_chip)
    noisy = [
        batch.evaluate(batch.x.detach(), {name: _draw(layer, sigma, batch.generator) for name, layer in layers.items()}).mean()
        for _ in range(draws)
    ]
    return torch.stack(noisy).mean() - batch.loss.mean()
