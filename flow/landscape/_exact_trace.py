"""Traces of matrices of the form mean_n J_n^T A_n J_n, exactly and sample by sample.

J_n is the Jacobian of some values u of sample n with respect to the parameters, A_n a small symmetric matrix.

If u is a piecewise multilinear function of the parameters (linear layers, ReLU, maxima, straight-through quantizers, each parameter used
once), then d2u / dtheta_i^2 = 0 for every single parameter, and what is left of the diagonal of the Hessian is that of the generalized
Gauss-Newton matrix (Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002) with A_n the second
derivatives of the loss with respect to u. Its trace is that of the Hessian, without any estimator.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from flow.landscape._problem import CHIP, HEAD, Params, Problem
from flow.landscape._trace_backward import bytes_each, piece_traces
from flow.landscape._trace_chain import Layers, NotAChainError, build_chain
from flow.twin import Twin
from flow.twin.quantizer import QUANTIZERS

LINEAR_LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.ReLU, nn.LeakyReLU,
    nn.Flatten, nn.Unflatten, nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
)  # fmt: skip
PRODUCTS = ("Mul", "MatMul", "Gemm", "Conv")
LINEAR_NODES = (
    "Add", "Sub", "AveragePool", "Concat", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Pad",
    "ReduceMax", "ReduceMean", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze", *QUANTIZERS,
)  # fmt: skip
MOST_VALUES = 256
WORKING_BYTES = 2**24  # larger pieces leave the cache
CURVATURE_BYTES = 2**25
FEW = 8
NEGLIGIBLE = 1e-10


@dataclass(frozen=True)
class Split:
    """A loss cut in two: ``loss = after(before(params, x), y)``.

    Attributes:
        before: ``(params, x) -> (B, M)``: values u of a batch.
        after: ``(u, y) -> (B,)``: losses; no parameters.
        width: M.
        cut: layers of the head that are in `before`.
    """

    before: Callable[[Params, Tensor], Tensor]
    after: Callable[[Tensor, Tensor], Tensor]
    width: int
    cut: int

    def layers(self, problem: Problem) -> Layers | None:
        """Return `before` as a chain of layers; None if it is not one."""
        try:
            layers = build_chain(problem, self.cut)
        except NotAChainError:
            return None
        x, y = problem.x[:FEW], problem.y[:FEW]
        with torch.no_grad():
            u = x.flatten(1).T.to(problem.twin.dtype)
            for layer in layers:
                u = layer.forward(u)
            u = u.T
            found = torch.cat([u, self.after(u, y)[:, None]], 1)
            expected = torch.cat([self.before(problem.params, x), problem.losses(problem.params, x, y)[:, None]], 1)
        # a layer or a loss that is not what it seems to be shows here
        return layers if found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4) else None


def is_multilinear(twin: Twin) -> bool:
    """Return whether the output is piecewise linear in every single parameter.

    The parameters that a tensor depends on are followed through the graph; a product must not have the same one on both sides.
    """
    depends: dict[str, frozenset[str]] = {name: frozenset((name,)) for name in twin.params}
    for node in twin.nodes:
        of = [depends.get(name, frozenset()) for name in node.inputs]
        both = node.op in PRODUCTS and of[0] & of[1]
        if both or (node.op not in (*PRODUCTS, *LINEAR_NODES) and any(of[1:] if node.op in ("Div", "BatchNormalization") else of)):
            return False
        depends[node.output] = frozenset().union(*of)
    return True


def _cut(head: nn.Module | None) -> int | None:
    """Return how many layers of a head are needed for all its parameters, if these are multilinear; else None."""
    if head is None:
        return 0
    if not isinstance(head, nn.Sequential) or type(head) is not nn.Sequential:  # a subclass may do something else
        return None
    owners = [i for i, layer in enumerate(head) if next(layer.parameters(), None) is not None]
    cut = owners[-1] + 1 if owners else 0
    shared = len({id(p) for layer in head for p in layer.parameters()}) < sum(len(list(layer.parameters())) for layer in head)
    return None if shared or any(type(layer) not in LINEAR_LAYERS for layer in list(head)[:cut]) else cut


def _split_at(problem: Problem, cut: int) -> Split:
    """Cut behind this many layers of the head."""
    twin, head, loss = problem.twin, problem.head, problem.loss_function
    first, last = (head[:cut], head[cut:]) if isinstance(head, nn.Sequential) else (None, None)

    def values(params: Params, x: Tensor) -> Tensor:
        output = twin({name: params[CHIP + name] for name in twin.params}, x).to(torch.float32)
        inner = {name.removeprefix(HEAD): value for name, value in params.items() if name.startswith(HEAD)}
        result: Tensor = output if first is None else torch.func.functional_call(first, inner, (output,))
        return result

    with torch.no_grad():
        shape = values(problem.params, problem.x[:1]).shape[1:]

    def after(u: Tensor, y: Tensor) -> Tensor:
        u = u.reshape(-1, *shape)
        return loss(u if last is None else last(u), y)

    return Split(lambda params, x: values(params, x).flatten(1), after, math.prod(shape), cut)


def multilinear_split(problem: Problem) -> Split | None:
    """Cut a loss where the last parameter is used, if all before is piecewise multilinear; else None.

    None as well where more than `MOST_VALUES` values per sample pass the cut: an estimator is then faster.
    """
    cut = _cut(problem.head)
    if cut is None or not is_multilinear(problem.twin):
        return None
    split = _split_at(problem, cut)
    return split if split.width <= MOST_VALUES else None


def chain_split(problem: Problem) -> tuple[Split, Layers] | None:
    """Cut a loss as `multilinear_split` does, however many values pass the cut, if all before is a chain of layers; else None."""
    cut = _cut(problem.head)
    if cut is None or not is_multilinear(problem.twin):
        return None
    split = _split_at(problem, cut)
    layers = split.layers(problem)
    return None if layers is None else (split, layers)


def _curvatures(split: Split, u: Tensor, y: Tensor) -> Tensor:
    """Return the second derivatives of each sample's loss with respect to u (B, M), as (B, M, M), in the type of u."""
    u = u.detach().requires_grad_()
    with torch.enable_grad():
        total = split.after(u, y).sum()
        gradient = torch.autograd.grad(total, u, create_graph=True, materialize_grads=True)[0] if total.requires_grad else u.detach()
        if not gradient.requires_grad:
            return u.new_zeros(*u.shape, u.shape[1])
        units = torch.eye(u.shape[1], dtype=u.dtype)[:, None].expand(-1, *u.shape)
        rows = torch.autograd.grad(gradient, u, units, is_grads_batched=True, materialize_grads=True)[0]
    return rows.movedim(0, 1).detach()


