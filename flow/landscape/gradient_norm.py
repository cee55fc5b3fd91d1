"""Distribution of the norm of the loss gradient over samples, at the trained parameters."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Problem
from flow.statistics import mean_interval, quantile_interval

TITLE = "Per-sample gradient norm"
CHUNK = 256
MOST_FLOATS = 2**24


def gradient_norms(problem: Problem, progress: Progress = lambda fraction, text: None) -> NDArray[np.float64]:
    """Return the Euclidean norm of the gradient of each sample's loss with respect to all trained parameters, (N,)."""
    params = {name: value.detach() for name, value in problem.params.items()}

    def one(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return problem.losses(params, x.unsqueeze(0), y.unsqueeze(0))[0]

    gradient = torch.func.vmap(torch.func.grad(one), (None, 0, 0))
    chunk = max(1, min(CHUNK, MOST_FLOATS // sum(p.numel() for p in params.values())))
    norms = []
    for start in range(0, len(problem.x), chunk):
        part = slice(start, start + chunk)
        squares = [g.double().flatten(1).square().sum(1) for g in gradient(params, problem.x[part], problem.y[part]).values()]
        norms.append(torch.stack(squares).sum(0).sqrt())
        progress(min(1.0, (start + chunk) / len(problem.x)), TITLE)
    return np.asarray(torch.cat(norms).numpy())


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``gradient_norm_mean``, ``gradient_norm_p50`` and ``gradient_norm_p95`` over the samples.

    Confidence intervals are over samples: Student's t for the mean, the percentile bootstrap for the quantiles.
    """
    norms = gradient_norms(problem, progress)
    source = f"{len(norms)} samples, all trained parameters"
    mean, ci = mean_interval(norms)
    metrics = {"gradient_norm_mean": Metric(mean, direction="lower", ci=ci, source=source, title=TITLE + ", mean")}
    for percent in (50, 95):
        value, ci = quantile_interval(norms, percent / 100, rng)
        title = f"{TITLE}, {percent} % quantile"
        metrics[f"gradient_norm_p{percent}"] = Metric(value, direction="lower", ci=ci, source=source, title=title)
    return metrics
