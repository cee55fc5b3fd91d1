"""What a perturbation of rising strength does: the degradation at each level, the area under the curve, and where it becomes visible."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.robustness._subject import Subject, Values
from flow.statistics import RESAMPLES, mean_interval

Levels = Sequence[float]


def curve(
    subject: Subject, config: RobustnessConfig, name: str, title: str, unit: str, levels: Levels, values: Values,
    rng: np.random.Generator, source: str,
) -> dict[str, Metric]:  # fmt: skip
    """Make the figures of a degradation curve.

    Args:
        subject: what was perturbed.
        config: its `tolerance` says what is visible.
        name: the part of the ids that tells this perturbation.
        title: words for a table.
        unit: of the levels, e.g. ``%``; empty for a count.
        levels: strengths, rising.
        values: (levels, samples) degradation of each sample, the mean over its draws. The samples are independent.
        rng: of the bootstrap over samples.
        source: how the values came about, e.g. ``1000 samples, 5 draws``.

    Returns:
        ``<score>_<name>_<level>``: mean degradation, Student's t over samples; ``<score>_<name>_area``: mean degradation over strengths
        from 0 to the largest (trapezoids; zero strength has none), and, where the curve gets there, ``<score>_<name>_critical``: the
        strength from which on the score is worse by `tolerance` of its clean value (linear between levels), both with the percentile
        bootstrap over samples. A level is written with at most six digits.
    """
    score, metrics = subject.score, dict[str, Metric]()
    words = f" {unit}" if unit else ""
    for level, row in zip(levels, values, strict=True):
        value, ci = mean_interval(row)
        metrics[f"{score.id}_{name}_{level:g}"] = Metric(
            value, score.unit, direction="lower", ci=ci, source=source, title=f"{score.title} degradation, {title} {level:g}{words}"
        )
    picks = rng.integers(0, values.shape[1], (RESAMPLES, values.shape[1]))
    means = np.stack([row[picks].mean(axis=1) for row in values], axis=1)
    drop = config.tolerance * abs(float(subject.clean.mean()))
    whole = values.mean(axis=1)[None]
    area, areas = float(area_under(levels, whole)[0]), area_under(levels, means)
    metrics[f"{score.id}_{name}_area"] = Metric(
        area, score.unit, direction="lower", ci=_interval(areas), source=source,
        title=f"{score.title} degradation, {title}, mean over strengths up to {levels[-1]:g}{words}",
    )  # fmt: skip
    at = float(crossing(levels, whole, drop)[0])
    if np.isfinite(at):
        ends = crossing(levels, means, drop)
        # A resampled curve that never gets there is critical beyond the last level, which the interval says by ending there.
        metrics[f"{score.id}_{name}_critical"] = Metric(
            at, unit, direction="higher", ci=_interval(np.minimum(ends, levels[-1])), source=f"{source}; bound: {levels[-1]:g}{words}",
            title=f"Strength of {title} that costs {100 * config.tolerance:g} % of {score.title}",
        )  # fmt: skip
    return metrics


def area_under(levels: Levels, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of curves (R, levels) over strengths from 0, where they are 0, to the last level, (R,)."""
    x = np.array([0.0, *levels])
    y = np.concatenate([np.zeros((len(means), 1)), means], axis=1)
    return np.asarray(np.trapezoid(y, x, axis=1) / x[-1])


def crossing(levels: Levels, means: NDArray[np.float64], drop: float) -> NDArray[np.float64]:
    """Return the first strength at which curves (R, levels), linear between levels and 0 at 0, reach `drop`; infinite if none does."""
    x = np.array([0.0, *levels])
    y = np.concatenate([np.zeros((len(means), 1)), means], axis=1)
    above = y >= drop
    after = np.argmax(above, axis=1)
    rows = np.arange(len(y))
    before = np.maximum(after - 1, 0)
    low, high = y[rows, before], y[rows, after]
    share = np.divide(drop - low, high - low, out=np.zeros(len(y)), where=high > low)
    found = x[before] + share * (x[after] - x[before])
    return np.where(above.any(axis=1), found, np.inf)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
