"""Give each quantizer one scale: hls4ml takes fixed-point types only if all channels have the same, and fails or rounds otherwise.

A weight whose channels have different power-of-two scales is replaced by its quantized values, in the type that holds them all. The values
are the same; in hardware each constant keeps its own width, because the bits that are added are zeros.
"""

import onnx

from flow.quant.repairs._graph import QUANTIZERS, add_constant, constants, copy, exact, nodes, refuse, replace, value_of

TITLE = "one scale per quantizer"


def apply(model: onnx.ModelProto) -> int:
    """Return how many quantizers had several scales."""
    changed = 0
    for node in nodes(model, *QUANTIZERS):
        scale = constants(model).get(node.input[1])
        if scale is None or scale.size == 1:
            continue
        if scale.min() == scale.max():
            new = copy(node)
            new.input[1] = add_constant(model, f"{node.output[0]}_scale", scale.min())
        else:
            value = value_of(model, node.output[0])
            if value is None:
                refuse(node, "its scale differs between channels, which only that of a weight may.")
            new = exact(model, node, f"{node.output[0]}_value", value)
            new.output[0] = node.output[0]
        replace(model, node, [new])
        changed += 1
    return changed
