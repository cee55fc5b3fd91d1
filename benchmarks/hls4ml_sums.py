"""What the C++ of an hls4ml project computes: every product is cut to the accumulator before it is summed, and sums wrap.

Our own networks have accumulators that keep every bit, so that the order of a sum does not matter and adder trees are exact. Networks of
others often have not; this reference says how far their outputs are from those of exact sums.
"""

from dataclasses import replace

import numpy as np

from flow.rtl.graph import Array, FixedType, Graph, Layer


def exact_sums(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Give layers whose accumulator drops bits of a product none, which means exact sums.

    Returns:
        The graph, and the names of these layers.
    """
    types = {layer.name: layer.type for layer in graph.layers}
    layers, names = [], []
    for layer in graph.layers:
        kept = layer.accumulator
        drops = kept is not None and "weight" in layer.weights
        if drops and kept is not None and kept.fraction < types[layer.inputs[0]].fraction + layer.weights["weight"][1].fraction:
            layers.append(replace(layer, accumulator=None))
            names.append(layer.name)
        else:
            layers.append(layer)
    return Graph(tuple(layers)), tuple(names)


def evaluate(graph: Graph, x: Array) -> Array:
    """Compute the outputs as the C++ does.

    Args:
        graph: dense and convolution layers in a chain, with ReLU and quantizers.
        x: (N, ...) inputs, channels last.

    Returns:
        (N, outputs).
    """
    value = x
    for layer in graph.layers:
        if layer.kind == "Input":
            value = graph.port.type.quantize(value.reshape(len(x), *layer.shape))
        elif "weight" in layer.weights:
            value = _sums(layer, _taps(layer, value))
        elif layer.kind.startswith("ZeroPadding"):
            value = _padded(layer, value)
        elif layer.kind == "Activation":
            value = layer.type.quantize(np.maximum(value, 0) if layer.attributes["activation"] == "relu" else value)
        value = value.reshape(len(x), *layer.shape)
    return value.reshape(len(x), -1)


def _padded(layer: Layer, value: Array) -> Array:
    a = layer.attributes
    pads = [(a.get(f"pad_{one}", 0), a.get(f"pad_{two}", 0)) for one, two in (("top", "bottom"), ("left", "right"))]
    return np.pad(value, ((0, 0), *pads, (0, 0)))


def _taps(layer: Layer, value: Array) -> Array:
    """Return (N, positions, taps)."""
    if layer.kind == "Dense":
        return value.reshape(len(value), 1, -1)
    a, (height, width) = layer.attributes, layer.weights["weight"][0].shape[:2]
    seen = np.lib.stride_tricks.sliding_window_view(_padded(layer, value), (height, width), axis=(1, 2))
    seen = np.moveaxis(seen[:, :: a["stride_height"], :: a["stride_width"]], 3, -1)[:, : layer.shape[0], : layer.shape[1]]
    return np.asarray(seen).reshape(len(value), layer.shape[0] * layer.shape[1], -1)


def _sums(layer: Layer, taps: Array) -> Array:
    """Cut each product to the accumulator, add modulo its range, and give the result its type: (N, positions, outputs)."""
    weight, bias = layer.weights["weight"][0], layer.weights["bias"][0]
    kept: FixedType | None = layer.accumulator
    matrix = weight.reshape(-1, weight.shape[-1])
    if kept is None:
        return layer.type.quantize(taps @ matrix + bias)
    total = np.broadcast_to(kept.quantize(bias), (*taps.shape[:-1], matrix.shape[1])).copy()
    for i, row in enumerate(matrix):
        total += kept.quantize(taps[..., i : i + 1] * row)
    return layer.type.quantize(kept.quantize(total))
