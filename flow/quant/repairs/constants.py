"""Give each constant operand a quantizer, so that hls4ml knows its type; write differences and quotients as sums and products.

A constant without a quantizer must lie on a short grid as it is: a factor such as 0.5, or the window of an average.
"""

from collections.abc import Callable

import numpy as np
import onnx

from flow.quant.repairs._graph import Array, copy, exact, nodes, replace, value_of

TITLE = "quantizers for constants"
INVERSE: dict[str, tuple[str, Callable[[Array], Array]]] = {"Sub": ("Add", np.negative), "Div": ("Mul", np.reciprocal)}


def apply(model: onnx.ModelProto) -> int:
    """Return how many nodes were rewritten."""
    changed = 0
    for node in nodes(model, "Add", "Conv", "Div", "Gemm", "MatMul", "Mul", "Sub"):
        bare = {t.name for t in model.graph.initializer}
        new, before = copy(node), []
        if node.op_type in ("Add", "Mul") and value_of(model, node.input[1]) is None and value_of(model, node.input[0]) is not None:
            new.input[:] = reversed(node.input)
        for index, name in enumerate(new.input):
            value = value_of(model, name)
            if value is not None and (name in bare or (node.op_type in INVERSE and index == 1)):
                if node.op_type in INVERSE:
                    new.op_type, inverse = INVERSE[node.op_type]
                    value = inverse(value)
                before.append(exact(model, node, f"{node.output[0]}_constant{index}", value))
                new.input[index] = before[-1].output[0]
        if new != node:
            replace(model, node, [*before, new])
            changed += 1
    return changed
