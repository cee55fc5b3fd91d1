"""Inputs after a single step along the sign of the gradient: a lower bound of the worst case (FGSM; Goodfellow et al., arXiv:1412.6572).

At p %, ``x + eps sign(dL/dx)`` with eps = p percent of `subject.unit`, kept in the range of the input words. All inputs of a sample move
at once, each by at most eps, up or down, in the way that raises the training loss L(x, clean target) to first order: of a loss that is
linear in the inputs it is the worst case, eps |dL/dx|_1. The figure is the change of the task score, so it may be negative where a step
goes too far. What it bounds, and what not: see `flow.robustness._adversary`. It costs a gradient of the loss and a score of the samples
at each level.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness import _adversary
from flow.robustness._adversary import Adversary
from flow.robustness._curve import curve, near_critical
from flow.robustness._subject import Subject, Values

TITLE = "worst-case inputs, one gradient step"
LEVELS = _adversary.LEVELS


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_fgsm_<percent>``, and the area and the critical strength of the curve; nothing without a loss.

    The interval covers the choice of samples.
    """
    if subject.problem is None:
        return {}
    levels, adversary = sorted(set(config.levels.get("fgsm", LEVELS))), Adversary(subject, subject.problem)

    def harm(percent: float) -> Values:
        progress(min(1.0, percent / levels[-1]), f"{TITLE}, {percent:.3g} %")
        return adversary.harm(adversary.one_step(percent / 100 * subject.unit))

    values = [harm(percent) for percent in levels]
    further = near_critical(subject, config, levels, values, harm)
    source = f"{len(adversary.x)} samples; straight-through gradients, so no more than a lower bound of the worst case"
    return curve(subject, config, "fgsm", TITLE, "%", levels, values, rng, source, further=further)
