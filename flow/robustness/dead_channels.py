"""Dead channels, which read zero.

Each channel of a module is dead with the probability of the level; the dead channels of a lower level are among those of a higher one. Zero
is what the network's input makes of nothing: no charge or light above the pedestal, and the mean where inputs are in standard deviations
from it. Every sample is read by a module of its own (`flow.robustness._noise` says why). Levels: percent of the channels. Cost: one
evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import salt_pepper
from flow.robustness._noise import channels, measure_noise
from flow.robustness._subject import Subject

TITLE = "dead channels"
LEVELS = (1.0, 5.0, 10.0)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the inputs with some channels dead, by numbers uniform in [0, 1) that broadcast to the inputs."""
    return np.where((random < percent / 100) & channels(subject), np.float32(0), subject.x)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_dead_channels_<percent>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("dead_channels", LEVELS)
    return measure_noise(subject, config, rng, progress, "dead_channels", TITLE, salt_pepper.draw, apply, levels)
