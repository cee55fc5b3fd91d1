"""Bounds that make float arithmetic exact: every value of a tensor is an integer of known magnitude times a power of two."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Where the values of a tensor lie: integers of magnitude at most `peak`, times 2**`exponent`.

    Attributes:
        exponent: binary logarithm of the lowest bit.
        peak: largest magnitude in units of the lowest bit.
        real: the values lie on no grid at all, so nothing but a quantizer may compute with them.
    """

    exponent: int
    peak: int
    real: bool = False

    def __add__(self, other: "Grid") -> "Grid":
        exponent = min(self.exponent, other.exponent)
        return Grid(exponent, sum(g.peak << (g.exponent - exponent) for g in (self, other)))

    def __or__(self, other: "Grid") -> "Grid":
        """Return the grid of tensors that are joined."""
        exponent = min(self.exponent, other.exponent)
        return Grid(exponent, max(g.peak << (g.exponent - exponent) for g in (self, other)))

    def products(self, other: "Grid", count: int) -> "Grid":
        """Return the grid of a sum of `count` products, and of all of its partial sums."""
        return Grid(self.exponent + other.exponent, self.peak * other.peak * count)


@dataclass(frozen=True)
class Operand:
    """What is known about an input of a node before anything runs.

    Attributes:
        grid: where its values lie.
        shape: its shape for one batch.
        static: computed from constants and parameters only, so it has no sample axis.
    """

    grid: Grid
    shape: tuple[int, ...]
    static: bool


def constant_grid(value: NDArray[Any], bits: int = 16) -> Grid | None:
    """Find the coarsest grid that holds a constant.

    Returns:
        The grid, or None if it needs more bits: then it is a float parameter that was not quantized.

    >>> constant_grid(np.array([0.75, -2.0]))
    Grid(exponent=-2, peak=8, real=False)
    >>> constant_grid(np.array([0.1])) is None
    True
    """
    if not np.isfinite(value).all():
        return None
    mantissa, exponent = np.frexp(value[value != 0].astype(np.float64))
    if mantissa.size == 0:
        return Grid(0, 0)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = int((exponent - 53 + np.round(np.log2((whole & -whole).astype(np.float64))).astype(int)).min())
    peak = int(np.ceil(np.max(np.abs(value)) / 2.0**lowest)) if lowest > -1000 else 2**60
    return Grid(lowest, peak) if peak <= 2**bits else None
