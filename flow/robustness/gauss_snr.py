"""Gaussian input noise at a signal-to-noise ratio.

The power of the signal is the mean square of the inputs over the samples, channels only; the ratio is 10 log10(P_signal / P_noise), as
engineers define it. Nothing is clamped before the input quantizer, which clips as the hardware does. Levels: dB, a lower one is stronger;
strengths in between, the area and the critical ratio are by amplitude. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import gauss
from flow.robustness._curve import DECIBEL
from flow.robustness._noise import channels, measure_noise, noise_power
from flow.robustness._subject import Subject

TITLE = "Gaussian noise, signal-to-noise ratio"
LEVELS = (30.0, 20.0, 10.0)


def apply(subject: Subject, random: Array, ratio: float) -> Array:
    """Return the inputs with noise ``ratio`` dB below them, made of standard normal numbers."""
    return subject.x + np.float32(noise_power(subject, ratio) ** 0.5) * random * channels(subject)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_gauss_snr_<dB>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("gauss_snr", LEVELS)
    return measure_noise(subject, config, rng, progress, "gauss_snr", TITLE, gauss.draw, apply, levels, "dB", DECIBEL)
