"""Multipliers and memories of the hls4ml project, by rule: what high-level synthesis makes of a strategy and a reuse factor.

The rules were compared with reports of Vivado HLS (docs/vivado.md has the figures):

- ``latency`` with reuse factor 1: weights are constants. A constant with at least three signed digits gets a DSP slice, one with fewer
  becomes adders. Six layers of two networks (Vivado HLS 2019.2 and 2020.1): 1.00 to 1.10 times the slices of the report.
- ``resource``, or a reuse factor above 1: one multiplier for so many weights, as DSP slices when an operand is wide. Four layers (2019.2):
  16 slices at 16 x 7 bits, none at 7 x 7 bits, as reported; where between 7 and 16 bits the border lies was not seen.
- ``resource``: the weights that are needed at once lie side by side in memories of 512 words of 36 bits. The same four layers: 4, 7, 4
  and 1 memories, as reported.
- ``distributed_arithmetic``: adders only.
"""

import math
from dataclasses import dataclass

import numpy as np

from flow.estimate.features import signed_digits
from flow.rtl.graph import Graph, Layer

VERSION = 1
DIGITS = 3
WIDE = 10  # bits of the wider operand up to which a product of two variables is made of look-up tables
WORDS, WIDTH = 512, 36  # of a block RAM of 18 kbit


@dataclass(frozen=True)
class Multipliers:
    """DSP slices and block RAMs (18 kbit) of a project."""

    dsp: int
    bram18: int


def count(graph: Graph, strategy: str, reuse: int) -> Multipliers:
    """Apply the rules to all layers; a convolution works on one position at a time.

    Args:
        graph: the lowered network.
        strategy: ``latency``, ``resource`` or ``distributed_arithmetic``.
        reuse: reuse factor.
    """
    types = {layer.name: graph.port.type if layer.kind == "Input" else layer.type for layer in graph.layers}
    found = [_layer(layer, types[layer.inputs[0]].width, strategy, reuse) for layer in graph.layers if "weight" in layer.weights]
    return Multipliers(sum(m.dsp for m in found), sum(m.bram18 for m in found))


def _layer(layer: Layer, width: int, strategy: str, reuse: int) -> Multipliers:
    value, kept = layer.weights["weight"]
    if strategy == "distributed_arithmetic":
        return Multipliers(0, 0)
    wide = max(width, kept.width) > WIDE
    if strategy == "latency" and reuse == 1:
        codes = np.rint(np.ldexp(value, kept.fraction)).astype(np.int64)
        return Multipliers(int(np.count_nonzero(signed_digits(codes) >= DIGITS)) if wide else 0, 0)
    at_once = math.ceil(value.size / reuse)
    if strategy == "latency":
        return Multipliers(math.ceil(np.count_nonzero(value) / reuse) if wide else 0, 0)
    memories = math.ceil(at_once * kept.width / WIDTH) * math.ceil(min(reuse, value.size) / WORDS) if reuse > 1 else 0
    return Multipliers(at_once if wide else 0, memories)
