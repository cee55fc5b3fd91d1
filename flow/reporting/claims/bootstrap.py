"""Confidence intervals for points of which some share a configuration: the bootstrap over configurations.

Whole configurations are drawn with replacement, with all their seeds (cluster bootstrap; Cameron, Gelbach and Miller, Rev. Econ. Stat.
90, 2008). The standard deviation of the statistic over the draws is its standard error, times ``sqrt(G / (G - 1))`` for G configurations,
and the interval is that of Student's t with G - 1 degrees of freedom. For the mean of equally many points in each configuration this is
the t interval over the means of the configurations, which holds for few of them (Ibragimov and Mueller, J. Bus. Econ. Stat. 28, 2010). A
correlation is treated on Fisher's scale, a ratio on the logarithmic one. Interval and p-value agree: p < 5 % if and only if the interval
excludes the threshold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
DRAWS = 2000
SEED = 20_250_208
FEWEST = {"plain": 3, "ratio": 3, "rho": 6}
"""Configurations below which there is no interval; simulated correlations over fewer than six have intervals that are too narrow."""
DIGITS = 6
"""Significant digits that are kept: sums in another order differ in the last bits."""
DEFINED = 0.9
"""Part of the draws in which the statistic must exist."""
LARGEST_RHO = 0.9999
NOTHING = 1e-12
"""Variance of ranks, as shares, that is rounding; that of different ranks is 1/12."""


@dataclass(frozen=True)
class Effect:
    """A statistic of a study.

    Attributes:
        value: the statistic.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of the test that the statistic is at the threshold.
        points: design points, or pairs of them, that it is made of.
        clusters: configurations that they belong to.
    """

    value: float
    low: float
    high: float
    p: float
    points: int
    clusters: int


def _same(values: Matrix) -> Matrix:
    return values


def _fisher(values: Matrix) -> Matrix:
    return np.arctanh(np.clip(values, -LARGEST_RHO, LARGEST_RHO))


def _log(values: Matrix) -> Matrix:
    return np.log(np.where(values > 0, values, np.nan))


SCALES: dict[str, tuple[Callable[[Matrix], Matrix], Callable[[Matrix], Matrix]]] = {
    "plain": (_same, _same), "rho": (_fisher, np.tanh), "ratio": (_log, np.exp),
}  # fmt: skip


@cache
def _counts(clusters: int) -> Matrix:
    rng = np.random.default_rng([SEED, clusters])
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), DRAWS).astype(np.float64)


def weights(labels: Sequence[str]) -> Matrix:
    """Return how often each point is in each draw, (DRAWS, n): as often as its configuration."""
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    return _counts(len(names))[:, index]


def rounded(value: float) -> float:
    """Round to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS - 1}e}")


def interval(statistics: Vector, points: int, clusters: int, scale: str = "plain", threshold: float = 0.0) -> Effect | None:
    """Return a statistic with its interval.

    Args:
        statistics: of the study itself, then of each draw, (1 + DRAWS,); NaN where it does not exist.
        points: in the study.
        clusters: configurations in the study.
        scale: ``plain``, ``rho`` or ``ratio``.
        threshold: what the p-value is about.

    Returns:
        None for too few configurations, or a statistic that too few draws have.
    """
    if clusters < FEWEST[scale]:
        return None
    there, back = SCALES[scale]
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = there(statistics)
    value, draws = float(scaled[0]), scaled[1:][np.isfinite(scaled[1:])]
    if not np.isfinite(value) or len(draws) < DEFINED * DRAWS:
        return None
    error = float(draws.std()) * (clusters / (clusters - 1)) ** 0.5
    half = float(stats.t.ppf(0.975, clusters - 1)) * error
    distance = value - float(there(np.array([threshold]))[0])
    # A figure that is the same for all configurations has no error, and rounding leaves less than this of one.
    exact = error <= 1e-12 * max(abs(value), 1e-12)
    p = float(distance == 0) if exact else float(2 * stats.t.sf(abs(distance) / error, clusters - 1))
    low, middle, high = (rounded(float(back(np.array([v]))[0])) for v in (value - half, value, value + half))
    return Effect(middle, low, high, rounded(p), points, clusters)


