"""All objectives of a study of streaming networks at once: one front, and the points as lines over parallel axes (Inselberg, 1985)."""

from dataclasses import dataclass
from textwrap import wrap

from flow.core.metric import Metric
from flow.reporting.catalog import task_score, title
from flow.reporting.degradation import group
from flow.reporting.numbers import listing, with_unit
from flow.reporting.panels import ranked_scores
from flow.reporting.pareto import front, partition
from flow.reporting.perturbation import levels, main_kinds, middle
from flow.reporting.result import PointResult
from flow.reporting.scale import scale
from flow.reporting.svg import Key

COSTS = ("lut", "dsp", "latency_ns", "frames_per_s")
MEANS = ("reuse_factor", "multipliers")
"""Axes that are drawn and not ranked: means, not ends."""
WHOLE = "all_objectives"
"""Name of the front over all of them in the records."""
WIDTH, HEIGHT = 1190, 372
SIDE, TOP, BOTTOM = 66, 90, 14
LETTERS = 21  # of a line of a title
MOST_TICKS = 6


@dataclass(frozen=True)
class Objectives:
    """One front over several objectives.

    Attributes:
        axes: ids in the order of the drawing, those that are not ranked included.
        ranked: ids that the front is over.
        names: points that may be compared and have all of them.
        front: those that no other point is better than.
        notes: what a reader must know.
    """

    axes: list[str]
    ranked: list[str]
    names: list[str]
    front: frozenset[str]
    notes: list[str]


@dataclass(frozen=True)
class Axis:
    """A vertical axis in pixels: its place, lines of its title, words on its direction, and ticks (place and label)."""

    x: float
    title: list[str]
    better: str
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """A point in pixels: path, its place on each axis, colour, marker, whether it is on the front, tooltip and number of the point."""

    path: str
    dots: list[tuple[float, float]]
    colour: int
    shape: int
    front: bool
    words: str
    point: int


@dataclass(frozen=True)
class Parallel:
    """The drawing; up is better on every axis that has a direction."""

    axes: list[Axis]
    lines: list[Line]
    words: list[str]
    width: int = WIDTH
    height: int = HEIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def objectives(results: list[PointResult]) -> Objectives | None:
    """Rank the points of a study of streaming networks by everything that counts: score, robustness, cost, latency and frame rate.

    Robustness is the middle level of one perturbation of the inputs and of one of the weights, so that the front stays small enough to
    say something.

    Returns:
        None if there is no frame rate, no task score, or fewer than two points that can be compared.
    """
    ranked, scores = [result for result in results if result.ranked], ranked_scores(results)
    task = task_score(ranked)
    if task is None or not any("frames_per_s" in metrics for metrics in scores.values()):
        return None
    found = [*(cost for cost in COSTS if any(cost in metrics for metrics in scores.values())), task, *_robustness(ranked)]
    parts = partition(scores, found)
    names = parts.groups[0] if parts.groups else []
    if len(names) < 2:
        return None
    group_ = {name: scores[name] for name in names}
    same = [i for i in found if len({m[i].value for m in group_.values()}) == 1]
    wanted = [i for i in found if i not in same and all(m[i].direction != "none" for m in group_.values())]
    means = [i for i in MEANS if all(i in m for m in group_.values())]
    same += [i for i in means if len({m[i].value for m in group_.values()}) == 1]
    means = [i for i in means if i not in same]
    if len(wanted) < 2:
        return None
    notes = [f"The same for all points: {listing(f'{_short(i, group_[names[0]][i])} {with_unit(group_[names[0]][i])}' for i in same)}."]
    left = [name for name in scores if name not in names]
    told = [f"Not on it, because a figure is not there or cannot be compared: {listing(sorted(left))}."] if left else []
    return Objectives([*means, *wanted], wanted, names, front(group_, wanted), [*(notes if same else []), *told])


def _short(name: str, metric: Metric) -> str:
    """Return the title of a metric without what stands in brackets."""
    return title(name, metric).partition(" (")[0]


def _robustness(ranked: list[PointResult]) -> list[str]:
    """Choose the middle level of the first perturbation of each group."""
    by_kind = levels(ranked)
    chosen: dict[str, str] = {}
    for kind in main_kinds(by_kind):
        chosen.setdefault(group(kind), middle(by_kind[kind]))
    return list(chosen.values())


def draw_objectives(results: list[PointResult], key: Key) -> Parallel | None:
    """Draw all objectives side by side; None as for `objectives`."""
    found = objectives(results)
    if found is None:
        return None
    by_name = {result.name: result for result in results}
    step = (WIDTH - 2 * SIDE) / max(len(found.axes) - 1, 1)
    axes, places = [], []
    for k, name in enumerate(found.axes):
        metrics = [by_name[point].metrics[name] for point in found.names]
        axis, ys = _axis(name, metrics, round(SIDE + k * step, 1))
        axes.append(axis)
        places.append(dict(zip(found.names, ys, strict=True)))
    lines = []
    for point in found.names:
        result = by_name[point]
        dots = [(axis.x, at[point]) for axis, at in zip(axes, places, strict=True)]
        place = "on the front of all objectives" if point in found.front else "dominated"
        figures = [f"{_short(i, result.metrics[i])}: {with_unit(result.metrics[i])}" for i in found.axes]
        path = "M" + "L".join(f"{x} {y}" for x, y in dots)
        colour, shape = key.bits.index(result.weight_bits), key.marker(result.regularizer)
        lines.append(Line(path, dots, colour, shape, point in found.front, "\n".join([point, *figures, place]), key.points[point]))
    means = [_short(i, by_name[found.names[0]].metrics[i]) for i in found.axes if i not in found.ranked]
    words = [
        f"Up is better. In full colour: the {len(found.front)} of {len(found.names)} points for which no other is as good in all "
        f"{len(found.ranked)} objectives and better in one." + (f" Not among them, for they are means: {listing(means)}." if means else "")
    ]
    return Parallel(axes, sorted(lines, key=lambda line: line.front), [*words, *found.notes])


def _axis(name: str, metrics: list[Metric], x: float) -> tuple[Axis, list[float]]:
    """Return an axis at a place, and where each metric lies on it."""
    values, down = [m.value for m in metrics], metrics[0].direction == "lower"
    of = scale(values, [])

    def y(value: float) -> float:
        place = of(value)
        return round(TOP + (place if down else 1 - place) * (HEIGHT - TOP - BOTTOM), 1)

    ticks = of.ticks[:: -(-len(of.ticks) // MOST_TICKS)]
    unit = f"[{metrics[0].unit}]" if metrics[0].unit else ""
    lines = wrap(_short(name, metrics[0]), LETTERS)
    lines = lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][: LETTERS - 1]}…"]
    better = {"lower": "↓ less is better", "higher": "↑ more is better", "none": ""}[metrics[0].direction if name not in MEANS else "none"]
    axis = Axis(x, [*lines, unit + (" (log)" if of.log else "")], better, [(y(value), text) for value, text in ticks])
    return axis, [y(value) for value in values]
