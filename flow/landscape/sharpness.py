"""Rise of the loss when the deployed weights move by a few steps of their grid (LSB).

The ball is that of the largest change of any weight or bias on chip, in units of its own step, around the deployed integers. Average case:
mean rise over uniform random changes. Worst case: the largest rise that steps along the sign of the gradient find (adaptive sharpness;
Kwon et al., arXiv:2102.11600; Foret et al., arXiv:2010.01412), or that a random change shows, so a lower bound of the true worst case.
Changed weights are real numbers within the range of their format, and activations are quantized.

Changes come in pairs of opposite ones, whose mean rise is one sample: what is linear in the change cancels, and with it most of the
variance (antithetic variates; Hammersley and Morton, 1956). Cost: two forward passes for each pair, a few with gradient.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import CHIP, Floats, Problem
from flow.statistics import mean_interval

TITLE = "Sharpness"
BATCH = 32
MOST = 32  # most pairs, as a multiple of `config.probes`: a forward pass costs far less than a product of the Hessian
ASCENTS = 5
Pairs = Callable[[int], tuple[Floats, Floats]]


def box(problem: Problem, radius: float) -> tuple[Floats, Floats, Floats]:
    """Return the deployed point, and the smallest and largest values within `radius` steps of it, (D,) each; the head does not move."""
    centre, low, high = problem.quantized(problem.point[None])[0], problem.point.copy(), problem.point.copy()
    reach = radius * np.nan_to_num(problem.steps)
    for name, where in problem.slices.items():
        if name in problem.chip:
            form, steps = problem.twin.weights[name.removeprefix(CHIP)], problem.steps[where]
            low[where] = np.maximum(centre[where] - reach[where], form.low * steps)
            high[where] = np.minimum(centre[where] + reach[where], form.high * steps)
    return centre, low, high


def mean_rises(problem: Problem, centre: Floats, draw: Pairs, config: LandscapeConfig) -> NDArray[np.float64]:
    """Return the rise of the mean loss for each pair of opposite changes, (n,).

    Args:
        problem: the loss.
        centre: the point (D,) that rises are counted from.
        draw: count -> two arrays of points (count, D), the second the opposite of the first.
        config: n grows until `relative_error`, or until ``MOST * probes``.
    """
    clean = problem.mean_losses(centre[None], quantize=False)[0]
    rises, most = np.empty(0), MOST * config.probes
    while len(rises) < most:
        pairs = np.concatenate(draw(min(BATCH, most - len(rises))))
        rises = np.concatenate([rises, problem.mean_losses(pairs, quantize=False).reshape(2, -1).mean(axis=0) - clean])
        if rises.std(ddof=1) <= config.relative_error * abs(rises.mean()) * len(rises) ** 0.5:
            break
    return rises


def average_rises(problem: Problem, radius: float, config: LandscapeConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the rise of the mean loss for each pair of opposite changes that are uniform in the box; see `mean_rises`."""
    centre, low, high = box(problem, radius)

    def draw(count: int) -> tuple[Floats, Floats]:
        shift = (high - low) * rng.random((count, len(low)))
        return low + shift, high - shift

    return mean_rises(problem, centre, draw, config)


def gradient(problem: Problem, point: Floats) -> Floats:
    """Return the gradient of the mean loss at the deployed weights of a point (D,), straight through the quantizers."""
    leaves = {name: part[0].requires_grad_() for name, part in problem.split(torch.from_numpy(point[None])).items()}
    parts = torch.autograd.grad(problem.loss(leaves), [leaves[name] for name in problem.params], materialize_grads=True)
    return np.concatenate([part.double().reshape(-1).numpy() for part in parts])


def worst_rise(problem: Problem, centre: Floats, step: Callable[[Floats, Floats], Floats]) -> float:
    """Return the largest rise of the mean loss that `ASCENTS` steps along the gradient find; never below 0.

    Args:
        problem: the loss.
        centre: the point (D,) that the ascent starts at.
        step: point and gradient -> the point of the ball that lies farthest along the gradient.
    """
    points = [centre]
    for _ in range(ASCENTS):
        points.append(step(points[-1], gradient(problem, points[-1])))
    losses = problem.mean_losses(np.stack(points), quantize=False)
    return float(losses.max() - losses[0])


def worst_in_box(problem: Problem, radius: float) -> float:
    """Return the largest rise of the mean loss that steps from corner to corner of the box find."""
    centre, low, high = box(problem, radius)
    return worst_rise(problem, centre, lambda point, slope: np.where(slope > 0, high, np.where(slope < 0, low, point)))


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``sharpness_mean_<steps>`` and ``sharpness_worst_<steps>`` for each radius; intervals over pairs of random changes."""
    metrics = {}
    for i, radius in enumerate(config.sharpness_steps):
        progress(i / len(config.sharpness_steps), f"{TITLE}, {radius:g} LSB")
        rises = average_rises(problem, radius, config, rng)
        value, ci = mean_interval(rises)
        words = f"loss rise within {radius:g} LSB of each weight"
        source = f"{len(rises)} pairs of opposite uniform changes, {len(problem.x)} samples"
        metrics[f"sharpness_mean_{radius:g}"] = Metric(value, direction="lower", ci=ci, source=source, title=f"Mean {words}")
        source = f"lower bound: {ASCENTS} steps of sign ascent and the changes of the mean, {len(problem.x)} samples"
        worst = max(worst_in_box(problem, radius), float(rises.max()))
        metrics[f"sharpness_worst_{radius:g}"] = Metric(worst, direction="lower", source=source, title=f"Worst {words}")
    return metrics
