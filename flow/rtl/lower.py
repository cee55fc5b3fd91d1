"""Lower a graph to alkaid's combinational logic (Verilog comes from there), exact to the last bit.

alkaid is the successor of da4ml (Sun et al., "da4ml: Distributed Arithmetic for Real-time Neural Networks on FPGAs",
arXiv:2507.04535): constant matrix products become adder trees that share subexpressions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from alkaid.trace import FVArray, HWConfig, trace

from flow.core.errors import InvalidInput, TooLarge
from flow.gate import first_layer
from flow.rtl.graph import Array, FixedType, Graph, Layer
from flow.rtl.operations import LAYERS, Traced

MOST_PRODUCTS = 200_000
# Adders and carry chains of any length count as one delay unit per FPGA level; no cut-off inside the solver.
HARDWARE = HWConfig(1, -1, -1)


@dataclass(frozen=True)
class Lowered:
    """A lowered network.

    Attributes:
        logic: alkaid's ``CombLogic``; ``logic.predict(x)`` with x (N, inputs) is bit-exact.
        port: type of every input word.
    """

    logic: Any
    port: FixedType

    def predict(self, x: Array) -> Array:
        """Evaluate the logic.

        Args:
            x: (N, ...) values on the grid of `port`, channels last.

        Returns:
            (N, outputs) values.

        Raises:
            InvalidInput: a value is not on the grid.
        """
        flat = np.ascontiguousarray(x.reshape(len(x), -1), np.float64)
        off = int(np.sum(self.port.quantize(flat) != flat))
        if off:
            raise InvalidInput(f"{off} of {flat.size} input values are not of type {self.port}; quantize them first.")
        return np.asarray(self.logic.predict(flat, n_threads=1), np.float64)


def lower(graph: Graph) -> Lowered:
    """Trace a graph.

    Args:
        graph: what to lower. The input port gets the type of the quantizer behind the input: the host delivers it.

    Raises:
        InvalidInput: a layer that cannot be lowered exactly; names it and its kind.
        TooLarge: too many products to be unrolled.
    """
    _check_size(graph)
    source, values = _trace(graph)
    return Lowered(trace(source, values[graph.output.name], keep_dead_inputs=True), graph.port.type)


def products(layer: Layer) -> int:
    """Count the multiplications by a weight that is not zero, over all positions; padding is not left out."""
    used = int(np.count_nonzero(layer.weights["weight"][0])) if "weight" in layer.weights else 0
    return used * math.prod(layer.shape[:-1])


def _check_size(graph: Graph) -> None:
    """Refuse what would take hours: each product becomes adders: 1 to 4 ms of work and 9 LUTs with 6-bit weights."""
    counts = {layer.name: products(layer) for layer in graph.layers}
    total, largest = sum(counts.values()), max(counts, key=lambda name: counts[name])
    if total > MOST_PRODUCTS:
        raise TooLarge(
            f"this network multiplies {total} times by a weight that is not zero, {counts[largest]} times in layer '{largest}'. RTL has "
            f"adders for each product, so at most {MOST_PRODUCTS} are lowered. Use a smaller or pruned network, or hardware.io = 'stream'."
        )


def layer_values(graph: Graph, x: Array) -> dict[str, Array]:
    """Evaluate the lowered logic with every layer as an output.

    Args:
        graph: the network.
        x: (N, ...) inputs, channels last.

    Returns:
        (N, size) flat values, channels last, by layer in the order of the graph.
    """
    source, values = _trace(graph)
    outputs = np.concatenate([np.asarray(v).ravel() for v in values.values()])
    got = Lowered(trace(source, outputs, keep_dead_inputs=True), graph.port.type).predict(x)
    ends = np.cumsum([np.asarray(v).size for v in values.values()])
    return dict(zip(values, np.split(got, ends[:-1], axis=1), strict=True))


def first_divergence(graph: Graph, x: Array, expected: Mapping[str, Array]) -> str | None:
    """Name the first expected layer that the lowered logic does not compute; see `flow.gate.first_layer`.

    Args:
        graph: the network.
        x: (1, ...) one sample of which the output is wrong, channels last.
        expected: flat values by layer in order of execution, channels last; names may be those of another level.

    Returns:
        Its name, or None when the last one agrees.
    """
    return first_layer(expected, layer_values(graph, x))


def _trace(graph: Graph) -> tuple[Traced, dict[str, Traced]]:
    values: dict[str, Traced] = {}
    source: Traced = None
    for layer in graph.layers:
        if layer.kind == "Input":
            source = values[layer.name] = _port(layer.shape, graph.port.type)
            continue
        known = LAYERS.get(layer.kind)
        if known is None:
            raise InvalidInput(f"layer '{layer.name}': kind {layer.kind} cannot be lowered to RTL; known are {', '.join(LAYERS)}.")
        values[layer.name] = known(layer, [values[name] for name in layer.inputs])
    return source, values


def _port(shape: tuple[int, ...], kept: FixedType) -> Traced:
    ones = np.ones(shape, np.int64)
    return FVArray.from_kif(ones * kept.signed, ones * (kept.integer - kept.signed), ones * kept.fraction, hwconf=HARDWARE)
