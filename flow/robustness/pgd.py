"""The worst inputs on many steps along the sign of the gradient: a lower bound of the worst case (PGD; Madry et al., arXiv:1706.06083).

At p %, the training loss L(x', clean target) goes up from several starts by steps of 2.5 eps / 10, at least one step of the input words;
after each, x' is put back into the box ``|x' - x| <= eps``, eps = p percent of `subject.unit`, and into the range of the input words. The
first start is the point of `flow.robustness.fgsm`, the other one is uniform in the box. The task score need not be worst where the loss is
largest, so all inputs on the way are scored, and each sample counts with its worst ones; the clean ones and those of smaller boxes are
among them. So the figure is never negative, never below FGSM or the starts, and rises with the level. What it bounds, and what not: see
`flow.robustness._adversary`.

It costs 21 gradients of the loss and 22 scores of the samples at each level; a few more levels are tried near the critical one.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness import _adversary
from flow.robustness._adversary import Adversary
from flow.robustness._curve import curve, near_critical
from flow.robustness._subject import Subject, Values

TITLE = "worst-case inputs, gradient ascent"
LEVELS = _adversary.LEVELS
STEPS = 10
STARTS = 2


def worst(adversary: Adversary, size: float, rng: np.random.Generator) -> Values:
    """Return the largest degradation found for each sample in the box of `size`, (n,)."""
    harm = np.zeros(len(adversary.x))
    for start in adversary.starts(size, STARTS, rng):
        for x in adversary.climb(start, size, STEPS):
            harm = np.maximum(harm, adversary.harm(x))
    return harm


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_pgd_<percent>``, and the area and the critical strength of the curve; nothing without a loss.

    The interval covers the choice of samples.
    """
    if subject.problem is None:
        return {}
    levels, adversary, found = sorted(set(config.levels.get("pgd", LEVELS))), Adversary(subject, subject.problem), dict[float, Values]()

    def harm(percent: float) -> Values:
        progress(min(1.0, percent / levels[-1]), f"{TITLE}, {percent:.3g} %")
        smaller = [values for other, values in found.items() if other < percent]
        found[percent] = np.maximum.reduce([worst(adversary, percent / 100 * subject.unit, rng), *smaller])
        return found[percent]

    values = [harm(percent) for percent in levels]
    further = near_critical(subject, config, levels, values, harm)
    way = f"the worst of {STARTS} starts and {STEPS} steps from each"
    source = f"{len(adversary.x)} samples, {way}; straight-through gradients, so no more than a lower bound of the worst case"
    return curve(subject, config, "pgd", TITLE, "%", levels, values, rng, source, further=further)
