"""Write a network on series as one on images of height 1: hls4ml's 1-d max pool is broken, and so there is one kind of each layer.

A series (N, C, W) becomes (N, C, 1, W), whose values lie in the same order, also with channels last.
"""

import numpy as np
import onnx

from flow.quant.repairs import reshapes
from flow.quant.repairs._graph import add_constant, attribute, constants, copy, rearrange, set_attributes, set_nodes, shapes

TITLE = "series as images of height 1"
MOVED = {0: 0, 1: 1, 2: 3}
"""Where the axes of a series are in an image."""


def _window(node: onnx.NodeProto) -> None:
    flat = {key: attribute(node, key, None) for key in ("kernel_shape", "strides", "dilations")}
    set_attributes(node, **{key: [1, *value] for key, value in flat.items() if value})
    left, right = attribute(node, "pads", [0, 0])
    set_attributes(node, pads=[0, left, 0, right])


def _converted(model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, tuple[int, ...]]) -> list[onnx.NodeProto]:
    """Return what computes a node on images."""
    new, y = copy(node), node.output[0]
    if node.op_type in ("Conv", "MaxPool"):
        _window(new)
        return [rearrange(model, new, 1, lambda w: w[:, :, None, :]), new] if node.op_type == "Conv" else [new]
    if node.op_type == "Concat":
        set_attributes(new, axis=MOVED[attribute(node, "axis", 1) % 3])
    elif node.op_type == "Transpose":
        perm = [MOVED[axis] for axis in attribute(node, "perm", [2, 1, 0])]
        set_attributes(new, perm=[*perm[:2], 2, perm[2]])
    elif node.op_type == "Pad":
        new.input[1] = add_constant(model, f"{y}_pads", np.insert(constants(model)[node.input[1]], (2, 5), 0), np.int64)
    elif node.op_type == "Reshape" and len(known[y]) == 3:
        new.input[1] = add_constant(model, f"{y}_shape", np.array([0, known[y][1], 1, known[y][2]]), np.int64)
    return [new]


def apply(model: onnx.ModelProto) -> int:
    """Return how many convolutions and pools were rewritten."""
    known = shapes(model)
    changed = sum(len(known[n.input[0]]) == 3 for n in model.graph.node if n.op_type in ("Conv", "MaxPool"))
    if not changed:
        return 0
    data, new = {model.graph.input[0].name}, []
    for node in model.graph.node:
        touched = {*node.input, *node.output} if data.intersection(node.input) else set()
        data.update(node.output if touched else ())
        new += _converted(model, node, known) if any(len(known[name]) == 3 for name in touched & data) else [node]
    set_nodes(model, new)
    for end in (model.graph.input[0], model.graph.output[0]):
        dims = end.type.tensor_type.shape.dim
        if len(dims) == 3:
            dims.insert(2, type(dims[0])(dim_value=1))
    reshapes.apply(model)  # what made images of series now does nothing
    return changed
