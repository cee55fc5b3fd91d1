"""Write what acts on each pixel by itself as a convolution with a window of one pixel.

These are sums and products of an image with a constant for each channel, which hls4ml refuses, and matrix products on the last axis of an
image or series, which it computes wrongly.
"""

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import Array, exact, nodes, refuse, replace, shapes, value_of

TITLE = "one-pixel convolutions"


def _scaled(model: onnx.ModelProto, node: onnx.NodeProto, shape: tuple[int, ...], value: Array) -> list[onnx.NodeProto]:
    """Multiply or add a constant, channel by channel."""
    rank, channels, y = len(shape), shape[1], node.output[0]
    wide = value.reshape(*[1] * (rank - value.ndim), *value.shape)
    if wide.size not in (1, wide.shape[1]):
        refuse(node, f"its constant of shape {list(value.shape)} differs between pixels. Use one value for each channel.")
    each = np.broadcast_to(wide.ravel(), channels)
    factors, shifts = (each, None) if node.op_type == "Mul" else (np.ones(channels), each)
    parts = [exact(model, node, f"{y}_factor", factors.reshape(-1, *[1] * (rank - 1)))]
    parts += [] if shifts is None else [exact(model, node, f"{y}_shift", shifts)]
    return [*parts, _convolution(node.input[0], parts, y, rank - 2, channels)]


def _convolution(x: str, parts: list[onnx.NodeProto], y: str, rank: int, groups: int) -> onnx.NodeProto:
    ones = [1] * rank
    return helper.make_node(
        "Conv", [x, *(part.output[0] for part in parts)], [y], name=y, kernel_shape=ones, strides=ones, dilations=ones,
        pads=[0] * (2 * rank), group=groups,
    )  # fmt: skip


def _product(model: onnx.ModelProto, node: onnx.NodeProto, rank: int, matrix: Array) -> list[onnx.NodeProto]:
    """Multiply the last axis with a matrix: as channels."""
    y, there, back = node.output[0], [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    weight = exact(model, node, f"{y}_kernel", matrix.T.reshape(*matrix.T.shape, *[1] * (rank - 2)))
    return [
        weight,
        helper.make_node("Transpose", [node.input[0]], [f"{y}_in"], name=f"{y}_in", perm=there),
        _convolution(f"{y}_in", [weight], f"{y}_out", rank - 2, 1),
        helper.make_node("Transpose", [f"{y}_out"], [y], name=f"{y}_back", perm=back),
    ]


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes were rewritten.

    Raises:
        InvalidInput: a constant differs between pixels.
    """
    changed, known = 0, shapes(model)
    for node in nodes(model, "Add", "Mul", "MatMul"):
        shape, value = known[node.input[0]], value_of(model, node.input[1])
        if len(shape) > 2 and value is not None:
            new = _product(model, node, len(shape), value) if node.op_type == "MatMul" else _scaled(model, node, shape, value)
            replace(model, node, new)
            changed += 1
    return changed
