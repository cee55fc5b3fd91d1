"""Trace and largest eigenvalue of the generalized Gauss-Newton matrix G = mean_n J_n^T A_n J_n.

J_n is the Jacobian of the network's output (behind the head, with its last activation) in the parameters at sample n, with straight-through
gradients of the quantizers; A_n is the Hessian of that sample's loss in the output (Schraudolph, "Fast curvature matrix-vector products for
second-order gradient descent", 2002; Martens, arXiv:1412.1193). It is the Hessian without the curvature of the network itself, so the two
differ by how far the loss is from its minimum in each output. G >= 0 if the loss is convex in the output. Unit: that of the loss.

Cost: the trace is exact, as that of `flow.landscape._exact_trace`, with the curvature of the loss in the output and the head's last
activation replaced by its tangent. With more than `MOST_OUTPUTS` outputs it is the mean of v^T G v over sign vectors (Hutchinson, 1990).
The eigenvalue takes some 10 products (Lanczos) of two backward passes and one through the graph of a backward pass.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._exact_trace import Split, general_traces, multilinear_split, sample_traces
from flow.landscape._lanczos import top_eigenpairs
from flow.landscape._problem import CHIP, Floats, Params, Problem, apply_head
from flow.landscape._products import fitting_samples
from flow.statistics import mean_interval

TITLE = "Gauss-Newton"
MOST_OUTPUTS = 256
FEWEST = 16


def outputs(problem: Problem, params: Params, x: Tensor) -> Tensor:
    """Return what the whole network makes of inputs (N, ...)."""
    chip = problem.twin({name: params[CHIP + name] for name in problem.twin.params}, x).to(torch.float32)
    return apply_head(problem.head, params, chip)


class _Piece:
    """The mean over some samples, with the graphs that all its products share.

    J v is the derivative in w of J^T w along v (the graph of a backward pass, differentiated again), so no forward mode is needed.
    """

    def __init__(self, problem: Problem, names: Sequence[str]) -> None:
        leaves = {name: value.detach().clone().requires_grad_(name in names) for name, value in problem.params.items()}
        self._block = [leaves[name] for name in names]
        self._outputs = outputs(problem, leaves, problem.x)
        self._u = self._outputs.detach().requires_grad_()
        loss = problem.loss_function(self._u, problem.y).mean()
        (self._slope,) = torch.autograd.grad(loss, self._u, create_graph=True) if loss.requires_grad else (torch.zeros_like(self._u),)
        self._flat = not (self._slope.requires_grad and self._outputs.requires_grad)
        self._w = torch.zeros_like(self._u).requires_grad_()
        if not self._flat:
            self._pulled = torch.autograd.grad(self._outputs, self._block, self._w, create_graph=True, materialize_grads=True)

    def push(self, vector: Floats) -> Tensor:
        """Return J v for a vector (size,), in the shape of the outputs (N, ...)."""
        parts = torch.split_with_sizes(torch.from_numpy(np.ascontiguousarray(vector)), [leaf.numel() for leaf in self._block])
        known = [
            (g, part.reshape(leaf.shape).to(leaf.dtype))
            for g, part, leaf in zip(self._pulled, parts, self._block, strict=True)
            if g.requires_grad
        ]
        pulled, tangents = zip(*known, strict=True)
        (result,) = torch.autograd.grad(pulled, self._w, tangents, retain_graph=True)
        return result

    def bend(self, tangent: Tensor) -> Tensor:
        """Return A u' / N of each sample for changes u' of the outputs (N, ...)."""
        (result,) = torch.autograd.grad(self._slope, self._u, tangent, retain_graph=True)
        return result

    def square(self, vector: Floats) -> float:
        """Return v^T G v."""
        if self._flat:
            return 0.0
        tangent = self.push(vector)
        return float((tangent.double() * self.bend(tangent).double()).sum())

    def product(self, vector: Floats) -> Floats:
        """Return G v for a vector (size,)."""
        if self._flat:
            return np.zeros(sum(leaf.numel() for leaf in self._block))
        cotangent = self.bend(self.push(vector))
        product = torch.autograd.grad(self._outputs, self._block, cotangent, retain_graph=True, materialize_grads=True)
        return np.asarray(torch.cat([p.reshape(-1).double() for p in product]).numpy())


class GaussNewtonProduct:
    """The Gauss-Newton matrix over a block of parameters, as an operator.

    Graphs are built once and kept if they fit the memory of the problem, else again for each product, in pieces of samples.

    Attributes:
        size: number of parameters in the block.
    """

    def __init__(self, problem: Problem, names: Sequence[str]) -> None:
        self._problem, self._names = problem, tuple(names)
        self.size = sum(problem.params[name].numel() for name in names)
        self._each = fitting_samples(problem, lambda few: _Piece(few, names))
        self._whole = _Piece(problem, names) if self._each == len(problem.x) else None

    def _pieces(self) -> Iterator[tuple[float, _Piece]]:
        """Yield pieces with their share of the samples."""
        if self._whole is not None:
            yield 1.0, self._whole
            return
        samples = len(self._problem.x)
        for start in range(0, samples, self._each):
            piece = self._problem.subset(slice(start, start + self._each))
            yield len(piece.x) / samples, _Piece(piece, self._names)

    def square(self, vector: Floats) -> float:
        """Return v^T G v, in two thirds of the time of a product."""
        return sum(share * piece.square(vector) for share, piece in self._pieces())

    def __matmul__(self, vector: Floats) -> Floats:
        """Return the product with a vector (size,)."""
        total = np.zeros(self.size)
        for share, piece in self._pieces():
            total += share * piece.product(vector)
        return total


def output_split(problem: Problem) -> Split | None:
    """Cut the loss at a place where the Hessian of what is behind it is Q^T A Q, Q the Jacobian of the output there, so that the trace is
    that of `flow.landscape._exact_trace`; None if that would be too wide.

    Where the Hessian's trace is exact that is the same place, with the rest of the head replaced by its tangent; else it is the output.
    """  # noqa: D205
    split, head = multilinear_split(problem), problem.head
    if split is not None and isinstance(head, nn.Sequential) and split.cut < len(head):
        first, last = head[: split.cut], head[split.cut :]
        with torch.no_grad():
            shape = first(problem.twin(problem.twin.params, problem.x[:1]).to(torch.float32)).shape[1:]

        def tangent(u: Tensor, y: Tensor) -> Tensor:
            at = u.detach().reshape(-1, *shape)
            moved: Any = torch.func.jvp(last, (at,), (u.reshape(at.shape) - at,))
            return problem.loss_function(moved[0].detach() + moved[1], y)

        return replace(split, after=tangent)
    if split is not None:
        return split
    with torch.no_grad():
        shape = outputs(problem, problem.params, problem.x[:1]).shape[1:]

    def loss(u: Tensor, y: Tensor) -> Tensor:
        return problem.loss_function(u.reshape(-1, *shape), y)

    whole = Split(lambda params, x: outputs(problem, params, x).flatten(1), loss, shape.numel(), 0)
    return whole if whole.width <= MOST_OUTPUTS else None


def exact_traces(problem: Problem, tick: Callable[[float], None] = lambda done: None) -> dict[str, Tensor] | None:
    """Return the trace of J_n^T A_n J_n of each sample, apart by parameter: name -> (N,), float64; None if there are too many outputs."""
    split = output_split(problem)
    if split is None:
        return None
    with torch.no_grad():
        return (general_traces if multilinear_split(problem) is None else sample_traces)(problem, split, tick)


def _sampled(operator: GaussNewtonProduct, config: LandscapeConfig, rng: np.random.Generator, tick: Callable[[float], None]) -> Floats:
    """Return v^T G v for sign vectors v, until their mean is good enough or there are `config.probes`."""
    values = np.empty(config.probes)
    for i in range(config.probes):
        values[i] = operator.square(rng.choice(np.array([-1.0, 1.0]), operator.size))
        tick((i + 1) / config.probes)
        done = values[: i + 1]
        if len(done) >= FEWEST and done.std(ddof=1) <= config.relative_error * abs(done.mean()) * len(done) ** 0.5:
            return done
    return values


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``gauss_newton_trace`` and ``gauss_newton_eigenvalue`` of all parameters, and with ``_chip`` of those on chip.

    An exact trace has an interval over samples (Student's t), an estimated one over probes. The eigenvalue is converged; its residual
    stands in `source`.
    """
    metrics: dict[str, Metric] = {}
    progress(0.0, TITLE)
    traces = exact_traces(problem, lambda done: progress(0.5 * done, f"{TITLE} trace")) if len(problem.x) > 1 else None
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        ids = f"gauss_newton_trace{suffix}", f"gauss_newton_eigenvalue{suffix}"
        if suffix and len(names) == len(problem.params):
            metrics |= {name: metrics[name.removesuffix(suffix)] for name in ids}
            continue

        def tick(done: float, at: float = 0.5 + 0.25 * i) -> None:
            progress(at + 0.2 * done, f"{TITLE} trace")

        words, operator = ", on chip" if suffix else "", GaussNewtonProduct(problem, names)
        if traces is not None:
            values = np.asarray(torch.stack([traces[name] for name in names]).sum(0).numpy(), np.float64)
            source = f"exact, {len(values)} samples"
        else:
            values = _sampled(operator, config, rng, tick)
            source = f"Hutchinson, {len(values)} Rademacher probes, {len(problem.x)} samples"
        value, ci = mean_interval(values)
        metrics[ids[0]] = Metric(value, direction="lower", ci=ci, source=source, title=f"{TITLE} trace{words}")
        progress(0.7 + 0.25 * i, f"{TITLE} eigenvalue")
        pairs = top_eigenpairs(operator, 1, rng.standard_normal(operator.size))
        source = f"Lanczos, {pairs.products} products, residual {pairs.residuals[0]:.1e}, {len(problem.x)} samples"
        metrics[ids[1]] = Metric(float(pairs.values[0]), direction="lower", source=source, title=f"Top {TITLE} eigenvalue{words}")
    return metrics
