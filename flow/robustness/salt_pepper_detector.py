"""Spikes of a height in units of the detector: 1 % of the channels of a sample read so much more (salt) or less (pepper), half of it each.

Levels: height in units of the detector. The unit is that of the model, `subject.detector`: a count or a code of its
readout, which may be another number in each sample where the inputs are normalised one by one. Only channels are hit. Without such a unit
nothing is measured. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import salt_pepper
from flow.robustness._noise import channels, detector_levels, measure_noise, units
from flow.robustness._subject import Subject

TITLE = "spikes in detector units"
LEVELS = (10.0, 30.0, 100.0)
SHARE = 0.01


def apply(subject: Subject, random: Array, height: float) -> Array:
    """Return the inputs with spikes of `height` units where numbers uniform in [0, 1) say so."""
    signs = np.where(random < SHARE / 2, np.float32(1), np.where(random >= 1 - SHARE / 2, np.float32(-1), np.float32(0)))
    return subject.x + units(subject, height) * signs * channels(subject)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_salt_pepper_detector_<units>``; see `flow.robustness._noise.measure_noise`."""
    levels, unit = detector_levels(subject, config, "salt_pepper_detector", LEVELS), subject.detector_unit
    return measure_noise(subject, config, rng, progress, "salt_pepper_detector", TITLE, salt_pepper.draw, apply, levels, unit)
