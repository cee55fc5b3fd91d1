"""Small networks with given deployed weights, what a regularizer sees of them, and the dense matrix of a layer."""

import numpy as np
import torch
from torch.nn import functional

from flow.quant.layers import Kernel, Site
from flow.quant.straight import Scaled, Weighted, set_shifts
from flow.regularizers import Batch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def orthonormal(rows, columns, seed=0):
    q, _ = torch.linalg.qr(normal(max(rows, columns), min(rows, columns), seed=seed))
    return q if rows >= columns else q.T


def layer(weight, *, bits=16, exponent=-12, stride=1, padding=0, dilation=1, groups=1):
    """A quantized layer in float64 without bias; with the default width the deployed weights are within 2^-13 of the given ones."""
    rank = weight.ndim - 2
    shape = Kernel(rank, weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]) if rank == 2 else weight.shape[-1],
                   stride, padding, dilation, groups, bias=False)  # fmt: skip
    feed = Scaled(Site("input", "input", 8, signed=False), -6, learned=False)
    made = Weighted(Site("layer", "weight", bits, signed=True), exponent, shape, feed, 16, learned=False).double()
    made.weight.data = weight.clone().double()
    return made


def half_square(target):
    return lambda output: 0.5 * (output - target).square().flatten(1).sum(1)


HALF_SQUARE = half_square(0.0)


def batch(network, x, loss=HALF_SQUARE, seed=0):
    """What the training loop hands to a regularizer; `loss` is a function of the output alone."""
    x = x.clone().requires_grad_()
    output = network(x)

    def evaluate(inputs, shifts):
        set_shifts(network, shifts)
        losses = loss(network(inputs))
        set_shifts(network, {})
        return losses

    return Batch(network, x, output, generator(seed), loss(output), evaluate)


def alone(network):
    """For penalties that look at the network only."""
    return Batch(network, None, None, None, None, None)


def mean_and_error(penalty, draws):
    """Mean of ``penalty(seed)`` over seeds, and its standard error."""
    values = np.array([float(penalty(seed).detach()) for seed in range(draws)])
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5


def dense(made, size, *, periodic):
    """The matrix of a layer on images of `size` on each side: it is applied to every unit image."""
    weight, k = made.quantized_weight().detach(), made.kernel
    if k.rank == 0:
        return weight
    shape = (k.c_in, *[size] * k.rank)
    images = torch.eye(int(np.prod(shape)), dtype=weight.dtype).reshape(-1, *shape)
    padding = k.padding
    if periodic:
        ends = [end for n in reversed(weight.shape[2:]) for end in (0, (n - 1) * k.dilation)]
        images, padding = functional.pad(images, ends, mode="circular"), 0
    convolve = functional.conv1d if k.rank == 1 else functional.conv2d
    return convolve(images, weight, None, k.stride, padding, k.dilation, k.groups).flatten(1).T
