"""The largest eigenvalues of the Hessian of the loss by the Lanczos method.

As a landscape metric of quantized detector networks: Baldi et al., arXiv:2502.08355, who use power iteration, which needs more products.
Dimension: loss per square of a weight. Cost: about 4 products of the Hessian for the first, each 2 forward and 2 backward passes.
"""

import numpy as np

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._lanczos import TOLERANCE, Pairs, Symmetric, Vector, top_eigenpairs
from flow.landscape._problem import Problem
from flow.landscape._products import HessianProduct

__all__ = ["Pairs", "largest_eigenvalue", "measure", "top_eigenpairs"]
TITLE = "Top Hessian eigenvalue"


def largest_eigenvalue(matrix: Symmetric, start: Vector, tolerance: float = TOLERANCE) -> tuple[float, float, int]:
    """Return the largest (not: largest in magnitude) eigenvalue of a symmetric matrix, its residual and the number of products."""
    pairs = top_eigenpairs(matrix, 1, start, tolerance)
    return float(pairs.values[0]), float(pairs.residuals[0]), pairs.products


def start_vector(operator: HessianProduct, rng: np.random.Generator) -> Vector:
    """Return the gradient and a tenth as much of a random vector.

    The gradient of a trained network lies mostly along the largest eigenvectors (Gur-Ari et al., arXiv:1812.04754), which spares products;
    the random part has something of every other.
    """
    noise, gradient = rng.standard_normal(operator.size), operator.gradient
    length = float(np.linalg.norm(gradient))
    return noise / np.linalg.norm(noise) * 0.1 + gradient / length if length > 0 else noise


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``top_eigenvalue`` of all trained parameters, ``_2`` and so on up to `config.eigenvalues`, and ``_chip`` of those on chip.

    The figures are not sampled over vectors but converged, so they have no confidence interval; residuals stand in `source`. The vectors
    of those of all parameters are recorded, (k, D), as ``top_eigenvalue_vectors``.
    """
    progress(0.0, TITLE)
    operator = HessianProduct(problem, problem.blocks[""])
    pairs = top_eigenpairs(operator, config.eigenvalues, start_vector(operator, rng))
    problem.records["top_eigenvalue_vectors"] = pairs.vectors
    metrics = {}
    for i, value in enumerate(pairs.values):
        suffix = f"_{i + 1}" if i else ""
        words = f"Hessian eigenvalue {i + 1}" if i else TITLE
        metrics["top_eigenvalue" + suffix] = Metric(float(value), direction="lower", source=_source(pairs, i, problem), title=words)
    progress(0.5, TITLE)
    if len(problem.chip) == len(problem.params):
        return metrics | {"top_eigenvalue_chip": metrics["top_eigenvalue"]}
    chip = operator.block(problem.chip)
    pairs = top_eigenpairs(chip, 1, start_vector(chip, rng))
    words = TITLE + ", on chip"
    metrics["top_eigenvalue_chip"] = Metric(float(pairs.values[0]), direction="lower", source=_source(pairs, 0, problem), title=words)
    return metrics


def _source(pairs: Pairs, i: int, problem: Problem) -> str:
    return f"Lanczos, {pairs.products} products, residual {pairs.residuals[i]:.1e}, {len(problem.x)} samples"
