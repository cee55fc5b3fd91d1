"""Correlated Gaussian noise: half of its power is common to all channels of a sample, half drifts slowly from channel to channel.

Common-mode noise is what a whole module picks up at once. The rest is a stationary AR(1) process, x_k = 0.9 x_(k-1) + ..., along the
channels in the order of the inputs, as a multiplexed digitiser sees low-frequency noise when it reads one after the other. Every channel
has the standard deviation of the level, so the difference from uncorrelated noise is due to the correlation.

Correlation in time from sample to sample does not change a mean score: the network sees one sample at a time, and what it sees is noise of
the same distribution. So the noise of the samples is drawn independently, which gives the same expectation and a narrower, exact interval.

Levels: percent of `subject.unit`, as in `gauss`, but without its clamp. Cost: one evaluation of the samples for each level and draw.
"""

import numpy as np
from scipy.signal import lfilter

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import channels, measure_noise
from flow.robustness._subject import Subject

TITLE = "correlated noise"
LEVELS = (5.0, 10.0, 20.0)
COMMON = 0.5
NEIGHBOUR = 0.9


def draw(subject: Subject, rng: np.random.Generator) -> Array:
    """Return numbers of variance 1 of the shape of the inputs, 0 where there is no channel; they are independent between samples."""
    live = channels(subject)[0].ravel()
    samples, count = len(subject.x), int(live.sum())
    steps = rng.standard_normal((samples, count), dtype=np.float32)
    steps[:, 1:] *= (1 - NEIGHBOUR**2) ** 0.5
    drift = lfilter([1.0], [1.0, -NEIGHBOUR], steps, axis=1)
    noise = np.zeros((samples, live.size), dtype=np.float32)
    noise[:, live] = (1 - COMMON) ** 0.5 * drift + COMMON**0.5 * rng.standard_normal((samples, 1))
    return noise.reshape(subject.x.shape)


def apply(subject: Subject, random: Array, percent: float) -> Array:
    """Return the noisy inputs."""
    return subject.x + np.float32(percent / 100 * subject.unit) * random


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_correlated_noise_<percent>``; see `flow.robustness._noise.measure_noise`."""
    levels = config.levels.get("correlated_noise", LEVELS)
    return measure_noise(subject, config, rng, progress, "correlated_noise", TITLE, draw, apply, levels)
