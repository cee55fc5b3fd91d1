"""Rise of the loss when the deployed weights move by a few steps of their grid (LSB).

The ball is that of the largest change of any weight or bias on chip, in units of its own step, around the deployed integers. Average case:
mean rise over uniform random changes. Worst case: the largest rise that steps along the sign of the gradient find (adaptive sharpness;
Kwon et al., arXiv:2102.11600; Foret et al., arXiv:2010.01412), so a lower bound of the true worst case. Changed weights are real numbers
within the range of their format, and activations are quantized. Cost: a forward pass for each random change, a few with gradient.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import CHIP, Floats, Problem
from flow.statistics import mean_interval

TITLE = "Sharpness"
BATCH = 16
ASCENTS = 5


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


def average_rises(problem: Problem, radius: float, config: LandscapeConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the rise of the mean loss for each random change, (n,); n grows until `config.relative_error` or `config.probes`."""
    centre, low, high = box(problem, radius)
    clean = problem.mean_losses(centre[None], quantize=False)[0]
    rises = np.empty(0)
    while len(rises) < config.probes:
        count = min(BATCH, config.probes - len(rises))
        points = low + (high - low) * rng.random((count, len(low)))
        rises = np.concatenate([rises, problem.mean_losses(points, quantize=False) - clean])
        if len(rises) >= BATCH and rises.std(ddof=1) <= config.relative_error * abs(rises.mean()) * len(rises) ** 0.5:
            break
    return rises


def worst_rise(problem: Problem, radius: float) -> float:
    """Return the largest rise of the mean loss that `ASCENTS` steps along the sign of the gradient find; never below 0."""
    centre, low, high = box(problem, radius)
    points, here = [centre], centre
    for _ in range(ASCENTS):
        leaves = {name: part[0].requires_grad_() for name, part in problem.split(torch.from_numpy(here[None])).items()}
        gradients = torch.autograd.grad(problem.loss(leaves), [leaves[name] for name in problem.params], materialize_grads=True)
        sign = np.sign(np.concatenate([g.double().reshape(-1).numpy() for g in gradients]))
        here = np.where(sign > 0, high, np.where(sign < 0, low, here))
        points.append(here)
    losses = problem.mean_losses(np.stack(points), quantize=False)
    return float(losses.max() - losses[0])


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``sharpness_mean_<steps>`` and ``sharpness_worst_<steps>`` for each radius; intervals over random changes."""
    metrics = {}
    for i, radius in enumerate(config.sharpness_steps):
        progress(i / len(config.sharpness_steps), f"{TITLE}, {radius:g} LSB")
        rises = average_rises(problem, radius, config, rng)
        value, ci = mean_interval(rises)
        words = f"loss rise within {radius:g} LSB of each weight"
        source = f"{len(rises)} uniform changes, {len(problem.x)} samples"
        metrics[f"sharpness_mean_{radius:g}"] = Metric(value, direction="lower", ci=ci, source=source, title=f"Mean {words}")
        source = f"lower bound: {ASCENTS} steps of sign ascent, {len(problem.x)} samples"
        worst = worst_rise(problem, radius)
        metrics[f"sharpness_worst_{radius:g}"] = Metric(worst, direction="lower", source=source, title=f"Worst {words}")
    return metrics
