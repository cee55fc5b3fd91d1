"""What must be known about a graph before it runs: formats, roles of parameters, shapes, and bounds that make float arithmetic exact."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.core.errors import InvalidInput
from flow.twin.graph import Graph, Node
from flow.twin.ops import OPERATIONS, Grid, Operand
from flow.twin.quantizer import QUANTIZERS, Format, WeightFormat, quantize, read_format

MOST_CONSTANT = 2**16
PASSING = ("Reshape", "Flatten", "Transpose", "Identity", "Relu", "MaxPool")


@dataclass(frozen=True)
class Analysis:
    """Result of `analyse`; see the attributes of `flow.twin.Twin`.

    Attributes:
        formats: format of each Quant node, by node name.
        weights: format of each parameter, by initializer name.
        static: tensors that are computed from constants and parameters only.
        dtype: the narrowest floating-point type that is exact.
    """

    formats: dict[str, Format]
    weights: dict[str, WeightFormat]
    static: frozenset[str]
    dtype: torch.dtype
    input_format: Format
    output_format: Format | None


def _role(graph: Graph, tensor: str, fallback: str) -> tuple[Literal["weight", "bias"], str]:
    """Find the layer that a quantized parameter ends up in."""
    for node, index in graph.consumers(tensor):
        if node.op in PASSING or node.op in QUANTIZERS:
            return _role(graph, node.output, fallback)
        return "bias" if node.op == "Add" or index == 2 else "weight", node.name
    return "weight", fallback


def _check_nodes(graph: Graph) -> None:
    known = (*OPERATIONS, *QUANTIZERS)
    made = {graph.input, *graph.constants, ""}
    names = set()
    for node in graph.nodes:
        if node.op not in known:
            node.refuse(f"this operator cannot be used. These can: {', '.join(sorted(known))}. Express the layer with them before export.")
        if missing := [name for name in node.inputs if name not in made]:
            node.refuse(f"its input '{missing[0]}' is made by no earlier node; the file is damaged.")
        if not node.output or node.output in made or node.name in names:
            node.refuse("its name or its output is not unique. Clean the file with qonnx.util.cleanup.")
        names.add(node.name)
        made.add(node.output)
    if graph.output not in made:
        raise InvalidInput(f"the output '{graph.output}' is made by no node; the file is damaged.")


def _formats(graph: Graph) -> tuple[dict[str, Format], dict[str, WeightFormat]]:
    formats: dict[str, Format] = {}
    weights: dict[str, WeightFormat] = {}
    for node in graph.nodes:
        if node.op not in QUANTIZERS:
            continue
        source = node.inputs[0]
        if source not in graph.constants:
            formats[node.name] = read_format(graph, node, node.name)
            continue
        role, layer = _role(graph, node.output, node.name)
        formats[node.name] = read_format(graph, node, layer)
        form = WeightFormat(**asdict(formats[node.name]), role=role, layer=layer)
        if weights.setdefault(source, form) != form:
            node.refuse(f"parameter '{source}' is quantized in two ways. Give each layer a parameter of its own.")
    return formats, weights


def _constant_grid(name: str, value: NDArray[Any]) -> Grid:
    """Find the coarsest grid that holds a constant which no quantizer follows.

    Raises:
        InvalidInput: it needs more than 16 bits, so it is a float parameter that was not quantized.
    """
    mantissa, exponent = np.frexp(value[value != 0].astype(np.float64))
    if mantissa.size == 0:
        return Grid(0, 0)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = exponent - 53 + np.round(np.log2((whole & -whole).astype(np.float64))).astype(int)
    peak = int(np.ceil(np.max(np.abs(value)) / 2.0 ** float(lowest.min()))) if lowest.min() > -1000 else MOST_CONSTANT + 1
    if peak > MOST_CONSTANT or not np.isfinite(value).all():
        raise InvalidInput(
            f"constant '{name}' of shape {list(value.shape)} is not quantized. Give its layer a weight and a bias quantizer."
        )
    return Grid(int(lowest.min()), peak)


def _shapes(graph: Graph, formats: dict[str, Format]) -> dict[str, tuple[int, ...]]:
    """Run two zero samples through the graph: shapes that do not fit, or that fix the batch size, show here."""
    values: dict[str, Tensor] = {name: torch.tensor(np.asarray(value)) for name, value in graph.constants.items()}
    values = {name: v.to(torch.float32) if v.is_floating_point() else v.to(torch.int64) for name, v in values.items()}
    values[graph.input] = torch.zeros((2, *graph.input_shape))
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs if name]
        try:
            form = formats.get(node.name)
            result = OPERATIONS[node.op].run(node, inputs) if form is None else quantize(inputs[0], form)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            node.refuse(f"its inputs of shape {[list(i.shape) for i in inputs]} do not fit together ({str(error).splitlines()[0][:120]}).")
        if not torch.isfinite(result).all():
            node.refuse("its result is not finite.")
        values[node.output] = result
    if values[graph.output].shape[:1] != (2,):
        raise InvalidInput(f"the output has shape {list(values[graph.output].shape)} for two samples; the sample axis must stay first.")
    return {name: tuple(value.shape) for name, value in values.items()}


class _Bounds:
    """Interval arithmetic over the graph."""

    def __init__(self, graph: Graph, formats: dict[str, Format], weights: dict[str, WeightFormat]) -> None:
        self.graph, self.formats, self.shapes = graph, formats, _shapes(graph, formats)
        self.grids: dict[str, Grid] = {}
        self.static = set(graph.constants)
        for name in weights:
            self.grids[name] = Grid(0, 0)
        for node in graph.nodes:
            self._visit(node)

    def _operand(self, node: Node, name: str) -> Operand:
        if name == self.graph.input:
            node.refuse(
                "it computes on the raw input. The first layer must be a quantizer (Brevitas: QuantIdentity), else its words are undefined."
            )
        if name not in self.grids:
            self.grids[name] = _constant_grid(name, self.graph.constants[name])
        return Operand(self.grids[name], self.shapes[name], name in self.static)

    def _visit(self, node: Node) -> None:
        names = [name for name in node.inputs if name]
        data = names[:1] if node.op in PASSING or node.op in QUANTIZERS else names
        if set(data) <= self.static:
            self.static.add(node.output)
        form = self.formats.get(node.name)
        if form is not None:
            self.grids[node.output] = Grid(form.exponent, form.peak)
        else:
            self.grids[node.output] = OPERATIONS[node.op].bound(node, [self._operand(node, name) for name in data])

    def dtype(self) -> torch.dtype:
        """Return the narrowest type that holds every value and partial sum exactly."""
        for dtype, bits, lowest in ((torch.float32, 24, -120), (torch.float64, 53, -1000)):
            if all(g.peak <= 2**bits and lowest < g.exponent < 60 for g in self.grids.values()):
                return dtype
        worst = max(self.grids, key=lambda name: self.grids[name].peak)
        layer = next((n.name for n in self.graph.nodes if n.output == worst), worst)
        raise InvalidInput(
            f"the accumulator of '{layer}' needs {self.grids[worst].peak.bit_length() + 1} bits; 54 can be computed exactly."
        )


def _output_format(graph: Graph, formats: dict[str, Format]) -> Format | None:
    makers = {node.output: node for node in graph.nodes}
    node = makers.get(graph.output)
    while node is not None and node.op in PASSING:
        node = makers.get(node.inputs[0])
    return formats.get(node.name) if node is not None else None


def analyse(graph: Graph) -> Analysis:
    """Check a graph as a whole.

    Raises:
        InvalidInput: it cannot be evaluated, or not exactly; the message names the node.
    """
    _check_nodes(graph)
    formats, weights = _formats(graph)
    bounds = _Bounds(graph, formats, weights)
    first = next((formats[n.name] for n in graph.nodes if n.name in formats and n.output not in bounds.static), None)
    if first is None:
        raise InvalidInput("no quantizer acts on the data. The first layer must be a quantizer (Brevitas: QuantIdentity).")
    return Analysis(formats, weights, frozenset(bounds.static), bounds.dtype(), first, _output_format(graph, formats))