def _seeds(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (B, R) and eigenvectors (B, R, M) of symmetric matrices, without those that are zero in every one of them."""
    values, vectors = torch.linalg.eigh(matrices)
    order = values.abs().argsort(dim=1, descending=True)
    values = values.gather(1, order)
    rank = int((values.abs() > NEGLIGIBLE * values.abs().amax(1, keepdim=True)).sum(1).amax())
    return values[:, :rank], vectors.gather(2, order[:, None].expand_as(vectors)).mT[:, :rank]


def _chain_traces(problem: Problem, split: Split, layers: Layers, tick: Callable[[float], None]) -> dict[str, Tensor]:
    """Return the traces by `flow.landscape._trace_backward`, in pieces of samples that stay in the cache."""
    many = len(problem.x)
    traces = {name: torch.zeros(many, dtype=torch.float64) for name in problem.params}
    for outer in replace(problem, memory=min(problem.memory, CURVATURE_BYTES)).chunks(many, 48 * split.width**2):
        x, y = problem.x[outer], problem.y[outer]
        inputs = [x.flatten(1).T.contiguous().to(problem.twin.dtype)]
        for layer in layers:
            inputs.append(layer.forward(inputs[-1]))
        inputs = [v.T.contiguous() for v in inputs]
        curvatures = _curvatures(split, inputs[-1], y)
        live = curvatures.abs().amax((0, 1)).nonzero()[:, 0]  # values that the loss does not bend in need no way back
        if not len(live):
            continue
        seeds, matrices = torch.eye(split.width)[None, :, live], curvatures[:, live][:, :, live]
        little = replace(problem, memory=min(problem.memory, WORKING_BYTES))
        for part in little.chunks(len(x), bytes_each(layers, len(live))):
            for name, values in piece_traces(layers, [v[part] for v in inputs], seeds, matrices[part]).items():
                traces[name][outer][part] = values
            tick((outer.start + part.stop) / many)
    return traces


def general_traces(problem: Problem, split: Split, tick: Callable[[float], None] = lambda f: None) -> dict[str, Tensor]:
    """Return what `sample_traces` does, of any network, by automatic differentiation.

    With A_n = sum_r lambda_r s_r s_r^T it is sum_r lambda_r |J_n^T s_r|^2: one backward pass for each eigenvalue that is not zero.
    """
    params, many = {name: p.detach() for name, p in problem.params.items()}, len(problem.x)

    def one(x: Tensor, s: Tensor) -> dict[str, Tensor]:
        pull: Any = torch.func.vjp(lambda p: split.before(p, x[None])[0], params)[1]
        gradients: Mapping[str, Tensor] = torch.func.vmap(pull)(s)[0]
        return {name: g.flatten(1).square().sum(1) for name, g in gradients.items()}

    squares = torch.func.vmap(one)
    rows: dict[str, list[Tensor]] = {name: [] for name in params}
    little = replace(problem, memory=min(problem.memory, WORKING_BYTES))
    with torch.no_grad():
        for outer in little.chunks(many, 64 * split.width**2):
            x, y = problem.x[outer], problem.y[outer]
            values, seeds = _seeds(_curvatures(split, split.before(params, x).double(), y))
            size = sum(p.numel() for p in params.values()) * values.shape[1]
            for part in little.chunks(len(x), 12 * size):
                for name, square in squares(x[part], seeds[part].float()).items():
                    rows[name].append((square.double() * values[part]).sum(1))
                tick((outer.start + part.stop) / many)
    return {name: torch.cat(row) for name, row in rows.items()}


def sample_traces(problem: Problem, split: Split, tick: Callable[[float], None] = lambda f: None) -> dict[str, Tensor]:
    """Return tr(J_n^T A_n J_n) of each sample, apart by parameter tensor; A_n is the Hessian of the loss with respect to u.

    Args:
        problem: parameters and samples.
        split: where u is.
        tick: called with the finished fraction.

    Returns:
        Name of the parameter -> (N,), float64.
    """
    with torch.no_grad():
        layers = split.layers(problem)
        return general_traces(problem, split, tick) if layers is None else _chain_traces(problem, split, layers, tick)
