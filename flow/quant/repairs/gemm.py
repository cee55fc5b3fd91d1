"""Write Gemm as MatMul and Add: hls4ml has no Gemm, and qonnx's own rewriting fails without a bias."""

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import attribute, nodes, rearrange, replace

TITLE = "Gemm as MatMul and Add"


def apply(model: onnx.ModelProto) -> int:
    """Return how many Gemm nodes were rewritten."""
    changed = 0
    for node in nodes(model, "Gemm"):
        if attribute(node, "transA", 0) or any(attribute(node, key, 1.0) != 1.0 for key in ("alpha", "beta")):
            continue
        bias = [name for name in node.input[2:] if name]
        y = node.output[0]
        product = helper.make_node("MatMul", list(node.input[:2]), [f"{y}_product" if bias else y], name=f"{node.name}_product")
        new = [rearrange(model, product, 1, np.transpose), product] if attribute(node, "transB", 0) else [product]
        if bias:
            new.append(helper.make_node("Add", [product.output[0], bias[0]], [y], name=f"{node.name}_sum"))
        replace(model, node, new)
        changed += 1
    return changed
