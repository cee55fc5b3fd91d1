"""Perturbations of the inputs in general: which inputs are channels, strengths, draws, and the figures of a degradation curve.

Everything acts before the input quantizer, which rounds and clips as the hardware does, and the targets stay clean. All levels share their
draws, so they differ by the level alone. The levels are those of ``robustness.levels``, or else those of the plug-in.

What stays the same in a detector from sample to sample, such as which channels are dead, is also drawn anew for each sample, as if a module
of its own had read it. The mean degradation over modules and samples is the same, since a network sees one sample at a time, but it is
known from thousands of modules instead of the few that could each read all samples, and the samples stay independent.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._curve import LINEAR, Axis, Levels, curve, near_critical
from flow.robustness._subject import Subject, Values
from flow.twin.quantizer import Format

SIGNS = (1.0, -1.0)

Draw = Callable[[Subject, np.random.Generator], Array]
Apply = Callable[[Subject, Array, float], Array]
Rows = Callable[[Levels, Progress], list[Values]]
Case = TypeVar("Case")


def words(subject: Subject) -> Format:
    """Return the number format of the inputs."""
    return subject.twin.input_format


def full_scale(subject: Subject) -> float:
    """Return the range of the input words: what 100 % of full scale is."""
    form = words(subject)
    return form.scale * 2.0**form.bits


def channels(subject: Subject) -> NDArray[np.bool_]:
    """Return which inputs are channels, (1, ...): those that are not the same in all samples, as the corners of a padded image are."""
    return np.asarray((subject.x != subject.x[:1]).any(axis=0, keepdims=True))


def signal_power(subject: Subject) -> float:
    """Return the mean square of the channels over the samples."""
    live = channels(subject)
    return float(np.square(subject.x, dtype=np.float64).sum(where=live) / max(1, live.sum() * len(subject.x)))


def noise_power(subject: Subject, ratio: float) -> float:
    """Return the mean square of a noise ``ratio`` dB below the signal."""
    return signal_power(subject) * 10 ** (-ratio / 10)


def detector_levels(subject: Subject, config: RobustnessConfig, name: str, levels: Levels) -> Levels:
    """Return the levels of a perturbation in detector units: none if the inputs have no such unit."""
    return () if subject.detector is None else config.levels.get(name, tuple(levels))


def units(subject: Subject, level: float) -> Array:
    """Return so many units of the detector at the inputs, which must have one."""
    return np.asarray(level * (0.0 if subject.detector is None else subject.detector), dtype=np.float32)


def measure_noise(
    subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress, name: str, title: str, draw: Draw,
    apply: Apply, levels: Levels | None = None, unit: str = "%", axis: Axis = LINEAR,
) -> dict[str, Metric]:  # fmt: skip
    """Measure the degradation curve of a noise that is drawn for each sample alone.

    The confidence intervals take a sample with all its draws as one cluster. They cover the choice of samples and the draws.

    Args:
        subject: what is perturbed.
        config: levels and number of draws.
        rng: source of the draws.
        progress: shows life.
        name: the part of the ids that tells this noise.
        title: words for a table.
        draw: makes random numbers of the shape of the inputs.
        apply: ``(subject, draw, level) -> inputs``.
        levels: in any order; None: those of `config` for a plug-in of this name, or else its `noise_percent`.
        unit: of the levels.
        axis: how strong each level is.

    Returns:
        See `flow.robustness._curve.curve`; nothing if there is no level.
    """
    given = config.levels.get(name, config.noise_percent) if levels is None else levels
    draws, start = config.noise_draws, copy.deepcopy(rng)

    def rows(some: Levels, told: Progress) -> list[Values]:
        again, total = copy.deepcopy(start), np.zeros((len(some), len(subject.x)))
        for n in range(draws):
            total += _degradations(subject, draw(subject, again), some, apply)
            told((n + 1) / draws, f"{title}, draw {n + 1}/{draws}")
        return [*(total / draws)]

    return _figures(subject, config, rng, progress, name, title, rows, given, unit, f"{len(subject.x)} samples, {draws} draws", axis)


def measure_distortion(
    subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress, name: str, title: str,
    apply: Callable[[Subject, float, float], Array], levels: Levels, unit: str = "%", signs: tuple[float, ...] = SIGNS, whole: bool = False,
) -> dict[str, Metric]:  # fmt: skip
    """Measure the degradation curve of a perturbation without chance, the mean over both signs if it has one.

    Args:
        subject: what is perturbed.
        config: not used but for the figures of the curve.
        rng: of the bootstrap.
        progress: shows life.
        name: the part of the ids that tells this perturbation.
        title: words for a table.
        apply: ``(subject, sign, level) -> inputs``.
        levels: in any order.
        unit: of the levels.
        signs: what there is.
        whole: there is nothing between whole levels.

    Returns:
        See `flow.robustness._curve.curve`; nothing if there is no level.
    """

    def rows(some: Levels, told: Progress) -> list[Values]:
        total = np.zeros((len(some), len(subject.x)))
        for n, sign in enumerate(signs):
            total += _degradations(subject, sign, some, apply)
            told((n + 1) / len(signs), title)
        return [*(total / len(signs))]

    source = f"{len(subject.x)} samples" + (", both signs" if len(signs) > 1 else "")
    return _figures(subject, config, rng, progress, name, title, rows, levels, unit, source, near=not whole)


def _degradations(subject: Subject, case: Case, levels: Levels, apply: Callable[[Subject, Case, float], Array]) -> Values:
    """Return the degradation of each sample at each level, (levels, samples)."""
    inputs = (np.asarray(apply(subject, case, level), dtype=np.float32) for level in levels)
    return np.stack([subject.degradation(subject.score_inputs(x)) for x in inputs])


def _figures(
    subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress, name: str, title: str, rows: Rows,
    levels: Levels, unit: str, source: str, axis: Axis = LINEAR, near: bool = True,
) -> dict[str, Metric]:  # fmt: skip
    """Measure all levels, and more of them near the critical one, each with the same draws."""
    ordered = sorted(set(levels), key=axis.strength)
    if not ordered:
        progress(1.0, f"{title}: not with these inputs")
        return {}
    values = rows(ordered, lambda fraction, text: progress(fraction / 2, text))

    def measure(level: float) -> Values:
        return rows([level], lambda fraction, text: progress((1 + fraction) / 2, f"{text}, near the critical level"))[0]

    further = near_critical(subject, config, ordered, values, measure, axis) if near else {}
    progress(1.0, title)
    (bootstrap,) = rng.spawn(1)  # the draws were made with copies of `rng`
    return curve(subject, config, name, title, unit, ordered, values, bootstrap, source, axis, further)
