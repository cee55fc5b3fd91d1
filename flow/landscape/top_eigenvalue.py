"""Largest eigenvalue of the Hessian of the loss by the Lanczos method.

Lanczos (1950) with full reorthogonalisation; as a landscape metric of quantized detector networks: Baldi et al., arXiv:2502.08355, who
use power iteration, which needs more products.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Problem
from flow.landscape._products import HessianProduct

TITLE = "Top Hessian eigenvalue"
TOLERANCE = 1e-4
MOST_PRODUCTS = 200
Vector = NDArray[np.float64]


class Symmetric(Protocol):
    """A symmetric matrix of which only products with a vector are known."""

    def __matmul__(self, vector: Vector, /) -> Vector:
        """Return the product."""
        ...


def largest_eigenvalue(matrix: Symmetric, start: Vector, tolerance: float = TOLERANCE) -> tuple[float, float, int]:
    """Return the largest (not: largest in magnitude) eigenvalue of a symmetric matrix.

    Written out rather than taken from ARPACK: it also has to be right for a matrix of zeros and of one or two rows, and the residual
    and the number of products are results.

    Args:
        matrix: symmetric, applied by ``@``.
        start: any vector (n,) that is not orthogonal to the eigenvector.
        tolerance: stop when the residual is this small relative to the eigenvalue.

    Returns:
        The eigenvalue; the norm of its residual, within which an eigenvalue of the matrix must lie; the number of products.
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    side: list[float] = []
    value, residual = 0.0, 0.0
    for count in range(1, min(MOST_PRODUCTS, len(start)) + 1):
        w = matrix @ basis[-1]
        diagonal.append(float(w @ basis[-1]))
        known = np.array(basis)
        for _ in range(2):
            w = w - known.T @ (known @ w)
        side.append(float(np.linalg.norm(w)))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(side[:-1], 1) + np.diag(side[:-1], -1))
        value, residual = float(values[-1]), side[-1] * abs(float(vectors[-1, -1]))
        scale = float(np.abs(values).max())
        if residual <= tolerance * abs(value) or side[-1] <= 1e-12 * scale or scale == 0.0:
            return value, residual, count
        basis.append(w / side[-1])
    return value, residual, len(diagonal)


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``top_eigenvalue`` of all trained parameters, and ``top_eigenvalue_chip`` of those on chip.

    The figure is not sampled over vectors but converged, so it has no confidence interval; the residual stands in `source`.
    """
    metrics = {}
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        progress(i / 2, TITLE)
        operator = HessianProduct(problem, names)
        value, residual, products = largest_eigenvalue(operator, rng.standard_normal(operator.size))
        source = f"Lanczos, {products} products, residual {residual:.1e}, {len(problem.x)} samples"
        title = TITLE + (", on chip" if suffix else "")
        metrics["top_eigenvalue" + suffix] = Metric(value, direction="lower", source=source, title=title)
    return metrics
