"""Make a network with arbitrary scales one that hardware can compute exactly, which is then another network: the error is measured.

Only networks from elsewhere need it, and only if `network.allow_approximate` allows it. Scales that are not powers of two go to the
largest power of two below, at more bits, so that no range shrinks: 3 more for weights and biases, whose codes are rounded anew, 1 more for
activations, which round as before or finer and saturate later. Factors of averages and slopes get 16 bits. Batch normalisation is folded
into the layer before it, with a scale for each channel.
"""

import math

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs import anonymous_constants, global_pooling
from flow.quant.repairs._graph import (
    DOMAIN,
    QUANTIZERS,
    Array,
    add_constant,
    attribute,
    constants,
    copy,
    makers,
    nodes,
    replace,
    set_attributes,
    value_of,
)
from flow.quant.repairs.batch_norm import factors, fold
from flow.quant.repairs.mean_pooling import convolution, exactly, window
from flow.twin.grid import constant_grid

MORE_WEIGHT_BITS = 3
BITS = 16


def rounded(value: float) -> float:
    """Round to a binary fraction of 16 bits.

    >>> rounded(0.1) == 52429 / 2**19
    True
    """
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2.0**BITS), exponent - BITS)


def approximate(model: onnx.ModelProto) -> int:
    """Change a QONNX model in place.

    Args:
        model: cleaned or not; zero points that are not 0 stay, and are refused by `flow.twin.load_twin`.

    Returns:
        How many places were changed. 0: the network is what it was.

    Raises:
        InvalidInput: naming a node that cannot be approximated.
    """
    anonymous_constants.apply(model)
    return _norms(model) + _averages(model) + _slopes(model) + _scales(model)


def _norms(model: onnx.ModelProto) -> int:
    changed = 0
    for node in nodes(model, "BatchNormalization"):
        found = factors(model, node)
        if found is not None and any(constant_grid(part) is None for part in found):
            changed += fold(model, node, _quantizer)
    return changed


def _quantizer(model: onnx.ModelProto, node: onnx.NodeProto, name: str, value: Array) -> onnx.NodeProto:
    """Make the quantizer of a folded constant: 3 bits more than the layer's weight has, a scale for each output; 16 bits for vectors."""
    bits, largest = float(BITS), np.max(np.abs(value))
    maker = makers(model).get(node.input[1])
    if value.ndim > 1 and node.op_type != "BatchNormalization":
        outputs = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
        largest = np.max(np.abs(value), axis=tuple(a for a in range(value.ndim) if a != outputs), keepdims=True)
        if maker is not None and maker.op_type in QUANTIZERS:
            bits = float(constants(model)[maker.input[3]].reshape(-1)[0]) + MORE_WEIGHT_BITS
    scale = np.exp2(np.floor(np.log2(np.maximum(largest, 2.0**-60))) + 2 - bits)
    inputs = [add_constant(model, f"{name}_{key}", v) for key, v in (("value", value), ("scale", scale), ("zero", 0.0), ("bits", bits))]
    return helper.make_node("Quant", inputs, [name], name=name, domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")


def _averages(model: onnx.ModelProto) -> int:
    global_pooling.apply(model)
    changed = 0
    for node in nodes(model, "AveragePool"):
        if not exactly(node):
            value = window(model, node, rounded(1 / math.prod(attribute(node, "kernel_shape", []))))
            weight = add_constant(model, f"{node.output[0]}_factor", value)
            replace(model, node, [convolution(node, weight, len(value))])
            changed += 1
    return changed


def _slopes(model: onnx.ModelProto) -> int:
    changed = 0
    for node in nodes(model, "LeakyRelu"):
        slope = attribute(node, "alpha", 0.01)
        if constant_grid(np.array(slope)) is None:
            set_attributes(node, alpha=rounded(slope))
            changed += 1
    return changed


def _scales(model: onnx.ModelProto) -> int:
    changed = 0
    for node in nodes(model, *QUANTIZERS):
        known = constants(model)
        scale, bits = (known[node.input[i]].astype(np.float64) if node.input[i] in known else np.ones(1) for i in (1, 3))
        if (scale <= 0).any() or (np.frexp(scale)[0] == 0.5).all():
            continue
        new, value = copy(node), value_of(model, node.output[0])
        step = np.exp2(np.floor(np.log2(scale)) + (0 if value is None else 1 - MORE_WEIGHT_BITS))
        if value is None:
            wide = float(bits.max()) + 1
        else:
            wide = math.floor(math.log2(max(np.max(np.abs(np.round(value / step))), 1))) + 2.0
            new.input[0] = add_constant(model, f"{node.output[0]}_value", value)
            set_attributes(new, rounding_mode="ROUND", signed=1)
        new.input[1] = add_constant(model, f"{node.output[0]}_scale", step)
        new.input[3] = add_constant(model, f"{node.output[0]}_bits", wide)
        replace(model, node, [new])
        changed += 1
    return changed
