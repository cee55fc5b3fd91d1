"""Weight decay of the on-chip weights (Krogh and Hertz, NIPS 1991).

R = 1/2 sum w^2 over the float weights of all quantized layers; biases are free.
"""

import torch

from flow.quant.straight import weighted_layers
from flow.regularizers import Batch

TITLE = "weight decay"


def penalty(batch: Batch) -> torch.Tensor:
    """Return R >= 0, a scalar."""
    return 0.5 * torch.stack([layer.weight.square().sum() for layer in weighted_layers(batch.on_chip).values()]).sum()
