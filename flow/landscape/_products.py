"""Products of the Hessian with vectors, from one graph of the gradient."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.landscape._problem import Problem

Vector = NDArray[np.float64]


class HessianProduct:
    """The Hessian of the mean loss over a block of parameters, as an operator.

    The graph of the gradient is built once and kept (Pearlmutter, "Fast exact multiplication by the Hessian", 1994): one product then
    costs one backward pass. Curvature is that of the straight-through estimator at the quantized weights, with scales fixed.

    Attributes:
        size: number of parameters in the block.
    """

    def __init__(self, problem: Problem, names: Sequence[str]) -> None:
        leaves = {name: value.detach().clone().requires_grad_(name in names) for name, value in problem.params.items()}
        self._block = [leaves[name] for name in names]
        self._gradient = torch.autograd.grad(problem.loss(leaves), self._block, create_graph=True, materialize_grads=True)
        self.size = sum(leaf.numel() for leaf in self._block)

    def _split(self, vector: Vector) -> list[Tensor]:
        flat = torch.from_numpy(np.ascontiguousarray(vector))
        parts = torch.split_with_sizes(flat, [leaf.numel() for leaf in self._block])
        return [part.reshape(leaf.shape).to(leaf.dtype) for part, leaf in zip(parts, self._block, strict=True)]

    def __matmul__(self, vector: Vector) -> Vector:
        """Return the product with a vector (size,)."""
        if not any(g.requires_grad for g in self._gradient):
            return np.zeros(self.size)
        product = torch.autograd.grad(
            self._gradient, self._block, self._split(vector), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return np.asarray(torch.cat([p.detach().reshape(-1).to(torch.float64) for p in product]).numpy())
