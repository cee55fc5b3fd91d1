"""Shift of the pedestal of all channels, up and down; the mean of the two degradations.

Levels: percent of full scale, the range of the words of the network's input. Cost: two evaluations of the samples for each level.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import channels, full_scale, measure_distortion
from flow.robustness._subject import Subject

TITLE = "pedestal shift"
LEVELS = (0.5, 1.0, 2.0)


def apply(subject: Subject, sign: float, percent: float) -> Array:
    """Return the inputs with an offset."""
    return subject.x + np.where(channels(subject), np.float32(sign * percent / 100 * full_scale(subject)), np.float32(0))


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_pedestal_<percent>``; see `flow.robustness._noise.measure_distortion`."""
    levels = config.levels.get("pedestal", LEVELS)
    return measure_distortion(subject, config, rng, progress, "pedestal", TITLE, apply, levels)
