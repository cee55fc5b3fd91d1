"""A digitiser with fewer bits of the same range: inputs are rounded to words that are that much narrower than the network's input.

Levels: bits lost, whole numbers. Those that leave no bit (two, where inputs have a sign) are left out. At 0 nothing changes. Cost: one
evaluation of the samples for each level.
"""

import dataclasses

import numpy as np
import torch

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise import measure_distortion, words
from flow.robustness._subject import Subject
from flow.twin.quantizer import quantize

TITLE = "lost resolution"
LEVELS = (1.0, 2.0, 3.0)


def apply(subject: Subject, sign: float, bits: float) -> Array:
    """Return the inputs in steps that are ``2**bits`` times as large; the sign has no meaning."""
    form, lost = words(subject), int(bits)
    coarse = dataclasses.replace(form, bits=form.bits - lost, scale=form.scale * 2.0**lost)
    rounded: Array = quantize(torch.from_numpy(np.ascontiguousarray(subject.x)), coarse).numpy()
    return rounded


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_resolution_<bits>``; see `flow.robustness._noise.measure_distortion`.

    Raises:
        ConfigError: a level is not a whole number.
    """
    levels, form = config.levels.get("resolution", LEVELS), words(subject)
    if wrong := [level for level in levels if level != int(level)]:
        raise ConfigError(f"robustness.levels.resolution: {wrong[0]:g} is not a whole number of bits.")
    left = [level for level in levels if form.bits - level >= 1 + form.signed]
    return measure_distortion(subject, config, rng, progress, "resolution", TITLE, apply, left, "bits", (1.0,), whole=True)
