"""How long it takes until an upset is visible, at each place, and what upsets of pipeline registers do."""

import re
from dataclasses import dataclass
from math import isfinite

from flow.core.metric import Metric
from flow.reporting.arrays import read
from flow.reporting.catalog import task_score, title
from flow.reporting.criticality import Bars, bars
from flow.reporting.numbers import plus_minus, significant
from flow.reporting.result import PointResult
from flow.reporting.times import duration, three, unit_of

START = "upset_days_to_visible_"
REGISTER_START = "register_days_to_visible_"
REGISTERS = "upsets_"
SOURCE = re.compile(r"^([\d.e+-]+) upsets per bit and day \((.*)\); \d+ of \d+ bits")
MOST = 4
"""Points up to which a table has a column for each."""


@dataclass(frozen=True)
class Place:
    """A row of the table: where, upsets per bit and day, source of that number, and the times (value, interval) of the points."""

    name: str
    rate: str
    source: str
    times: list[tuple[str, str]]


@dataclass(frozen=True)
class Times:
    """The table of expected times; `points` are those of its columns, and `all` has the times of every point, without intervals."""

    points: list[str]
    places: list[Place]
    all: list[tuple[str, list[str]]]
    none: list[str]


@dataclass(frozen=True)
class Registers:
    """What upsets of the pipeline registers of a point do: sentences, and bars by register."""

    name: str
    words: list[str]
    bars: list[Bars]


def _time(metric: Metric | None) -> tuple[str, str]:
    if metric is None:
        return "–", ""
    unit = unit_of(metric.value)
    if metric.ci is None:
        return duration(metric.value, unit), ""
    return duration(metric.value, unit), f"{three(metric.ci[0] / unit[1])} to {three(metric.ci[1] / unit[1])}"


def _place(name: str, start: str, points: list[PointResult], task: str) -> tuple[str, str, str]:
    owner = next(point for point in points if name in point.metrics)
    metric = owner.metrics[name]
    clean = title(task, owner.metrics[task]) if task in owner.metrics else task
    words = title(name, metric).partition(f" of {clean}, ")[2] or name.removeprefix(start).replace("_", " ")
    found = SOURCE.match(metric.source)
    return words[:1].upper() + words[1:], found[1] if found else "–", found[2] if found else metric.source


def times(results: list[PointResult], chosen: list[str], start: str = START) -> Times | None:
    """Make the table of expected times to a visible error; None if nothing was measured.

    Args:
        results: the points of the study.
        chosen: names of those that have a column where there are many.
        start: how the ids of the times begin: of weights and biases, or of pipeline registers.
    """
    looked = "_single_bit_map_" if start == START else "_register_flip_"
    measured = [r for r in results if r.ranked and any(looked in name or name.startswith(start) for name in r.metrics)]
    names = sorted({name for r in measured for name in r.metrics if name.startswith(start)})
    if not measured:
        return None
    task = task_score(measured) or ""
    shown = measured if len(measured) <= MOST else [r for r in measured if r.name in chosen] or measured[:MOST]
    order = {name: max(r.metrics[name].value for r in measured if name in r.metrics) for name in names}
    names.sort(key=lambda name: -order[name])
    places = [Place(*_place(name, start, measured, task), [_time(r.metrics.get(name)) for r in shown]) for name in names]
    everyone = [(r.name, [_time(r.metrics.get(name))[0] for name in names]) for r in measured] if len(measured) > len(shown) else []
    none = [r.name for r in measured if not any(name in r.metrics for name in names)]
    return Times([r.name for r in shown], places, everyone, none)


def registers(result: PointResult) -> Registers | None:
    """Draw what upsets of pipeline registers do; None if they were not looked at."""
    found = read(result.shapes, REGISTERS)
    if "upsets_visible" not in found:
        return None
    names = [
        f"{str(name).replace('_', ' ')}, {int(bits)} b" for name, bits in zip(found["upsets_names"], found["upsets_bits"], strict=True)
    ]
    metrics = result.metrics
    words = []
    for name in metrics:
        if name.startswith("register_flip_") or "_register_flip_" in name:
            metric = metrics[name]
            words.append(f"{title(name, metric)}: {plus_minus(metric)} {metric.unit}".strip() + ".")
    source = next((m.source for name, m in metrics.items() if "register_flip_" in name and m.source), "")
    if "register_bits" in metrics:
        words.insert(0, f"{significant(metrics['register_bits'].value)} bits of pipeline registers{f'; {source}' if source else ''}.")
    drawn = []
    for key, heading, factor in (
        ("visible", "Visible flips, % of the draws", 100.0),
        ("degradation", "Mean degradation of the sample that is hit", 1.0),
    ):
        values = found.get(f"upsets_{key}")
        if values is not None:
            known = [(name, factor * float(v)) for name, v in zip(names, values.astype(float), strict=True) if isfinite(v)]
            drawn.append(bars(heading, known))
    return Registers(result.name, words, [one for one in drawn if one.bars])
