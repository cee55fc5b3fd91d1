"""Figures of the loss landscape as the released code of Baldi et al., arXiv:2502.08355 (PyLandscape), computes them; for comparison only.

They show where published curves come from, and are no scores. What differs from the metrics of `flow.landscape`:

- The Hessian trace is the *sum* over 100 Hutchinson probes of v^T H v, not their mean: 100 times an estimate of the trace.
- The Jacobian penalty of image outputs is too small by 1 / (B W), with B samples in a batch and rows of W inputs: one random vector is
  normalised over the whole batch, and the mean is taken over a batch axis and an image axis that should have been summed over. Of outputs
  with one axis it is right.
- Directions of a surface are uniform in [0, 1), so all components are positive; they have norm 1 over all parameters, not by filter.

Here as there, all parameters move, weights are quantized at each point, and one batch of 1,024 samples is taken; scales of activations are
constants here, and parameters there. The connectivity of two networks is not repeated: the released curve is never trained, so it is the
straight line that `flow.landscape.mode_connectivity` measures with ``connectivity_epochs = 0``.

Cost: 100 products of the Hessian with a vector, `DRAWS` backward passes, two forward passes for each point of a line.
"""

import numpy as np
import torch
from torch import Tensor

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import CHIP, Floats, Problem, apply_head
from flow.landscape._products import HessianProduct
from flow.statistics import mean_interval

TITLE = "Figures of the released code of Baldi et al."
WORDS = "as the released code of Baldi et al. computes it"
PROBES, BATCH, RADIUS, DRAWS = 100, 1024, 0.15, 16


def summed_probes(problem: Problem, rng: np.random.Generator, progress: Progress) -> Floats:
    """Return v^T H v for `PROBES` random sign vectors, (100,); the released trace is their sum."""
    operator = HessianProduct(problem, tuple(problem.params))
    values = np.empty(PROBES)
    for i in range(PROBES):
        v = rng.choice(np.array([-1.0, 1.0]), operator.size)
        values[i] = v @ (operator @ v)
        progress(0.6 * (i + 1) / PROBES, f"{TITLE}, probe {i + 1}")
    return values


def penalty(x: Tensor, y: Tensor, rng: np.random.Generator) -> float:
    """Return the Jacobian penalty of a batch with one random vector, as released.

    Args:
        x: inputs (B, ...) that require a gradient.
        y: outputs (B, ...) with their graph.
        rng: source of the vector.

    Returns:
        For outputs (B, C) an estimate of 1/2 E ||dy/dx||_F^2; for images that divided by B and the size of the last axis that is left.
    """
    v = torch.from_numpy(rng.standard_normal(tuple(y.shape))).to(y.dtype)
    v = v / v.norm()  # of the whole batch: the first defect
    squares = torch.stack(torch.autograd.grad((y * v).sum(), [x], retain_graph=True)).square()
    axes = tuple(range(2, min(y.ndim, squares.ndim)))  # behind the axis that `stack` put in front, so one too few: the second defect
    rows = squares.sum(dim=axes) if axes else squares.sum()
    return 0.5 * y[0].numel() * float(rows.mean())


def penalties(problem: Problem, rng: np.random.Generator) -> Floats:
    """Return the penalty of the first batch for each of `DRAWS` random vectors, (16,)."""
    x = problem.x[:BATCH].detach().clone().requires_grad_()
    chip = problem.twin({name.removeprefix(CHIP): problem.params[name].detach() for name in problem.chip}, x).to(torch.float32)
    y = apply_head(problem.head, {name: value.detach() for name, value in problem.params.items()}, chip)
    return np.array([penalty(x, y, rng) for _ in range(DRAWS)])


def directions(size: int, rng: np.random.Generator) -> Floats:
    """Return two directions of a surface, (2, size): uniform in [0, 1), of norm 1."""
    uniform = rng.random((2, size))
    return np.asarray(uniform / np.linalg.norm(uniform, axis=1, keepdims=True))


def _surface(problem: Problem, points: int, rng: np.random.Generator) -> dict[str, Metric]:
    """Measure lines along both directions and record them: ``pylandscape_surface`` (2, P) over ``pylandscape_surface_axis`` (P,)."""
    batch, centre = problem.subset(slice(BATCH)), problem.point
    axis = np.linspace(-RADIUS, RADIUS, points)
    both = directions(centre.size, rng)
    losses = np.stack([batch.mean_losses(centre + axis[:, None] * direction) for direction in both])
    problem.records["pylandscape_surface"], problem.records["pylandscape_surface_axis"] = losses, axis
    deployed, end = problem.quantized(np.stack([centre, centre + RADIUS * both[0]]))
    words = np.isfinite(problem.steps)
    changed = 100 * float((deployed != end)[words].mean())
    source = f"2 uniform positive directions of norm 1, {points} points within {RADIUS:g}, {len(batch.x)} samples"
    return {
        "pylandscape_surface_rise": Metric(
            float(losses.max() - losses[:, points // 2].mean()), source=source, title=f"Largest rise on the loss surface, {WORDS}"
        ),
        "pylandscape_surface_changed": Metric(
            changed, "%", source=source, title=f"Deployed integers that change at the edge of the loss surface, {WORDS}"
        ),
    }


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``pylandscape_hutchinson_sum``, ``pylandscape_jacobian`` and ``pylandscape_surface_*``; none has a better and a worse.

    The intervals are over probes and over random vectors (Student's t).
    """
    probes = summed_probes(problem, rng, progress)
    mean, (low, high) = mean_interval(probes)
    metrics = {
        "pylandscape_hutchinson_sum": Metric(
            PROBES * mean, ci=(PROBES * low, PROBES * high), title=f"Sum of {PROBES} trace probes, {WORDS}",
            source=f"sum, not mean, of {PROBES} Rademacher probes, {len(problem.x)} samples",
        ),
    }  # fmt: skip
    progress(0.7, f"{TITLE}, Jacobian")
    value, ci = mean_interval(penalties(problem, rng))
    source = f"{DRAWS} vectors normalised over a batch of {len(problem.x[:BATCH])} samples"
    metrics["pylandscape_jacobian"] = Metric(value, ci=ci, source=source, title=f"Jacobian penalty, {WORDS}")
    progress(0.8, f"{TITLE}, surface")
    return metrics | _surface(problem, config.surface_points, rng)
