"""Upper bounds of the spectral norm of linear operators on images, series and vectors.

The norm of a convolution is that of its operator on the true input, not of its reshaped kernel (Sedghi, Gupta and Long, arXiv:1805.10408;
Gouk et al., arXiv:1804.04368). Power iteration converges from below, so it certifies nothing; three ways here do:

- the operator's matrix, and its largest singular value, where the matrix is small;
- a convolution on a torus as large as the padded input: its singular values are those of the Fourier transform of the kernel (Sedghi et
  al.). Zero padding embeds the input without changing its norm, and stride or valid borders only leave outputs away, so this is a bound;
- Schur's test, ||A||^2 <= ||A||_1 ||A||_inf, from the operator with all weights replaced by their magnitude.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]
MOST_SIDE = 1024
AT_ONCE = 64  # inputs; what a convolution makes of them on its way is larger than its output
GUARD = 1 + 1e-9  # more than float64 arithmetic on matrices of these sizes can lose


def matrix_norm(apply: Map, shape: Sequence[int], memory: int) -> float | None:
    """Return the spectral norm of an affine map's linear part, from its matrix; None if that is too large.

    Args:
        apply: (N, *shape) -> (N, ...), float64, affine.
        shape: of one input.
        memory: most bytes of the matrix.
    """
    inputs = torch.Size(shape).numel()
    with torch.no_grad():
        constant = apply(torch.zeros(1, *shape, dtype=torch.float64))
        if min(inputs, constant.numel()) > MOST_SIDE or 24 * inputs * (inputs + constant.numel()) > memory:
            return None
        basis = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *shape)
        matrix = torch.cat([(apply(part) - constant).flatten(1) for part in torch.split(basis, AT_ONCE)])
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        return float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt()) * GUARD


def schur_norm(magnitude: Map, shape: Sequence[int]) -> float:
    """Return sqrt(||A||_1 ||A||_inf) of an operator.

    Args:
        magnitude: the affine map with the magnitudes of all its weights.
        shape: of one input.
    """
    ones = torch.ones(1, *shape, dtype=torch.float64).requires_grad_()
    with torch.enable_grad():
        rows = magnitude(ones)
        (columns,) = torch.autograd.grad(rows.sum(), ones)
    constant = magnitude(torch.zeros_like(ones)).detach()
    return float(((rows.detach() - constant).max() * columns.max()).clamp(min=0).sqrt()) * GUARD


def torus_norm(kernel: Tensor, groups: int, dilations: Sequence[int], padded: Sequence[int], memory: int) -> float | None:
    """Return the norm of a convolution on a torus; None if its transforms do not fit the memory.

    Args:
        kernel: (O, I / groups, *window), float64.
        groups: of channels.
        dilations: of the window, along each axis.
        padded: size of the padded input, along each axis.
        memory: most bytes of the transforms.
    """
    if 64 * kernel.shape[0] * kernel.shape[1] * torch.Size(padded).numel() > memory:
        return None
    wide = kernel.new_zeros(*kernel.shape[:2], *padded)
    places = [slice(0, (k - 1) * d + 1, d) for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    wide[(slice(None), slice(None), *places)] = kernel
    transform = torch.fft.rfftn(wide, dim=tuple(range(2, wide.dim()))).flatten(2)
    blocks = transform.reshape(groups, kernel.shape[0] // groups, kernel.shape[1], -1).permute(0, 3, 1, 2)
    return float(torch.linalg.matrix_norm(blocks, 2).max()) * GUARD
