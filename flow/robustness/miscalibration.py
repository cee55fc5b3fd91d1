"""Miscalibration: every channel of a module has a gain of its own, 1 + (p / 100) N(0, 1) and not below 0.

Inputs in standard deviations are stretched about their mean. Every sample is read by a module of its own (`flow.robustness._noise` says
why). Levels: percent, the standard deviation of the gains. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import gauss
from flow.robustness._noise import measure_noise
from flow.robustness._subject import Subject

TITLE = "miscalibrated channels"
LEVELS = (5.0, 10.0, 20.0)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the inputs with wrong gains, by standard normal numbers that broadcast to the inputs."""
    gains: Array = np.maximum(1 + np.float32(percent / 100) * random, np.float32(0))
    return subject.x * gains


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_miscalibration_<percent>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("miscalibration", LEVELS)
    return measure_noise(subject, config, rng, progress, "miscalibration", TITLE, gauss.draw, apply, levels)
