"""Rank correlation, plain and given a third variable, with permutation p-values."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
FEWEST = 8
DRAWS = 9_999
SEED = 20_250_208


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Attributes:
        rho: in [-1, 1].
        p: two-sided permutation p-value.
    """

    rho: float
    p: float


def ranks(values: Vector) -> Vector:
    """Return ranks from 1, ties get their mean rank. Shape (n,) -> (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((2 * ends - counts + 1) / 2)[inverse].astype(np.float64)


@cache
def _orders(n: int) -> NDArray[np.intp]:
    rng = np.random.default_rng([SEED, n])
    return np.argsort(rng.random((DRAWS, n)), axis=1)


def _permuted(x: Vector, y: Vector) -> Correlation | None:
    """Correlate centred vectors of shape (n,) and shuffle one of them."""
    scale = float(np.sqrt((x @ x) * (y @ y)))
    if scale <= 1e-9 * x.size:
        return None
    rho = float(x @ y) / scale
    shuffled = x[_orders(x.size)] @ y / scale
    # The slack keeps a tie a tie on every machine: sums of the same ranks in another order differ in the last bit.
    extreme = int(np.count_nonzero(np.abs(shuffled) >= abs(rho) - 1e-9))
    return Correlation(float(np.clip(round(rho, 10), -1, 1)), (extreme + 1) / (DRAWS + 1))


def spearman(x: Vector, y: Vector) -> Correlation | None:
    """Return Spearman's rank correlation of two vectors of shape (n,).

    The p-value counts shuffles (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010: never 0), with a fixed seed.

    Returns:
        None for fewer than `FEWEST` points, or if one of the two is constant.
    """
    if x.size < FEWEST:
        return None
    rx, ry = ranks(x), ranks(y)
    return _permuted(rx - rx.mean(), ry - ry.mean())


def partial(x: Vector, y: Vector, given: Vector) -> Correlation | None:
    """Return the rank correlation of `x` and `y` that is left when the rank of `given` is regressed out of both.

    For one given variable this is ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2))``. The residuals are shuffled for the
    p-value (Kennedy, J. Bus. Econ. Stat. 13, 1995).

    Returns:
        None for fewer than `FEWEST` points, a constant `given`, or nothing left to correlate.
    """
    if x.size < FEWEST:
        return None
    rz = ranks(given) - (given.size + 1) / 2
    norm = float(rz @ rz)
    if norm == 0:
        return None
    centred = [ranks(v) - (v.size + 1) / 2 for v in (x, y)]
    rx, ry = (v - rz * (float(rz @ v) / norm) for v in centred)
    return _permuted(rx, ry)


def holm(p_values: list[float], level: float = 0.05) -> list[bool]:
    """Tell which of many tests stand at a family-wise error `level` (Holm, Scand. J. Stat. 6, 1979)."""
    stands = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > level / (len(p_values) - step):
            break
        stands[index] = True
    return stands
