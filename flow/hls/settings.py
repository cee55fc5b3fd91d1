"""What hls4ml must be told about a node to compute it exactly."""

from typing import Any

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType, Rounding

QUANTIZERS = ("Quant", "IntQuant")
TABLE_LIMITS = {"Tanh": 4, "Sigmoid": 8}  # hls4ml's tables cover [-limit, limit)
MOST_SLOPE_BITS = 24


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node as plain values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def complete(node: NodeProto, **defaults: Any) -> None:  # noqa: ANN401 - whatever ONNX has
    """Write down what a node leaves to the defaults of its operator; hls4ml does not know them."""
    present = attributes(node)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in defaults.items() if key not in present)


def quantizer_type(graph: ModelWrapper, node: NodeProto | None, otherwise: str = "no quantizer") -> FixedType:
    """Return the type that a quantizer with one power-of-two scale makes.

    Raises:
        InvalidInput: it is none; with the words of `otherwise`.
    """
    if node is None or node.op_type not in QUANTIZERS:
        raise InvalidInput(otherwise)
    scale, _, bits = (float(np.ravel(graph.get_initializer(i))[0]) for i in node.input[1:4])
    a = attributes(node)
    rounding: Rounding = "TRN" if a["rounding_mode"] == b"FLOOR" else "RND_CONV"
    return FixedType(bool(a["signed"]), int(bits), int(bits) + int(np.log2(scale)), rounding, "SAT_SYM" if a["narrow"] else "SAT")


def settings(graph: ModelWrapper, node: NodeProto) -> dict[str, Any]:
    """Return what goes into the configuration of one node beyond hls4ml's defaults.

    Args:
        graph: the network, channels last.
        node: one of its nodes.

    Raises:
        InvalidInput: hls4ml cannot compute the node exactly; names it.
    """
    if node.op_type in TABLE_LIMITS:
        return _table(graph, node)
    return {"ParamT": str(_slope(node))} if node.op_type == "LeakyRelu" else {}


def _table(graph: ModelWrapper, node: NodeProto) -> dict[str, Any]:
    """Give a tanh or sigmoid a table entry for each input word, in the type of the quantizer behind it.

    hls4ml's tables cover a fixed range; with this size the place of an entry is the input's code. It is computed with as many fraction
    bits as the input has, so words that are multiples of 2 need a table for every integer.
    """
    name, limit = f"Node '{node.name}' ({node.op_type})", TABLE_LIMITS[node.op_type]
    word = quantizer_type(graph, graph.find_producer(node.input[0]), f"{name}: a quantizer must be in front of it.")
    readers = graph.find_consumers(node.output[0])
    result = quantizer_type(graph, readers[0] if len(readers) == 1 else None, f"{name}: a quantizer, and nothing else, must follow it.")
    low, high = (2.0**-word.fraction * code for code in word.range)
    if low < -limit or high >= limit:
        raise InvalidInput(
            f"{name}: its input covers [{low:g}, {high:g}], its table only [-{limit}, {limit}). Give that quantizer a smaller scale."
        )
    return {"TableSize": 2 * limit * 2 ** max(word.fraction, 0), "TableT": str(result)}


def _slope(node: NodeProto) -> FixedType:
    """Find the narrowest type that holds a slope exactly; hls4ml would round it to 8 bits."""
    mantissa, exponent = np.frexp(attributes(node).get("alpha", 0.01))
    bits = next(n for n in range(1, 54) if float(mantissa * 2.0**n).is_integer())
    if bits > MOST_SLOPE_BITS:
        raise InvalidInput(f"Node '{node.name}' (LeakyRelu): its slope needs {bits} bits. Use a short binary fraction such as 0.125.")
    return FixedType(True, bits + 1, int(exponent) + 1)
