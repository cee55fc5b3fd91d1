"""Uniform input noise of Baldi et al., arXiv:2502.08355: at p %, x + (p / 100) U(0, 0.1). Their released code stops with an error.

It only adds: half of it is an offset of p / 2000. Levels: percent, those of ``robustness.noise_percent``. Cost: one evaluation of the
samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_noise
from flow.robustness._subject import Subject

TITLE = "uniform noise"
LARGEST = 0.1


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return numbers uniform in [0, 1) of the shape of the inputs."""
    return rng.random(subject.x.shape, dtype=np.float32)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the noisy inputs; 1 is `subject.unit`."""
    return subject.x + np.float32(percent / 100 * LARGEST * subject.unit) * random


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_uniform_<percent>``; see `flow.robustness._noise.measure_noise`."""
    return measure_noise(subject, config, rng, progress, "uniform", TITLE, draw, apply)
