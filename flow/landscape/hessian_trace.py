"""Trace of the Hessian of the loss, exact where the network allows it, else by Hutchinson's estimator.

Exact: with the last layer's output u, d2L/dtheta_i^2 = J_i^T (d2L/du^2) J_i for every parameter of a network of linear layers, ReLU, maxima
and straight-through quantizers (see `flow.landscape._exact_trace`); one backward pass for each output with curvature, as matrix products
where the network is a chain of layers, about 0.5 s of one core for 1,024 wafers. Estimated: mean of v^T H v over random sign vectors v
(Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1990). As a landscape metric of quantized detector networks:
Baldi et al., arXiv:2502.08355, whose released code sums the probes.
"""

import re
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._exact_trace import Split, multilinear_split, sample_traces
from flow.landscape._problem import CHIP, Problem
from flow.landscape._products import HessianProduct
from flow.statistics import mean_interval

TITLE = "Hessian trace"
FEWEST = 16


def probe_values(
    operator: HessianProduct, probes: int, rng: np.random.Generator, tick: Callable[[int], None], relative_error: float = 0.0
) -> NDArray[np.float64]:
    """Return v^T H v for random sign vectors v, each with expectation tr H.

    Args:
        operator: the Hessian.
        probes: most vectors.
        rng: source of the signs.
        tick: called with the number of finished probes.
        relative_error: stop, but not before `FEWEST` probes, when the standard error of the mean is this small relative to it.

    Returns:
        (n,) with n <= `probes`.
    """
    values = np.empty(probes)
    for i in range(probes):
        v = rng.choice(np.array([-1.0, 1.0]), operator.size)
        values[i] = v @ (operator @ v)
        tick(i + 1)
        done = values[: i + 1]
        if i + 1 >= FEWEST and done.std(ddof=1) <= relative_error * abs(done.mean()) * len(done) ** 0.5:
            return done
    return values


def layer_of(problem: Problem, name: str) -> str:
    """Return the layer that a parameter belongs to, as a part of an id."""
    form = problem.twin.weights.get(name.removeprefix(CHIP)) if name.startswith(CHIP) else None
    layer = form.layer if form is not None else name.rpartition(".")[0]
    return re.sub(r"\W+", "_", layer).strip("_")


def _exact(problem: Problem, split: Split, progress: Progress) -> dict[str, Metric]:
    """Return the traces of all parameters, of those on chip, and by layer; intervals are over samples."""
    traces = sample_traces(problem, split, lambda done: progress(done, TITLE))
    source = f"exact, {len(problem.x)} samples"
    layers: dict[str, list[str]] = {}
    for name in problem.params:
        layers.setdefault(f"_layer_{layer_of(problem, name)}", []).append(name)
    metrics: dict[str, Metric] = {}
    for suffix, names in (*problem.blocks.items(), *layers.items()):
        if suffix == "_chip" and len(names) == len(problem.params):
            metrics["hessian_trace" + suffix] = metrics["hessian_trace"]
            continue
        value, ci = mean_interval(np.asarray(torch.stack([traces[name] for name in names]).sum(0).numpy(), np.float64))
        words = ", on chip" if suffix == "_chip" else suffix.replace("_layer_", ", layer ")
        metrics["hessian_trace" + suffix] = Metric(value, direction="lower", ci=ci, source=source, title=TITLE + words)
    return metrics


def _estimate(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Return the traces of all parameters and of those on chip by Hutchinson's estimator; intervals are over probes.

    Each block has probes of its own: from the probes of all parameters the block on chip would come with the spread of the head.
    """
    metrics: dict[str, Metric] = {}
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        if suffix and len(names) == len(problem.params):
            metrics["hessian_trace" + suffix] = metrics["hessian_trace"]
            continue

        def tick(done: int, block: int = i) -> None:
            progress((block + min(1.0, done / config.probes)) / 2, f"trace probe {done} of at most {config.probes}")

        operator = HessianProduct(problem, names)
        values = probe_values(operator, config.probes, rng, tick, config.relative_error)
        value, ci = mean_interval(values)
        source = f"Hutchinson, {len(values)} Rademacher probes, {len(problem.x)} samples, {operator.size} parameters"
        title = TITLE + (", on chip" if suffix else "")
        metrics["hessian_trace" + suffix] = Metric(value, direction="lower", ci=ci, source=source, title=title)
    return metrics


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``hessian_trace`` of all trained parameters and ``hessian_trace_chip`` of those on chip; if exact, also by layer.

    An exact trace has an interval over samples (Student's t); an estimated one over probes, which does not include the choice of samples.
    The number of probes grows until the standard error is `config.relative_error` of the mean, or there are `config.probes` of them.
    """
    progress(0.0, TITLE)
    split = multilinear_split(problem)
    if split is not None and len(problem.x) > 1:
        return _exact(problem, split, progress)
    return _estimate(problem, config, rng, progress)
