"""Gaussian input noise as in Baldi et al., arXiv:2502.08355: at p %, x + (p / 100) N(0, 1), clamped to [0, max].

Inputs that have a sign are clamped to [min, max] of the clean ones. Levels: percent, those of ``robustness.noise_percent``. Cost: one
evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_noise
from flow.robustness._subject import Subject

TITLE = "Gaussian noise"


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return standard normal numbers of the shape of the inputs."""
    return rng.standard_normal(subject.x.shape, dtype=np.float32)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the noisy inputs; max is the largest clean input of all samples.

    Sigma is absolute: p percent of `subject.unit`. On sparse inputs the clamp rectifies it, so charge is added on average.
    """
    return np.clip(subject.x + np.float32(percent / 100 * subject.unit) * random, min(0.0, subject.x.min()), subject.x.max())


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_gauss_<percent>``; see `flow.robustness._noise.measure_noise`."""
    return measure_noise(subject, config, rng, progress, "gauss", TITLE, draw, apply)
