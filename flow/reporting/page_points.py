"""The sortable table and the details of each point, as texts for the template."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flow.core.metric import Metric
from flow.reporting.catalog import HARDWARE, Group, costs_of, ids_of, plotted_scores, task_score, title
from flow.reporting.curves import Chart, point_charts
from flow.reporting.layers import LayersView, layers_view
from flow.reporting.numbers import significant, value_and_error
from flow.reporting.objectives import WHOLE
from flow.reporting.panels import Scores
from flow.reporting.record import flat, fronts, regularizers, varying
from flow.reporting.result import PointResult
from flow.reporting.strengths import CurveView, curve_views, share_views
from flow.reporting.times import fitting

GROUPS: dict[Group, str] = {
    "hardware": "Hardware cost",
    "task": "Task score",
    "robustness": "Faults and perturbations",
    "protection": "Protection",
    "landscape": "Loss landscape",
    "compat": "What the released code of Baldi et al. would give, for comparison only",
    "import": "Approximation of an imported network",
    "facts": "Data and training",
    "gate": "Exactness gate",
}
FRONT = "front"
FEW = 6
"""Points up to which every metric has its source beside it."""
COST_WORDS = {
    "lut": "LUT", "latency_ns": "latency", "dsp": "DSP", "frames_per_s": "frame rate", "reuse_factor": "reuse factor",
    "multipliers": "multipliers",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column: id or dotted key, words, unit, and whether it sorts as numbers."""

    id: str
    words: str
    unit: str
    numeric: bool
    metric: bool


