"""A digitiser that saturates early: inputs are clipped to a smaller range than that of the network's input.

Levels: how much of the range is lost, in percent: at 75, everything above a quarter of full scale reads a quarter, and so does everything
below minus a quarter where inputs have a sign. At 0 nothing changes. Cost: one evaluation of the samples for each level.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_distortion, words
from flow.robustness._subject import Subject

TITLE = "range lost to saturation"
LEVELS = (50.0, 75.0, 90.0)


def apply(subject: Subject, sign: float, percent: float) -> Array:
    """Return the clipped inputs; the sign has no meaning."""
    form, left = words(subject), max(0.0, 1 - percent / 100)
    return np.clip(subject.x, np.float32(left * form.low * form.scale), np.float32(left * form.high * form.scale))


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_saturation_<percent>``; see `flow.robustness._noise.measure_distortion`."""
    levels = config.levels.get("saturation", LEVELS)
    return measure_distortion(subject, config, rng, progress, "saturation", TITLE, apply, levels, signs=(1.0,))
