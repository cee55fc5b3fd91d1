"""Trace and largest eigenvalue of the generalized Gauss-Newton matrix G = mean_n J_n^T A_n J_n.

J_n is the Jacobian of the network's output (behind the head, with its last activation) in the parameters at sample n, with straight-through
gradients of the quantizers; A_n is the Hessian of that sample's loss in the output (Schraudolph, "Fast curvature matrix-vector products for
second-order gradient descent", 2002; Martens, arXiv:1412.1193). It is the Hessian without the curvature of the network itself, so the two
differ by how far the loss is from its minimum in each output. G >= 0 if the loss is convex in the output. Unit: that of the loss.

Cost: with A_n = sum_r a_r s_r s_r^T the trace is sum_r a_r |J_n^T s_r|^2, exactly: a backward pass for each output with curvature, as the
exact Hessian trace. With more than `MOST_OUTPUTS` outputs it is the mean of v^T G v over sign vectors (Hutchinson, 1990). The
eigenvalue takes some 20 products (Lanczos) of two backward passes and one through the graph of a backward pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import CHIP, Floats, Params, Problem, apply_head
from flow.landscape._spectrum_lanczos import has_largest, krylov_space
from flow.statistics import mean_interval

TITLE = "Gauss-Newton"
MOST_OUTPUTS = 256
WORKING_BYTES = 2**26  # larger pieces only leave the cache
NEGLIGIBLE = 1e-10
TOLERANCE = 1e-4
MOST_PRODUCTS = 200
FEWEST = 16


def outputs(problem: Problem, params: Params, x: Tensor) -> Tensor:
    """Return what the whole network makes of inputs (N, ...)."""
    chip = problem.twin({name: params[CHIP + name] for name in problem.twin.params}, x).to(torch.float32)
    return apply_head(problem.head, params, chip)


class GaussNewtonProduct:
    """The Gauss-Newton matrix over a block of parameters, as an operator; all graphs are built once and kept.

    J v is the derivative in w of J^T w along v (the graph of a backward pass, differentiated again), so no forward mode is needed.

    Attributes:
        size: number of parameters in the block.
    """

    def __init__(self, problem: Problem, names: Sequence[str]) -> None:
        leaves = {name: value.detach().clone().requires_grad_(name in names) for name, value in problem.params.items()}
        self._block = [leaves[name] for name in names]
        self.size = sum(leaf.numel() for leaf in self._block)
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
        """Return v^T G v, in two thirds of the time of a product."""
        if self._flat:
            return 0.0
        tangent = self.push(vector)
        return float((tangent.double() * self.bend(tangent).double()).sum())

    def __matmul__(self, vector: Floats) -> Floats:
        """Return the product with a vector (size,)."""
        if self._flat:
            return np.zeros(self.size)
        cotangent = self.bend(self.push(vector))
        product = torch.autograd.grad(self._outputs, self._block, cotangent, retain_graph=True, materialize_grads=True)
        return np.asarray(torch.cat([p.reshape(-1).double() for p in product]).numpy())


def seeds(problem: Problem, u: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues (B, R) and eigenvectors (B, R, M) of A_n, float64, without those that are zero for every sample.

    Args:
        problem: the loss.
        u: outputs (B, ...), of M words.
        y: targets (B, ...).
    """

    def one(u: Tensor, y: Tensor) -> Tensor:
        return problem.loss_function(u[None], y[None])[0].double()

    width = u[0].numel()
    second: Tensor = torch.func.vmap(torch.func.hessian(one))(u.double(), y).detach().reshape(-1, width, width)
    values, vectors = torch.linalg.eigh(second)
    used = values.abs() > NEGLIGIBLE * values.abs().amax(1, keepdim=True)
    order = values.abs().argsort(dim=1, descending=True)[:, : int(used.sum(1).amax())]
    return values.gather(1, order), vectors.mT.gather(1, order[:, :, None].expand(-1, -1, width))


def _pieces(problem: Problem, count: int, bytes_each: int) -> Iterator[slice]:
    size = max(1, min(problem.memory, WORKING_BYTES) // max(1, bytes_each))
    return (slice(start, min(count, start + size)) for start in range(0, count, size))


def sample_traces(problem: Problem, tick: Callable[[float], None] = lambda done: None) -> dict[str, Tensor]:
    """Return the trace of J_n^T A_n J_n of each sample, apart by parameter: name -> (N,), float64."""
    params = {name: value.detach() for name, value in problem.params.items()}

    def one(x: Tensor, s: Tensor) -> dict[str, Tensor]:
        pull: Any = torch.func.vjp(lambda p: outputs(problem, p, x[None]).flatten(), params)[1]
        gradients: Mapping[str, Tensor] = torch.func.vmap(pull)(s)[0]
        return {name: g.flatten(1).square().sum(1) for name, g in gradients.items()}

    squares: Any = torch.func.vmap(one)
    rows: dict[str, list[Tensor]] = {name: [] for name in params}
    size = sum(p.numel() for p in params.values())
    with torch.no_grad():
        width = outputs(problem, params, problem.x[:1]).numel()
        for outer in _pieces(problem, len(problem.x), 64 * width**2):
            x, y = problem.x[outer], problem.y[outer]
            values, vectors = seeds(problem, outputs(problem, params, x), y)
            for part in _pieces(problem, len(x), 12 * size * max(1, values.shape[1])):
                found = squares(x[part], vectors[part].float()) if values.shape[1] else {}
                for name, row in rows.items():
                    row.append((found[name].double() * values[part]).sum(1) if found else values[part].sum(1))
                tick((outer.start + part.stop) / len(problem.x))
    return {name: torch.cat(row) for name, row in rows.items()}


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
    with torch.no_grad():
        exact = outputs(problem, problem.params, problem.x[:1]).numel() <= MOST_OUTPUTS and len(problem.x) > 1
    traces = sample_traces(problem, lambda done: progress(0.5 * done, f"{TITLE} trace")) if exact else {}
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        ids = f"gauss_newton_trace{suffix}", f"gauss_newton_eigenvalue{suffix}"
        if suffix and len(names) == len(problem.params):
            metrics |= {name: metrics[name.removesuffix(suffix)] for name in ids}
            continue

        def tick(done: float, at: float = 0.5 + 0.25 * i) -> None:
            progress(at + 0.2 * done, f"{TITLE} trace")

        words, operator = ", on chip" if suffix else "", GaussNewtonProduct(problem, names)
        if exact:
            values = np.asarray(torch.stack([traces[name] for name in names]).sum(0).numpy(), np.float64)
            source = f"exact, {len(values)} samples"
        else:
            values = _sampled(operator, config, rng, tick)
            source = f"Hutchinson, {len(values)} Rademacher probes, {len(problem.x)} samples"
        value, ci = mean_interval(values)
        metrics[ids[0]] = Metric(value, direction="lower", ci=ci, source=source, title=f"{TITLE} trace{words}")
        progress(0.7 + 0.25 * i, f"{TITLE} eigenvalue")
        space = krylov_space(operator, rng.standard_normal(operator.size), MOST_PRODUCTS, has_largest(TOLERANCE))
        ritz, _, residuals = space.ritz()
        source = f"Lanczos, {len(ritz)} products, residual {residuals[-1]:.1e}, {len(problem.x)} samples"
        metrics[ids[1]] = Metric(float(ritz[-1]), direction="lower", source=source, title=f"Top {TITLE} eigenvalue{words}")
    return metrics
