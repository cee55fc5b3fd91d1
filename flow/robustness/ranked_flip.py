"""Flips of the bits that a ranking holds for the most harmful, instead of random ones; of weights only, as in FKeras.

A ranking orders the weights by what can be computed without a trial; their sign bits come first, as in FKeras (Weng et al., ACM JATS 2024,
doi:10.1145/3665334) and Baldi et al., arXiv:2502.08355, whose released code then quantizes the weights anew, which moves many others; here
exactly the asked bits change. ``exact`` flips each bit alone instead, at most 16,384 of them, and orders them by the mean loss: the best
order for one flip, not for many, whose harm does not add up. Rankings see validation samples, or test samples if there are no others, as
of an imported network. Level: the number of bits that flip. Cost: a gradient, or for ``fkeras`` about 20 Hessian products, or for
``exact`` a loss of 128 samples for each bit; and one scoring of the samples for each ranking and number of flips.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Problem
from flow.robustness._bits import Ints
from flow.robustness._ranking import RANKINGS, exact_bits, ranked_bits
from flow.robustness._subject import Subject
from flow.robustness.bit_flip import levels_of
from flow.statistics import mean_interval

TITLE = "ranked bit flips"


def ranked(subject: Subject, problem: Problem, ranking: str, rng: np.random.Generator, progress: Progress) -> tuple[Ints, str]:
    """Return the weight bits in the order of a ranking, and what that has seen in words."""
    if ranking == "exact":
        bits, tried, samples = exact_bits(subject, problem, progress)
        return bits, f"{'all ' * (tried == len(bits))}{tried} bits tried alone on {samples}"
    progress(0.0, ranking)
    return ranked_bits(subject.space(("weight",)), RANKINGS[ranking](problem, rng)), f"ranked on {len(problem.x)}"


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_ranked_flip_<ranking>_<n>``, the mean degradation when the first n bits of a ranking flip at once.

    Nothing is drawn but a start vector, so the interval (Student's t) is over samples.

    Raises:
        ConfigError: the weights do not have as many bits.
    """
    problem = subject.problem
    if problem is None:
        return {}
    metrics, space, levels = {}, subject.space(("weight",)), levels_of(config, "ranked_flip")
    for i, ranking in enumerate(config.rankings):

        def show(share: float, text: str, i: int = i) -> None:
            progress((i + share) / len(config.rankings), f"{TITLE}: {text}")

        bits, ranked_on = ranked(subject, problem, ranking, rng, show)
        for flips in levels:
            if flips > space.total:
                raise ConfigError(f"robustness.flips = {flips}: the weights of this network have {space.total} bits only. Take fewer.")
            values = subject.degradations(space, space.flipped(bits[None, :flips]), len(subject.x))[0]
            value, ci = mean_interval(values)
            title = f"{subject.score.title} degradation, {flips} bit flip{'s' * (flips > 1)} ranked by {ranking}"
            key = f"{subject.score.id}_ranked_flip_{ranking}_{flips}"
            source = f"{len(values)} samples; {ranked_on}"
            metrics[key] = Metric(value, subject.score.unit, direction="lower", ci=ci, source=source, title=title)
    return metrics
