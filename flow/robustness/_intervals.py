"""Means and quantiles over random faults and random samples at once: all faults are scored on the same samples.

A degradation is a sum of what the fault, the sample and the two together do. The variance of its mean over T faults and n samples is
``a / T + b / n`` less what both count twice (crossed random effects; Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 2007). Few faults do
most of the harm, so this mean is skewed; Student's interval is then too low on both sides. Its ends are moved by the Edgeworth expansion of
the t statistic in the monotone form of Hall (On the removal of skewness by transformation, JRSS B 1992).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from flow.robustness._subject import Values
from flow.statistics import LEVEL, RESAMPLES

FIRST, GROWTH = 100, 1.5
BLOCK = 2**20  # numbers of a block of resamples; not what memory allows, for their order depends on it
Interval = tuple[float, float]
Rows = Callable[[int], Values]


def crossed_mean(table: Values) -> tuple[float, Interval]:
    """Return the mean of a table (T, n), both at least 2, whose rows and columns are random, and its 95 % confidence interval."""
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), float(table.mean())
    many, samples = table.shape
    both = table - rows[:, None] - columns + mean
    twice = float(np.square(both).sum()) / ((many - 1) * (samples - 1)) / table.size
    by_row, by_column = float(rows.var(ddof=1)) / many, max(float(columns.var(ddof=1)) / samples - twice, 0.0)
    variance = by_row + by_column
    if variance <= 0:
        return mean, (mean, mean)
    freedom = variance**2 / (by_row**2 / (many - 1) + by_column**2 / (samples - 1))  # Satterthwaite
    skewness = (_third(rows) / many**2 + _third(columns) / samples**2) / variance**1.5
    t = float(stats.t.ppf(0.5 + LEVEL / 2, freedom))
    low, high = (mean - variance**0.5 * _unskewed(end, skewness) for end in (t, -t))
    return mean, (low, high)


def _third(values: Values) -> float:
    """Return the third central moment, without bias."""
    count = len(values)
    return float(np.power(values - values.mean(), 3).sum()) * count / ((count - 1) * (count - 2)) if count > 2 else 0.0


def _unskewed(t: float, skewness: float) -> float:
    """Return the quantile of the t statistic of a mean with this skewness where that of a normal one is `t`."""
    moved = t - skewness / 6
    return moved if abs(skewness) < 1e-6 else 3 / skewness * (float(np.cbrt(1 + skewness * moved)) - 1)


@dataclass(frozen=True)
class Sampled:
    """What random faults did.

    Attributes:
        table: (T, n); its mean is the figure.
        mean: that.
        interval: its 95 % confidence interval.
        why: what ended the sampling, in words.
    """

    table: Values
    mean: float
    interval: Interval
    why: str


def sample_until(rows: Rows, most: int, relative: float) -> Sampled:
    """Draw more rows until the half-width of the interval is small relative to the mean.

    Rounds grow by half, from 100 rows: an interval from fewer may be narrow by chance, and few looks leave little to chance.

    Args:
        rows: T -> (T, n), the first rows.
        most: rows.
        relative: half-width over mean that is small enough.
    """
    count = min(FIRST, most)
    while True:
        table = rows(count)
        mean, (low, high) = crossed_mean(table)
        if 0 < (high - low) / 2 <= relative * abs(mean):
            return Sampled(table, mean, (low, high), f"enough for {100 * relative:g} % of the mean")
        if count == most:
            return Sampled(table, mean, (low, high), "as many as are allowed")
        count = min(int(GROWTH * count), most)


def weighted_quantile(values: Values, weights: Values, quantile: float) -> Values:
    """Return the least value up to which a share of the weight lies, column by column.

    Args:
        values: (T, R).
        weights: (T, R), not negative.
        quantile: the share, between 0 and 1.
    """
    order = np.argsort(values, axis=0, kind="stable")
    shares = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    at = np.minimum((shares < quantile * shares[-1]).sum(axis=0), len(values) - 1)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, axis=0), at[None], axis=0)[0])


def crossed_quantile(table: Values, weights: Values, quantile: float, rng: np.random.Generator) -> tuple[float, Interval]:
    """Return a quantile of the row means of a table, and its 95 % interval of the pigeonhole bootstrap, which draws rows and columns anew.

    Args:
        table: (T, n).
        weights: of the rows (T,).
        quantile: between 0 and 1.
        rng: source of the 1000 resamples.
    """
    value = float(weighted_quantile(table.mean(axis=1)[:, None], weights[:, None], quantile)[0])
    again, size = np.empty(RESAMPLES), max(1, BLOCK // sum(table.shape))
    for start in range(0, RESAMPLES, size):
        part = slice(start, min(start + size, RESAMPLES))
        drawn = [rng.multinomial(length, np.full(length, 1 / length), part.stop - start).T for length in table.shape]
        again[part] = weighted_quantile(table @ drawn[1] / table.shape[1], weights[:, None] * drawn[0], quantile)
    low, high = np.quantile(again, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return value, (min(float(low), value), max(float(high), value))
