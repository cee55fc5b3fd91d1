"""Task score: the accuracy; and, class by class, how well jets of one class are told from all others."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from flow.core.metric import Metric
from flow.model import Array, Score
from flow.statistics import LEVEL, RESAMPLES

from .features import CLASSES, Floats

EFFICIENCY = 0.5
"""Share of a class's own jets that pass, at which the rejection of the others is given."""


def per_sample(output: Array, target: Array) -> Floats:
    """Return 1 where the largest logit (N, 5) is that of the true class, else 0, (N,).

    The first of equal logits counts as the largest; a jet with a logit that is not finite is not recognised.
    """
    hit: Floats = (output.argmax(axis=1) == target.argmax(axis=1)).astype(np.float64)
    return hit * np.isfinite(output).all(axis=1)


def trivial(target: Array) -> Array:
    """Return logits (5,) that always choose the class that most training targets (N, 5) have."""
    logits = np.zeros(target.shape[1], dtype=np.float32)
    logits[target.sum(axis=0).argmax()] = 1.0
    return logits


def _log_odds(output: Array) -> Floats:
    """Return log p / (1 - p) of the softmax p of logits (N, 5); it orders jets as p does, but does not saturate at 1."""
    logits = np.nan_to_num(output.astype(np.float64), nan=0.0, posinf=1e30, neginf=-1e30)
    others = ~np.eye(logits.shape[1], dtype=bool)
    return np.stack([logits[:, c] - logsumexp(logits[:, row], axis=1) for c, row in enumerate(others)], axis=1)


def auc(signal: Floats, background: Floats) -> tuple[float, tuple[float, float]]:
    """Return the probability that signal (m,) has the higher score than background (n,), ties by half, with its 95 % interval.

    The interval is from the variance of DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837, computed from ranks (Sun, Xu,
    IEEE Signal Process. Lett. 21 (2014) 1389).
    """
    m, n = len(signal), len(background)
    ranks = rankdata(np.concatenate([signal, background]))
    above: Floats = (ranks[:m] - rankdata(signal)) / n
    below: Floats = 1 - (ranks[m:] - rankdata(background)) / m
    value = float(above.mean())
    half = float(norm.ppf(0.5 + LEVEL / 2)) * math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)
    return value, (max(value - half, 0.0), min(value + half, 1.0))


def rejection(signal: Floats, background: Floats, generator: np.random.Generator) -> tuple[float, tuple[float, float]] | None:
    """Return one over the share of background (n,) that passes the cut which half of the signal (m,) passes, with its 95 % interval.

    The interval is from the percentile bootstrap of both samples. None where it has no upper end: hardly any background passes.
    """
    signal, m, n = np.sort(signal)[::-1], len(signal), len(background)
    background = np.sort(background)
    kth = math.ceil(EFFICIENCY * m)
    passing = 1 - np.searchsorted(background, signal) / n  # share of the background at or above each signal
    # The k-th of m resampled signals is number floor(m u) of them in order, with u the k-th of m uniform numbers: a beta variable.
    # How many resampled backgrounds pass its score is binomial.
    cut = (m * generator.beta(kth, m + 1 - kth, RESAMPLES)).astype(np.int64)
    shares = generator.binomial(n, passing[cut]) / n
    low, high = np.quantile(shares, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    share = float(passing[kth - 1])
    return (1 / share, (1 / float(high), 1 / float(low))) if min(low, share) > 0 else None


def extras(output: Array, target: Array, generator: np.random.Generator) -> Mapping[str, Metric]:
    """Return AUC and background rejection of each class against all others; a class with less than two jets has none."""
    odds, truth = _log_odds(output), target.argmax(axis=1)
    metrics: dict[str, Metric] = {}
    for number, kind in enumerate(CLASSES):
        own: NDArray[np.bool_] = truth == number
        signal, background = odds[own, number], odds[~own, number]
        if min(len(signal), len(background)) < 2:
            continue
        jets = f"{len(signal)} and {len(background)} test samples"
        value, ci = auc(signal, background)
        metrics[f"auc_{kind}"] = Metric(value, direction="higher", ci=ci, source=f"{jets}, DeLong", title=f"AUC of {kind}")
        if found := rejection(signal, background, generator):
            title = f"background rejection of {kind} at 50 % efficiency"
            metrics[f"rejection_{kind}"] = Metric(found[0], direction="higher", ci=found[1], source=f"{jets}, bootstrap", title=title)
    return metrics


SCORE = Score(
    id="accuracy", title="accuracy", unit="", direction="higher", per_sample=per_sample, trivial=trivial, extras=extras
)  # fmt: skip
