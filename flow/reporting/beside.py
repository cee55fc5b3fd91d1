"""The section that puts the points of a study beside the published design of their model, as texts for the template."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flow.core.errors import ConfigError
from flow.core.metric import Kind, Metric
from flow.reporting.catalog import better, task_score
from flow.reporting.numbers import plus_minus, significant
from flow.reporting.published import RESOURCES, Figure, Occupied, Published
from flow.reporting.result import PointResult
from flow.synth._parts import Part, find_part

SHOWN = 3
"""Points up to which each has a column of its own."""
ROLES = (("latency_ns", "least latency"), ("frames_per_s", "highest frame rate"), ("lut", "fewest LUT"))
"""Besides the best task score: what a point is shown for, of a study with more points."""
BASIS = {"quoted": "", "secondary": "read in a text about the source", "recalled": "recalled, not looked up"}
CHIPS = {"yes": "good", "partly": "off", "no": "bad"}
UNITS: tuple[Mapping[str, int], ...] = (
    {"ns": -9, "us": -6, "µs": -6, "ms": -3, "s": 0},
    {"1/s": 0, "Hz": 0, "frames/s": 0, "kHz": 3, "kframes/s": 3, "MHz": 6, "Mframes/s": 6},
)
"""Units of the same dimension, with their power of ten."""
CLASSES: tuple[Kind, ...] = ("measured", "estimate", "csynth", "mapped", "routed")
NAMES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM"}


@dataclass(frozen=True)
class Ours:
    """A figure of ours in words, with its provenance class; ``–`` where it was not measured."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class FigureRow:
    """A figure of the published design, and beside it that of each point that is shown, or words for all of them."""

    what: str
    published: str
    basis: str
    ours: list[Ours]
    comparable: str
    css: str
    why: str


@dataclass(frozen=True)
class Chosen:
    """A point with a column: name, and what it is the best of."""

    name: str
    roles: str


@dataclass(frozen=True)
class Share:
    """A count, and its share of the part; empty where it was not counted."""

    count: str
    share: str


@dataclass(frozen=True)
class FitRow:
    """What a point takes of the part, and whether it fits: alone, and beside what else is there."""

    name: str
    kind: str
    shares: list[Share]
    alone: tuple[str, str]
    room: tuple[str, str] | None


@dataclass(frozen=True)
class Beside:
    """The section on one published design.

    Attributes:
        design: what was published.
        points: how many points it stands beside.
        chosen: the points with a column.
        figures: a row a figure.
        totals: what the part has, by resource.
        occupied: the counts of what else is in the part, by resource; empty if nothing is known of it.
        fits: a row a point that is ranked.
        summary: how many of them fit.
    """

    design: Published
    points: int
    chosen: list[Chosen]
    figures: list[FigureRow]
    totals: list[str]
    occupied: list[str]
    fits: list[FitRow]
    summary: str

    @property
    def resources(self) -> list[str]:
        """Names of the resources, in the order of the columns."""
        return [NAMES[name] for name in RESOURCES]


def converted(metric: Metric, unit: str) -> Metric:
    """Return a metric in another unit of the same dimension, or as it is where there is no such unit.

    >>> converted(Metric(6015.0, "ns", "estimate"), "us").value
    6.015
    """
    powers = next((powers for powers in UNITS if unit in powers and metric.unit in powers), None)
    if powers is None:
        return metric
    up, down = (10.0 ** max(sign * (powers[unit] - powers[metric.unit]), 0) for sign in (-1, 1))  # of the two only one is not 1
    ends = None if metric.ci is None else (metric.ci[0] * up / down, metric.ci[1] * up / down)
    return replace(metric, value=metric.value * up / down, unit=unit, ci=ends)


def _ours(figure: Figure, metrics: Mapping[str, Metric]) -> Ours:
    if figure.metric not in metrics:
        return Ours("–")
    metric = converted(metrics[figure.metric], figure.unit)
    return Ours(f"{plus_minus(metric)} {metric.unit}".strip(), metric.kind)


def _figure(figure: Figure, shown: list[PointResult]) -> FigureRow:
    published = figure.text if figure.value is None else f"{figure.value:.10g} {figure.unit}".strip()
    basis = "; ".join(words for words in (figure.source, BASIS[figure.basis]) if words)
    ours = [Ours(figure.here)] if figure.here else [_ours(figure, point.metrics) for point in shown]
    return FigureRow(figure.what, published, basis, ours, figure.comparable, CHIPS[figure.comparable], figure.why)


def _best(points: list[PointResult], name: str) -> str | None:
    """Return the point that is best by a metric, of those in its highest provenance class and of the commonest part."""
    known = [(point.metrics[name], point.name) for point in points if name in point.metrics]
    if not known:
        return None
    kind = max((metric.kind for metric, _ in known), key=CLASSES.index)
    parts = [metric.part for metric, _ in known if metric.kind == kind]
    part = max(sorted(set(parts)), key=parts.count)
    first, *others = [(metric, point) for metric, point in known if metric.kind == kind and metric.part == part]
    for metric, point in others:
        if better(metric.value, first[0].value, metric.direction):
            first = (metric, point)
    return first[1]


