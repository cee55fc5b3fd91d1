"""Write means and maxima over whole images as pools with a window: hls4ml reads the sizes of global pools from the wrong axes."""

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import add_constant, attribute, constants, nodes, replace, shapes

TITLE = "global pools with a window"
POOLS = {"GlobalAveragePool": "AveragePool", "ReduceMean": "AveragePool", "GlobalMaxPool": "MaxPool", "ReduceMax": "MaxPool"}


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes were rewritten."""
    changed, known, values = 0, shapes(model), constants(model)
    for node in nodes(model, *POOLS):
        y = node.output[0]
        shape = known[node.input[0]]
        named = attribute(node, "axes", values[node.input[1]] if len(node.input) > 1 else range(2, len(shape)))
        axes = {int(a) % len(shape) for a in named}
        if not axes or min(axes) < 2 or len(shape) not in (3, 4):
            continue
        kernel = [size if axis in axes else 1 for axis, size in enumerate(shape)][2:]
        keep = node.op_type.startswith("Global") or attribute(node, "keepdims", 1)
        pool = helper.make_node(
            POOLS[node.op_type], [node.input[0]], [y if keep else f"{y}_pool"], name=f"{node.name}_pool",
            kernel_shape=kernel, strides=kernel, pads=[0] * (2 * len(kernel)),
        )  # fmt: skip
        new = [pool]
        if not keep:
            wanted = add_constant(model, f"{y}_shape", np.array([0, *known[y][1:]]), np.int64)
            new.append(helper.make_node("Reshape", [f"{y}_pool", wanted], [y], name=node.name))
        replace(model, node, new)
        changed += 1
    return changed
