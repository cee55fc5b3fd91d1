"""Distance of each on-chip weight matrix from orthonormal rows or columns (Cisse et al., Parseval networks, arXiv:1704.08847).

R = sum over layers of ||G - I||_F^2 with G = W W^T for matrices that are wide and W^T W for tall ones: of the two Gram matrices this is
the one that can be the identity, so that the penalty can reach zero. W is the weight flattened to (outputs, inputs * kernel).
"""

import torch

from flow.regularizers import Batch

TITLE = "orthogonality"


def penalty(batch: Batch) -> torch.Tensor:
    """Return R, a scalar; zero when all singular values of every layer are 1."""
    terms = []
    for name, parameter in batch.on_chip.named_parameters():
        if name.endswith("weight") and parameter.ndim > 1:
            w = parameter.flatten(1)
            gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
            terms.append((gram - torch.eye(len(gram), dtype=gram.dtype)).square().sum())
    return torch.stack(terms).sum()
