"""The mean loss on straight lines and planes through a point."""

import numpy as np

from flow.landscape._problem import Floats, Problem


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
