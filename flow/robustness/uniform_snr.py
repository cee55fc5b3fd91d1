"""Uniform input noise of mean 0 at a signal-to-noise ratio, as rounding makes it.

The power of the signal is the mean square of the inputs over the samples, channels only; the ratio is 10 log10(P_signal / P_noise), as
engineers define it. Nothing is clamped before the input quantizer, which clips as the hardware does. Levels: dB, a lower one is stronger;
strengths in between, the area and the critical ratio are by amplitude. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness import uniform
from flow.robustness._curve import DECIBEL
from flow.robustness._noise import channels, measure_noise, noise_power
from flow.robustness._subject import Subject

TITLE = "uniform noise, signal-to-noise ratio"
LEVELS = (30.0, 20.0, 10.0)


def apply(subject: Subject, random: Array, ratio: float) -> Array:
    """Return the inputs with noise ``ratio`` dB below them, made of numbers uniform in [0, 1)."""
    half = (3 * noise_power(subject, ratio)) ** 0.5
    return subject.x + np.float32(half) * (2 * random - 1) * channels(subject)


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_uniform_snr_<dB>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("uniform_snr", LEVELS)
    return measure_noise(subject, config, rng, progress, "uniform_snr", TITLE, uniform.draw, apply, levels, "dB", DECIBEL)
