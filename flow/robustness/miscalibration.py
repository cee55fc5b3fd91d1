"""Miscalibration: every channel has a gain of its own, 1 + (p / 100) N(0, 1) and not below 0, in all samples.

Inputs in standard deviations are stretched about their mean. Levels: percent, the standard deviation of the gains. Cost: that of a noise;
eight times the draws with a quarter of the samples, since all samples share the gains.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_modules
from flow.robustness._subject import Subject

TITLE = "miscalibrated channels"
LEVELS = (5.0, 10.0, 20.0)


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return a standard normal number for each input."""
    return rng.standard_normal((1, *subject.x.shape[1:]), dtype=np.float32)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the inputs with wrong gains."""
    gains: Array = np.maximum(1 + np.float32(percent / 100) * random, np.float32(0))
    return subject.x * gains


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_miscalibration_<percent>``; see `flow.robustness._noise.measure_modules`."""
    levels = config.levels.get("miscalibration", LEVELS)
    return measure_modules(subject, config, rng, progress, "miscalibration", TITLE, draw, apply, levels)
