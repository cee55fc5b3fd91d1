"""Sharpness-aware minimization of the on-chip weights (Foret et al., arXiv:2010.01412, eq. 2 and 3).

R = L(w + eps) - L(w) with eps = rho * g / ||g||, g = dL/dw, over the weights of all quantized layers together: the rise of the loss in the
steepest direction. As in the paper no gradient goes through eps. With strength 1 the total loss is that of SAM.
"""

import torch

from flow.quant.straight import weighted_layers
from flow.regularizers import Batch

TITLE = "sharpness-aware minimization"


def penalty(batch: Batch, *, rho: float = 0.05) -> torch.Tensor:
    """Return R, a scalar in units of the loss; of any sign, because a step of finite length need not go up.

    Args:
        batch: its mean loss gives the direction.
        rho: length of the step, in units of the weights. Weights that are pruned or clamped have no gradient and stay.
    """
    layers = weighted_layers(batch.on_chip)
    gradients = torch.autograd.grad(batch.loss.mean(), [layer.weight for layer in layers.values()], retain_graph=True)
    length = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    step = rho / length.clamp(min=1e-12)  # no step from a point without gradient
    shifts = {name: step * g for name, g in zip(layers, gradients, strict=True)}
    return batch.evaluate(batch.x.detach(), shifts).mean() - batch.loss.mean()
