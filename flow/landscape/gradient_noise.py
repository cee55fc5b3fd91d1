"""Gradient noise scale, and how heavy the tail of the per-sample gradient norms is.

With g_n the gradient of the loss of sample n, G its mean over all possible samples and S the covariance, the simple noise scale is
B = tr S / |G|^2, in samples: the batch size at which the noise of a mini-batch gradient is as large as the gradient (McCandlish et al., "An
empirical model of large-batch training", arXiv:1812.06162). Both parts are estimated without bias from N samples,

    tr S = (sum |g_n|^2 - N |g|^2) / (N - 1),      |G|^2 = |g|^2 - tr S / N,      g the mean of the g_n.

At a minimum |G|^2 is 0 and B does not exist. ``gradient_noise_signal`` = 1 / B = |G|^2 / tr S does; ``gradient_noise_scale`` is there only
if the interval of the signal is above 0, and its interval is that of the signal, inverted. ``gradient_noise_variance`` is tr S, in squared
units of the loss gradient; ``gradient_noise_tail`` the 95 % quantile of |g_n| over the median. The norms themselves are metrics of
`gradient_norm`.

Intervals are over samples: the jackknife (Efron, 1982), or the bootstrap for quantiles. What the jackknife needs beside the norms is
g_n . g, the derivative of each loss along g: two backward passes and one through the graph of a gradient, in pieces that fit the memory, so
no gradient of a sample is kept. The norms are most of the cost, a gradient of each sample (`torch.func.vmap`), also in pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Floats, Params, Problem
from flow.landscape.gradient_norm import gradient_norms
from flow.statistics import LEVEL, RESAMPLES, mean_interval

TITLE = "Gradient noise"
FEWEST = 3
NEGLIGIBLE = 1e-10
GRAPH_BYTES = 2**16  # for each input word, more than the graph of any of the models here takes
COPIES = 8  # of the parameters, for each sample in flight: gradients, and the largest activations of the networks here


def restrict(problem: Problem, names: Sequence[str]) -> Problem:
    """Return the same loss as a function of some of its parameters; the others stay as they are."""
    rest = {name: value for name, value in problem.params.items() if name not in names}

    def losses(params: Params, x: Tensor, y: Tensor) -> Tensor:
        return problem.losses({**rest, **params}, x, y)

    return replace(problem, params={name: problem.params[name] for name in names}, losses=losses)


def squared_norms(problem: Problem, tick: Callable[[float], None] = lambda done: None) -> Floats:
    """Return |g_n|^2 of each sample, (N,), in pieces that fit the memory."""
    rows, size = [], sum(p.numel() * p.element_size() for p in problem.params.values())
    for part in problem.chunks(len(problem.x), COPIES * size):
        rows.append(np.square(gradient_norms(problem.subset(part))))
        tick(part.stop / len(problem.x))
    return np.concatenate(rows)


def _weighted(problem: Problem) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return weights 1 of the samples, and the gradient of the weighted sum of the losses, with its graph."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in problem.params.items()}
    losses, block = problem.per_sample(leaves), list(leaves.values())
    weights = torch.ones_like(losses).requires_grad_()
    if not losses.requires_grad:
        return weights, tuple(torch.zeros_like(leaf) for leaf in block)
    return weights, torch.autograd.grad(losses, block, weights, create_graph=True, materialize_grads=True)


def alignments(problem: Problem) -> tuple[float, Floats]:
    """Return |g|^2, and g_n . g of each sample, (N,); the mean of the second is the first."""
    parts = [problem.subset(part) for part in problem.chunks(len(problem.x), GRAPH_BYTES * problem.x[0].numel())]
    mean = [torch.zeros(p.shape, dtype=torch.float64) for p in problem.params.values()]
    for part in parts:
        for m, g in zip(mean, _weighted(part)[1], strict=True):
            m.add_(g.detach().double() / len(problem.x))
    rows = []
    for part in parts:
        weights, gradient = _weighted(part)
        known = [(g, m.to(g.dtype)) for g, m in zip(gradient, mean, strict=True) if g.requires_grad]
        # the gradient is linear in the weights of the samples: its derivative in one of them, along g, is g_n . g
        along = torch.zeros_like(weights)
        if known:
            (along,) = torch.autograd.grad([g for g, _ in known], weights, [m for _, m in known])
        rows.append(along.detach().double())
    return sum(float(m.square().sum()) for m in mean), np.asarray(torch.cat(rows).numpy())


def moments(mean_square: Floats, total: Floats, count: int) -> tuple[Floats, Floats]:
    """Return tr S and |G|^2 without bias.

    Args:
        mean_square: |g|^2 of `count` samples; any shape.
        total: sum of their |g_n|^2, of the same shape.
        count: samples.
    """
    variance = (total - count * mean_square) / (count - 1)
    return variance, mean_square - variance / count


def signal(squares: Floats, mean_square: float, along: Floats) -> tuple[float, tuple[float, float]]:
    """Return |G|^2 / tr S and its 95 % interval, from the jackknife over samples with Student's t.

    Args:
        squares: |g_n|^2, (N,), not all equal to `mean_square`.
        mean_square: |g|^2.
        along: g_n . g, (N,).
    """
    n, total = len(squares), squares.sum()
    variance, square = moments(np.asarray(mean_square), np.asarray(total), n)
    without = (n**2 * mean_square - 2 * n * along + squares) / (n - 1) ** 2  # |g|^2 with one sample left out
    variances, rest = moments(without, total - squares, n - 1)
    left = rest / variances
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * float(np.sqrt((n - 1) * np.square(left - left.mean()).mean()))
    value = float(square / variance)
    return value, (value - half, value + half)


def tail(squares: Floats, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Return the 95 % quantile of the norms over their median, and its 95 % interval from the percentile bootstrap."""

    def ratio(rows: Floats) -> Floats:
        high, middle = np.quantile(rows, [0.95, 0.5], axis=-1)
        return np.asarray(high / middle)

    norms = np.sqrt(squares)
    value = float(ratio(norms))
    low, high = np.quantile(ratio(norms[rng.integers(0, len(norms), (RESAMPLES, len(norms)))]), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return value, (min(value, float(low)), max(value, float(high)))


def _figures(squares: Floats, mean_square: float, along: Floats, rng: np.random.Generator, suffix: str) -> dict[str, Metric]:
    """Return the figures of a block of parameters."""
    n, words = len(squares), ", on chip" if suffix else ""
    source = f"{n} samples"
    spread, ci = mean_interval((squares - 2 * along + mean_square) * n / (n - 1))
    title = f"Variance of the per-sample gradient{words}"
    metrics = {f"gradient_noise_variance{suffix}": Metric(spread, direction="lower", ci=ci, source=source, title=title)}
    if spread > NEGLIGIBLE * mean_square:
        value, (low, high) = signal(squares, mean_square, along)
        title = f"Squared mean gradient over its variance{words}"
        metrics[f"gradient_noise_signal{suffix}"] = Metric(value, direction="lower", ci=(low, high), source=source, title=title)
        if low > 0:
            title = f"Gradient noise scale{words}"
            scale = Metric(1 / value, "samples", direction="none", ci=(1 / high, 1 / low), source=source, title=title)
            metrics[f"gradient_noise_scale{suffix}"] = scale
    if np.median(squares) > 0:
        value, ci = tail(squares, rng)
        title = f"95 % quantile over median of the per-sample gradient norm{words}"
        metrics[f"gradient_noise_tail{suffix}"] = Metric(value, direction="lower", ci=ci, source=source, title=title)
    return metrics


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure the ids above of all parameters, and with ``_chip`` of those on chip; none of them with less than three samples."""
    progress(0.0, TITLE)
    if len(problem.x) < FEWEST:
        return {}
    head = tuple(name for name in problem.params if name not in problem.chip)
    apart = [names for names in (problem.chip, head) if names]
    sums: list[tuple[Floats, float, Floats]] = []
    for i, names in enumerate(apart):

        def tick(done: float, at: int = i) -> None:
            progress((at + done) / len(apart), TITLE)

        part = restrict(problem, names)
        sums.append((squared_norms(part, tick), *alignments(part)))
    # the two blocks have no parameter in common: squares and products add up
    squares, along = np.sum([part[0] for part in sums], axis=0), np.sum([part[2] for part in sums], axis=0)
    metrics = _figures(squares, sum(part[1] for part in sums), along, rng, "")
    if not head:
        return metrics | {name + "_chip": metric for name, metric in metrics.items()}
    return metrics | _figures(*sums[0], rng, "_chip")
