"""Directions to move the deployed weights in: random ones, normalised filter by filter, and eigenvectors of the Hessian."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.landscape._lanczos import top_eigenpairs
from flow.landscape._problem import CHIP, Floats, Problem
from flow.landscape._products import HessianProduct
from flow.twin import Twin

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Filters:
    """Which weights make up one filter: all that lead to one output channel.

    Attributes:
        group: the filter of each parameter of a point, (D,); -1 where there is none: biases, and the off-chip head.
        count: number of filters.
    """

    group: NDArray[np.intp]
    count: int

    @property
    def weights(self) -> NDArray[np.bool_]:
        """Which parameters are deployed weights, (D,)."""
        return self.group >= 0

    def norms(self, points: Floats) -> Floats:
        """Return the Euclidean norm of each filter of points (P, D), as (P, count)."""
        where = self.group[self.weights]
        return np.sqrt([np.bincount(where, row, self.count) for row in np.square(points[:, self.weights])])

    def scale(self, points: Floats, norms: Floats) -> Floats:
        """Return points (P, D) with filters of the given norms (P, count) or (count,), and zeros elsewhere; a filter of zeros stays one."""
        own = self.norms(points)
        factors = np.divide(norms, own, out=np.zeros_like(own), where=own > 0)
        return np.where(self.weights, points * factors[:, self.group], 0.0)


def _output_axis(twin: Twin, name: str) -> int:
    """Return the axis of the output channels of a weight: the last one of a matrix that is applied from the right, else the first."""
    layer, tensor, swaps = twin.weights[name].layer, name, 0
    if twin.params[name].ndim != 2:
        return 0
    for node in twin.nodes:
        if tensor in node.inputs:
            if node.name == layer:
                swaps += node.op == "MatMul" or (node.op == "Gemm" and not node.attributes.get("transB", 0))
                break
            tensor, swaps = node.output, swaps + (node.op == "Transpose")
    return swaps % 2


def find_filters(problem: Problem) -> Filters:
    """Return the filters of the weights on chip."""
    group, count = np.full(problem.point.size, -1, np.intp), 0
    for name, where in problem.slices.items():
        inner = name.removeprefix(CHIP)
        if name in problem.chip and problem.twin.weights[inner].role == "weight":
            shape, axis = problem.params[name].shape, _output_axis(problem.twin, inner)
            channels = shape[axis] if len(shape) else 1
            numbers = np.arange(channels).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            group[where] = count + np.broadcast_to(numbers, shape).reshape(-1)
            count += channels
    return Filters(group, count)


def random_directions(filters: Filters, centre: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw filter-normalised directions (Li et al., arXiv:1712.09913).

    Gaussian numbers, each filter scaled to the norm that this filter has at the centre; biases and the head do not move. One unit along
    a direction is a change as large as the weights. The same generator gives the same numbers for all networks of one shape.

    Args:
        filters: of `find_filters`.
        centre: the point (D,).
        count: how many.
        rng: source of ``(count, D)`` Gaussian numbers.

    Returns:
        (count, D).
    """
    return filters.scale(rng.standard_normal((count, centre.size)), filters.norms(centre[None])[0])


def hessian_directions(problem: Problem, filters: Filters, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues of the Hessian of the deployed weights and their unit vectors in the space of a point.

    Biases are left out as in random directions: with them the first vector is little but a shift of biases, and no weight moves.

    Returns:
        Eigenvalues (k,), the largest first, and vectors (k, D); k is below `count` where there are fewer that are positive.
    """
    names = [name for name, where in problem.slices.items() if filters.weights[where].any()]
    operator = HessianProduct(problem, names)
    found = top_eigenpairs(operator, count, rng.standard_normal(operator.size), TOLERANCE)
    positive = found.values > 0
    vectors = np.zeros((np.count_nonzero(positive), problem.point.size))
    vectors[:, filters.weights] = found.vectors[positive]
    return found.values[positive], vectors


def steps_per_unit(problem: Problem, filters: Filters, directions: Floats) -> Floats:
    """Return how many LSB a weight moves per unit of each direction (K, D): the root mean square over all deployed weights, (K,).

    Biases, whose steps are much finer, are left out of it.
    """
    means: Floats = np.square(directions[:, filters.weights] / problem.steps[filters.weights]).mean(axis=1)
    return np.sqrt(means)
