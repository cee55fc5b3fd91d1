"""Task score: the energy mover's distance of true and reconstructed wafer, and how alike their shapes are."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from ot.lp.emd_wrap import emd_c

from flow.core.errors import ToolFailed
from flow.core.metric import Metric
from flow.model import Array, Score
from flow.statistics import quantile_interval

from .geometry import DISTANCE, Floats, to_cells

_NOTHING = 1e-15
"""Share of the charge that rounding leaves behind when equal amounts cancel; dropping it changes an EMD by less than 1e-12."""
_MAX_ITERATIONS = 1_000_000
_OPTIMAL = 1


def _shares(image: Array) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the share of the charge in each cell (N, 48), and which rows have any; negative charge counts as none."""
    cells = to_cells(image).astype(np.float64)
    usable: NDArray[np.bool_] = np.isfinite(cells.sum(axis=1))
    cells = np.clip(np.where(usable[:, None], cells, 0.0), 0.0, None)
    total: Floats = cells.sum(axis=1)
    charged: NDArray[np.bool_] = np.greater(total, 0.0)
    return cells / np.where(charged, total, 1.0)[:, None], charged


def _transport(surplus: Floats, deficit: Floats) -> float:
    """Solve one transport problem, both (48,) of the same sum, with the network simplex of POT."""
    rows, columns = np.nonzero(surplus)[0], np.nonzero(deficit)[0]
    a, b = surplus[rows], deficit[columns]
    _, cost, _, _, status = emd_c(a, b * (a.sum() / b.sum()), DISTANCE[rows[:, None], columns], _MAX_ITERATIONS, 1)
    if status != _OPTIMAL:
        raise ToolFailed(f"The EMD of a wafer was not found: POT's network simplex ended with status {status}. Install a newer POT.")
    return float(cost)


def per_sample(output: Array, target: Array) -> NDArray[np.float64]:
    """Exact energy mover's distance of each sample in half cell pitches (Baldi et al., arXiv:2502.08355).

    Both images are scaled to the same total charge first; negative output counts as 0. Charge that both have in the same cell
    stays where it is, which is optimal because the ground distance is a metric, so only the difference is transported.

    Args:
        output: reconstructed images (N, 1, 8, 8).
        target: true images (N, 1, 8, 8).

    Returns:
        (N,). NaN where the target is empty. An output without any charge, or with one that is not finite, scores the largest
        distance that any output could have from this target (all charge in the worst cell), so a dead network cannot look good.
    """
    (out, alive), (true, present) = _shares(output), _shares(target)
    difference = out - true
    difference[np.abs(difference) < _NOTHING] = 0.0
    surplus, deficit = np.maximum(difference, 0.0), np.maximum(-difference, 0.0)
    moved = surplus.sum(axis=1)
    # From or to a single cell there is only one plan.
    few = np.minimum((surplus > 0).sum(axis=1), (deficit > 0).sum(axis=1))
    only = np.einsum("nk,nk->n", surplus @ DISTANCE, deficit)
    result: Floats = only / np.where(moved > 0, moved, 1.0)
    for n in np.flatnonzero((few > 1) & alive & present):
        result[n] = _transport(surplus[n], deficit[n])
    result[~alive] = (true[~alive] @ DISTANCE).max(axis=1)
    result[~present] = np.nan
    return result


def trivial(target: Array) -> Array:
    """Return the mean wafer (1, 8, 8) of training targets (N, 1, 8, 8): what a network that learned nothing may answer."""
    return np.asarray(target.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _cosines(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Floats = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)
    return cosines


def extras(output: Array, target: Array, generator: np.random.Generator) -> Mapping[str, Metric]:
    """Compare shapes: median cosine of true and reconstructed cells, and the same with the reconstructed cells shuffled.

    The second shows how much of the first comes from the spectrum of the cells alone, without their places. Samples with an
    empty target are left out; an empty output has cosine 0. Nothing is returned when no sample is left.
    """
    (out, _), (true, present) = _shares(output), _shares(target)
    if not present.any():
        return {}
    out, true = out[present], true[present]
    shuffled = generator.permuted(out, axis=1)
    source = f"{len(true)} test samples, bootstrap"
    median, ci = quantile_interval(_cosines(out, true), 0.5, generator)
    base, base_ci = quantile_interval(_cosines(shuffled, true), 0.5, generator)
    return {
        "cosine_median": Metric(median, direction="higher", ci=ci, source=source, title="median cosine"),
        "cosine_shuffled": Metric(base, ci=base_ci, source=source, title="median cosine, cells shuffled"),
    }


SCORE = Score(
    id="emd", title="EMD", unit="TC pitch / 2", direction="lower", per_sample=per_sample, trivial=trivial, extras=extras
)  # fmt: skip
