"""Salt-and-pepper input noise after Baldi et al., arXiv:2502.08355: at p %, p / 200 of all cells become 1 and p / 200 become 0.

Inputs that have a sign become the largest and the lowest of the clean ones. Levels: percent of the inputs, those of
``robustness.noise_percent``. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_noise
from flow.robustness._subject import Subject

TITLE = "salt-and-pepper noise"


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return numbers uniform in [0, 1) of the shape of the inputs."""
    return rng.random(subject.x.shape, dtype=np.float32)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the noisy inputs.

    Each cell is salted with probability p / 200 and peppered with the same one, never both. (The authors draw two sets that may overlap,
    so theirs have a little less salt.) The cells of a lower level are among those of a higher one.
    """
    pepper, salt = ends(subject)
    salted = np.where(random < percent / 200, salt, subject.x)
    return np.where(random >= 1 - percent / 200, pepper, salted)


def ends(subject: Subject) -> tuple[np.float32, np.float32]:
    """Return what pepper and salt are."""
    low = min(np.float32(0.0), subject.x.min())
    return np.float32(low), np.float32(subject.x.max() if low < 0 else subject.unit)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_salt_<percent>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("salt_pepper", config.noise_percent)
    return measure_noise(subject, config, rng, progress, "salt", TITLE, draw, apply, levels)
