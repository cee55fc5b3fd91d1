"""Graphs small enough to check by hand, an exact oracle for them, and jobs to run stages in."""

import math
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np

from flow.config import DesignPoint
from flow.core.stage import Job, Stage
from flow.rtl.graph import FixedType, Graph, Layer

PORT = FixedType(False, 4, 1, "RND_CONV", "SAT")
WIDE = FixedType(True, 24, 12)
HIDDEN = FixedType(False, 4, 2, "RND_CONV", "SAT")
WEIGHT = FixedType(True, 4, 1)


def weights(rng, *shape):
    return np.ldexp(rng.integers(-7, 8, shape).astype(float), -3), WEIGHT


def dense(rng):
    """4 inputs -> 3 outputs, one dense layer and an output quantizer."""
    return Graph((
        Layer("in", "Input", (), (4,), FixedType(True, 16, 6)),
        Layer("q_in", "Activation", ("in",), (4,), PORT, {"activation": "linear"}),
        Layer("fc", "Dense", ("q_in",), (3,), WIDE, {}, {"weight": weights(rng, 4, 3), "bias": weights(rng, 3)}, WIDE),
        Layer("q_out", "Activation", ("fc",), (3,), FixedType(True, 6, 3, "RND_CONV", "SAT"), {"activation": "linear"}),
    ))  # fmt: skip


def convolution(rng):
    """Signed 1x4x4 -> conv 2@3x3, stride 2, padding 1 -> relu -> transpose, reshape -> dense 3 -> residual sum."""
    conv = {"stride_height": 2, "stride_width": 2, "pad_top": 1, "pad_bottom": 1, "pad_left": 1, "pad_right": 1}
    return Graph((
        Layer("in", "Input", (), (4, 4, 1), replace(PORT, signed=True)),
        Layer("conv", "Conv2D", ("in",), (2, 2, 2), WIDE, conv, {"weight": weights(rng, 3, 3, 1, 2), "bias": weights(rng, 2)}, WIDE),
        Layer("relu", "Activation", ("conv",), (2, 2, 2), HIDDEN, {"activation": "relu"}),
        Layer("turn", "Transpose", ("relu",), (2, 2, 2), HIDDEN, {"perm": [2, 0, 1]}),
        Layer("flat", "Reshape", ("turn",), (8,), HIDDEN),
        Layer("fc", "Dense", ("flat",), (3,), WIDE, {}, {"weight": weights(rng, 8, 3)}),
        Layer("sum", "Merge", ("fc", "fc"), (3,), WIDE, {"op": "add"}),
        Layer("out", "Activation", ("sum",), (3,), FixedType(True, 7, 4, "RND", "SAT_SYM"), {"activation": "linear"}),
    ))  # fmt: skip


SIGNED = FixedType(True, 5, 3, "RND_CONV", "SAT")
TABLE = FixedType(True, 4, 3, "TRN", "SAT")


def image(rng):
    """2 x (2x3) signed -> zero padding -> depthwise conv -> leaky relu -> padded max pool; that next to a tanh; scale and shift."""
    flat = {"stride_height": 1, "stride_width": 1}
    pads = {"pad_top": 2, "pad_bottom": 0, "pad_left": 1, "pad_right": 3}
    pool = {"pool_op": "max", "pool_height": 2, "pool_width": 3, "stride_height": 2, "stride_width": 2, **dict.fromkeys(pads, 1)}
    return Graph((
        Layer("in", "Input", (), (2, 3, 2), FixedType(True, 4, 2)),
        Layer("pad", "ZeroPadding2D", ("in",), (4, 7, 2), FixedType(True, 4, 2), pads),
        Layer("deep", "DepthwiseConv2D", ("pad",), (3, 6, 4), WIDE, flat | dict.fromkeys(pads, 0),
              {"weight": weights(rng, 2, 2, 1, 4), "bias": weights(rng, 4)}, WIDE),
        Layer("leaky", "ParametrizedActivation", ("deep",), (3, 6, 4), SIGNED, {"activation": "leakyrelu", "activ_param": 0.375}),
        Layer("pool", "Pooling2D", ("leaky",), (2, 3, 4), SIGNED, pool),
        Layer("q", "Activation", ("pool",), (2, 3, 4), TABLE, {"activation": "linear"}),
        Layer("tanh", "Activation", ("q",), (2, 3, 4), FixedType(True, 6, 1, "RND_CONV", "SAT"), {"activation": "tanh"}),
        Layer("both", "Concatenate", ("pool", "tanh"), (2, 3, 8), FixedType(True, 8, 3), {"axis": 3}),
        Layer("scale", "ApplyAlpha", ("both",), (2, 3, 8), SIGNED, {}, {"scale": weights(rng, 2, 3, 8), "bias": weights(rng, 2, 3, 8)}),
    ))  # fmt: skip


def line(rng):
    """1-dimensional: 5x2 -> conv 3, stride 2, padding 1 -> sigmoid; depthwise; padding; max pool; sum of two types."""
    near, far = ({"stride_width": n, "pad_left": n - 1, "pad_right": n - 1} for n in (1, 2))
    return Graph((
        Layer("in", "Input", (), (5, 2), PORT),
        Layer("conv", "Conv1D", ("in",), (3, 3), TABLE, far, {"weight": weights(rng, 3, 2, 3)}, WIDE),
        Layer("sigmoid", "Activation", ("conv",), (3, 3), PORT, {"activation": "sigmoid"}),
        Layer("pad", "ZeroPadding1D", ("conv",), (5, 3), TABLE, {"pad_left": 2, "pad_right": 0}),
        Layer("deep", "DepthwiseConv1D", ("pad",), (4, 3), SIGNED, near, {"weight": weights(rng, 2, 1, 3)}, WIDE),
        Layer("pool", "Pooling1D", ("deep",), (3, 3), SIGNED, {"pool_op": "max", "pool_width": 2} | near),
        Layer("sum", "Merge", ("sigmoid", "pool"), (3, 3), FixedType(True, 7, 4), {"op": "add"}),
        Layer("both", "Concatenate", ("sum", "conv"), (3, 6), FixedType(True, 8, 4), {"axis": -1}),
    ))  # fmt: skip


