"""Write Flatten, Squeeze and Unsqueeze as Reshape, which hls4ml knows, and drop nodes that do nothing."""

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import add_constant, bypass, nodes, replace, shapes

TITLE = "one way to reshape"


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes were rewritten or removed."""
    changed = 0
    known = shapes(model)
    for node in nodes(model, "Flatten", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Dropout"):
        shape = known[node.output[0]]
        if shape == known[node.input[0]]:
            changed += bypass(model, node)
        elif node.op_type != "Reshape":
            wanted = add_constant(model, f"{node.output[0]}_shape", np.array([0, *shape[1:]]), np.int64)
            replace(model, node, [helper.make_node("Reshape", [node.input[0], wanted], node.output, name=node.name)])
            changed += 1
    return changed
