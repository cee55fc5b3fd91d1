"""The mean loss on straight lines and planes through a point."""

from dataclasses import dataclass

import numpy as np

from flow.landscape._directions import Filters, hessian_directions
from flow.landscape._problem import Floats, Problem

FORMS = {"float": False, "quantized": True}  # what a slice is called, and whether weights are rounded in it


def _losses(problem: Problem, centre: Floats, directions: Floats, at: Floats, quantize: bool) -> Floats:
    """Return the mean loss at ``centre + sum_k at[:, k] directions[k]``, (n,)."""
    rows = np.empty(len(at))
    for part in problem.chunks(len(at), 4 * centre.nbytes):
        points = np.repeat(centre[None], len(at[part]), axis=0)
        for coefficients, direction in zip(at[part].T, directions, strict=True):
            points += coefficients[:, None] * direction
        rows[part] = problem.mean_losses(points, quantize=quantize)
    return rows


def lines(problem: Problem, centre: Floats, directions: Floats, axis: Floats, quantize: bool) -> Floats:
    """Return the mean loss along lines.

    Args:
        problem: the loss.
        centre: the point (D,) that all lines go through.
        directions: (K, D).
        axis: where on each line, (P,), in units of the direction.
        quantize: as `Problem.mean_losses`.

    Returns:
        (K, P).
    """
    return np.stack([_losses(problem, centre, direction[None], axis[:, None], quantize) for direction in directions])


def plane(problem: Problem, centre: Floats, directions: Floats, axes: Floats, quantize: bool) -> Floats:
    """Return the mean loss at ``centre + axes[0, i] directions[0] + axes[1, j] directions[1]`` as (P, P), i first.

    Args:
        problem: the loss.
        centre: the point (D,) in the middle.
        directions: (2, D).
        axes: (2, P), in units of the directions.
        quantize: as `Problem.mean_losses`.
    """
    at = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return _losses(problem, centre, directions, at.reshape(-1, 2), quantize).reshape(at.shape[:2])


@dataclass(frozen=True)
class HessianPlane:
    """The plane through the deployed weights along the two most curved directions.

    Attributes:
        centre: the deployed point (D,).
        clean: the mean loss there.
        eigenvalues: (2,), the largest first.
        vectors: unit eigenvectors (2, D).
        widths: half widths (2,): where the quadratic model predicts that the loss has doubled, and at most the norm of the weights.
    """

    centre: Floats
    clean: float
    eigenvalues: Floats
    vectors: Floats
    widths: Floats

    def axes(self, points: int) -> Floats:
        """Return the axes (2, P) in units of the eigenvectors."""
        axes: Floats = self.widths[:, None] * np.linspace(-1, 1, points)
        return axes


def hessian_plane(problem: Problem, filters: Filters, rng: np.random.Generator) -> HessianPlane | None:
    """Find the plane; None where the loss, or one of the two eigenvalues, is not positive."""
    centre = problem.quantized(problem.point[None])[0]
    clean = float(problem.mean_losses(centre[None], quantize=False)[0])
    values, vectors = hessian_directions(problem, filters, 2, rng)
    if clean <= 0 or len(values) < 2:
        return None
    widths = np.minimum(np.sqrt(2 * clean / values), np.linalg.norm(centre[filters.weights]))
    return HessianPlane(centre, clean, values, vectors, widths)
