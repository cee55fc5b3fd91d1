"""Salt-and-pepper input noise at a signal-to-noise ratio.

A share of the channels becomes salt or pepper, as in `salt_pepper`, half of it each; the share is such that the expected squared change of
an input is the power of the noise. A ratio that needs more than all channels is left out.

The power of the signal is the mean square of the inputs over the samples, channels only; the ratio is 10 log10(P_signal / P_noise), as
engineers define it. Nothing is clamped before the input quantizer, which clips as the hardware does. Levels: dB, a lower one is stronger;
strengths in between, the area and the critical ratio are by amplitude. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import salt_pepper
from flow.robustness._curve import DECIBEL
from flow.robustness._noise import channels, measure_noise, noise_power
from flow.robustness._subject import Subject

TITLE = "salt-and-pepper noise, signal-to-noise ratio"
LEVELS = (20.0, 10.0, 5.0)  # at 30 dB one in 10,000 channels or fewer is hit: no draw of a usual size knows what that does


def share(subject: Subject, ratio: float) -> float:
    """Return which share of the channels must be hit, more than 1 if that is impossible."""
    live, x = channels(subject), subject.x.astype(np.float64)
    change = np.mean([np.square(float(end) - x).sum(where=live) for end in salt_pepper.ends(subject)]) / max(1, live.sum() * len(x))
    return noise_power(subject, ratio) / float(change) if change > 0 else 0.0


def apply(subject: Subject, random: Array, ratio: float) -> Array:
    """Return the inputs with noise ``ratio`` dB below them, made of numbers uniform in [0, 1)."""
    return np.where(channels(subject), salt_pepper.apply(subject, random, 100 * share(subject, ratio)), subject.x)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_salt_pepper_snr_<dB>``; see `flow.robustness._noise.measure_noise`."""
    levels = [level for level in config.levels.get("salt_pepper_snr", LEVELS) if share(subject, level) <= 1]
    return measure_noise(subject, config, rng, progress, "salt_pepper_snr", TITLE, salt_pepper.draw, apply, levels, "dB", DECIBEL)
