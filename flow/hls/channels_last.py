"""Channels last: ONNX computes on (C, H, W), hls4ml on (H, W, C)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from flow.core.errors import InvalidInput
from flow.hls.settings import QUANTIZERS, attributes, complete

DOMAIN = "qonnx.custom_op.channels_last"
ALIKE = (*QUANTIZERS, "Relu", "LeakyRelu", "Tanh", "Sigmoid", "Identity")  # one word at a time
Shape = tuple[int, ...]


def to_channels_last(model: ModelWrapper) -> None:
    """Give every tensor with three axes or more its channels (axis 1) as the last axis, parameters, input and output included.

    A matrix product behind a flattened image gets its rows permuted; only where an image is reshaped in another way do
    transpositions appear.

    Args:
        model: a graph of which all shapes are known; is changed.

    Raises:
        InvalidInput: an operator that cannot be converted; names the node.
    """
    graph = _Converter(model)
    nodes = [new for node in model.graph.node for new in graph.convert(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.model.opset_import.append(helper.make_opsetid(DOMAIN, model.get_opset_imports()[""]))
    for name, shape in graph.shapes.items():
        if len(shape) >= 3:
            array = model.get_initializer(name)
            if array is not None:
                model.set_initializer(name, np.ascontiguousarray(np.moveaxis(array, 1, -1)))
            model.set_tensor_shape(name, _moved(shape))


def _moved(shape: Sequence[int]) -> list[int]:
    return [shape[0], *shape[2:], shape[1]]


def _order_matters(shape: Shape) -> bool:
    """Tell whether the words of an image lie in another order when its channels are last."""
    return len(shape) >= 3 and shape[1] > 1 and math.prod(shape[2:]) > 1


class _Converter:
    def __init__(self, model: ModelWrapper) -> None:
        self.model = model
        self.shapes: dict[str, Shape] = {name: tuple(model.get_tensor_shape(name)) for name in model.get_all_tensor_names()}
        self.unsigned: set[str] = set()
        self.transposed: dict[str, tuple[str, list[int]]] = {}
        for node in model.graph.node:
            if node.op_type == "Transpose":
                self.transposed[node.output[0]] = node.input[0], attributes(node)["perm"]
            passes = node.op_type in ("MaxPool", "Reshape", "Transpose", "Pad") and node.input[0] in self.unsigned
            if passes or node.op_type == "Relu" or (node.op_type in QUANTIZERS and not attributes(node)["signed"]):
                self.unsigned.add(node.output[0])
        self.handlers: Mapping[str, Callable[[NodeProto], list[NodeProto]]] = {
            "Conv": self._windowed, "MaxPool": self._max_pool, "Concat": self._concat, "Pad": self._pad, "Add": self._add,
            "Reshape": self._reshape, "Transpose": self._transpose,
        }  # fmt: skip

    def convert(self, node: NodeProto) -> list[NodeProto]:
        """Return the nodes that take the place of one."""
        if node.op_type in ALIKE or all(len(self.shapes.get(name, ())) < 3 for name in (*node.input, *node.output)):
            return [node]
        if node.op_type not in self.handlers:
            known = ", ".join(sorted((*ALIKE, *self.handlers)))
            raise InvalidInput(f"Node '{node.name}' ({node.op_type}): this operator cannot be lowered. These can: {known}.")
        return self.handlers[node.op_type](node)

    def _windowed(self, node: NodeProto) -> list[NodeProto]:
        node.domain = DOMAIN
        rank = len(self.shapes[node.input[0]]) - 2
        complete(node, strides=[1] * rank, dilations=[1] * rank, pads=[0] * 2 * rank)
        if node.op_type == "Conv":
            complete(node, group=1, kernel_shape=self.shapes[node.input[1]][2:])
        return [node]

    def _max_pool(self, node: NodeProto) -> list[NodeProto]:
        """Pad unsigned words with zeros before: hls4ml pads with the highest bit set, which is the lowest value of signed ones only."""
        self._windowed(node)
        pads = next(a for a in node.attribute if a.name == "pads")
        if not any(pads.ints) or node.input[0] not in self.unsigned:
            return [node]
        rank = len(pads.ints) // 2
        shape = self.shapes[node.input[0]]
        around = [(0, *pads.ints[side * rank : (side + 1) * rank], 0) for side in (0, 1)]
        padded = [n + a + b for n, a, b in zip(_moved(shape), *around, strict=True)]
        pad = self._new("Pad", f"{node.name}_pad", node.input[0], padded, [n for side in around for n in side])
        node.input[0] = pad.output[0]
        pads.ints[:] = [0] * len(pads.ints)
        return [pad, node]

    def _new(self, op: str, name: str, source: str, shape: Sequence[int], constant: Sequence[int] = (), **options: Any) -> NodeProto:  # noqa: ANN401
        """Make a node of some name that reads a tensor, and perhaps some integers."""
        self.model.set_tensor_shape(f"{name}_out", list(shape))
        inputs = [source]
        if constant:
            inputs.append(f"{name}_constant")
            self.model.set_initializer(inputs[1], np.array(constant, np.int64))
        return helper.make_node(op, inputs, [f"{name}_out"], name=name, **options)

    def _concat(self, node: NodeProto) -> list[NodeProto]:
        axis = node.attribute[0]
        rank = len(self.shapes[node.output[0]])
        axis.i = (0, rank - 1, *range(1, rank - 1))[axis.i]
        return [node]

    def _pad(self, node: NodeProto) -> list[NodeProto]:
        pads = self.model.get_initializer(node.input[1])
        rank = len(self.shapes[node.input[0]])
        self.model.set_initializer(node.input[1], np.concatenate([_moved(pads[:rank]), _moved(pads[rank:])]))
        return [node]

    def _add(self, node: NodeProto) -> list[NodeProto]:
        shapes = [self.shapes[name] for name in node.input]
        if shapes[0] != shapes[1]:
            raise InvalidInput(f"Node '{node.name}' (Add): tensors of shapes {shapes[0]} and {shapes[1]} cannot be added. Give them one.")
        return [node]

    def _first(self, node: NodeProto) -> NodeProto:
        """Put a transposition before a node that needs its channels first."""
        shape = self.shapes[node.input[0]]
        turn = self._new("Transpose", f"{node.name}_first", node.input[0], shape, perm=[0, len(shape) - 1, *range(1, len(shape) - 1)])
        node.input[0] = turn.output[0]
        return turn

    def _last(self, node: NodeProto) -> NodeProto:
        """Put a transposition behind a node that makes its channels first."""
        shape = self.shapes[node.output[0]]
        turn = self._new("Transpose", f"{node.name}_last", "", shape, perm=[0, *range(2, len(shape)), 1])
        turn.input[0], turn.output[0], node.output[0] = turn.output[0], node.output[0], turn.output[0]
        return turn

    def _reshape(self, node: NodeProto) -> list[NodeProto]:
        before, after = self.shapes[node.input[0]], self.shapes[node.output[0]]
        nodes = [node]
        target = list(after)
        if len(before) > 2 and len(after) > 2 and before[1] == after[1]:
            target = _moved(after)
        elif len(before) > 2 and len(after) == 2 and self._absorbed(node):
            pass
        else:
            if _order_matters(before):
                nodes.insert(0, self._first(node))
            if _order_matters(after):
                nodes.append(self._last(node))
            elif len(after) > 2:
                target = _moved(after)
        node.input[1] = f"{node.output[0]}_shape"
        self.model.set_initializer(node.input[1], np.array([1, *target[1:]], np.int64))
        node.name = node.output[0]  # hls4ml's io_stream takes the one for the other
        return nodes

    def _absorbed(self, node: NodeProto) -> bool:
        """Flatten an image, transposed or not, as it lies, and permute the rows of the matrices that it is multiplied with."""
        weights = self._matrices(node.output[0])
        if not weights:
            return False
        shape = self.shapes[node.input[0]]
        order = np.arange(math.prod(shape)).reshape(shape)
        while node.input[0] in self.transposed:
            node.input[0], perm = self.transposed[node.input[0]]
            order = order.transpose(np.argsort(perm))
        rows = np.moveaxis(order, 1, -1).ravel()
        for name in weights:
            self.model.set_initializer(name, np.ascontiguousarray(self.model.get_initializer(name)[rows]))
        return True

    def _matrices(self, name: str) -> list[str]:
        """Name the matrices that a tensor is multiplied with; none if anything else reads it."""
        found: list[str] = []
        for node in self.model.find_consumers(name):
            if node.op_type in ALIKE:
                inner = self._matrices(node.output[0])
            else:
                quantizer = self.model.find_producer(node.input[1]) if node.op_type == "MatMul" and node.input[0] == name else None
                name_of_weight = quantizer.input[0] if quantizer is not None and not self.model.is_fork_node(quantizer) else ""
                inner = [name_of_weight] if self.model.get_initializer(name_of_weight) is not None else []
            if not inner:
                return []
            found += inner
        return found

    def _transpose(self, node: NodeProto) -> list[NodeProto]:
        perm = attributes(node)["perm"]
        order = [0, *range(2, len(perm)), 1]
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("perm", [order.index(perm[axis]) for axis in order]))
        return [node]
