"""Flips of the bits that a ranking holds for the most harmful, instead of random ones.

A ranking orders the weights by what can be computed without a trial; their sign bits come first, as in FKeras (Weng et al., ACM JATS 2024,
doi:10.1145/3665334) and Baldi et al., arXiv:2502.08355, whose released code then quantizes the weights anew, which moves many others; here
exactly the asked bits change. The ranking sees validation samples, or test samples if there are no others, as of an imported network. Cost:
a gradient, or for ``fkeras`` about 20 Hessian products, and one scoring of the samples for each ranking and number of flips.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._ranking import RANKINGS, ranked_bits
from flow.robustness._subject import Subject
from flow.robustness.bit_flip import flip
from flow.statistics import mean_interval

TITLE = "ranked bit flips"


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_ranked_flip_<ranking>_<n>``, the mean degradation when the first n bits of a ranking flip at once.

    Nothing is drawn but a start vector, so the interval (Student's t) is over samples.

    Raises:
        ConfigError: the weights do not have as many bits.
    """
    problem = subject.problem
    if problem is None:
        return {}
    metrics = {}
    index = np.arange(len(subject.x))
    for i, ranking in enumerate(config.rankings):
        progress(i / len(config.rankings), f"{TITLE}, {ranking}")
        bits = ranked_bits(subject, RANKINGS[ranking](problem, rng))
        for flips in config.flips:
            if flips > len(bits):
                raise ConfigError(f"robustness.flips = {flips}: the weights of this network have {len(bits)} bits only. Take fewer.")
            scores = subject.score_codes(flip(subject.codes, subject.formats, bits[:flips]), index)
            value, ci = mean_interval(subject.degradation(scores, index))
            title = f"{subject.score.title} degradation, {flips} bit flip{'s' * (flips > 1)} ranked by {ranking}"
            source = f"{len(index)} samples; ranked on {len(problem.x)}"
            key = f"{subject.score.id}_ranked_flip_{ranking}_{flips}"
            metrics[key] = Metric(value, subject.score.unit, direction="lower", ci=ci, source=source, title=title)
    return metrics
