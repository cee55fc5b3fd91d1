"""Write rounding modes in upper case: Brevitas exports some in lower case, which hls4ml refuses."""

import onnx

TITLE = "rounding modes in upper case"


def apply(model: onnx.ModelProto) -> int:
    """Return how many Quant nodes had to be changed."""
    changed = 0
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "rounding_mode" and attribute.s != attribute.s.upper():
                attribute.s = attribute.s.upper()
                changed += 1
    return changed