def exact(value: Fraction, kept: FixedType) -> Fraction:
    """Quantize one rational number by the words of the definition."""
    scaled = value * Fraction(2) ** kept.fraction
    code = floor(scaled)
    rest = scaled - code
    if kept.rounding == "RND" and rest >= Fraction(1, 2):
        code += 1
    if kept.rounding == "RND_CONV" and (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and code % 2)):
        code += 1
    low, high = (-(2 ** (kept.width - 1)), 2 ** (kept.width - 1) - 1) if kept.signed else (0, 2**kept.width - 1)
    if kept.saturation == "WRAP":
        while not low <= code <= high:
            code += 2**kept.width if code < low else -(2**kept.width)
    else:
        code = min(max(code, low + (kept.saturation == "SAT_SYM" and kept.signed)), high)
    return Fraction(code) / Fraction(2) ** kept.fraction


def seen(layer, image, at, size):
    """Yield what a window sees of an image: place in the window, and the pixel; nothing outside the image."""
    a = layer.attributes
    image = image.reshape(-1, *image.shape[-2:])
    y, x = at[-3] if len(at) == 3 else 0, at[-2]
    for r, c in np.ndindex(*size):
        row = y * a.get("stride_height", 1) + r - a.get("pad_top", 0)
        column = x * a.get("stride_width", 1) + c - a.get("pad_left", 0)
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            yield r, c, image[row, column]


def total(layer, before, at):
    """One word of a layer, before its bias and its types."""
    a, first = layer.attributes, before[0]
    kernel = layer.weights.get("weight", (np.empty(0),))[0]
    if layer.kind == "Dense":
        return sum(v * Fraction(w) for v, w in zip(first, kernel[:, at[0]], strict=True))
    if "Conv" in layer.kind:
        kernel = kernel.reshape(-1, *kernel.shape[-3:])
        windows = seen(layer, first, at, kernel.shape[:2])
        if "Depthwise" in layer.kind:
            channel = at[-1] * first.shape[-1] // kernel.shape[-1]
            return sum((pixel[channel] * Fraction(kernel[r, c, 0, at[-1]]) for r, c, pixel in windows), Fraction(0))
        return sum((v * Fraction(w) for r, c, pixel in windows for v, w in zip(pixel, kernel[r, c, :, at[-1]], strict=True)), Fraction(0))
    if "Pooling" in layer.kind:
        return max(pixel[at[-1]] for _, _, pixel in seen(layer, first, at, (a.get("pool_height", 1), a["pool_width"])))
    if "Padding" in layer.kind:
        return sum((pixel[at[-1]] for _, _, pixel in seen(layer, first, at, (1, 1))), Fraction(0))
    if layer.kind == "Merge":
        return first[at] + before[1][at]
    if layer.kind == "Concatenate":
        return np.concatenate(before, a["axis"] if a["axis"] < 0 else a["axis"] - 1)[at]
    if layer.kind == "ApplyAlpha":
        return first[at] * Fraction(layer.weights["scale"][0][at])
    if layer.kind == "Transpose":
        return first.transpose(a["perm"])[at]
    return FUNCTIONS[a.get("activation", "linear")](first.reshape(layer.shape)[at], a.get("activ_param", 0))


FUNCTIONS = {
    "linear": lambda v, slope: v,
    "relu": lambda v, slope: max(v, Fraction(0)),
    "leakyrelu": lambda v, slope: v if v > 0 else v * Fraction(slope),
    "tanh": lambda v, slope: Fraction(math.tanh(v)),
    "sigmoid": lambda v, slope: Fraction(1 / (1 + math.exp(-v))),
}


def oracle(graph, sample):
    """Evaluate a graph on one sample in rational arithmetic, loop by loop."""
    values = {}
    for layer in graph.layers:
        out = np.empty(layer.shape, object)
        for at in np.ndindex(*layer.shape):
            word = Fraction(sample[at]) if layer.kind == "Input" else total(layer, [values[name] for name in layer.inputs], at)
            if "bias" in layer.weights:
                bias = layer.weights["bias"][0]
                word += Fraction(bias[at] if layer.kind == "ApplyAlpha" else bias[at[-1]])
            out[at] = exact(exact(word, layer.accumulator) if layer.accumulator else word, layer.type)
        values[layer.name] = out
    return values


def inputs(rng, graph, count):
    port = graph.port.type
    low, high = port.range
    return np.ldexp(rng.integers(low, high + 1, (count, *graph.port.shape)).astype(float), -port.fraction)


def changed(graph, name, key="weight", step=2.0**-3):
    """Plant an error: one weight of a layer is one unit higher."""
    old = next(layer for layer in graph.layers if layer.name == name)
    value, kept = old.weights[key]
    wrong = value.copy()
    wrong.flat[0] += step
    new = replace(old, weights={**old.weights, key: (wrong, kept)})
    return Graph(tuple(new if layer is old else layer for layer in graph.layers))


def job(stage: Stage, folder: Path, **inputs: Path) -> Job:
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(exist_ok=True)
    point = DesignPoint.model_validate({"model": "m", "hardware": {"logic_per_stage": 3.0}, "gate": {"rtl_samples": 40}})
    return Job(stage, point, inputs, out, scratch, folder / "log.txt", folder / "replay.sh")
