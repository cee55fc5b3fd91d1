"""Distance of each on-chip layer from orthonormal rows or columns.

R = sum over layers of ||G - I||_F^2 with G = W W^T for matrices that are wide and W^T W for tall ones: of the two Gram matrices this is
the one that can be the identity, so that the penalty can reach zero. W is the deployed weight flattened to (outputs, inputs * kernel)
(Cisse et al., Parseval networks, arXiv:1704.08847), per group of a grouped convolution.

With `operator`, W is the matrix of the whole convolution, with its stride, on an image without borders; R counts each place once and
does not depend on the size of the image. G is then the kernel convolved with itself (Wang et al., arXiv:1911.12207). Zero padding
cuts rows at the border off, so at R = 0 the layer on a padded image has no singular value above 1.
"""

import torch
from torch import Tensor
from torch.nn import functional

from flow.quant.straight import weighted_layers
from flow.regularizers import Batch
from flow.regularizers._kernels import operator_kernels, weight_matrices

TITLE = "orthogonality"


def _distance(kernels: Tensor) -> Tensor:
    """Return R of (groups, outputs, inputs, height, width) kernels of stride 1."""
    _, outputs, inputs, height, width = kernels.shape
    sides = kernels if outputs <= inputs else kernels.transpose(1, 2)
    grams = torch.stack([functional.conv2d(k, k, padding=(height - 1, width - 1)) for k in sides])
    identity = torch.zeros_like(grams)
    identity[..., height - 1, width - 1] = torch.eye(grams.shape[1])
    return (grams - identity).square().sum()


def penalty(batch: Batch, *, operator: bool = False) -> Tensor:
    """Return R >= 0, a scalar; zero when all singular values of every layer are 1.

    Args:
        batch: its network is looked at only.
        operator: look at convolutions as operators on images, not at their flattened weights.
    """
    matrices = operator_kernels if operator else weight_matrices
    return torch.stack([_distance(matrices(layer)) for layer in weighted_layers(batch.on_chip).values()]).sum()
