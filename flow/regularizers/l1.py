"""Sum of the magnitudes of the on-chip weights (Tibshirani, J. R. Stat. Soc. B 58, 1996): drives weights to zero.

R = sum |w| over the float weights of all quantized layers; biases are free.
"""

import torch

from flow.quant.straight import weighted_layers
from flow.regularizers import Batch

TITLE = "L1 norm of the weights"


def penalty(batch: Batch) -> torch.Tensor:
    """Return R >= 0, a scalar."""
    return torch.stack([layer.weight.abs().sum() for layer in weighted_layers(batch.on_chip).values()]).sum()
