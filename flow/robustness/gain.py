"""Drift of the gain that all channels share: inputs times 1 + p / 100 and times 1 - p / 100; the mean of the two degradations.

Inputs in standard deviations are stretched about their mean. Levels: percent. Cost: two evaluations of the samples for each level.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_distortion
from flow.robustness._subject import Subject

TITLE = "gain drift"
LEVELS = (5.0, 10.0, 20.0)


def apply(subject: Subject, sign: float, percent: float) -> Array:
    """Return the inputs with a wrong gain."""
    return subject.x * np.float32(1 + sign * percent / 100)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_gain_<percent>``; see `flow.robustness._noise.measure_distortion`."""
    levels = config.levels.get("gain", LEVELS)
    return measure_distortion(subject, config, rng, progress, "gain", TITLE, apply, levels)
