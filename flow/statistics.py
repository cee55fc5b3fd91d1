"""Confidence intervals of sampled figures."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
RESAMPLES = 1000


def mean_interval(values: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """Return the mean of independent values and its 95 % confidence interval, from Student's t distribution.

    Args:
        values: (N,) with N >= 2.

    Returns:
        The mean, and ``(low, high)``.

    >>> mean_interval(np.array([1.0, 3.0]))[0]
    2.0
    """
    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1)) * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, (mean - half, mean + half)


def quantile_interval(values: NDArray[np.float64], quantile: float, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Return a quantile of independent values and its 95 % confidence interval, from the percentile bootstrap.

    Args:
        values: (N,).
        quantile: between 0 and 1.
        rng: source of the 1000 resamples.

    Returns:
        The quantile, and ``(low, high)``.
    """
    picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.quantile(values[picks], quantile, axis=1), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(np.quantile(values, quantile)), (float(low), float(high))
