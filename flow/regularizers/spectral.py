"""Half the squared spectral norm of each on-chip layer, summed (Yoshida and Miyato, arXiv:1705.10941).

R = 1/2 sum over layers of sigma_max(W)^2. The product of the spectral norms bounds the Lipschitz constant of the network. W is the
deployed weight flattened to (outputs, inputs * kernel), per group of a grouped convolution; the norm is exact.

With `operator`, W is the matrix of the whole convolution, with its stride, on a periodic image: its norm is the largest over the
frequencies of the image of the norm of the transformed kernel (Sedghi, Gupta and Long, arXiv:1805.10408). The frequencies
are those of an image of eight kernels on a side.
"""

import torch
from torch import Tensor

from flow.quant.straight import weighted_layers
from flow.regularizers import Batch
from flow.regularizers._kernels import operator_kernels, weight_matrices

TITLE = "spectral norm"
_KERNELS = 8


def _norm(kernels: Tensor) -> Tensor:
    """Return the spectral norm of (groups, outputs, inputs, height, width) kernels of stride 1."""
    places = [_KERNELS * n if n > 1 else 1 for n in kernels.shape[-2:]]
    spectrum = torch.fft.rfft2(kernels, s=places) if max(places) > 1 else kernels
    matrices = spectrum.permute(0, 3, 4, 1, 2).flatten(0, 2)
    with torch.no_grad():  # the gradient of a maximum is that of the one term; the others need no singular vectors
        worst = torch.linalg.matrix_norm(matrices, 2).argmax()
    norm: Tensor = torch.linalg.matrix_norm(matrices[worst], 2)
    return norm


def penalty(batch: Batch, *, operator: bool = False) -> Tensor:
    """Return R >= 0, a scalar.

    Args:
        batch: its network is looked at only.
        operator: look at convolutions as operators on images, not at their flattened weights.
    """
    matrices = operator_kernels if operator else weight_matrices
    norms = torch.stack([_norm(matrices(layer)) for layer in weighted_layers(batch.on_chip).values()])
    return 0.5 * norms.square().sum()
