"""Orders of the weight bits by how much harm their flips promise, or by how much they do, each alone."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from flow.core.stage import Progress
from flow.landscape._lanczos import top_eigenpairs
from flow.landscape._problem import CHIP, Problem
from flow.landscape._products import HessianProduct
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._subject import Subject

Scores = NDArray[np.float64]
TRIED, EXACT_SAMPLES = 16_384, 128


def _weights(problem: Problem) -> list[str]:
    """Name the weights on chip, in the order in which a `BitSpace` of them counts their bits; biases are not among them."""
    return [CHIP + name for name, form in problem.twin.weights.items() if form.role == "weight"]


def _vector(problem: Problem, point: Scores) -> Scores:
    slices = problem.slices
    return np.concatenate([point[slices[name]] for name in _weights(problem)])


def _gradient(problem: Problem) -> Scores:
    names = _weights(problem)
    leaves = {name: value.detach().clone().requires_grad_(name in names) for name, value in problem.params.items()}
    parts = torch.autograd.grad(problem.loss(leaves), [leaves[name] for name in names], materialize_grads=True)
    return np.concatenate([part.double().reshape(-1).numpy() for part in parts])


def gradient(problem: Problem, rng: np.random.Generator) -> Scores:
    """Return |dL/dw| of each weight (W,)."""
    return np.abs(_gradient(problem))


def taylor(problem: Problem, rng: np.random.Generator) -> Scores:
    """Return (w dL/dw)^2 of each deployed weight (W,): what removing it costs, to first order (Molchanov et al., arXiv:1906.10771)."""
    return np.square(_gradient(problem) * _vector(problem, problem.quantized(problem.point[None])[0]))


def fkeras(problem: Problem, rng: np.random.Generator) -> Scores:
    """Return |(v w) lambda v| of each weight (W,), v the top eigenvector of the Hessian (Weng et al., doi:10.1145/3665334)."""
    operator = HessianProduct(problem, _weights(problem))
    pairs = top_eigenpairs(operator, 1, rng.standard_normal(operator.size))
    weights, top = _vector(problem, problem.quantized(problem.point[None])[0]), pairs.vectors[0]
    return np.asarray(np.abs((top @ weights) * pairs.values[0] * top))


RANKINGS: dict[str, Callable[[Problem, np.random.Generator], Scores]] = {"gradient": gradient, "taylor": taylor, "fkeras": fkeras}


def ranked_bits(space: BitSpace, scores: Scores) -> Ints:
    """Order bits: the sign bits of all words, worst word first, then their next lower bits, and so on.

    Args:
        space: the bits.
        scores: of the words (W,); equal ones keep the order of the words.

    Returns:
        The numbers of the bits, each once.
    """
    order = np.argsort(-scores, kind="stable")
    left = [order[space.widths[order] > level] for level in range(int(space.widths.max(initial=0)))]
    bits = [space.first[words] + space.widths[words] - 1 - level for level, words in enumerate(left)]
    return np.concatenate([np.zeros(0, np.int64), *bits]).astype(np.int64)


def exact_bits(subject: Subject, problem: Problem, progress: Progress) -> tuple[Ints, int, int]:
    """Order bits of weights by the mean loss with each alone flipped, worst first; equal ones keep their number.

    Args:
        subject: the network.
        problem: its loss; the first samples are enough for an order.
        progress: shows life.

    Returns:
        The numbers of all bits, how many were tried, and the number of samples. If there are very many, those are tried that the gradient
        ranks first, and the others follow in its order.
    """
    space, few = subject.space(("weight",)), problem.subset(slice(EXACT_SAMPLES))
    bits = ranked_bits(space, np.abs(_gradient(few))) if space.total > TRIED else np.arange(space.total, dtype=np.int64)
    tried, others = np.sort(bits[:TRIED]), bits[TRIED:]
    where = np.concatenate([np.zeros(0, np.int64), *(np.arange(few.point.size)[few.slices[CHIP + name]] for name in space.names)])
    deployed, losses = few.quantized(few.point[None]), np.empty(len(tried))
    for part in few.chunks(len(tried), 8 * (4 * few.point.size + 2 * len(where) + len(few.x))):
        progress(part.start / len(tried), f"each of {len(tried)} bits alone")
        points = np.repeat(deployed, part.stop - part.start, axis=0)
        points[:, where] = space.flipped(tried[part, None]) * few.steps[where]
        losses[part] = few.mean_losses(points, quantize=False)
    return np.concatenate([tried[np.argsort(-losses, kind="stable")], others]), len(tried), len(few.x)
