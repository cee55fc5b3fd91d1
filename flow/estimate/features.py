"""What the cost of an unrolled network follows from: counted from the lowered graph, without any tool, in milliseconds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.estimate.masks import Mask, kernel, live_words, needed_words, size_of, windows
from flow.rtl.fabric import fabric
from flow.rtl.graph import FixedType, Graph, Layer


def signed_digits(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of nonzero digits of each integer in canonical signed digits (Avizienis, 1961).

    A multiplication by a constant takes one adder less than that.

    >>> signed_digits(np.array([0, 1, 7, 11, -6]))
    array([0, 1, 2, 3, 2])
    """
    n = np.abs(np.asarray(codes, np.int64))
    return np.asarray(np.bitwise_count(n ^ (3 * n)), np.int64)


@dataclass(frozen=True)
class Work:
    """What one layer takes.

    Attributes:
        weights: that are not zero.
        products: multiplications by them at all positions, of words that are not constant, for sums that matter.
        digits: signed digits of all products.
        adder_bits: bits of the adders when no sum is shared.
        word_bits: bits of what is done word by word: rounding, clamping, comparing, tables.
        depth: adders on the longest path when sums are balanced trees.
        columns: outputs that share their inputs; 0 in a layer without weights.
        bops: bit operations.
        matrix: weights, zeros included.
        bits: width of the weights; 0 in a layer without.
    """

    weights: int = 0
    products: float = 0.0
    digits: float = 0.0
    adder_bits: float = 0.0
    word_bits: float = 0.0
    depth: float = 0.0
    columns: int = 0
    matrix: int = 0
    bops: float = 0.0
    bits: int = 0


def layers(graph: Graph) -> dict[str, Work]:
    """Return the work of each layer by name; what has no influence on an output counts nothing."""
    known = {layer.name: layer for layer in graph.layers}
    live = live_words(graph)
    needed = needed_words(graph, live)
    work = {}
    for layer in graph.layers:
        given = known[layer.inputs[0]] if layer.inputs else layer
        kind = graph.port.type if given.kind == "Input" else given.type
        work[layer.name] = _work(layer, kind, live[given.name], needed[layer.name])
    return work


def _work(layer: Layer, given: FixedType, live: Mask, needed: Mask) -> Work:
    """Return the work of one layer.

    Args:
        layer: the layer.
        given: type of the words it reads.
        live: which of them are not constant.
        needed: which of its own words matter.
    """
    size, width = int(np.count_nonzero(needed)), layer.type.width
    work = Work()
    if "weight" in layer.weights:
        work = _weighted(layer, given, live, needed)
    elif layer.kind.startswith("Pooling"):
        window = math.prod(size_of(layer))
        work = Work(word_bits=2.0 * size * (window - 1) * width, depth=2 * math.log2(window))
    elif layer.kind == "Merge":
        work = Work(adder_bits=float(size * width), depth=1)
    elif layer.kind == "ApplyAlpha":
        digits = float(signed_digits(_codes(layer, "scale")).mean()) * size
        work = Work(size, size, digits, digits * width, depth=2, columns=1, matrix=size, bits=layer.weights["scale"][1].width)
    elif layer.attributes.get("activation") in ("tanh", "sigmoid"):
        work = Work(word_bits=float(size * width * max(2.0 ** (given.width - 6), 1.0)), depth=2)
    elif layer.kind in ("Activation", "ParametrizedActivation"):
        work = _converted(layer.type, given, size, layer.attributes["activation"] != "linear")
    return work


def _converted(kept: FixedType, given: FixedType, size: int, relu: bool) -> Work:
    """Return what it takes to turn words of one type into another."""
    rounds = kept.rounding != "TRN" and given.fraction > kept.fraction
    clamps = kept.saturation != "WRAP" and given.integer - given.signed > kept.integer - kept.signed
    steps = rounds + (clamps or relu)
    return Work(word_bits=float(size * kept.width * steps), depth=float(steps))


def _codes(layer: Layer, name: str) -> NDArray[np.int64]:
    value, kept = layer.weights[name]
    return np.rint(np.ldexp(value, kept.fraction)).astype(np.int64)


