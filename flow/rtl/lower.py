"""Lower a graph to alkaid's combinational logic (Verilog comes from there), exact to the last bit.

alkaid is the successor of da4ml (Sun et al., "da4ml: Distributed Arithmetic for Real-time Neural Networks on FPGAs",
arXiv:2507.04535): constant matrix products become adder trees that share subexpressions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from alkaid.trace import FVArray, HWConfig, trace
from alkaid.trace.ops import quantize, relu

from flow.core.errors import InvalidInput
from flow.gate import first_layer
from flow.rtl.graph import Array, FixedType, Graph, Layer

Traced = Any  # alkaid's FVArray; alkaid has no types
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
    """
    source, values = _trace(graph)
    return Lowered(trace(source, values[graph.output.name], keep_dead_inputs=True), graph.port.type)


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


def to_type(value: Traced, kept: FixedType) -> Traced:
    """Quantize traced values."""
    return quantize(value, int(kept.signed), kept.integer - kept.signed, kept.fraction, kept.saturation, kept.rounding)


def _sum(layer: Layer, value: Traced, product: Traced) -> Traced:
    """Add the bias and pass through the accumulator: exact in any order as long as it drops no fraction bits."""
    kernel, bias = layer.weights["weight"], layer.weights.get("bias")
    total = product if bias is None else product + bias[0]
    kept = layer.accumulator
    if kept is not None:
        need = max(int(v.kif[2]) for v in np.asarray(value).ravel()) + kernel[1].fraction
        need = max(need, bias[1].fraction if bias else need)
        if kept.fraction < need or kept.saturation != "WRAP":
            raise InvalidInput(
                f"layer '{layer.name}' ({layer.kind}): its accumulator {kept} must wrap and have {need} fraction bits, "
                "or the result depends on the order of the sum. Widen it."
            )
        total = to_type(total, kept)
    return to_type(total, layer.type)


def _dense(layer: Layer, inputs: list[Traced]) -> Traced:
    if inputs[0].ndim != 1:
        raise InvalidInput(f"layer '{layer.name}' (Dense): an input of shape {inputs[0].shape} must be flattened first.")
    return _sum(layer, inputs[0], inputs[0] @ layer.weights["weight"][0])


def _conv(layer: Layer, inputs: list[Traced]) -> Traced:
    a, kernel = layer.attributes, layer.weights["weight"][0]
    rows, columns, channels, filters = kernel.shape
    height, width, _ = layer.shape
    if {a.get("dilation_height", 1), a.get("dilation_width", 1)} != {1} or inputs[0].shape[-1] != channels:
        raise InvalidInput(f"layer '{layer.name}' (Conv2D): dilation and groups cannot be lowered.")
    if a.get("data_format", "channels_last") != "channels_last":
        raise InvalidInput(f"layer '{layer.name}' (Conv2D): convert the network to channels last first.")
    down, right = a["stride_height"], a["stride_width"]
    v = np.pad(inputs[0], ((a["pad_top"], a["pad_bottom"]), (a["pad_left"], a["pad_right"]), (0, 0)))
    patches = [v[i * down : i * down + rows, j * right : j * right + columns].reshape(-1) for i in range(height) for j in range(width)]
    return _sum(layer, inputs[0], (np.stack(patches) @ kernel.reshape(-1, filters)).reshape(layer.shape))


def _activation(layer: Layer, inputs: list[Traced]) -> Traced:
    name = layer.attributes["activation"]
    if name not in ("relu", "linear"):
        raise InvalidInput(f"layer '{layer.name}' (Activation): '{name}' cannot be lowered to RTL; known are relu, linear.")
    return to_type(relu(inputs[0]) if name == "relu" else inputs[0], layer.type)


def _reshape(layer: Layer, inputs: list[Traced]) -> Traced:
    return to_type(inputs[0].reshape(layer.shape), layer.type)


def _transpose(layer: Layer, inputs: list[Traced]) -> Traced:
    return to_type(inputs[0].transpose(layer.attributes["perm"]), layer.type)


def _merge(layer: Layer, inputs: list[Traced]) -> Traced:
    if layer.attributes["op"] != "add" or len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
        raise InvalidInput(f"layer '{layer.name}' (Merge): only the sum of two inputs of one shape can be lowered.")
    return to_type(inputs[0] + inputs[1], layer.type)


LAYERS: Mapping[str, Callable[[Layer, list[Traced]], Any]] = {
    "Conv2D": _conv, "Dense": _dense, "Activation": _activation, "Reshape": _reshape, "Transpose": _transpose, "Merge": _merge,
}  # fmt: skip
