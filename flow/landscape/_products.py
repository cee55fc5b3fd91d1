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
        loss = problem.loss(leaves)
        flat = not loss.requires_grad
        self._gradient = () if flat else torch.autograd.grad(loss, self._block, create_graph=True, materialize_grads=True)
        self.size = sum(leaf.numel() for leaf in self._block)

    def _split(self, vector: Vector) -> list[Tensor]:
        flat = torch.from_numpy(np.ascontiguousarray(vector))
        parts = torch.split_with_sizes(flat, [leaf.numel() for leaf in self._block])
        return [part.reshape(leaf.shape).to(leaf.dtype) for part, leaf in zip(parts, self._block, strict=True)]

    def __matmul__(self, vector: Vector) -> Vector:
        """Return the product with a vector (size,)."""
        # A parameter in which the loss is linear has a gradient without a graph.
        curved = [(g, part) for g, part in zip(self._gradient, self._split(vector), strict=False) if g.requires_grad]
        if not curved:
            return np.zeros(self.size)
        gradient, parts = zip(*curved, strict=True)
        product = torch.autograd.grad(gradient, self._block, parts, retain_graph=True, materialize_grads=True)
        return np.asarray(torch.cat([p.detach().reshape(-1).to(torch.float64) for p in product]).numpy())
