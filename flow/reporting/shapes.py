"""Drawings of the loss around a network: planes in float and through the quantizer, lines, spectrum, and paths between seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.reporting.arrays import read
from flow.reporting.bitmap import contours, data_uri
from flow.reporting.catalog import better, task_score
from flow.reporting.perturbation import middle_levels
from flow.reporting.result import PointResult
from flow.reporting.scale import Scale, scale

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]
WIDTH, HEIGHT = 300, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 8, 38
BAR = 46
"""Room for the colours of a plane and their numbers."""
MOST = 101
"""Pixels along a side of a plane."""
LOG_FROM = 10.0
FORMS = {"float": "real numbers", "quantized": "weights on their grid"}
PATHS = {"linear": "straight line", "aligned": "aligned channels", "curve": "trained curve"}
COLOURS = ("validation", "train", "third")
DRAWN = ("surface_", "spectrum_", "mode_connectivity_")
"""How the names of the arrays begin that are drawn here; other files have those of faults."""
DECADES = 6
"""Of a spectral density that are shown."""


@dataclass(frozen=True)
class Plane:
    """A plane as an image with axes, in pixels.

    Attributes:
        title: what it is.
        image: address that holds the image.
        lines: path of the contours.
        x_ticks: positions and labels.
        y_ticks: the same.
        colours: positions and labels of the loss beside the colours.
        x_title: words for the axis.
        y_title: words for the axis.
        log: the loss is on a logarithmic scale.
    """

    title: str
    image: str
    lines: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    colours: list[tuple[float, str]]
    x_title: str
    y_title: str
    log: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - BAR - 10
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Graph:
    """Lines in pixels: path, colour and name of each."""

    title: str
    lines: list[tuple[str, str, str]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_title: str
    log: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Landscape:
    """What is drawn of a point, and why this one."""

    name: str
    roles: list[str]
    main: list[Plane | Graph]
    more: list[Plane | Graph]


def load(files: Sequence[Path]) -> dict[str, Array]:
    """Return the arrays of the landscape in several .npz files, those that are finite somewhere."""
    found = {name: np.asarray(values, np.float64) for name, values in read(files, DRAWN).items()}
    return {name: values for name, values in found.items() if values.size and np.isfinite(values).any()}


def _finite(values: Array) -> Array:
    """Replace what is not finite by the largest number that is."""
    return np.where(np.isfinite(values), values, values[np.isfinite(values)].max())


def _thin(count: int) -> NDArray[np.intp]:
    """Choose at most `MOST` of `count` places, evenly and with the centre."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, MOST))).astype(np.intp))


def _axis(values: Array) -> tuple[float, float]:
    half = (values[1] - values[0]) / 2 if len(values) > 1 else 0.5
    return float(values[0] - half), float(values[-1] + half)


def _ticks(low: float, high: float, place: Callable[[float], float]) -> list[tuple[float, str]]:
    return [(round(place(v), 1), text) for v, text in scale([low, high], []).ticks if low <= v <= high]


def places_of(values: Array, colours: Scale) -> Array:
    """Return the place of each value on a scale, within [0, 1]."""
    ends = np.array([colours.low, colours.high])
    if colours.log:
        values, ends = np.log10(np.maximum(values, colours.low)), np.log10(ends)
    places: Array = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
    return places


def _plane(values: Array, axes: tuple[Array, Array], title: str, words: tuple[str, str], colours: Scale) -> Plane:
    """Draw a plane; index i of `values` (P, Q) is along x and j along y."""
    x, y = axes
    keep = np.ix_(_thin(len(x)), _thin(len(y)))
    places = places_of(_finite(values)[keep], colours).T
    drawn = Plane(title, data_uri(places[::-1]), "", [], [], [], *words, colours.log)
    width, height = drawn.right - drawn.left, drawn.bottom - drawn.top
    (left, right), (bottom, top) = _axis(x), _axis(y)
    rows, columns = places.shape
    path = ""
    for line in contours(places):
        px = drawn.left + (line[:, 0] + 0.5) / columns * width
        py = drawn.bottom - (line[:, 1] + 0.5) / rows * height
        path += "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px, py, strict=True))
    x_ticks = _ticks(left, right, lambda v: drawn.left + (v - left) / (right - left) * width)
    y_ticks = _ticks(bottom, top, lambda v: drawn.bottom - (v - bottom) / (top - bottom) * height)
    marks = [(round(drawn.bottom - colours(v) * height, 1), text) for v, text in colours.ticks if 0 <= colours.beyond(v) <= 1]
    return Plane(title, drawn.image, path, x_ticks, y_ticks, marks, *words, colours.log)


def _loss_scale(*values: Array) -> Scale:
    ends = [float(v) for one in values for v in (_finite(one).min(), _finite(one).max())]
    return scale(ends, [], LOG_FROM)


def _planes(arrays: Arrays, name: str, words: str, axis: str) -> list[Plane | Graph]:
    ids = [f"surface_{name}_{form}" for form in FORMS]
    lsb = arrays.get(f"surface_{name}_axis_lsb")
    if lsb is None or not all(i in arrays for i in ids):
        return []
    colours = _loss_scale(*(arrays[i] for i in ids))
    titles = (f"{axis} 1 [LSB, rms]", f"{axis} 2 [LSB, rms]")
    return [_plane(arrays[i], (lsb[0], lsb[1]), f"{words}, {form}", titles, colours) for i, form in zip(ids, FORMS.values(), strict=True)]


