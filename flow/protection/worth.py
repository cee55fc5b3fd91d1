"""What protection buys: how much of the harm of single upsets is left, exactly, from the map of what each deployed bit does.

The deployed bits are upset alike, and one at a time: what is left is the sum over the bits that are not protected. Cells that a protected
bit has more of do no harm alone, and are not counted.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from flow.protection.hamming import Ints

Values = NDArray[np.float64]


def critical_first(harm: Values) -> Ints:
    """Return the bits, the most harmful first; equal ones in their order."""
    return np.argsort(-harm, kind="stable").astype(np.int64)


def remaining(harm: Values, order: Ints, counts: Sequence[int]) -> Values:
    """Return what is left for each upset of the bare store when the first so many bits are protected.

    Args:
        harm: of each bit (B,).
        order: the bits, the first ones are protected first.
        counts: how many (S,).

    Returns:
        (S,), the mean over all bits with that of protected bits 0.
    """
    left = np.concatenate([np.cumsum(harm[order][::-1])[::-1], [0.0]])
    return np.asarray(left[list(counts)] / len(harm))


def by_level(harm: Values, level: Ints, counts: Sequence[int]) -> Values:
    """Return the same, expected, when bits are taken by their level, the lowest first, and at random within one.

    Args:
        harm: of each bit (B,).
        level: of each bit (B,); the same for all: bits at random.
        counts: how many (S,).
    """
    _, group = np.unique(level, return_inverse=True)
    mean = np.bincount(group, harm) / np.bincount(group)
    return remaining(mean[group], np.argsort(level, kind="stable").astype(np.int64), counts)


def share(flags: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """Return a share in percent with its 95 % interval (Clopper, Pearson, Biometrika 26, 1934), which is right at 0 too."""
    hits, count = int(flags.sum()), len(flags)
    low = stats.beta.ppf(0.025, hits, count - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, count - hits) if hits < count else 1.0
    return 100 * hits / count, (100 * float(low), 100 * float(high))
