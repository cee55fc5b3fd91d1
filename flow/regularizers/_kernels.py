"""The deployed weights of a layer as matrices: of the weights alone, or of the operator that the layer is on an image."""

import torch
from torch import Tensor

from flow.quant.straight import Weighted


def weight_matrices(layer: Weighted) -> Tensor:
    """Return the weights flattened to (groups, outputs, inputs * kernel, 1, 1)."""
    weight, groups = layer.quantized_weight(), layer.kernel.groups
    return weight.reshape(groups, len(weight) // groups, -1, 1, 1)


def operator_kernels(layer: Weighted) -> Tensor:
    """Return the kernel of the convolution of stride 1, without dilation, that does what the layer does.

    A convolution of stride S sees an image of S * S times the channels, one for each phase of the pixel grid. Dilation puts zeros
    between the weights.

    Returns:
        (groups, outputs, inputs * S * S, height, width). A linear layer has a kernel of 1 x 1, a 1-d convolution one of height 1.
    """
    weight, kernel = layer.quantized_weight(), layer.kernel
    weight = weight.reshape(*weight.shape[:2], *[1] * (2 - kernel.rank), *weight.shape[2:])
    strides = kernel.strides
    for axis, stride in zip((2, 3), strides, strict=True):
        taps = torch.arange(weight.shape[axis]) * kernel.dilation
        shape = list(weight.shape)
        shape[axis] = -(-(int(taps[-1]) + 1) // stride) * stride
        weight = weight.new_zeros(shape).index_copy(axis, taps, weight)
    height, width = (n // stride for n, stride in zip(weight.shape[2:], strides, strict=True))
    phases = weight.reshape(kernel.groups, -1, weight.shape[1], height, strides[0], width, strides[1])
    return phases.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)
