"""Read an ONNX file into plain data; everything a foreign file can be wrong in is found here or in `flow.twin.ops`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import external_data_helper, numpy_helper

from flow.core.errors import InvalidInput, MissingInput

MOST_BYTES = 2**31
MOST_INPUTS = 2**24
ADVICE = "Write the file with brevitas.export.export_qonnx from a model in eval() mode."


@dataclass(frozen=True)
class Node:
    """One ONNX node.

    Attributes:
        name: its name, or operator and position where the file has none.
        op: operator type.
        inputs: names of its inputs; an empty name is an optional input that is left out.
        output: name of its first output.
        attributes: scalars, tuples and text.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]

    def refuse(self, why: str) -> NoReturn:
        """Refuse the file because of this node.

        Raises:
            InvalidInput: always; the message names the node.
        """
        raise InvalidInput(f"Node '{self.name}' ({self.op}): {why}")


@dataclass(frozen=True)
class Graph:
    """A network as plain data.

    Attributes:
        nodes: in an order that can be executed.
        constants: initializers and constant nodes by name.
        input: name of its one input.
        input_shape: shape of the input without the sample axis.
        output: name of its one output.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    input: str
    input_shape: tuple[int, ...]
    output: str

    def consumers(self, tensor: str) -> list[tuple[Node, int]]:
        """List the nodes that read a tensor, and at which of their inputs."""
        return [(node, i) for node in self.nodes for i, name in enumerate(node.inputs) if name == tensor]


def _parse(path: Path) -> "onnx.ModelProto":
    if not path.is_file():
        raise MissingInput(f"{path}: there is no such file. Give the path of a QONNX file. {ADVICE}")
    size = path.stat().st_size
    if not 0 < size < MOST_BYTES:
        raise InvalidInput(f"{path}: the file has {size} bytes, so it is no QONNX network. {ADVICE}")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise InvalidInput(f"{path}: this is not an ONNX file, or it was cut off ({str(error)[:120]}). {ADVICE}") from None
    if not model.graph.node or not model.graph.output:
        raise InvalidInput(f"{path}: there is no network in this file. {ADVICE}")
    return model


def _load_external(model: "onnx.ModelProto", path: Path) -> None:
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if not external_data_helper.uses_external_data(tensor):
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise InvalidInput(f"{path}: tensor '{tensor.name}' lies in '{location}', outside the folder of the file, and is not read.")
        if not file.is_file():
            raise MissingInput(
                f"{file}: there is no such file, but {path.name} keeps tensor '{tensor.name}' in it. Copy it beside {path.name}."
            )
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (ValueError, OSError, onnx.checker.ValidationError) as error:
            raise InvalidInput(f"{path}: tensor '{tensor.name}' cannot be read from '{location}': {error}.") from None


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return tuple(value) if isinstance(value, list) else value


def _array(tensor: "onnx.TensorProto", path: Path) -> NDArray[Any]:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{path}: tensor '{tensor.name}' cannot be read: {error}. {ADVICE}") from None


def _input(model: "onnx.ModelProto", constants: dict[str, NDArray[Any]], path: Path) -> tuple[str, tuple[int, ...]]:
    inputs = [i for i in model.graph.input if i.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        found = f"{len(inputs)} inputs and {len(model.graph.output)} outputs"
        raise InvalidInput(f"{path}: the network has {found}; one of each is needed.")
    shape = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim)[1:]
    if not shape or min(shape) < 1 or int(np.prod(shape, dtype=object)) > MOST_INPUTS:
        raise InvalidInput(f"{path}: input '{inputs[0].name}' needs a fixed shape behind its sample axis; it has {shape}. {ADVICE}")
    return inputs[0].name, shape


def read_graph(path: Path) -> Graph:
    """Read a QONNX file. Nothing in it is executed, and no file outside its folder is opened.

    Args:
        path: the ``.onnx`` file; tensors may lie in further files of the same folder.

    Raises:
        MissingInput: there is no such file, or a file with its tensors is missing.
        InvalidInput: it is no ONNX network with one input and one output, or it is not quantized in QONNX form.
    """
    model = _parse(path)
    _load_external(model, path)
    constants = {t.name: _array(t, path) for t in model.graph.initializer}
    nodes = []
    for i, proto in enumerate(model.graph.node):
        attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in proto.attribute}
        if proto.op_type == "Constant" and isinstance(attributes.get("value"), onnx.TensorProto):
            constants[proto.output[0]] = _array(attributes["value"], path)
            continue
        output = proto.output[0] if proto.output else ""
        nodes.append(Node(proto.name or f"{proto.op_type}_{i}", proto.op_type, tuple(proto.input), output, attributes))
    operators = {n.op for n in nodes}
    if operators & {"QuantizeLinear", "DequantizeLinear"}:
        raise InvalidInput(f"{path}: this file is quantized with QuantizeLinear nodes (QCDQ), which fixes all widths to 8 bits. {ADVICE}")
    if not operators & {"Quant", "IntQuant"}:
        raise InvalidInput(f"{path}: no node of this network is quantized (there is no Quant node). {ADVICE}")
    name, shape = _input(model, constants, path)
    return Graph(tuple(nodes), constants, name, shape, model.graph.output[0].name)