def _graph(title: str, x: Array, lines: Sequence[tuple[str, Array]], x_title: str) -> Graph:
    """Draw lines (n,) over `x` (n,)."""
    y_scale = _loss_scale(*(values for _, values in lines))
    frame = Graph(title, [], [], [], x_title, y_scale.log)
    low, high = float(x.min()), float(x.max())
    span = (high - low) or 1.0

    def px(value: float) -> float:
        return round(frame.left + (value - low) / span * (frame.right - frame.left), 1)

    def py(value: float) -> float:
        return round(frame.bottom - y_scale(value) * (frame.bottom - frame.top), 1)

    paths = [
        ("M" + "L".join(f"{px(a)} {py(b)}" for a, b in zip(x, _finite(values), strict=True)), COLOURS[k % len(COLOURS)], name)
        for k, (name, values) in enumerate(lines)
    ]
    ticks = _ticks(low, high, px) if high > low else []
    return Graph(title, paths, ticks, [(py(v), text) for v, text in y_scale.ticks], x_title, y_scale.log)


def _weight(arrays: Arrays) -> list[Plane | Graph]:
    ids = {form: f"surface_weight_{form}" for form in FORMS}
    x = arrays.get("surface_weight_axis_lsb")
    if x is None or not all(i in arrays for i in ids.values()):
        return []
    lines = [(words, arrays[ids[form]]) for form, words in FORMS.items()]
    return [_graph("Loss along the weight with the most curvature", x, lines, "change [LSB]")]


def _random_lines(arrays: Arrays) -> list[Plane | Graph]:
    ids = {form: f"surface_lines_{form}" for form in FORMS}
    x = arrays.get("surface_lines_axis_lsb")
    if x is None or not all(i in arrays for i in ids.values()):
        return []
    lines = [(words, arrays[ids[form]][0]) for form, words in FORMS.items()]
    return [_graph("Loss along the first random direction", x[0], lines, "change [LSB, rms]")]


def _spectrum(arrays: Arrays) -> list[Plane | Graph]:
    drawn: list[Plane | Graph] = []
    for suffix, words in (("", "all parameters"), ("_chip", "on chip")):
        grid, density = arrays.get(f"spectrum_grid{suffix}"), arrays.get(f"spectrum_density{suffix}")
        if grid is None or density is None or density.max() <= 0:
            continue
        shown = np.maximum(density, density.max() * 10.0**-DECADES)
        drawn.append(_graph(f"Spectrum of the Hessian, {words}", grid, [("density", shown)], "eigenvalue"))
    return drawn


def _paths(arrays: Arrays) -> list[Plane | Graph]:
    t = arrays.get("mode_connectivity_t")
    lines = [
        (words, arrays[f"mode_connectivity_{name}"].mean(axis=0)) for name, words in PATHS.items() if f"mode_connectivity_{name}" in arrays
    ]
    return [_graph("Loss between two seeds, mean over pairs", t, lines, "place on the path")] if t is not None and lines else []


def draw(arrays: Arrays) -> tuple[list[Plane | Graph], list[Plane | Graph]]:
    """Draw what there is: the main drawings, and further ones."""
    main = [*_planes(arrays, "random", "Random plane", "direction"), *_weight(arrays), *_spectrum(arrays)[:1]]
    more = [*_planes(arrays, "hessian", "Plane of the top eigenvectors", "eigenvector"), *_random_lines(arrays), *_paths(arrays)]
    return main, [*more, *_spectrum(arrays)[1:]]


def _robust(points: list[PointResult]) -> list[PointResult]:
    """Sort points from the most to the least robust: by the mean of their ranks under each perturbation at its middle level."""
    ids = [name for name in middle_levels(points) if all(name in point.metrics for point in points)]
    places = {point.name: 0 for point in points}
    for name in ids:
        for place, point in enumerate(sorted(points, key=lambda p: (p.metrics[name].value, p.name))):
            places[point.name] += place
    return sorted(points, key=lambda p: (places[p.name], p.name)) if ids else []


def representatives(results: list[PointResult]) -> dict[str, list[str]]:
    """Choose the points to draw, and say why: best task score, most and least robust; or all, if there are no more than two."""
    points = [result for result in results if result.ranked and result.shapes]
    if len(points) < 3:
        return {point.name: [] for point in points}
    roles: dict[str, list[str]] = {}
    task, order = task_score(points), _robust(points)
    scored = [point for point in points if task in point.metrics]
    if scored and task:
        best = scored[0]
        for point in scored[1:]:
            if better(point.metrics[task].value, best.metrics[task].value, best.metrics[task].direction):
                best = point
        roles.setdefault(best.name, []).append("best task score")
    for point, role in ((order[0], "most robust"), (order[-1], "least robust")) if order else ():
        roles.setdefault(point.name, []).append(role)
    return roles


def landscapes(results: list[PointResult]) -> list[Landscape]:
    """Draw the representative points that have something to draw."""
    by_name = {result.name: result for result in results}
    drawn = [Landscape(name, roles, *draw(load(by_name[name].shapes))) for name, roles in representatives(results).items()]
    return [one for one in drawn if one.main or one.more]