def _weighted(layer: Layer, given: FixedType, live: Mask, needed: Mask) -> Work:
    """Return the work of a matrix product at every position of the output.

    Bit operations: Hawks et al., "Ps and Qs: quantization-aware pruning for efficient low latency neural network inference",
    arXiv:2102.11289, eq. 1: m n ((1 - f_p) b_a b_w + b_a + b_w + log2 n) at each position, with f_p the share of zero weights. They count
    the network as it is written down, so words that do not matter count too.
    """
    kept = layer.weights["weight"][1]
    matrix = np.rint(np.ldexp(kernel(layer, live.shape[-1]), kept.fraction)).astype(np.int64)
    seen = windows(layer, live) if "Conv" in layer.kind else live
    taps, wanted = seen.reshape(-1, len(matrix)).astype(np.int64), needed.reshape(-1, needed.shape[-1])
    bias = _codes(layer, "bias") != 0 if "bias" in layer.weights else np.zeros(matrix.shape[1], bool)
    digits, products = taps @ signed_digits(matrix), taps @ (matrix != 0).astype(np.int64)
    adders = np.maximum(digits + bias - 1, 0) * wanted
    grown = given.width + 0.5 * np.log2(taps @ np.abs(matrix) + 1.0)
    used, positions = int(np.count_nonzero(matrix)), math.prod(layer.shape[:-1])
    fan = math.prod(layer.weights["weight"][0].shape[:-1])
    per_output = fan * (given.width + kept.width + math.log2(fan))
    return Work(
        weights=used, products=float((products * wanted).sum()), digits=float((digits * wanted).sum()),
        adder_bits=float((adders * grown).sum()), depth=math.ceil(math.log2(max(int(((digits + bias) * wanted).max()), 1))),
        columns=max(int(wanted.sum(axis=1).max()), 1), matrix=layer.weights["weight"][0].size,
        bops=positions * (used * given.width * kept.width + matrix.shape[1] * per_output), bits=kept.width,
    )  # fmt: skip


def levels_per_stage(part: str, clock_ns: float, logic_per_stage: float | None) -> float:
    """Return how many adders in a row a pipeline stage holds, about.

    Args:
        part: FPGA part.
        clock_ns: target clock period.
        logic_per_stage: as set by hand, or None.

    Raises:
        ConfigError: it is not set, and the family of the part has no delay model.
    """
    if logic_per_stage is not None:
        return logic_per_stage
    rates = fabric(part)
    return max(clock_ns - rates.overhead - rates.clock_to_q, 0.1) / (rates.add_in + rates.net)


def features(graph: Graph, levels: float) -> dict[str, float]:
    """Sum up the work of a network.

    Args:
        graph: the lowered network.
        levels: adders in a row in a pipeline stage.

    Returns:
        By name, all positive:

        - ``adder_bits``, ``word_bits``, ``digits``, ``weights``, ``products``, ``bops``: sums over the layers, at least 1,
        - ``columns``, ``density``: outputs that share inputs, and digits for each weight of a matrix, zeros included; means over the
          layers, each with the weight of its adders,
        - ``stages``: depth of all layers over `levels`,
        - ``registers``: bits that pipeline registers would hold if the adders were spread evenly: `words` and ``adder_bits / levels``,
        - ``words``: bits of the input and output port that matter,
        - ``word_share``: ``word_bits / adder_bits``.
    """
    work = layers(graph)
    total = {key: max(float(sum(getattr(w, key) for w in work.values())), 1.0) for key in _SUMS}
    heavy = [w for w in work.values() if w.columns]
    share = np.array([max(w.adder_bits, 1e-9) for w in heavy])
    columns = np.array([float(w.columns) for w in heavy])
    density = np.array([w.digits / max(w.products, 1.0) * w.weights / max(w.matrix, 1) for w in heavy])
    depth = sum(w.depth for w in work.values())
    needed = needed_words(graph, live_words(graph))
    words = float(sum(max(int(np.count_nonzero(needed[layer.name])), 1) * layer.type.width for layer in (graph.port, graph.output)))
    return {
        **total,
        "columns": float(np.average(columns, weights=share)) if heavy else 1.0,
        "density": max(float(np.average(density, weights=share)), 1e-3) if heavy else 1e-3,
        "stages": max(depth / levels, 0.1),
        "registers": words + total["adder_bits"] / levels,
        "words": words,
        "word_share": total["word_bits"] / total["adder_bits"],
    }


def unknown(graph: Graph, logic_per_stage: float | None) -> list[str]:
    """Say what the calibration never saw: kinds of layers, and a pipeline that was set by hand."""
    seen = {f"{layer.kind} {layer.attributes['activation']}" if "activation" in layer.attributes else layer.kind for layer in graph.layers}
    found = [f"layers of kind {kind}" for kind in sorted(seen - _CALIBRATED)]
    return [*found, *(["hardware.logic_per_stage is set by hand"] if logic_per_stage is not None else [])]


_CALIBRATED = {
    "Input", "Dense", "Conv1D", "Conv2D", "Pooling1D", "Pooling2D", "ZeroPadding1D", "ZeroPadding2D", "Reshape", "Transpose",
    "Activation relu", "Activation linear",
}  # fmt: skip
_SUMS = ("adder_bits", "word_bits", "digits", "weights", "products", "bops")
