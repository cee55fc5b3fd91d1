"""Dead channels, which read zero in all samples.

Each channel is dead with the probability of the level; the dead channels of a lower level are among those of a higher one. Zero is what the
network's input makes of nothing: no charge or light above the pedestal, and the mean where inputs are in standard deviations from it.
Levels: percent of the channels. Cost: that of a noise; eight times the draws with a quarter of the samples, since all samples share the
dead channels.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import channels, measure_modules
from flow.robustness._subject import Subject

TITLE = "dead channels"
LEVELS = (1.0, 5.0, 10.0)


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return a number uniform in [0, 1) for each input."""
    return rng.random((1, *subject.x.shape[1:]), dtype=np.float32)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the inputs with some channels dead."""
    return np.where((random < percent / 100) & channels(subject), np.float32(0), subject.x)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_dead_channels_<percent>``; see `flow.robustness._noise.measure_modules`."""
    levels = config.levels.get("dead_channels", LEVELS)
    return measure_modules(subject, config, rng, progress, "dead_channels", TITLE, draw, apply, levels)
