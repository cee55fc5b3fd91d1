"""Pairs of seeds, and intervals from the jackknife.

Pairs that share a network are not independent, so the spread over pairs would give intervals that are far too narrow. The jackknife leaves
out one *network* at a time, with all its pairs (Arvesen, "Jackknifing U-statistics", Ann. Math. Stat. 40, 1969).
"""

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from flow.statistics import LEVEL

Pair = tuple[int, int]
Interval = tuple[float, float]


def pairs(count: int) -> list[Pair]:
    """Return the pairs of so many networks.

    >>> pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return list(itertools.combinations(range(count), 2))


def plural(count: int, word: str) -> str:
    """Return a number with its word.

    >>> plural(1, "pair"), plural(3, "pair")
    ('1 pair', '3 pairs')
    """
    return f"{count} {word}{'s' * (count != 1)}"


def jackknife(value: float, without: NDArray[np.float64]) -> Interval:
    """Return the 95 % interval around a figure from its values (n,) without one of n things each, by Student's t distribution."""
    error = float(np.sqrt((len(without) - 1) / len(without) * np.square(without - without.mean()).sum()))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(without) - 1)) * error
    return value - half, value + half


def over_pairs(values: Mapping[Pair, float]) -> tuple[float, Interval | None]:
    """Return the mean over pairs, and its interval over the choice of seeds; None for a single pair, which has none."""
    members = sorted({i for pair in values for i in pair})
    mean = float(np.mean(list(values.values())))
    rest = [[value for pair, value in values.items() if i not in pair] for i in members]
    return mean, jackknife(mean, np.array([np.mean(one) for one in rest])) if all(rest) else None
