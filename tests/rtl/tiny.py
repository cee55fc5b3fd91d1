"""Graphs small enough to check by hand, an exact oracle for them, and jobs to run stages in."""

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
    """1x4x4 -> conv 2@3x3, stride 2, padding 1 -> relu -> transpose, reshape -> dense 3 -> residual sum."""
    conv = {"stride_height": 2, "stride_width": 2, "pad_top": 1, "pad_bottom": 1, "pad_left": 1, "pad_right": 1}
    return Graph((
        Layer("in", "Input", (), (4, 4, 1), PORT),
        Layer("conv", "Conv2D", ("in",), (2, 2, 2), WIDE, conv, {"weight": weights(rng, 3, 3, 1, 2), "bias": weights(rng, 2)}, WIDE),
        Layer("relu", "Activation", ("conv",), (2, 2, 2), HIDDEN, {"activation": "relu"}),
        Layer("turn", "Transpose", ("relu",), (2, 2, 2), HIDDEN, {"perm": [2, 0, 1]}),
        Layer("flat", "Reshape", ("turn",), (8,), HIDDEN),
        Layer("fc", "Dense", ("flat",), (3,), WIDE, {}, {"weight": weights(rng, 8, 3)}),
        Layer("sum", "Merge", ("fc", "fc"), (3,), WIDE, {"op": "add"}),
        Layer("out", "Activation", ("sum",), (3,), FixedType(True, 7, 4, "RND", "SAT_SYM"), {"activation": "linear"}),
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


def oracle(graph, sample):
    """Evaluate a graph on one sample in rational arithmetic, loop by loop."""
    values = {}
    for layer in graph.layers:
        before = [values[name] for name in layer.inputs]
        kernel = layer.weights.get("weight", (None,))[0]
        bias = layer.weights["bias"][0] if "bias" in layer.weights else None
        out = np.empty(layer.shape, object)
        for at in np.ndindex(*layer.shape):
            if layer.kind == "Input":
                total = Fraction(sample[at])
            elif layer.kind == "Dense":
                total = sum(v * Fraction(w) for v, w in zip(before[0], kernel[:, at[0]], strict=True))
            elif layer.kind == "Conv2D":
                total = Fraction(0)
                for r, c in np.ndindex(*kernel.shape[:2]):
                    row, column = at[0] * 2 + r - 1, at[1] * 2 + c - 1
                    if 0 <= row < before[0].shape[0] and 0 <= column < before[0].shape[1]:
                        total += sum(before[0][row, column, k] * Fraction(kernel[r, c, k, at[2]]) for k in range(kernel.shape[2]))
            elif layer.kind == "Merge":
                total = before[0][at] + before[1][at]
            elif layer.kind == "Transpose":
                total = before[0].transpose(layer.attributes["perm"])[at]
            else:
                total = before[0].reshape(layer.shape)[at]
                total = max(total, Fraction(0)) if layer.attributes.get("activation") == "relu" else total
            total += Fraction(bias[at[-1]]) if bias is not None else 0
            out[at] = exact(exact(total, layer.accumulator) if layer.accumulator else total, layer.type)
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
