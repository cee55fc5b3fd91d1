"""Rank correlations, plain and partial, and recall, with intervals from a bootstrap over configurations and from shuffles of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from flow.screening.regression import Floats, Groups
from flow.statistics import LEVEL

RESAMPLES = 2000
SHUFFLES = 200
Interval = tuple[float, float]
Rows = NDArray[np.intp]


def _unit(columns: Floats) -> Floats:
    """Centre columns (n, m) and scale them to length 1; NaN for a constant one."""
    centred = columns - columns.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(centred / np.where(length > 1e-9 * len(columns), length, np.nan))


def spearman(x: Floats, y: Floats) -> Floats:
    """Return Spearman's rank correlation of each column of (n, m) with that of (n, m) or (n, 1), (m,); NaN if one is constant.

    >>> spearman(np.array([[1.0, 5.0], [2.0, 4.0], [9.0, 0.0]]), np.array([[0.0], [1.0], [2.0]])).round(9).tolist()
    [1.0, -1.0]
    """
    return np.asarray((_unit(rankdata(x, axis=0)) * _unit(rankdata(y, axis=0))).sum(axis=0))


def partial(x: Floats, y: Floats, given: Floats) -> Floats:
    """Return the rank correlation of each column of (n, m) with (n,) that is left when the ranks of `given` (n, q) are regressed out.

    NaN if nothing is left of one side.
    """
    fixed = np.concatenate([np.ones((len(y), 1)), rankdata(given, axis=0)], axis=1)
    both = rankdata(np.concatenate([x, y[:, None]], axis=1), axis=0)
    left = _unit(both - fixed @ np.linalg.lstsq(fixed, both, rcond=1e-9)[0])
    return np.asarray(left[:, :-1].T @ left[:, -1])


def quarter(n: int) -> int:
    """Return how many of n points are a quarter, at least one."""
    return max(1, round(n / 4))


def _members(values: Floats, count: int) -> Floats:
    """Return how much each of (n,) belongs to the `count` smallest, (n,); those that tie for the last places share them."""
    last = np.partition(values, count - 1)[count - 1]
    below, ties = values < last, values == last
    return np.where(below, 1.0, np.where(ties, (count - below.sum()) / ties.sum(), 0.0))


def recall(predicted: Floats, measured: Floats) -> float:
    """Return the share of the quarter with the smallest measured values (n,) that is in the quarter with the smallest predicted ones.

    >>> recall(np.arange(8.0), np.array([0.0, 5, 1, 6, 7, 8, 9, 10]))
    0.5
    """
    count = quarter(len(measured))
    return float(_members(predicted, count) @ _members(measured, count)) / count


def bootstrap(figures: Callable[[Rows], Floats], groups: Groups, rng: np.random.Generator) -> Floats:
    """Return figures of resampled points: configurations are drawn with replacement, all seeds of each together.

    Args:
        figures: rows of points -> (m,).
        groups: configuration of each point.
        rng: source of the draws.

    Returns:
        (RESAMPLES, m), NaN where a figure does not exist for a draw.
    """
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    picks = rng.integers(0, len(rows), (RESAMPLES, len(rows)))
    return np.stack([figures(np.concatenate([rows[i] for i in pick])) for pick in picks])


def percentiles(draws: Floats) -> list[Interval | None]:
    """Return the 95 % interval of each column of what `bootstrap` returned; None if half of its draws do not exist."""
    found = [column[np.isfinite(column)] for column in draws.T]
    ends = [np.quantile(c, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)) if 2 * len(c) >= len(draws) else None for c in found]
    return [None if e is None else (float(e[0]), float(e[1])) for e in ends]


def widened(value: float, ci: Interval | None, null: Floats, correlation: bool = False) -> Interval | None:
    """Widen a bootstrap interval until it excludes 0 only if shuffles of the targets reach as much in less than 5 %.

    The bootstrap alone is too narrow for the figures of predictions: it does not know that regressions on other points would have
    predicted otherwise. Regressions on shuffled targets do. Where the figure is not 0, the same width is laid around it.

    Args:
        value: the figure; None is returned for NaN.
        ci: of the bootstrap.
        null: the figure for shuffles, (k,); NaN counts as 0.
        correlation: lay the width around Fisher's z, whose spread hardly depends on the value.
    """
    if not np.isfinite(value):
        return None
    reach = float(np.quantile(np.abs(np.nan_to_num(null)), LEVEL))
    if correlation:
        middle, half = np.arctanh(np.clip([value, reach], -0.999, 0.999))
        ends = float(np.tanh(middle - half)), float(np.tanh(middle + half))
    else:
        ends = value - reach, value + reach
    return (min(ends[0], ci[0]), max(ends[1], ci[1])) if ci else ends


def partial_interval(value: float, ci: Interval | None, freedom: int) -> Interval | None:
    """Widen the bootstrap interval of a partial correlation to that of Fisher's z, if that is wider: with few points it is.

    Args:
        value: the correlation; None is returned for NaN.
        ci: of the bootstrap.
        freedom: points less what was regressed out, not counting the mean.
    """
    if not np.isfinite(value) or freedom <= 3:
        return None
    middle, half = np.arctanh(np.clip(value, -0.999, 0.999)), norm.ppf(0.5 + LEVEL / 2) / (freedom - 3) ** 0.5
    ends = float(np.tanh(middle - half)), float(np.tanh(middle + half))
    return (min(ends[0], ci[0]), max(ends[1], ci[1])) if ci else ends


def shuffles(groups: Groups, rng: np.random.Generator, count: int = SHUFFLES) -> Rows:
    """Return permutations (n, count) that give each configuration the targets of another one.

    One with fewer seeds than the other gives some of them twice.
    """
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    orders = np.empty((len(groups), count), np.intp)
    for k in range(count):
        for mine, other in zip(rows, rng.permutation(len(rows)), strict=True):
            orders[mine, k] = np.resize(rng.permutation(rows[other]), len(mine))
    return orders
