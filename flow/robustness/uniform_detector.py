"""Uniform input noise of mean 0 in units of the detector, such as that of a digitiser with coarser steps.

Levels: half the width in units of the detector. The unit is that of the model, `subject.detector`: a count or a code of its
readout, which may be another number in each sample where the inputs are normalised one by one. Only channels are hit. Without such a unit
nothing is measured. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import uniform
from flow.robustness._noise import channels, detector_levels, measure_noise, units
from flow.robustness._subject import Subject

TITLE = "uniform noise in detector units"
LEVELS = (1.0, 3.0, 10.0)


def apply(subject: Subject, random: Array, half: float) -> Array:
    """Return the inputs with noise in [-half, half) units, made of numbers uniform in [0, 1)."""
    return subject.x + units(subject, half) * (2 * random - 1) * channels(subject)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_uniform_detector_<units>``; see `flow.robustness._noise.measure_noise`."""
    levels, unit = detector_levels(subject, config, "uniform_detector", LEVELS), subject.detector_unit
    return measure_noise(subject, config, rng, progress, "uniform_detector", TITLE, uniform.draw, apply, levels, unit)
