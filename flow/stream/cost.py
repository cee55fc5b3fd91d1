"""What the arithmetic of one layer takes in look-up tables and DSP slices, unrolled or reused: estimates, before synthesis.

Unrolled, it is the law of `flow.estimate.model` at the adder bits, digits and products of one window. An array of multipliers is the sum of
its parts, which are counted from the weights:

=================  =====================================================================================================
part               look-up tables
=================  =====================================================================================================
products           `PRODUCT` for each of (weight bits - 2) x (input bits + 1) full adders; none where DSP slices multiply
table of weights   `TABLE` for each bit that differs from the others, and from 0 and 1, over the steps, and each 64 steps
choice of inputs   `CHOICE` for each bit and four steps
sums and words     `SUM` a bit of each adder and accumulator, and a bit that is rounded, clamped or compared behind the sums
=================  =====================================================================================================

The four numbers were fitted to arrays that Yosys mapped for the family xcu; see docs/streaming.md. Line buffers and queues are in neither.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.estimate import features
from flow.estimate.model import law
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.stream.mac import accumulator, tail

PRODUCT, TABLE, CHOICE, SUM = 2.11, 1.72, 1.9, 1.23  # look-up tables
SPREAD = 1.28  # 95 of 100 arrays are within this factor: leave-one-out over those of the fit, Student's t
DSP_BITS = 9  # of Xilinx: Yosys keeps narrower products in look-up tables


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        lut: look-up tables.
        low: they are at least so many in 95 of 100 cases.
        high: at most.
        dsp: DSP slices.
    """

    lut: float
    low: float
    high: float
    dsp: int = 0


@dataclass(frozen=True)
class Array:
    """Parts of an array of multipliers.

    Attributes:
        products: multipliers with a weight that is not always 0.
        adders: full adders in them.
        product_width: bits of one product.
        table: look-up tables of weights.
        choice: look-up tables that choose the inputs of a step.
        sums: bits of the adders of the trees.
        accumulators: bits of the accumulators.
        words: bits that are rounded, clamped or compared behind them.
    """

    products: int
    adders: int
    product_width: int
    table: int
    choice: int
    sums: int
    accumulators: int
    words: float


def unrolled(graph: Graph, traced: bool = False) -> Cost:
    """Estimate the adder trees of a window.

    Args:
        graph: window -> dense -> ....
        traced: let alkaid make the adder trees, which takes a few seconds for 2,000 weights and halves the interval.
    """
    found = features.features(graph, levels=1.0)  # look-up tables do not depend on where the registers are
    if traced:
        found["alkaid_cost"] = max(float(lower(graph).logic.cost), 1.0)
    lut = law("lut", traced).predict(found)
    return Cost(lut.value, lut.low, lut.high)


def count(graph: Graph, reuse: int) -> Array:
    """Count the parts of the array that `flow.stream.mac.build_mac` writes.

    Args:
        graph: window -> dense -> ....
        reuse: cycles of a window, at least 2.
    """
    window, _, dense = graph.layers[:3]
    kernel, kept = dense.weights["weight"]
    n, outputs = kernel.shape
    lanes = -(-n // reuse)
    codes = np.zeros((reuse * lanes, outputs), np.int64)
    codes[:n] = kept.codes(kernel)
    steps = codes.reshape(reuse, lanes * outputs)
    live = (steps != 0).any(axis=0).reshape(lanes, outputs)
    width = window.type.width + (not window.type.signed) + kept.width + (not kept.signed)
    total = accumulator(graph)
    work = features.layers(tail(graph))
    return Array(
        products=int(live.sum()), adders=int(live.sum()) * max(kept.width - 2, 1) * (window.type.width + 1), product_width=width,
        table=_table(steps, kept.width), choice=int(live.any(axis=1).sum()) * window.type.width * -(-reuse // 4),
        sums=_sums(live.sum(axis=0), width), accumulators=int(live.any(axis=0).sum()) * total.width,
        words=sum(w.word_bits for w in work.values()),
    )  # fmt: skip


def _table(steps: NDArray[np.int64], width: int) -> int:
    """Return the look-up tables of a table of weights: bits that are the same, or always 0 or 1, take none of their own.

    Args:
        steps: (reuse, weights) codes.
        width: bits of a weight.
    """
    reuse = len(steps)
    if reuse <= 2:  # a bit is the counter, its inverse, or constant
        return 0
    columns = ((steps[:, :, None] >> np.arange(width)) & 1).astype(np.uint8).reshape(reuse, -1)
    columns = columns[:, columns.any(axis=0) & ~columns.all(axis=0)]
    return len(np.unique(np.packbits(columns, axis=0), axis=1).T) * -(-reuse // 64)


def _sums(terms: NDArray[np.int64], width: int) -> int:
    """Return the bits of the adders that make one sum of each output's products; every level of four adds two bits, as in the Verilog."""
    bits = 0
    for count in terms.tolist():
        left, wide = int(count), width
        while left > 1:
            groups, wide = -(-left // 4), wide + 2
            bits += (left - groups) * wide
            left = groups
    return bits


def reusable(graph: Graph) -> bool:
    """Tell whether the sums of a layer are the same in every order, which an array of multipliers needs."""
    try:
        tail(graph)
    except InvalidInput:
        return False
    return True


def array(graph: Graph, reuse: int, dsp: bool, dsp_bits: int = DSP_BITS) -> Cost:
    """Estimate an array of multipliers.

    Args:
        graph: window -> dense -> ....
        reuse: cycles of a window, at least 2.
        dsp: products may be mapped to DSP slices.
        dsp_bits: of the narrowest product that is.
    """
    parts = count(graph, reuse)
    slices = parts.products if dsp and parts.product_width >= dsp_bits else 0
    products = 0.0 if slices else PRODUCT * parts.adders
    lut = products + TABLE * parts.table + CHOICE * parts.choice + SUM * (parts.sums + parts.accumulators + parts.words)
    return Cost(lut, lut / SPREAD, lut * SPREAD, slices)


def estimate(graph: Graph, reuse: int, dsp: bool = False, dsp_bits: int = DSP_BITS) -> Cost:
    """Estimate the arithmetic of a layer with a reuse factor; 1: unrolled, which uses no DSP slice.

    Args:
        graph: window -> dense -> ....
        reuse: cycles of a window.
        dsp: products of two signals may be mapped to DSP slices.
        dsp_bits: of the narrowest product that is.
    """
    return array(graph, reuse, dsp, dsp_bits) if reuse > 1 else unrolled(graph)
