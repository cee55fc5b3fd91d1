"""Half the mean squared Frobenius norm of the input-output Jacobian (Hoffman, Roberts, Yaida, arXiv:1908.02729).

R = 1/2 E_x ||dy/dx||_F^2, estimated without bias from random unit vectors v in the output space of C numbers:
E_v C ||v^T J||^2 = ||J||_F^2. The vectors are drawn for each sample and the norm runs over all axes of the input, so the value does not
depend on the batch size or on the shape of the output.
"""

import torch

from flow.regularizers import Batch

TITLE = "Jacobian"


def penalty(batch: Batch, *, projections: int = 1) -> torch.Tensor:
    """Return the estimate of R >= 0 over the batch, a scalar in (output unit / input unit)^2.

    Args:
        batch: its output is differentiated with respect to its inputs.
        projections: vectors per sample.
    """
    flat = batch.output.flatten(1)
    total = torch.zeros(())
    for _ in range(projections):
        v = torch.randn(flat.shape, generator=batch.generator, dtype=flat.dtype)
        v = v / v.norm(dim=1, keepdim=True)
        (rows,) = torch.autograd.grad((flat * v).sum(), batch.x, create_graph=True)
        total = total + rows.square().sum()
    return 0.5 * flat.shape[1] * total / (projections * len(flat))
