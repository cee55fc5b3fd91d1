"""A certified lower bound of the energy mover's distance of a perturbed output, for screening; it is a bound, not the distance.

By Kantorovich-Rubinstein duality the distance of two distributions is the largest ``<f, a - b>`` over the functions f on the cells that
change by no more than the ground distance, ``f(i) - f(j) <= d(i, j)``. Any such f gives a lower bound, and one that is optimal for the
clean output gives the distance itself there and a tight bound near to it (Villani, Optimal Transport, Old and New, 2009, theorem 5.10 and
remark 6.5). Finding the functions costs as much as the distances of the clean outputs, once; each bound costs 48 multiplications.
"""

import numpy as np
from numpy.typing import NDArray
from ot.lp.emd_wrap import emd_c

from flow.core.errors import ToolFailed
from flow.model import Array

from .geometry import CELLS, DISTANCE, Floats
from .score import _MAX_ITERATIONS, _NOTHING, _OPTIMAL, _shares


def _potential(surplus: Floats, deficit: Floats) -> Floats:
    """Return an optimal function (48,) for the transport of surplus to deficit, both (48,) of the same sum and without a cell in common."""
    rows, columns = np.nonzero(surplus)[0], np.nonzero(deficit)[0]
    if not len(rows) or not len(columns):
        return np.zeros(CELLS)
    a, b = surplus[rows], deficit[columns]
    _, _, _, v, status = emd_c(a, b * (a.sum() / b.sum()), DISTANCE[rows[:, None], columns], _MAX_ITERATIONS, 1)
    if status != _OPTIMAL:
        raise ToolFailed(f"The EMD of a wafer was not found: POT's network simplex ended with status {status}. Install a newer POT.")
    # The solver's potentials are of the cells with charge only, and feasible to rounding. This extension, the c-transform, to all cells is
    # a minimum of functions that change like the distance, so it is feasible whatever the solver found.
    potential: Floats = (DISTANCE[:, columns] - v).min(axis=1)
    return potential


def potentials(output: Array, target: Array) -> Floats:
    """Return for each sample a function on the cells that proves its distance, ``<f, output - target> = EMD``.

    Args:
        output: clean reconstructed images (N, 1, 8, 8).
        target: true images (N, 1, 8, 8).

    Returns:
        (N, 48); 0 where the target or the output is empty.

    Raises:
        ToolFailed: POT did not find an optimum.
    """
    (out, alive), (true, present) = _shares(output), _shares(target)
    difference = out - true
    difference[np.abs(difference) < _NOTHING] = 0.0
    result = np.zeros(difference.shape)
    for n in np.flatnonzero(alive & present):
        result[n] = _potential(np.maximum(difference[n], 0.0), np.maximum(-difference[n], 0.0))
    return result


def lower_bound(functions: Floats, output: Array, target: Array) -> NDArray[np.float64]:
    """Return a lower bound of the energy mover's distance of each sample, in half cell pitches.

    Args:
        functions: (N, 48), of `potentials` for other outputs of the same samples.
        output: perturbed reconstructed images (N, 1, 8, 8).
        target: true images (N, 1, 8, 8), the same as those of `functions`; with others it is a bound all the same, but a loose one.

    Returns:
        (N,). At least 0. As with the distance, NaN where the target is empty; an output without charge has its exact score.
    """
    (out, alive), (true, present) = _shares(output), _shares(target)
    result: Floats = np.maximum(np.einsum("nk,nk->n", functions, out - true), 0.0)
    result[~alive] = (true[~alive] @ DISTANCE).max(axis=1)
    result[~present] = np.nan
    return result
