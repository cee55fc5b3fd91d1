"""Degradation curves: how much worse the task score gets under each perturbation of rising strength, one small chart each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flow.core.metric import Metric
from flow.reporting.catalog import task_score, title
from flow.reporting.claims.frame import of_weights
from flow.reporting.numbers import plus_minus, significant
from flow.reporting.perturbation import RANKED, about, falls, levels, main_kinds, perturbed
from flow.reporting.result import PointResult
from flow.reporting.scale import Scale, scale
from flow.reporting.svg import Key

WIDTH, HEIGHT = 380, 216
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 10, 40
FEW = 6
"""Points up to which each has a line of its own."""
LONGEST = 28
"""Letters that stand beside a chart."""
LOG_LEVELS = 30.0
"""Strengths that span more than this factor are on a logarithmic axis, on which there is no strength of 0."""
REGISTERS = re.compile(r"register")
GROUPS = ("Perturbed inputs", "Faults in weights and biases", "Upsets of pipeline registers")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 3", "1 5", "4 2 1 2")


@dataclass(frozen=True)
class Series:
    """A line of the charts: one point, or the median of the points of one weight width.

    Attributes:
        points: whose figures it shows.
        css: class that gives the colour.
        dash: of the line, by regularizer.
        words: what it is.
        number: of its point, for links; None for several points.
    """

    points: list[PointResult]
    css: str
    dash: str
    words: str
    number: int | None

    def band(self, name: str) -> tuple[float, float, float] | None:
        """Return a figure as value, low and high: its interval, or the extremes of several points; None if no point has it."""
        found = [point.metrics[name] for point in self.points if name in point.metrics]
        if not found:
            return None
        if self.number is not None:
            return found[0].value, *(found[0].ci or (found[0].value, found[0].value))
        values = [metric.value for metric in found]
        return float(median(values)), min(values), max(values)

    def texts(self, name: str) -> tuple[str, str]:
        """Write a figure for a table: value and interval; of several points the median, the extremes, and how many of them have it."""
        found = [point.metrics[name] for point in self.points if name in point.metrics]
        if not found:
            return "–", ""
        if self.number is not None:
            return plus_minus(found[0]), ""
        values = sorted(metric.value for metric in found)
        some = f", {len(values)} of {len(self.points)}" if len(values) < len(self.points) else ""
        return significant(float(median(values)), 3), f"{significant(values[0], 3)} to {significant(values[-1], 3)}{some}"

    def text(self, name: str) -> str:
        """Write a figure in one line."""
        value, more = self.texts(name)
        return f"{value} ({more})" if more else value


@dataclass(frozen=True)
class Line:
    """A line in pixels: path, path of the band around it, dots, and where it becomes visible (x, ends of the interval), if it does."""

    series: Series
    path: str
    band: str
    dots: list[tuple[float, float]]
    critical: tuple[float, float, float] | None
    tip: str


@dataclass(frozen=True)
class Chart:
    """A chart in pixels; ticks are positions and labels.

    Attributes:
        kind: perturbation.
        title: words for it.
        unit: of its strengths; ``number`` where they are a number of something.
        sentence: what it is.
        source: how the figures came about.
        note: where it becomes visible.
        visible: the two ends in pixels of the degradations that are visible in the points drawn, or None: beyond the axis.
    """

    kind: str
    title: str
    unit: str
    sentence: str
    source: str
    note: str
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    visible: tuple[float, float] | None
    zero: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def all_series(results: list[PointResult], key: Key) -> list[Series]:
    """Return the lines of the charts: of each ranked point if they are few, else of each weight width."""
    ranked = [result for result in results if result.ranked]
    if len(ranked) <= FEW:
        return [
            Series(
                [r], f"b{key.bits.index(r.weight_bits)}", DASHES[key.regularizers.index(r.regularizer) % len(DASHES)], r.name,
                key.points[r.name],
            )
            for r in ranked
        ]  # fmt: skip
    by_width = {bits: [r for r in ranked if r.weight_bits == bits] for bits in key.bits}
    return [
        Series(points, f"b{k}", "", f"{'?' if bits is None else bits}-bit weights, {len(points)} point{'s' * (len(points) > 1)}", None)
        for k, (bits, points) in enumerate(by_width.items())
    ]


def words_of(kind: str, ids: Sequence[str], metrics: Sequence[Metric], strengths: Sequence[float]) -> tuple[str, str]:
    """Return the name of a perturbation and the unit of its strengths, from the titles of its figures."""
    text = title(ids[-1], metrics[-1]).partition(" degradation, ")[2] or title(ids[-1], metrics[-1])
    found = [*re.finditer(rf"(?<![\d.-]){re.escape(f'{strengths[-1]:g}')}(?![\d.])", text)]
    if not found:
        return text or about(kind).title, ""
    name, unit = text[: found[-1].start()].strip(" ,"), text[found[-1].end() :].strip(" ,")
    return (name, unit) if name else (unit or about(kind).title, "number")


def tolerance(result: PointResult) -> float | None:
    """Return which share of the clean score is visible, as the point was measured with."""
    found = result.config.get("robustness", {}).get("tolerance")
    return float(found) if isinstance(found, int | float) else None


def visible_drops(results: list[PointResult], task: str) -> list[float]:
    """Return the smallest visible degradation of each point."""
    return [share * abs(r.metrics[task].value) for r in results if task in r.metrics and (share := tolerance(r)) is not None]


def _axes(strengths: Sequence[float], figures: Sequence[tuple[float, float, float]], falling: bool) -> tuple[Scale, Scale, bool]:
    log = min(strengths) > 0 and max(strengths) / min(strengths) > LOG_LEVELS
    start = not log and not falling
    x = scale([*([0.0] if start else []), *strengths], [], LOG_LEVELS if log else 1e99)
    return x, scale([0.0, *(value for value, _, _ in figures)], [end for _, *ends in figures for end in ends], 1e99), start


def _line(
    series: Series, ids: Sequence[str], strengths: Sequence[float], places: tuple[Scale, Scale], falling: bool, start: bool, critical: str
) -> Line | None:
    x_scale, y_scale = places

    def px(value: float) -> float:
        place = 1 - x_scale(value) if falling else x_scale(value)
        return round(LEFT + place * (WIDTH - RIGHT - LEFT), 1)

    def py(value: float) -> float:
        return round(HEIGHT - BOTTOM - y_scale(value) * (HEIGHT - BOTTOM - TOP), 1)

    known = [(level, found) for name, level in zip(ids, strengths, strict=True) if (found := series.band(name)) is not None]
    if not known:
        return None
    path = [(0.0, (0.0, 0.0, 0.0)), *known] if start else known
    middle = "M" + "L".join(f"{px(level)} {py(value)}" for level, (value, _, _) in path)
    above = [f"{px(level)} {py(high)}" for level, (_, _, high) in path]
    below = [f"{px(level)} {py(low)}" for level, (_, low, _) in reversed(path)]
    found = series.band(critical)
    ends = (0.0, 0.0) if found is None else sorted((px(found[1]), px(found[2])))
    at = None if found is None else (px(found[0]), ends[0], ends[1])
    tip = [series.words, *(f"{level:g}: {series.text(name)}" for name, level in zip(ids, strengths, strict=True))]
    tip += [f"visible from {series.text(critical)}"] if found is not None else []
    dots = [(px(level), py(value)) for level, (value, _, _) in known]
    return Line(series, middle, "M" + "L".join([*above, *below]) + "Z", dots, at, "\n".join(tip))


def _note(series: list[Series], critical: str, unit: str, strongest: float, asked: bool) -> str:
    found = [s for s in series if s.band(critical) is not None]
    if not asked:
        return ""
    suffix = f" {unit}" if unit and unit != "number" else ""
    if not found:
        return f"not visible up to {strongest:g}{suffix}"
    if len(series) == 1:
        return f"visible from {found[0].text(critical)}{suffix}"
    values = [band[0] for s in found if (band := s.band(critical)) is not None]
    ends = f"{significant(min(values), 3)} to {significant(max(values), 3)}" if len(values) > 1 else significant(values[0], 3)
    rest = f"; not in {len(series) - len(found)} of {len(series)} lines" if len(found) < len(series) else ""
    return f"visible from {ends}{suffix}{rest}"


def chart(kind: str, ids: Sequence[str], series: list[Series], task: str) -> Chart | None:
    """Draw one perturbation; None if it has fewer than two strengths, which are no curve."""
    points = [point for s in series for point in s.points]
    metrics = [next(p.metrics[name] for p in points if name in p.metrics) for name in ids]
    parts = [perturbed(name, next(p.metrics for p in points if name in p.metrics)) for name in ids]
    strengths = [part.level for part in parts if part is not None]
    if len(strengths) < 2:
        return None
    falling, stem = falls(kind), ids[0].rpartition(f"_{kind}_")[0] + f"_{kind}"
    figures = [found for s in series for name in ids if (found := s.band(name)) is not None]
    x_scale, y_scale, start = _axes(strengths, figures, falling)
    lines = [_line(s, ids, strengths, (x_scale, y_scale), falling, start, f"{stem}_critical") for s in series]
    name, unit = words_of(kind, ids, metrics, strengths)
    span, bottom = WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM
    drops = visible_drops(points, task)
    inside = [bottom - y_scale(drop) * (bottom - TOP) for drop in (min(drops), max(drops))] if drops else []
    visible = (round(min(inside), 1), round(max(inside), 1)) if drops and min(drops) <= y_scale.high else None
    x_ticks = [(round(LEFT + (1 - x_scale(v) if falling else x_scale(v)) * span, 1), text) for v, text in x_scale.ticks]
    y_ticks = [(round(bottom - y_scale(v) * (bottom - TOP), 1), text) for v, text in y_scale.ticks]
    asked = any(f"{stem}_area" in p.metrics for p in points)
    sources = list(dict.fromkeys(metric.source for p in points for n in ids if n in p.metrics and (metric := p.metrics[n]).source))
    source = "; ".join(sources[:1]) + (f"; {len(sources) - 1} more, see the details of each point" if len(sources) > 1 else "")
    clean = next((title(task, p.metrics[task]) for p in points if task in p.metrics), task)
    return Chart(
        kind, name[:1].upper() + name[1:], unit, about(kind).sentence, source,
        _note(series, f"{stem}_critical", unit, strengths[-1], asked), _x_title(unit, falling),
        y_title(clean, metrics[-1].unit, any(p.metrics[task].direction == "higher" for p in points if task in p.metrics)),
        x_ticks, y_ticks, [line for line in lines if line is not None], visible, round(bottom - y_scale(0.0) * (bottom - TOP), 1),
    )  # fmt: skip


def y_title(clean: str, unit: str, higher: bool) -> str:
    """Write what is upwards, which is worse; a score whose name is too long for the height of a chart is that of the text above.

    Args:
        clean: words for the score.
        unit: of the degradation.
        higher: whether a higher score is better, so that the degradation is what it loses.
    """
    sign, behind = "−Δ" if higher else "Δ", f" [{unit}]" if unit and unit != clean else ""
    whole = f"{sign} {clean}{behind}"
    return whole if len(whole) <= LONGEST else f"degradation{behind}"[:LONGEST]


def _x_title(unit: str, falling: bool) -> str:
    words = unit if unit == "number" else f"strength [{unit}]" if unit else "strength"
    return f"{words}, stronger to the right" if falling else words


def group(kind: str) -> str:
    """Tell what a perturbation acts on."""
    if REGISTERS.search(kind):
        return GROUPS[2]
    weights = of_weights(kind) or kind.startswith(("multi_bit", "single_bit", RANKED))
    return GROUPS[1] if weights else GROUPS[0]


def charts(results: list[PointResult], key: Key) -> tuple[list[Chart], dict[str, list[Chart]]]:
    """Draw the curves of all perturbations: those that stand for all, and the others by what they act on."""
    ranked = [result for result in results if result.ranked]
    task, series = task_score(ranked), all_series(results, key)
    by_kind = levels(ranked)
    chosen = main_kinds(by_kind)
    drawn = {kind: one for kind, ids in by_kind.items() if (one := chart(kind, ids, series, task or "")) is not None}
    main = [drawn[kind] for kind in chosen if kind in drawn]
    more = {heading: [c for kind, c in drawn.items() if kind not in chosen and group(kind) == heading] for heading in GROUPS}
    return main, {heading: some for heading, some in more.items() if some}
