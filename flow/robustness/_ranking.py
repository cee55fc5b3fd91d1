"""Orders of the weight bits by how much harm their flips promise, without trying them."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from flow.landscape._lanczos import top_eigenpairs
from flow.landscape._problem import CHIP, Problem
from flow.landscape._products import HessianProduct
from flow.robustness._subject import Subject

Scores = NDArray[np.float64]


def _weights(problem: Problem) -> list[str]:
    """Name the weights on chip, in the order in which `flow.robustness.bit_flip.flip` counts their bits; biases are not among them."""
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


def ranked_bits(subject: Subject, scores: Scores) -> NDArray[np.int64]:
    """Order all weight bits: the sign bits of all weights, worst weight first, then their next lower bits, and so on.

    Args:
        subject: the network.
        scores: of the weights (W,); equal ones keep the order of the weights.

    Returns:
        Bit numbers as `flow.robustness.bit_flip.flip` counts them, each once.
    """
    widths = np.concatenate([np.full(subject.codes[n].numel(), f.bits) for n, f in subject.formats.items() if f.role == "weight"])
    first = np.cumsum(widths) - widths
    order = np.argsort(-scores, kind="stable")
    levels = [order[widths[order] > level] for level in range(int(widths.max()))]
    return np.concatenate([first[left] + widths[left] - 1 - level for level, left in enumerate(levels)]).astype(np.int64)
