"""Write average pools as depthwise convolutions with constant weights: hls4ml's own rounds, and takes the axes of ONNX for its own."""

import math

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import Array, attribute, exact, nodes, refuse, replace, shapes

TITLE = "average pools as depthwise convolutions"


def exactly(node: onnx.NodeProto) -> bool:
    """Tell whether the window of an AveragePool node has a power of two of values."""
    count: int = math.prod(attribute(node, "kernel_shape", []))
    return count & (count - 1) == 0


def window(model: onnx.ModelProto, node: onnx.NodeProto, factor: float) -> Array:
    """Return the weights of the convolution that an AveragePool node is, with this factor in the place of 1 / count."""
    return np.full((shapes(model)[node.input[0]][1], 1, *attribute(node, "kernel_shape", [])), factor)


def convolution(node: onnx.NodeProto, weight: str, channels: int) -> onnx.NodeProto:
    """Return the convolution that an AveragePool node is."""
    kernel = list(attribute(node, "kernel_shape", []))
    ones, pads = [1] * len(kernel), attribute(node, "pads", [0] * (2 * len(kernel)))
    if attribute(node, "ceil_mode", 0) or (any(pads) and not attribute(node, "count_include_pad", 0)):
        refuse(node, "an average with ceil_mode, or over windows that reach outside without counting it, is no convolution.")
    return helper.make_node(
        "Conv", [node.input[0], weight], node.output, name=node.name, kernel_shape=kernel, group=channels,
        strides=attribute(node, "strides", ones), pads=pads, dilations=ones,
    )  # fmt: skip


def apply(model: onnx.ModelProto) -> int:
    """Return how many pools were rewritten; not those whose factor is no power of two, which the twin refuses."""
    changed = 0
    for node in nodes(model, "AveragePool"):
        if exactly(node):
            value = window(model, node, 1 / math.prod(attribute(node, "kernel_shape", [])))
            factor = exact(model, node, f"{node.output[0]}_factor", value)
            replace(model, node, [factor, convolution(node, factor.output[0], len(value))])
            changed += 1
    return changed
