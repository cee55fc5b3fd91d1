"""Trace of the Hessian of the loss by Hutchinson's estimator.

Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1990); as a landscape metric of quantized detector networks:
Baldi et al., arXiv:2502.08355. The value is the mean over probes (the authors' released code sums them).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Problem
from flow.landscape._products import HessianProduct
from flow.statistics import mean_interval

TITLE = "Hessian trace"


def probe_values(operator: HessianProduct, probes: int, rng: np.random.Generator, tick: Callable[[int], None]) -> NDArray[np.float64]:
    """Return v^T H v for random sign vectors v, each with expectation tr H.

    Args:
        operator: the Hessian.
        probes: number of vectors.
        rng: source of the signs.
        tick: called with the number of finished probes.

    Returns:
        (probes,).
    """
    values = np.empty(probes)
    for i in range(probes):
        v = rng.choice(np.array([-1.0, 1.0]), operator.size)
        values[i] = v @ (operator @ v)
        tick(i + 1)
    return values


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``hessian_trace`` of all trained parameters, and ``hessian_trace_chip`` of those on chip.

    Each block has probes of its own: from the probes of all parameters the block on chip would come with the spread of the head.
    The confidence interval is Student's t over probes; it does not include the choice of samples.
    """
    metrics: dict[str, Metric] = {}
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        if suffix and len(names) == len(problem.params):
            metrics["hessian_trace" + suffix] = metrics["hessian_trace"]
            continue

        def tick(done: int, block: int = i) -> None:
            progress((block + done / config.probes) / 2, f"trace probe {done}/{config.probes}")

        operator = HessianProduct(problem, names)
        values = probe_values(operator, config.probes, rng, tick)
        value, ci = mean_interval(values)
        source = f"Hutchinson, {config.probes} Rademacher probes, {len(problem.x)} samples, {operator.size} parameters"
        title = TITLE + (", on chip" if suffix else "")
        metrics["hessian_trace" + suffix] = Metric(value, direction="lower", ci=ci, source=source, title=title)
    return metrics