@dataclass(frozen=True)
class Cell:
    """A cell: value, half-width of the interval, and what it sorts by (empty: always last)."""

    text: str
    error: str = ""
    sort: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the table: number of the point, result and cells."""

    number: int
    result: PointResult
    state: str
    cells: list[Cell]


@dataclass(frozen=True)
class MetricView:
    """A metric in words: id, title, value, half-width, unit, class, interval, source and part."""

    id: str
    words: str
    value: str
    error: str
    unit: str
    kind: str
    interval: str
    source: str


@dataclass(frozen=True)
class PointView:
    """All there is to say about a point: settings, metrics by group, degradations, gate levels, digests, learning curves and layers."""

    number: int
    result: PointResult
    state: str
    settings: list[tuple[str, str]]
    groups: list[tuple[str, list[MetricView]]]
    curves: list[CurveView]
    levels: list[tuple[str, int, int]]
    stages: list[tuple[str, str, str, list[tuple[str, str]]]]
    notes: list[tuple[str, str]]
    withheld: list[str]
    charts: list[Chart]
    layers: LayersView | None


def state(result: PointResult) -> str:
    """Say in a word how a point stands."""
    return "not exact" if result.status == "ok" and result.inexact else result.status


def reasons(result: PointResult) -> list[tuple[str, str, str]]:
    """Return stage, error and message of each failure."""
    found = [(f.get("stage", ""), f.get("error", ""), f.get("message", "")) for f in result.failures]
    if result.inexact and not found and result.gate is not None:
        found = [("gate", "MismatchError", f"{result.gate['mismatches']} of {result.gate['samples']} samples differ between levels")]
    return found or [("", "", "no reason was recorded")]


def columns(results: list[PointResult], scores: Scores) -> list[Column]:
    """Choose the columns: settings that differ, main costs, then the scores of the plots."""
    settings = [key for key in dict.fromkeys(["network.weight_bits", *varying(results)]) if key != "data.path"]
    found = [
        Column(key, _words(key), "", all(isinstance(flat(r.config).get(key), int | float) for r in results), False) for key in settings
    ]
    if any(result.regularizer != "none" for result in results):
        found.append(Column("regularizers", "regularizer", "", False, False))
    ranked = [result for result in results if result.ranked]
    main, _ = plotted_scores(ranked)
    found.append(Column(FRONT, "on the front against", "", False, False))
    costs = costs_of(ranked)
    for name in [*costs, *main, *(name for name in HARDWARE if name not in costs)]:
        metric = next((metrics[name] for metrics in scores.values() if name in metrics), None)
        if metric is not None:
            found.append(Column(name, title(name, metric), metric.unit, True, True))
    return found


def _words(key: str) -> str:
    """Write a key of the design point: its last part, and the layer of a setting for one layer."""
    words = key.removeprefix("network.layers.") if key.startswith("network.layers.") else key.rpartition(".")[2]
    return words.replace(".", " ").replace("_", " ")


def _cell(column: Column, result: PointResult, metrics: Mapping[str, Metric], costs: list[str]) -> Cell:
    if column.id == FRONT:
        text = ", ".join(costs)
        return Cell(text or "–", "", text)
    if column.id == "regularizers":
        text = regularizers(result) or "none"
        return Cell(text, "", text)
    if not column.metric:
        value = flat(result.config).get(column.id)
        text = significant(value) if isinstance(value, float) else "–" if value is None else str(value)
        return Cell(text, "", "" if value is None else str(value))
    if column.id not in metrics:
        return Cell("–")
    value_text, error = value_and_error(metrics[column.id])
    return Cell(value_text, error, repr(metrics[column.id].value))


def rows(results: list[PointResult], scores: Scores, table: list[Column]) -> list[Row]:
    """Return a row a point; an untrained point has no numbers here, and points that are not ranked come last."""
    found = []
    task, on_front = task_score([result for result in results if result.ranked]), fronts(results)
    known = costs_of(result for result in results if result.ranked)
    for number, result in enumerate(results):
        costs = [COST_WORDS[cost] for cost in known if on_front.get(f"{task}_vs_{cost}", {}).get(result.name)]
        costs += ["all together"] if on_front.get(WHOLE, {}).get(result.name) else []
        metrics = scores.get(result.name, {} if result.status == "untrained" else result.metrics)
        found.append(Row(number, result, state(result), [_cell(column, result, metrics, costs) for column in table]))
    return sorted(found, key=lambda row: not row.result.ranked)


def _metric_view(name: str, metric: Metric, cite: Callable[[str], str]) -> MetricView:
    metric = fitting(metric)
    value, error = value_and_error(metric)
    interval = "" if metric.ci is None else f"{significant(metric.ci[0])} to {significant(metric.ci[1])}"
    source = ", ".join(text for text in (metric.source, metric.part) if text)
    return MetricView(name, title(name, metric), value, error, metric.unit, metric.kind, interval, cite(source))


def _written(document: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in sorted(flat(document).items())}


def common_settings(results: list[PointResult]) -> dict[str, str]:
    """Return the settings that all points of a study have in common; none if there is one point only."""
    if len(results) < 2:
        return {}
    first, *others = (_written(result.config) for result in results)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


class Sources:
    """Sources of metrics, which a study with many points tells once."""

    def __init__(self, points: int) -> None:
        """Number sources if there are more than `FEW` points."""
        self.numbers: dict[str, int] = {}
        self._numbered = points > FEW

    def __call__(self, source: str) -> str:
        """Return a source, or its number in brackets."""
        return f"[{self.numbers.setdefault(source, len(self.numbers) + 1)}]" if source and self._numbered else source


def point_view(
    number: int, result: PointResult, withheld: list[str], common: Mapping[str, str], cite: Callable[[str], str] = str
) -> PointView:  # fmt: skip
    """Collect the details of a point; `common` are settings that are told elsewhere, `cite` writes the source of a metric."""
    metrics = result.metrics
    found = {group: ids_of(group, metrics, task_score([result])) for group in GROUPS}
    curves, found["robustness"] = curve_views(found["robustness"], metrics, cite)
    by_share, found["protection"] = share_views(found["protection"], metrics, cite)
    curves += by_share
    told = {f"gate_{level}_{what}" for level in (result.gate or {}).get("levels", {}) for what in ("mismatches", "samples")}
    found["gate"] = [name for name in found["gate"] if name not in told]
    gate = result.gate or {}
    levels_ = [(level, counts["mismatches"], counts["samples"]) for level, counts in gate.get("levels", {}).items()]
    stages = [
        (stage, str(entry.get("status", "")), str(entry.get("key", "")), sorted(entry.get("artifacts", {}).items()))
        for stage, entry in sorted(result.stages.items())
    ]  # fmt: skip
    settings = [(key, value) for key, value in _written(result.config).items() if key not in common]
    notes = list(_written(result.notes).items())
    shown = [(GROUPS[group], [_metric_view(name, metrics[name], cite) for name in ids]) for group, ids in found.items() if ids]
    return PointView(
        number, result, state(result), settings, shown, [*curves, *by_share], levels_, stages, notes, withheld, point_charts(result),
        layers_view(result.layers),
    )  # fmt: skip