def _choose(points: list[PointResult]) -> dict[str, list[str]]:
    """Return the points to be shown with what each is the best of, the one with the best task score first; all if they are few."""
    if len(points) <= SHOWN:
        return {point.name: [] for point in points}
    task, found = task_score(points), dict[str, list[str]]()
    for name, role in (*([(task, "best task score")] if task else []), *ROLES):
        best = _best(points, name)
        if best is not None:
            found.setdefault(best, []).append(role)
    return found


def _comparable_part(metrics: Mapping[str, Metric], part: Part) -> str:
    """Return why the counts of a point say nothing about a part: they were made for another family; empty if they do."""
    for name in RESOURCES:
        if name in metrics and metrics[name].part:
            try:
                family = find_part(metrics[name].part).family
            except ConfigError:
                family = ""
            if family != part.family:
                return f"counted for {metrics[name].part}"
    return ""


def _judge(metrics: Mapping[str, Metric], room: Mapping[str, float], why_not: str) -> tuple[str, str]:
    """Say whether counts fit into a room, with the colour of the words."""
    counted = {name: metrics[name].value for name in RESOURCES if name in metrics and name in room}
    if why_not or not counted:
        return why_not or "not counted", "off"
    over = [NAMES[name] for name, value in counted.items() if value > room[name]]
    if over:
        return f"no: {', '.join(over)}", "bad"
    missing = [NAMES[name] for name in RESOURCES if name not in counted]
    return (f"as far as known, without {', '.join(missing)}", "off") if missing else ("yes", "good")


def _fit(point: PointResult, part: Part, occupied: Occupied | None) -> FitRow:
    metrics, why_not = point.metrics, _comparable_part(point.metrics, part)
    totals = {name: float(getattr(part, name)) for name in RESOURCES}
    shares = []
    for name in RESOURCES:
        metric = metrics.get(name)
        share = "" if metric is None or why_not or not totals[name] else f"{significant(100 * metric.value / totals[name], 3)} %"
        shares.append(Share("–" if metric is None else significant(metric.value), share))
    kinds = list(dict.fromkeys(metrics[name].kind for name in RESOURCES if name in metrics))
    room = None if occupied is None else {name: totals[name] - taken for name, taken in occupied.counts.items()}
    return FitRow(
        point.name, ", ".join(kinds), shares, _judge(metrics, totals, why_not), None if room is None else _judge(metrics, room, why_not)
    )


def _summary(rows: list[FitRow], design: Published) -> str:
    def count(found: list[tuple[str, str]]) -> str:
        sure, unsure = (sum(css == wanted for _, css in found) for wanted in ("good", "off"))
        return f"{sure} of {len(found)}" + (f" (and {unsure} that cannot be told)" if unsure else "")

    if len(rows) == 1:
        text = f"By its counts {rows[0].name} fits an empty {design.part}: {rows[0].alone[0]}"
        return f"{text}; beside what else is in it: {rows[0].room[0]}." if rows[0].room is not None else f"{text}."
    text = f"By their counts, {count([row.alone for row in rows])} points that are ranked fit an empty {design.part}"
    beside = [row.room for row in rows if row.room is not None]
    return f"{text}, {count(beside)} beside what else is in it." if beside else f"{text}."


def _section(design: Published, results: list[PointResult]) -> Beside:
    ranked = [result for result in results if result.ranked]
    roles = _choose(ranked)
    by_name = {result.name: result for result in ranked}
    figures = [_figure(figure, [by_name[name] for name in roles]) for figure in design.figure]
    chosen = [Chosen(name, ", ".join(words)) for name, words in roles.items()]
    if not design.part:
        return Beside(design, len(results), chosen, figures, [], [], [], "")
    part = find_part(design.part)
    fits = [_fit(result, part, design.occupied) for result in ranked]
    totals = [significant(float(getattr(part, name))) for name in RESOURCES]
    counts = {} if design.occupied is None else design.occupied.counts
    occupied = [significant(counts[name]) if name in counts else "not known" for name in RESOURCES] if counts else []
    return Beside(design, len(results), chosen, figures, totals, occupied, fits, _summary(fits, design) if fits else "")


def beside(results: list[PointResult]) -> list[Beside]:
    """Return a section for each published design of the models of a study; none if no model has one."""
    groups: dict[str, list[PointResult]] = {}
    for result in results:
        if result.published:
            groups.setdefault(json.dumps(result.published, sort_keys=True), []).append(result)
    return [_section(Published.model_validate_json(text), points) for text, points in groups.items()]
