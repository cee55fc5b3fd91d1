"""Generated wafers beside those of detector files: distributions with bands of 95 %, and the same as numbers.

Wafers, and the cells of the charge spectrum, count as independent, though modules of one event are not quite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flow.statistics import mean_interval

from .csv_files import find_files, read_rows
from .generator import wafers
from .geometry import CELLS, DISTANCE, PITCH, PITCH_CM, Floats

SPARSE, DENSE = 4, 10
"""Shapes are compared in wafers of so many cells above threshold: with fewer there is no shape, with more showers overlap."""
TOUCHING = 2.6
"""Half pitches: neighbours are 1.8 (across a seam of the module) to 2.3 apart, the next cells 3.0."""

_Z = 1.96
_COLOURS = ("black", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Curve:
    """A distribution: places (B,), values (B,) and the half-widths (B,) of their 95 % intervals; NaN where nothing was counted."""

    x: Floats
    y: Floats
    half: Floats


def hit(charges: Floats) -> Floats:
    """Return the wafers (N, 48) that have any charge."""
    rows: Floats = charges[charges.sum(axis=1) > 0]
    return rows


def fractions(values: Floats, edges: Floats, *, log: bool = False) -> Curve:
    """Return the fraction of (N,) values in each bin, with the normal approximation of the binomial interval.

    `log` puts the places of the bins in the middle on a logarithmic axis.
    """
    share = np.histogram(values, edges)[0] / len(values)
    middle = np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2
    return Curve(middle, np.where(share > 0, share, np.nan), _Z * np.sqrt(share * (1 - share) / len(values)))


def _shaped(charges: Floats) -> Floats:
    count = (charges > 0).sum(axis=1)
    rows: Floats = charges[(count >= SPARSE) & (count <= DENSE)]
    return rows


def profile(charges: Floats) -> Curve:
    """Return the mean share of a wafer's charge in one cell, against the distance (cm) from the cell with the most charge.

    Args:
        charges: (N, 48); wafers of `SPARSE` to `DENSE` cells are looked at.

    Returns:
        In rings one pitch wide; the first has the cell itself. Student's t over wafers.
    """
    rows = _shaped(charges)
    ring = np.rint(DISTANCE / PITCH).astype(np.int64)[rows.argmax(axis=1)]
    share = rows / rows.sum(axis=1, keepdims=True)
    places, values, halves = [], [], []
    for number in range(6):
        inside = ring == number
        cells = inside.sum(axis=1)
        some = cells > 0
        mean, half = _mean((share * inside).sum(axis=1)[some] / cells[some])
        places.append(number * PITCH_CM)
        values.append(mean)
        halves.append(half)
    return Curve(np.array(places), np.array(values), np.array(halves))


def _mean(values: Floats) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval; NaN without two values."""
    mean, (low, _) = mean_interval(values) if len(values) > 1 else (np.nan, (np.nan, np.nan))
    return mean, mean - low


def _median(values: Floats) -> tuple[float, float]:
    """Return the median and the larger half of its 95 % interval, from order statistics."""
    ordered, n = np.sort(values), len(values)
    reach = _Z * sqrt(n) / 2
    low, high = ordered[[max(round(n / 2 - reach) - 1, 0), min(round(n / 2 + reach), n - 1)]]
    middle = float(np.median(values))
    return middle, float(max(high - middle, middle - low))


def numbers(charges: Floats) -> dict[str, tuple[float, float]]:
    """Sum wafers up in a few numbers, each with half of its 95 % interval; NaN for what fewer than two wafers show.

    Args:
        charges: (N, 48) in counts; empty wafers are left out.
    """
    rows = hit(charges)
    count = (rows > 0).sum(axis=1)
    shaped = _shaped(rows)
    order, largest = shaped.argsort(axis=1), shaped.max(axis=1) / shaped.sum(axis=1)
    touch = DISTANCE[order[:, -1], order[:, -2]] < TOUCHING
    return {
        "mean occupancy [cells]": _mean(count.astype(np.float64)),
        "wafers with one cell [%]": _mean(np.where(count == 1, 100.0, 0.0)),
        "wafers with more than 40 cells [%]": _mean(np.where(count > 40, 100.0, 0.0)),
        "median charge of a wafer [counts]": _median(rows.sum(axis=1)),
        f"share of the largest cell, {SPARSE} to {DENSE} cells [%]": _mean(100 * largest),
        f"the two largest cells touch, {SPARSE} to {DENSE} cells [%]": _mean(np.where(touch, 100.0, 0.0)),
    }


def read(path: Path) -> Floats:
    """Read all wafers (N, 48) of a CSV file or a folder of them."""
    return np.concatenate([rows for file in find_files(path) for rows in read_rows(file)])


def compare(files: Mapping[str, Path], target: Path, count: int = 20_000, seed: int = 0) -> dict[str, dict[str, tuple[float, float]]]:
    """Draw `count` generated wafers beside those of files, and return `numbers` of each.

    Args:
        files: detector CSV files or folders, by the name that the legend gives them; may be empty.
        target: image file to write, in the format of its suffix.
        count: wafers to generate.
        seed: of the generator.
    """
    samples = {"generator": hit(wafers(count, np.random.default_rng(seed)))} | {name: hit(read(path)) for name, path in files.items()}
    _draw(samples, target)
    return {name: numbers(rows) for name, rows in samples.items()}


def _draw(samples: Mapping[str, Floats], target: Path) -> None:
    figure = Figure(figsize=(7.6, 5.4), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    cells, decades = np.arange(0.5, CELLS + 1), 10 ** np.linspace(0.3, 4.5, 26)
    rows = samples.values()
    occupancy, charge, spectrum, shape = figure.subplots(2, 2).flat
    _panel(occupancy, list(samples), [fractions((r > 0).sum(axis=1).astype(np.float64), cells) for r in rows])
    occupancy.set(xlabel="cells above threshold", ylabel="fraction of wafers", yscale="log", ylim=(1e-4, 1))
    _panel(charge, list(samples), [fractions(r.sum(axis=1), decades, log=True) for r in rows])
    charge.set(xlabel="charge of a wafer [counts]", ylabel="fraction of wafers", xscale="log")
    _panel(spectrum, list(samples), [fractions(r[r > 0], decades, log=True) for r in rows])
    spectrum.set(xlabel="charge of a cell above threshold [counts]", ylabel="fraction of cells", xscale="log", yscale="log", ylim=(1e-5, 1))
    _panel(shape, list(samples), [profile(r) for r in rows])
    shape.set(xlabel="distance from the largest cell [cm]", ylabel="mean share of the charge", yscale="log")
    shape.set_title(f"wafers of {SPARSE} to {DENSE} cells", fontsize=9)
    charge.legend(fontsize=8, frameon=False)
    figure.savefig(target)


def _panel(axes: Any, names: Sequence[str], curves: Sequence[Curve]) -> None:  # noqa: ANN401  # matplotlib has no types
    for place, (name, curve) in enumerate(zip(names, curves, strict=True)):
        colour, style = _COLOURS[place % len(_COLOURS)], _STYLES[place % len(_STYLES)]
        axes.fill_between(
            curve.x, np.maximum(curve.y - curve.half, curve.y / 100), curve.y + curve.half, color=colour, alpha=0.25, linewidth=0
        )
        axes.plot(curve.x, curve.y, linestyle=style, color=colour, linewidth=1.6, label=name)
    axes.grid(visible=True, alpha=0.25)
