"""Fold batch normalisation into the layer before it: hls4ml rounds its parameters to a default type.

The folded weights are on a grid only if the factors are, which training never makes. So layers fold their own before quantization, and
`flow.quant.approximate` rounds those of other networks.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from flow.quant.repairs._graph import Array, attribute, constants, copy, exact, makers, nodes, replace, shapes, value_of

TITLE = "batch normalisation folded"
Make = Callable[[onnx.ModelProto, onnx.NodeProto, str, Array], onnx.NodeProto]


def factors(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[Array, Array] | None:
    """Return what a BatchNormalization node multiplies each channel with, and then adds; None if that is not constant."""
    known = constants(model)
    if not set(node.input[1:]) <= set(known):
        return None
    gain, offset, mean, variance = (known[name].astype(np.float64) for name in node.input[1:])
    factor = gain / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return factor, offset - mean * factor


@dataclass(frozen=True)
class _Layer:
    node: onnx.NodeProto
    weight: Array
    bias: Array


def _layer(model: onnx.ModelProto, tensor: str) -> _Layer | None:
    """Find the layer that makes a tensor which nothing else reads."""
    made, read = makers(model), Counter(name for node in model.graph.node for name in node.input)
    node, bias = made.get(tensor), None
    if node is not None and node.op_type == "Add" and read[tensor] == 1:  # the bias of a matrix product
        tensor, bias = node.input[0], value_of(model, node.input[1])
        node = made.get(tensor)
        node = node if node is not None and bias is not None and node.op_type == "MatMul" else None
    if node is None or node.op_type not in ("Conv", "Gemm", "MatMul") or read[tensor] > 1:
        return None
    if len(node.input) > 2:
        bias = value_of(model, node.input[2])
    weight = value_of(model, node.input[1])
    return None if weight is None else _Layer(node, weight, np.zeros(1) if bias is None else bias)


def fold(model: onnx.ModelProto, node: onnx.NodeProto, make: Make) -> bool:
    """Fold one BatchNormalization node.

    Args:
        model: is changed.
        node: in it.
        make: makes the quantizers of the new weight and bias.

    Returns:
        False if its parameters are not constant.
    """
    found = factors(model, node)
    if found is not None:
        layer = _layer(model, node.input[0])
        replace(model, node, _alone(model, node, *found, make) if layer is None else _joined(model, node, layer, *found, make))
    return found is not None


def _alone(model: onnx.ModelProto, node: onnx.NodeProto, factor: Array, shift: Array, make: Make) -> list[onnx.NodeProto]:
    """Multiply and add, where there is no layer to fold it into."""
    y, shape = node.output[0], (-1, *[1] * (len(shapes(model)[node.input[0]]) - 2))
    parts = [make(model, node, f"{y}_{key}", v.reshape(shape)) for key, v in (("factor", factor), ("shift", shift))]
    product = helper.make_node("Mul", [node.input[0], parts[0].output[0]], [f"{y}_product"], name=f"{y}_product")
    return [*parts, product, helper.make_node("Add", [product.output[0], parts[1].output[0]], [y], name=f"{y}_sum")]


def _joined(
    model: onnx.ModelProto, node: onnx.NodeProto, layer: _Layer, factor: Array, shift: Array, make: Make
) -> list[onnx.NodeProto]:  # fmt: skip
    y, new = node.output[0], copy(layer.node)
    rows = new.op_type == "Conv" or attribute(new, "transB", 0)  # are the outputs the first axis of the weight
    weight = make(model, new, f"{y}_weight", layer.weight * (factor.reshape(-1, *[1] * (layer.weight.ndim - 1)) if rows else factor))
    bias = make(model, new, f"{y}_bias", layer.bias * factor + shift)
    new.input[:] = [new.input[0], weight.output[0]]
    if new.op_type == "MatMul":
        new.output[0] = f"{y}_product"
        return [weight, bias, new, helper.make_node("Add", [new.output[0], bias.output[0]], [y], name=f"{y}_sum")]
    new.input.append(bias.output[0])
    new.output[0] = y
    return [weight, bias, new]


def apply(model: onnx.ModelProto) -> int:
    """Return how many batch normalisations were folded.

    Raises:
        InvalidInput: the folded weights are not on a grid of 24 bits; names the layer.
    """
    return sum(fold(model, node, exact) for node in nodes(model, "BatchNormalization"))