def with_study(labels: Sequence[str]) -> Matrix:
    """Return the weights of the study itself, all one, and then those of the draws, (1 + DRAWS, n)."""
    return np.concatenate([np.ones((1, len(labels))), weights(labels)])


def effect(statistic: Callable[[Matrix], Matrix], labels: Sequence[str], scale: str = "plain", threshold: float = 0.0) -> Effect | None:
    """Return a statistic with its interval; see `interval`.

    Args:
        statistic: of weights (B, n) of the points, whole numbers that say how often a point is there; (B,).
        labels: configuration of each point, (n,).
        scale: ``plain``, ``rho`` or ``ratio``.
        threshold: what the p-value is about.
    """
    clusters = len(set(labels))
    if clusters < FEWEST[scale]:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval(statistic(with_study(labels)), len(labels), clusters, scale, threshold)


def mean(values: Vector) -> Callable[[Matrix], Matrix]:
    """Return the statistic: mean of values (n,)."""

    def statistic(w: Matrix) -> Matrix:
        average: Matrix = (w @ values) / w.sum(axis=1)
        return average

    return statistic


def mean_ratio(top: Vector, bottom: Vector) -> Callable[[Matrix], Matrix]:
    """Return the statistic: geometric mean of ``top / bottom``, (n,) both, all positive."""
    of_logs = mean(np.log(top / bottom))

    def statistic(w: Matrix) -> Matrix:
        ratio: Matrix = np.exp(of_logs(w))
        return ratio

    return statistic


def _ranks(values: Vector, w: Matrix) -> Matrix:
    """Return the mid-ranks of values (n,) within each draw (B, n), as shares less their mean; a point that is there twice counts twice."""
    before = (values[:, None] < values[None, :]) + 0.5 * (values[:, None] == values[None, :])
    found: Matrix = (w @ before) / w.sum(axis=1, keepdims=True)
    centre: Matrix = _sum(found, w) / w.sum(axis=1, keepdims=True)
    return found - centre


def _sum(column: Matrix, w: Matrix) -> Matrix:
    """Return the weighted sum in each draw, (B, n) -> (B, 1)."""
    total: Matrix = np.einsum("bn,bn->b", column, w)[:, None]
    return total


def _project(column: Matrix, onto: Matrix, w: Matrix) -> Matrix:
    return column - onto * _sum(column * onto, w) / np.maximum(_sum(onto * onto, w), NOTHING)


def remainders(values: Sequence[Vector], given: Sequence[Vector], w: Matrix) -> list[Matrix]:
    """Return what is left of the ranks of each of `values` when the ranks of `given` are regressed out, in each draw.

    Args:
        values: (n,) each.
        given: (n,) each; one that is constant, or follows from the others, is as if it were not there.
        w: weights (B, n).

    Returns:
        (B, n) for each of `values`.
    """
    basis: list[Matrix] = []
    for one in given:
        column = _ranks(one, w)
        for before in basis:
            column = _project(column, before, w)
        norm = _sum(column * column, w)
        # Of a column that the others explain only rounding is left, which must not be divided by itself.
        basis.append(np.where(norm > NOTHING * w.sum(axis=1, keepdims=True), column, 0.0))
    left = [_ranks(one, w) for one in values]
    for column in basis:
        left = [_project(one, column, w) for one in left]
    return left


def unit(column: Matrix, w: Matrix) -> Matrix:
    """Scale a centred column in each draw so that `correlate` needs no weights, (B, n); NaN where it is nothing."""
    share = w / w.sum(axis=1, keepdims=True)
    length = _sum(column * column, share)
    scale: Matrix = np.sqrt(share / np.where(length > NOTHING, length, np.nan))
    return column * scale


def correlate(a: Matrix, b: Matrix) -> Vector:
    """Return the correlation of two columns of `unit` in each draw, (B, n) twice -> (B,)."""
    rho: Vector = np.einsum("bn,bn->b", a, b)
    return rho


def rank_correlation(x: Vector, y: Vector, *given: Vector) -> Callable[[Matrix], Matrix]:
    """Return the statistic: Spearman's correlation of what is left of `x` and `y`, (n,), when the ranks of `given` are regressed out."""

    def statistic(w: Matrix) -> Matrix:
        left, right = (unit(column, w) for column in remainders([x, y], given, w))
        return correlate(left, right)

    return statistic
