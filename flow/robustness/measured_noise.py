"""Noise of the detector as it was recorded, ``x + level n``: at level 1 as it was, at others as if it were so many times as large.

The records n come from ``robustness.noise_file`` (`flow.robustness._noise_file` says what that may be). Each sample gets one, all its
inputs at once, so that the noise of channels stays as correlated as it was, and so does its mean, a shift of the pedestal. With
``noise_fit = "bootstrap"`` records are drawn with replacement (Efron, Ann. Statist. 7, 1979); with ``"covariance"`` numbers are drawn from
the normal distribution that has the mean and the sample covariance of the records, which may be singular. With ``noise_unit = "detector"``
a record is multiplied by what one unit of the detector is at the inputs of its sample.

Levels are multiples of the recorded noise. The input words round and clip as the hardware does. The intervals cover the choice of samples
and the draws, but not which noise happened to be recorded. Nothing is measured without a file.

It costs ``noise_draws`` scores of the samples at each level, and reading the file.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import InvalidInput
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import full_scale, measure_noise
from flow.robustness._noise_file import Recording, read_noise
from flow.robustness._subject import Subject, Values

TITLE = "measured noise"
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)  # the middle one, which stands for all, is what was recorded

Sampler = Callable[[int, np.random.Generator], Array]


def bootstrap(records: Array) -> Sampler:
    """Return what draws whole records (R, n) with replacement: ``(count, rng) -> (count, n)``."""
    return lambda count, rng: records[rng.integers(0, len(records), count)]


def normal(records: Array) -> Sampler:
    """Return what draws normal numbers with the mean and the sample covariance of records (R, n): ``(count, rng) -> (count, n)``.

    A root F of the covariance F^T F turns independent normal numbers z into z F. Where there are fewer records than inputs, the centred
    records over sqrt(R - 1) are such a root, and the covariance itself, which may be large, is never made.
    """
    mean = records.mean(axis=0, dtype=np.float64)
    if len(records) > records.shape[1]:
        values, vectors = np.linalg.eigh(_covariance(records, mean))
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T  # rounding leaves tiny negative ones of a singular matrix
    else:
        root = (records - mean) / (len(records) - 1) ** 0.5
    return lambda count, rng: (mean + rng.standard_normal((count, len(root))) @ root).astype(np.float32)


def _covariance(records: Array, mean: Values) -> Values:
    """Return the sample covariance (n, n), in pieces: a copy of all records in double precision would be large."""
    total = np.zeros((records.shape[1], records.shape[1]))
    for start in range(0, len(records), 4096):
        centred = records[start : start + 4096] - mean
        total += centred.T @ centred
    return total / (len(records) - 1)


def _check_range(subject: Subject, config: RobustnessConfig, noise: Recording, scale: Array | np.float32) -> None:
    rms, most = noise.rms * float(np.sqrt(np.mean(np.square(scale, dtype=np.float64)))), full_scale(subject)
    if rms > most:
        other = "input" if config.noise_unit == "detector" else "detector"
        raise InvalidInput(
            f"{config.noise_file}: with robustness.noise_unit = '{config.noise_unit}' its root mean square is {rms:.3g} at the inputs of "
            f"the network, more than the whole range of their words, {most:g}. If its numbers are in '{other}' units, set that; if "
            "they are signals and no noise, subtract these."
        )


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_measured_noise_<multiple>``, and the area and the critical strength of the curve; nothing without a file.

    Raises:
        FlowError: the file is missing, cannot be used, or has another unit.
    """
    if config.noise_file is None:
        return {}
    in_detector, shape = config.noise_unit == "detector", subject.x.shape[1:]
    unit = None if subject.detector is None else subject.detector_unit
    noise = read_noise(Path(config.noise_file), shape, config.noise_unit, unit, progress)
    scale = subject.detector if in_detector and subject.detector is not None else np.float32(1)
    _check_range(subject, config, noise, scale)
    sampler = (bootstrap if config.noise_fit == "bootstrap" else normal)(noise.records)

    def draw(subject: Subject, rng: np.random.Generator) -> Array:
        return sampler(len(subject.x), rng).reshape(subject.x.shape) * scale

    def apply(subject: Subject, drawn: Array, level: float) -> Array:
        return subject.x + np.float32(level) * drawn

    levels = config.levels.get("measured_noise", LEVELS)
    metrics = measure_noise(subject, config, rng, progress, "measured_noise", TITLE, draw, apply, levels, "x")
    singular = config.noise_fit == "covariance" and len(noise.records) <= noise.records.shape[1]
    words = f"{config.noise_fit} of {noise.taken}" + (", fewer than inputs, so it is singular" if singular else "")
    return {key: dataclasses.replace(metric, source=f"{metric.source}; {words}") for key, metric in metrics.items()}
