"""Rise of the loss when each filter moves by a share of its own norm.

The ball of radius rho is ``||delta_f|| <= rho ||w_f||`` for every filter f of the deployed weights: filter-wise adaptive sharpness (Kwon et
al., arXiv:2102.11600), with a ball for each filter so that rho does not depend on how many there are. It does not change when a filter
is multiplied and what follows is divided, which a ball of the plain norm does. Average case: mean rise over filter-normalised random
directions (Li et al., arXiv:1712.09913) of length rho. Worst case: the largest rise that steps along the gradient find, each to the point
of the ball that lies farthest along it (Foret et al., arXiv:2010.01412), or that a random change shows; a lower bound. Changed weights are
real numbers of any size, biases and the off-chip head do not move, activations are quantized. Pairs of opposite changes and cost: as
`flow.landscape.sharpness`.
"""

import numpy as np

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._directions import Filters, find_filters, random_directions
from flow.landscape._problem import Floats, Problem
from flow.landscape.sharpness import ASCENTS, mean_rises, worst_rise
from flow.statistics import mean_interval

TITLE = "Relative sharpness"
RADII = (0.05, 0.1, 0.2)


def average_rises(problem: Problem, filters: Filters, radius: float, config: LandscapeConfig, rng: np.random.Generator) -> Floats:
    """Return the rise of the mean loss for each pair of opposite changes of relative length `radius`, (n,)."""
    centre = problem.quantized(problem.point[None])[0]

    def draw(count: int) -> tuple[Floats, Floats]:
        shifts = radius * random_directions(filters, centre, count, rng)
        return centre + shifts, centre - shifts

    return mean_rises(problem, centre, draw, config)


def worst_in_ball(problem: Problem, filters: Filters, radius: float) -> float:
    """Return the largest rise of the mean loss that the ascent finds within a relative distance of `radius`."""
    centre = problem.quantized(problem.point[None])[0]
    reach = radius * filters.norms(centre[None])[0]
    return worst_rise(problem, centre, lambda _, slope: centre + filters.scale(slope[None], reach)[0])


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``sharpness_relative_mean_<rho>`` and ``sharpness_relative_worst_<rho>``; intervals over pairs of random changes."""
    filters, metrics = find_filters(problem), {}
    for i, radius in enumerate(RADII):
        progress(i / len(RADII), f"{TITLE}, {radius:g}")
        value, ci = mean_interval(rises := average_rises(problem, filters, radius, config, rng))
        words = f"loss rise within {radius:g} of the norm of each filter"
        source = f"{len(rises)} pairs of opposite changes, {len(problem.x)} samples"
        metrics[f"sharpness_relative_mean_{radius:g}"] = Metric(value, direction="lower", ci=ci, source=source, title=f"Mean {words}")
        source = f"lower bound: {ASCENTS} steps of ascent and the changes of the mean, {len(problem.x)} samples"
        worst = max(worst_in_ball(problem, filters, radius), float(rises.max()))
        metrics[f"sharpness_relative_worst_{radius:g}"] = Metric(worst, direction="lower", source=source, title=f"Worst {words}")
    return metrics
