"""What a perturbation of rising strength does: the degradation at each level, the area under the curve, and where it becomes visible."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.robustness._intervals import Interval, crossed_mean
from flow.robustness._subject import Subject, Values
from flow.statistics import LEVEL, RESAMPLES, mean_interval

Levels = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """How a level, as ids and tables show it, says how strong a perturbation is.

    Attributes:
        strength: level -> strength, which is 0 where nothing is perturbed.
        level: the inverse.
        rising: whether a higher level is stronger.
    """

    strength: Callable[[float], float] = float
    level: Callable[[float], float] = float
    rising: bool = True


ROUNDS, CLOSE = 5, 0.05
"""Most strengths that are tried to find the critical one, and how near to the visible degradation one ends the search, relatively."""
BLOCK = 2**22
"""Numbers of a block of resamples; not what memory allows, since what is drawn depends on it."""
LINEAR = Axis()
DECIBEL = Axis(lambda ratio: float(10 ** (-ratio / 20)), lambda amplitude: float(-20 * np.log10(amplitude)), rising=False)
"""Levels are signal-to-noise ratios in dB; the strength is the amplitude of the noise as a share of that of the signal."""


def curve(
    subject: Subject, config: RobustnessConfig, name: str, title: str, unit: str, levels: Levels, values: Sequence[Values] | Values,
    rng: np.random.Generator, source: str, axis: Axis = LINEAR, further: Mapping[float, Values] | None = None,
) -> dict[str, Metric]:  # fmt: skip
    """Make the figures of a degradation curve.

    Args:
        subject: what was perturbed.
        config: its `tolerance` says what is visible.
        name: the part of the ids that tells this perturbation.
        title: words for a table.
        unit: of the levels, e.g. ``%``; empty for a count.
        levels: from the weakest to the strongest.
        values: for each level, the degradation of the first samples of the subject: (samples,), where all that is random was drawn for
            each sample alone, or (draws, samples), where all samples share what was drawn. Draws are paired across the levels that have
            equally many.
        rng: of the bootstrap.
        source: how the values came about, e.g. ``1000 samples, 5 draws``.
        axis: how strong each level is.
        further: values at more levels near the critical one, for it alone; see `near_critical`.

    Returns:
        ``<score>_<name>_<level>``: mean degradation; Student's t over samples, or the interval of `crossed_mean`.
        ``<score>_<name>_area``: mean degradation over strengths from 0 to the largest (trapezoids; zero strength has none).
        ``<score>_<name>_critical``, where the curve gets there: the level from which on the score is worse by `tolerance` of its clean
        value on the same samples (linear between the strengths that were tried). The last two have the percentile bootstrap over samples,
        and over draws where these are shared. A level is written with at most six digits.
    """
    score, metrics = subject.score, dict[str, Metric]()
    words = f" {unit}" if unit else ""
    for level, row in zip(levels, values, strict=True):
        value, ci = mean_interval(row) if row.ndim == 1 else crossed_mean(row)
        metrics[f"{score.id}_{name}_{level:g}"] = Metric(
            value, score.unit, direction="lower", ci=ci, source=source, title=f"{score.title} degradation, {title} {level:g}{words}"
        )
    tried = dict(zip(levels, values, strict=True)) | dict(further or {})
    ordered = sorted(tried, key=axis.strength)
    shown = [ordered.index(level) for level in levels]
    rows = [subject.clean[: values[0].shape[-1]], *(tried[level] for level in ordered)]
    whole, resampled = np.array([[row.mean() for row in rows]]), resampled_means(rows, rng)
    strengths = np.array([axis.strength(level) for level in ordered])
    areas = [area_under(strengths[shown], means[:, 1:][:, shown]) for means in (whole, resampled)]
    metrics[f"{score.id}_{name}_area"] = Metric(
        float(areas[0][0]), score.unit, direction="lower", ci=_interval(areas[1], float(areas[0][0])), source=source,
        title=f"{score.title} degradation, {title}, mean over strengths up to {levels[-1]:g}{words}",
    )  # fmt: skip
    at, ends = (crossing(strengths, means[:, 1:], config.tolerance * np.abs(means[:, 0])) for means in (whole, resampled))
    critical = float(at[0])
    if np.isfinite(critical) and critical > 0:
        # A resampled curve that never gets there is critical beyond the last level, which the interval says by ending there. Resampled
        # clean scores may all be 0, so that any strength is critical; a decibel needs a positive one.
        low, high = sorted(axis.level(end) for end in _interval(np.clip(ends, 1e-6 * critical, strengths[-1]), critical))
        metrics[f"{score.id}_{name}_critical"] = Metric(
            axis.level(critical), unit, direction="higher" if axis.rising else "lower", ci=(low, high),
            source=f"{source}; bound: {levels[-1]:g}{words}",
            title=f"Strength of {title} that costs {100 * config.tolerance:g} % of {score.title}",
        )  # fmt: skip
    return metrics


def near_critical(
    subject: Subject, config: RobustnessConfig, levels: Levels, values: Sequence[Values], measure: Callable[[float], Values],
    axis: Axis = LINEAR,
) -> dict[float, Values]:  # fmt: skip
    """Measure more levels about the critical one, where the curve is not straight, by the Illinois variant of regula falsi.

    Args:
        subject: what was perturbed.
        config: its `tolerance`.
        levels: from the weakest to the strongest.
        values: at these, as for `curve`.
        measure: returns the values at one more level.
        axis: how strong each level is.

    Returns:
        Level -> values; nothing if the curve does not get there.
    """
    drop = config.tolerance * abs(float(subject.clean[: values[0].shape[-1]].mean()))
    heights = [-drop, *(float(row.mean()) - drop for row in values)]
    after = next((i for i, height in enumerate(heights) if height >= 0), 0)
    found: dict[float, Values] = {}
    if after == 0 or drop == 0:
        return found
    strengths = [0.0, *(axis.strength(level) for level in levels)]
    (x0, x1), (y0, y1), side = strengths[after - 1 : after + 1], heights[after - 1 : after + 1], 0
    nearest = min(abs(y0), abs(y1))
    while len(found) < ROUNDS and nearest > CLOSE * drop:
        x = (x0 * y1 - x1 * y0) / (y1 - y0)
        found[axis.level(x)] = row = measure(axis.level(x))
        y = float(row.mean()) - drop
        nearest = min(nearest, abs(y))
        if y < 0:
            x0, y0, y1, side = x, y, y1 / 2 if side < 0 else y1, -1
        else:
            x1, y1, y0, side = x, y, y0 / 2 if side > 0 else y0, 1
    return found


def area_under(strengths: Levels, means: Values) -> Values:
    """Return the mean of curves (R, levels) over strengths from 0, where they are 0, to the last one, (R,)."""
    x, y = _from_zero(strengths, means)
    return np.asarray(np.trapezoid(y, x, axis=1) / x[-1])


def crossing(strengths: Levels, means: Values, drop: float | Values) -> Values:
    """Return the first strength at which curves (R, levels), linear between levels and 0 at 0, reach `drop`; infinite if none does."""
    x, y = _from_zero(strengths, means)
    drops = np.broadcast_to(np.asarray(drop, dtype=np.float64), (len(y),))
    above = y >= drops[:, None]
    after = np.argmax(above, axis=1)
    rows = np.arange(len(y))
    before = np.maximum(after - 1, 0)
    low, high = y[rows, before], y[rows, after]
    share = np.divide(drops - low, high - low, out=np.zeros(len(y)), where=high > low)
    found = x[before] + share * (x[after] - x[before])
    return np.where(above.any(axis=1), found, np.inf)


def resampled_means(rows: Sequence[Values], rng: np.random.Generator) -> Values:
    """Return bootstrap means of rows of the same samples, (1000, rows).

    All rows share the drawn samples, and those with equally many draws the drawn draws (Owen, The pigeonhole bootstrap, 2007).

    Args:
        rows: (samples,) or (draws, samples) each.
        rng: source of the resamples.
    """
    samples = rows[0].shape[-1]
    counts = {len(row) for row in rows if row.ndim == 2}
    result = np.empty((RESAMPLES, len(rows)))
    size = max(1, BLOCK // (samples + sum(counts)))
    for start in range(0, RESAMPLES, size):
        many = min(size, RESAMPLES - start)
        weights = _weights(rng, many, samples)
        draws = {count: _weights(rng, many, count) for count in sorted(counts)}
        for i, row in enumerate(rows):
            part = weights @ row if row.ndim == 1 else ((draws[len(row)] @ row) * weights).sum(axis=1)
            result[start : start + many, i] = part
    return result


def _weights(rng: np.random.Generator, many: int, count: int) -> Values:
    """Return what share of each of so many resamples every one of `count` things has, (many, count)."""
    picks = rng.integers(0, count, (many, count)) + count * np.arange(many)[:, None]
    return np.bincount(picks.ravel(), minlength=many * count).reshape(many, count) / count


def _from_zero(strengths: Levels, means: Values) -> tuple[Values, Values]:
    return np.array([0.0, *strengths]), np.concatenate([np.zeros((len(means), 1)), means], axis=1)


def _interval(values: NDArray[np.float64], value: float) -> Interval:
    """Return the middle 95 % of resampled values, and the value itself, which a skewed figure may have outside."""
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return min(float(low), value), max(float(high), value)
