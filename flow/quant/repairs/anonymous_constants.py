"""Write Constant nodes as named constants, which the other repairs look for."""

import onnx
from onnx import numpy_helper

from flow.quant.repairs._graph import attribute, nodes, set_nodes

TITLE = "Constant nodes as named constants"


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes became constants; only those that hold a tensor."""
    changed = 0
    for node in nodes(model, "Constant"):
        value = attribute(node, "value", None)
        if isinstance(value, onnx.TensorProto):
            model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
            set_nodes(model, [other for other in model.graph.node if other.output[0] != node.output[0]])
            changed += 1
    return changed
