"""What must be known about a graph before it runs: formats, roles of parameters, shapes, and bounds that make float arithmetic exact."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from flow.core.errors import InvalidInput
from flow.twin.graph import Graph, Node
from flow.twin.grid import Grid, Operand, constant_grid
from flow.twin.ops import OPERATIONS, PASSING
from flow.twin.quantizer import QUANTIZERS, Format, WeightFormat, quantize, read_format, read_weight_format
from flow.twin.remedies import REMEDIES


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
        return "bias" if node.op in ("Add", "Sub") or index == 2 else "weight", node.name
    return "weight", fallback


def _check_nodes(graph: Graph) -> None:
    known = (*OPERATIONS, *QUANTIZERS)
    made = {graph.input, *graph.constants, ""}
    names = set()
    for node in graph.nodes:
        if node.op not in known:
            instead = f"These can: {', '.join(sorted(known))}. Express the layer with them before export."
            node.refuse(f"this operator cannot be used. {REMEDIES.get(node.op, instead)}")
        if missing := [name for name in node.inputs if name not in made]:
            node.refuse(f"its input '{missing[0]}' is made by no earlier node; the file is damaged.")
        if not node.output or node.output in made or node.name in names:
            node.refuse("its name or its output is not unique. Clean the file with qonnx.util.cleanup.")
        names.add(node.name)
        made.add(node.output)
    if graph.output not in made:
        raise InvalidInput(f"the output '{graph.output}' is made by no node; the file is damaged.")


def _formats(graph: Graph, exact: bool) -> tuple[dict[str, Format], dict[str, WeightFormat]]:
    formats: dict[str, Format] = {}
    weights: dict[str, WeightFormat] = {}
    for node in graph.nodes:
        if node.op not in QUANTIZERS:
            continue
        source = node.inputs[0]
        if source not in graph.constants:
            formats[node.name] = read_format(graph, node, exact)
            continue
        form = formats[node.name] = read_weight_format(graph, node, *_role(graph, node.output, node.name), exact)
        if weights.setdefault(source, form) != form:
            node.refuse(f"parameter '{source}' is quantized in two ways. Give each layer a parameter of its own.")
    return formats, weights


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
        values[node.output] = result.float()
    if values[graph.output].shape[:1] != (2,):
        raise InvalidInput(f"the output has shape {list(values[graph.output].shape)} for two samples; the sample axis must stay first.")
    return {name: tuple(value.shape) for name, value in values.items()}


def _data(node: Node) -> list[str]:
    """Name the inputs that are values; the other inputs of a Quant or Reshape node are settings."""
    names = [name for name in node.inputs if name]
    return names[:1] if node.op == "Reshape" or node.op in QUANTIZERS else names


def _static(graph: Graph) -> frozenset[str]:
    static = set(graph.constants)
    for node in graph.nodes:
        if set(_data(node)) <= static:
            static.add(node.output)
    return frozenset(static)


def _format_grid(form: Format) -> Grid:
    low, high = form.exponents if isinstance(form, WeightFormat) else (form.exponent, form.exponent)
    return Grid(low, form.peak << (high - low))


class _Bounds:
    """Interval arithmetic over the graph."""

    def __init__(self, graph: Graph, formats: dict[str, Format], weights: dict[str, WeightFormat], static: frozenset[str]) -> None:
        self.graph, self.formats, self.static, self.shapes = graph, formats, static, _shapes(graph, formats)
        self.grids: dict[str, Grid] = dict.fromkeys(weights, Grid(0, 0))
        for node in graph.nodes:
            form, operands = formats.get(node.name), [self._operand(node, name) for name in _data(node)]
            self.grids[node.output] = OPERATIONS[node.op].bound(node, operands) if form is None else _format_grid(form)

    def _operand(self, node: Node, name: str) -> Operand:
        if name == self.graph.input and node.op not in QUANTIZERS:
            node.refuse(
                "it computes on the raw input. The first layer must be a quantizer (Brevitas: QuantIdentity), else its words are undefined."
            )
        if name not in self.grids and name != self.graph.input:
            value = self.graph.constants[name]
            grid = constant_grid(value)
            if grid is None:
                node.refuse(f"its constant '{name}' of shape {list(value.shape)} is not quantized. Give it a weight and a bias quantizer.")
            self.grids[name] = grid
        grid = self.grids.get(name, Grid(0, 0))
        if grid.real and node.op not in PASSING and node.op not in QUANTIZERS:
            node.refuse(f"its input '{name}' comes from a Tanh or Sigmoid without quantizer. Put a quantizer between the two.")
        return Operand(grid, self.shapes[name], name in self.static)

    def dtype(self) -> torch.dtype:
        """Return the narrowest type that holds every value and partial sum exactly."""
        if self.grids[self.graph.output].real:
            raise InvalidInput(f"the output '{self.graph.output}' comes from a Tanh or Sigmoid. Put a quantizer behind it.")
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


def analyse(graph: Graph, exact: bool = True) -> Analysis:
    """Check a graph as a whole.

    Args:
        graph: in the words of `flow.twin.normal`.
        exact: bound every value. Without, all is computed in float64, whatever the scales are.

    Raises:
        InvalidInput: it cannot be evaluated, or not exactly; the message names the node.
    """
    _check_nodes(graph)
    formats, weights = _formats(graph, exact)
    static = _static(graph)
    first = next((formats[n.name] for n in graph.nodes if n.name in formats and n.output not in static), None)
    if exact:
        dtype = _Bounds(graph, formats, weights, static).dtype()
    else:
        dtype, _ = torch.float64, _shapes(graph, formats)
    if first is None:
        raise InvalidInput("no quantizer acts on the data. The first layer must be a quantizer (Brevitas: QuantIdentity).")
    return Analysis(formats, weights, static, dtype, first, _output_format(graph, formats))
