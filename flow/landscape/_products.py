"""Products of the Hessian with vectors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.landscape._exact_trace import chain_split
from flow.landscape._problem import Problem
from flow.landscape._trace_chain import Conv, Dense
from flow.landscape._trace_products import Piece, make_piece, piece_gradient, piece_product

Vector = NDArray[np.float64]
Parts = dict[str, Tensor]
CHAIN_SAMPLES = 512  # whose values stay in the cache
FEW = 32


class _Source(Protocol):
    """The Hessian of the sum of losses."""

    def gradient(self, names: Sequence[str]) -> Parts:
        """Return the gradient of the sum, by parameter."""
        ...

    def product(self, parts: Mapping[str, Tensor]) -> Parts:
        """Return the product with a vector, by parameter; those that are missing in it stay where they are."""
        ...


class _Chain:
    """By matrix products, of a chain of layers; what they need of each piece of samples is kept if all of it fits the memory."""

    def __init__(self, problem: Problem) -> None:
        found = chain_split(problem)
        if found is None:
            raise ValueError
        self._problem, (self._split, self._layers) = problem, found
        self._arranged = {n: v for layer in self._layers if isinstance(layer, Dense | Conv) for n, v in layer.arranged.items()}
        self._pieces: list[Piece] = []
        samples = len(problem.x)
        first = self._make(slice(0, min(FEW, samples)))
        each = first.bytes // len(first.values)
        self._size = max(1, min(CHAIN_SAMPLES, problem.memory // (2 * each)))
        if 2 * each * samples <= problem.memory:
            self._pieces = list(self._made())

    def _make(self, part: slice) -> Piece:
        return make_piece(self._layers, self._split, self._problem.x[part].flatten(1).to(self._problem.twin.dtype), self._problem.y[part])

    def _made(self) -> Iterator[Piece]:
        for start in range(0, len(self._problem.x), self._size):
            yield self._make(slice(start, start + self._size))

    def product(self, parts: Mapping[str, Tensor]) -> Parts:
        """Return the product, float64."""
        shifts = {}
        for name, part in parts.items():
            place, inside = self._arranged[name]
            shifts[name] = (part.reshape(-1)[place] * inside).float()
        return self._sum(parts, lambda piece: piece_product(self._layers, piece, shifts))

    def gradient(self, names: Sequence[str]) -> Parts:
        """Return the gradient, float64."""
        return self._sum(names, lambda piece: piece_gradient(self._layers, piece))

    def _sum(self, names: Iterable[str], of_piece: Callable[[Piece], Mapping[str, Tensor]]) -> Parts:
        """Add up over the pieces, and bring into the form of the flat parameters."""
        sums = {name: torch.zeros(self._arranged[name][0].shape, dtype=torch.float64) for name in names}
        with torch.no_grad():
            for piece in self._pieces or self._made():
                for name, change in of_piece(piece).items():
                    if name in sums:
                        sums[name] += change
        result = {}
        for name, total in sums.items():
            place, inside = self._arranged[name]
            result[name] = torch.zeros(place.numel(), dtype=torch.float64)
            result[name][place.reshape(-1)] = (total * inside).reshape(-1)
        return result


def fitting_samples(problem: Problem, build: Callable[[Problem], object]) -> int:
    """Return of how many samples the graphs that `build` makes fit the memory, from what they keep of a few; at least 1, at most all."""
    samples, kept = len(problem.x), 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    few = min(FEW, samples)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        build(problem.subset(slice(0, few)))
    # What a product makes on its way is about as much as the graphs.
    return max(1, min(samples, problem.memory * few // max(1, 2 * kept)))


class _Graph:
    """By automatic differentiation, of any network; the graph of the gradient is kept if it fits the memory, else made again in pieces."""

    def __init__(self, problem: Problem, names: Sequence[str]) -> None:
        self._problem, self._names, samples = problem, names, len(problem.x)
        self._size = fitting_samples(problem, lambda few: self._gradient(slice(0, len(few.x))))
        self._whole = self._gradient(slice(0, samples)) if self._size == samples else None

    def _gradient(self, part: slice) -> tuple[list[Tensor], Sequence[Tensor]]:
        """Return the block and the gradient of the sum of losses of some samples; no gradient if it is zero."""
        leaves = {name: value.detach().clone().requires_grad_(name in self._names) for name, value in self._problem.params.items()}
        block = [leaves[name] for name in self._names]
        piece = self._problem.subset(part)
        loss = piece.per_sample(leaves).sum()
        return block, torch.autograd.grad(loss, block, create_graph=True, materialize_grads=True) if loss.requires_grad else ()

    def gradient(self, names: Sequence[str]) -> Parts:
        """Return the gradient, float64."""
        sums = {name: torch.zeros(self._problem.params[name].numel(), dtype=torch.float64) for name in names}
        for start in range(0, len(self._problem.x), self._size):
            _, whole = self._whole or self._gradient(slice(start, start + self._size))
            for name, g in zip(self._names, whole, strict=False):
                sums[name] += g.detach().reshape(-1)
        return sums

    def product(self, parts: Mapping[str, Tensor]) -> Parts:
        """Return the product, float64."""
        sums = {name: torch.zeros(part.numel(), dtype=torch.float64) for name, part in parts.items()}
        for start in range(0, len(self._problem.x), self._size):
            block, whole = self._whole or self._gradient(slice(start, start + self._size))
            # A parameter in which the loss is linear has a gradient without a graph.
            curved = [(g, parts[n].to(g.dtype)) for n, g in zip(self._names, whole, strict=False) if g.requires_grad]
            if curved:
                gradient, vectors = zip(*curved, strict=True)
                product = torch.autograd.grad(gradient, block, vectors, retain_graph=self._whole is not None, materialize_grads=True)
                for name, part in zip(self._names, product, strict=True):
                    sums[name] += part.detach().reshape(-1)
        return sums


class HessianProduct:
    """The Hessian of the mean loss over a block of parameters, as an operator.

    What does not depend on the vector is computed once and kept (Pearlmutter, "Fast exact multiplication by the Hessian", 1994), as far as
    the memory of the problem allows. Curvature is that of the straight-through estimator at the quantized weights, with scales fixed. A
    product costs about two forward and two backward passes, as matrix products where the network is a chain of layers (see
    `flow.landscape._trace_chain`), else by automatic differentiation.

    Attributes:
        size: number of parameters in the block.
    """

    def __init__(self, problem: Problem, names: Sequence[str], source: _Source | None = None) -> None:
        self._problem, self._names = problem, tuple(names)
        self.size = sum(problem.params[name].numel() for name in names)
        try:
            self._source = source or _Chain(problem)
        except ValueError:
            self._source = _Graph(problem, self._names)

    def block(self, names: Sequence[str]) -> "HessianProduct":
        """Return the Hessian over other parameters, with what has been computed for this one where possible."""
        return HessianProduct(self._problem, names, self._source if isinstance(self._source, _Chain) else None)

    def __matmul__(self, vector: Vector) -> Vector:
        """Return the product with a vector (size,)."""
        flat = torch.from_numpy(np.ascontiguousarray(vector))
        shapes = [self._problem.params[name].shape for name in self._names]
        split = torch.split_with_sizes(flat, [shape.numel() for shape in shapes])
        parts = {name: part.reshape(shape) for name, part, shape in zip(self._names, split, shapes, strict=True)}
        return self._mean(self._source.product(parts))

    @property
    def gradient(self) -> Vector:
        """The gradient of the mean loss, (size,)."""
        return self._mean(self._source.gradient(self._names))

    def _mean(self, parts: Parts) -> Vector:
        return np.asarray(torch.cat([parts[name] for name in self._names]).numpy()) / len(self._problem.x)
