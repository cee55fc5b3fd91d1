"""Hot channels, stuck at full scale: the largest word of the network's input.

Each channel of a module is hot with the probability of the level; the hot channels of a lower level are among those of a higher one. A
normalisation in front of the network is not done again. Every sample is read by a module of its own (`flow.robustness._noise` says why).
Levels: percent of the channels. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import salt_pepper
from flow.robustness._noise import channels, measure_noise, words
from flow.robustness._subject import Subject

TITLE = "hot channels"
LEVELS = (1.0, 2.0, 5.0)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the inputs with some channels at full scale, by numbers uniform in [0, 1) that broadcast to the inputs."""
    form = words(subject)
    return np.where((random < percent / 100) & channels(subject), np.float32(form.high * form.scale), subject.x)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_hot_channels_<percent>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("hot_channels", LEVELS)
    return measure_noise(subject, config, rng, progress, "hot_channels", TITLE, salt_pepper.draw, apply, levels)
