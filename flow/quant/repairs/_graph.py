"""What the repairs need to know of an ONNX graph, and to do with it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from flow.core.errors import InvalidInput
from flow.twin.grid import constant_grid

Array = NDArray[Any]
DOMAIN = "qonnx.custom_op.general"
QUANTIZERS = ("Quant", "IntQuant")


def refuse(node: onnx.NodeProto, why: str) -> NoReturn:
    """Refuse a network because of a node.

    Raises:
        InvalidInput: always.
    """
    raise InvalidInput(f"Node '{node.name or node.output[0]}' ({node.op_type}): {why}")


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    """Return the initializers by name."""
    return {t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer}


def attribute(node: onnx.NodeProto, key: str, default: Any) -> Any:  # noqa: ANN401 - attributes have many types
    """Return an attribute of a node; text as str."""
    value = next((helper.get_attribute_value(a) for a in node.attribute if a.name == key), default)
    return value.decode() if isinstance(value, bytes) else value


def set_attributes(node: onnx.NodeProto, **values: object) -> None:
    """Set or replace attributes of a node."""
    kept = [a for a in node.attribute if a.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in values.items())])


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Infer the shape of every tensor, for the batch size of the file."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    graph = ModelWrapper(model, make_deepcopy=True).transform(InferShapes()).graph
    known = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in (*graph.input, *graph.value_info, *graph.output)}
    return known | {t.name: tuple(t.dims) for t in graph.initializer}


def nodes(model: onnx.ModelProto, *operators: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of some operators as they are when it is their turn, so that they may be replaced on the way."""
    for name in [n.output[0] for n in model.graph.node if n.op_type in operators]:
        if node := makers(model).get(name):
            yield node


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the node that makes each tensor."""
    return {output: node for node in model.graph.node for output in node.output}


def add_constant(model: onnx.ModelProto, name: str, value: Array | float, dtype: type = np.float32) -> str:
    """Add an initializer and return its name, which is made unique."""
    taken = {t.name for t in model.graph.initializer} | set(makers(model))
    while name in taken:
        name += "_"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
    return name


def value_of(model: onnx.ModelProto, tensor: str) -> Array | None:
    """Evaluate a tensor that is a constant or a quantized constant, in float64; None if it is neither."""
    known = constants(model)
    maker = makers(model).get(tensor)
    if maker is None:
        return known[tensor].astype(np.float64) if tensor in known else None
    if maker.op_type not in QUANTIZERS or not set(maker.input) <= set(known):
        return None
    value, scale, zero, bits = (known[name].astype(np.float64) for name in maker.input)
    width, signed, narrow = float(bits.reshape(-1)[0]), attribute(maker, "signed", 1), attribute(maker, "narrow", 0)
    low, high = (-(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1) if signed else (0, 2**width - 1 - narrow)
    codes = value / scale + zero
    codes = np.floor(codes) if attribute(maker, "rounding_mode", "ROUND").upper() == "FLOOR" else np.round(codes)
    return np.asarray((np.clip(codes, low, high) - zero) * scale)


def exact(model: onnx.ModelProto, node: onnx.NodeProto, name: str, value: Array) -> onnx.NodeProto:
    """Make a quantizer of the narrowest type that holds a constant exactly.

    Args:
        model: gets the constant.
        node: the node that will read it, for messages.
        name: of the constant.
        value: on a grid of at most 24 bits, which a float32 holds.

    Raises:
        InvalidInput: it is not.
    """
    grid = constant_grid(value, 24)
    if grid is None:
        refuse(node, f"its constant of shape {list(value.shape)} is not on a grid of 24 bits. Give it a quantizer.")
    signed = bool((value < 0).any())
    source = add_constant(model, name, value)
    settings = (("scale", 2.0**grid.exponent), ("zero", 0.0), ("bits", float(max(grid.peak.bit_length(), 1) + signed)))
    inputs = [source, *(add_constant(model, f"{source}_{key}", item) for key, item in settings)]
    out = f"{source}_quant"
    return helper.make_node("Quant", inputs, [out], name=out, domain=DOMAIN, signed=int(signed), narrow=0, rounding_mode="ROUND")


def rearrange(model: onnx.ModelProto, node: onnx.NodeProto, index: int, change: Callable[[Array], Array]) -> onnx.NodeProto:
    """Put the values of an input of a node, a constant or quantized constant, in another order, or put zeros between them.

    The input as it was stays for other nodes that read it. A type that all values have is kept.

    Returns:
        The quantizer that makes the new input, to be put before the node.
    """
    value, maker = value_of(model, node.input[index]), makers(model).get(node.input[index])
    if value is None:
        refuse(node, "its weight is neither a constant nor a quantized constant. Clean the file with qonnx.util.cleanup.")
    name = f"{node.output[0]}_input{index}"
    if maker is None or constants(model)[maker.input[1]].size > 1:
        quantizer = exact(model, node, name, change(value))
    else:
        quantizer = copy(maker)
        quantizer.input[0] = add_constant(model, name, change(value))
        quantizer.name = quantizer.output[0] = f"{quantizer.input[0]}_quant"
    node.input[index] = quantizer.output[0]
    return quantizer


def replace(model: onnx.ModelProto, old: onnx.NodeProto, new: Sequence[onnx.NodeProto]) -> None:
    """Put nodes in the place of one."""
    before = list(model.graph.node)
    at = next(i for i, node in enumerate(before) if node.output[0] == old.output[0])
    set_nodes(model, [*before[:at], *new, *before[at + 1 :]])


def set_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Set the nodes, but those that nothing reads; shapes are forgotten, because they may have changed."""
    wanted = {o.name for o in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.insert(0, copy(node))
            wanted.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for i in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[i].name not in wanted:
            del model.graph.initializer[i]
    del model.graph.value_info[:]


def copy(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a copy that belongs to no graph."""
    return onnx.NodeProto.FromString(node.SerializeToString())


def bypass(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Remove a node that passes its first input on; not if that is the output of the network."""
    if node.output[0] in {o.name for o in model.graph.output}:
        return False
    for other in model.graph.node:
        other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]
    replace(model, node, [])
    return True
