"""Input noise in general: levels, draws, and the confidence interval."""

from collections.abc import Callable

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._subject import Subject
from flow.statistics import mean_interval

Draw = Callable[[Subject, np.random.Generator], Array]
Apply = Callable[[Subject, Array, float], Array]


def measure_noise(
    subject: Subject,
    config: RobustnessConfig,
    rng: np.random.Generator,
    progress: Progress,
    name: str,
    title: str,
    draw: Draw,
    apply: Apply,
) -> dict[str, Metric]:
    """Measure the mean degradation at each level of an input noise.

    The noise acts before the input quantizer. The levels share their draws, so they differ by the level alone.

    The confidence interval takes a sample with all its draws as one cluster: Student's t over the samples' means over draws. It covers the
    choice of samples and the draws.

    Args:
        subject: what is perturbed.
        config: levels and number of draws.
        rng: source of the draws.
        progress: shows life.
        name: the part of the ids that tells this noise.
        title: words for a table.
        draw: makes random numbers of the shape of the inputs.
        apply: ``(subject, draw, percent) -> inputs``.

    Returns:
        ``<score id>_<name>_<percent>`` -> mean degradation.
    """
    total = np.zeros((len(config.noise_percent), len(subject.x)))
    for n in range(config.noise_draws):
        random = draw(subject, rng)
        for i, percent in enumerate(config.noise_percent):
            total[i] += subject.degradation(subject.score_inputs(apply(subject, random, percent)))
        progress((n + 1) / config.noise_draws, f"{title}, draw {n + 1}/{config.noise_draws}")
    metrics = {}
    for percent, sums in zip(config.noise_percent, total, strict=True):
        value, ci = mean_interval(sums / config.noise_draws)
        metrics[f"{subject.score.id}_{name}_{percent:g}"] = Metric(
            value, subject.score.unit, direction="lower", ci=ci,
            source=f"{len(sums)} samples, {config.noise_draws} draws", title=f"{subject.score.title} degradation, {title} {percent:g} %",
        )  # fmt: skip
    return metrics
