"""Learning curves in pixels: losses and task score by epoch, float pre-training first, then training with quantizers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flow.reporting.catalog import task_score
from flow.reporting.numbers import significant
from flow.reporting.panels import axis_title
from flow.reporting.result import PointResult
from flow.reporting.scale import scale
from flow.reporting.svg import Key

WIDTH, HEIGHT = 480, 236
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 26, 42
GAP = 0.07
"""Room between the two trainings, as a part of all epochs."""
MOST_TICKS = 9
LOG_LOSS = 3.0
"""A loss that falls by more than this factor is drawn on a logarithmic axis."""
PHASES = {"float": "float", "quantized": "with quantizers"}
NAMES = {"train": "training", "validation": "validation", "score": "validation"}

Curves = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        path: of the line, in pixels.
        kept: places of the epochs whose weights were kept, the last training first.
        css: class that gives the colour.
        words: text of a tooltip.
        point: number of the point it belongs to, for links; None within the details of a point.
    """

    path: str
    kept: list[tuple[float, float]]
    css: str
    words: str
    point: int | None = None


@dataclass(frozen=True)
class Chart:
    """Lines over epochs, in pixels; ticks are positions and labels, `phases` where each training begins and its name."""

    title: str
    better: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    phases: list[tuple[float, str]]
    lines: list[Line]
    log: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class _Trace:
    """What a line shows: the curves of a point, and which of them."""

    curves: Curves
    what: str
    css: str
    name: str
    point: int | None = None

    def places(self, phase: str) -> list[tuple[int, float | None]]:
        """Return epoch and value; training loss has no entry before training, and None stands for what is not finite."""
        return list(enumerate(self.curves.get(phase, {}).get(self.what, []), 1 if self.what == "train" else 0))

    def ranged(self) -> list[float]:
        """Return the values that the axis has to show: not the first half of float training, where a loss falls by decades."""
        late = [v for epoch, v in self.places("float") if 2 * epoch >= _epochs(self.curves, "float")]
        return [v for v in (*late, *(v for _, v in self.places("quantized"))) if v is not None]


def _epochs(curves: Curves, phase: str) -> int:
    return len(curves.get(phase, {}).get("train", []))


def _step(epochs: int) -> int:
    """Return the smallest round distance of ticks that gives no more than `MOST_TICKS`."""
    steps = [factor * int(10**power) for power in range(12) for factor in (1, 2, 5)]
    return next(step for step in steps if epochs <= step * MOST_TICKS)


def _chart(title: str, better: str, traces: list[_Trace], log_from: float = 30.0) -> Chart | None:
    """Draw traces on one pair of axes; None if none of them has a value. What is off the axis is cut by the template."""
    values = [value for trace in traces for value in trace.ranged()]
    if not values:
        return None
    longest = {phase: max(_epochs(t.curves, phase) for t in traces) for phase in PHASES if any(phase in t.curves for t in traces)}
    total = sum(longest.values())
    starts, at = {}, 0.0
    for phase, epochs in longest.items():
        starts[phase] = at
        at += epochs + max(GAP * total, 0.5)
    end = max(at - max(GAP * total, 0.5), 0.5)
    y_scale, right, bottom = scale(values, [], log_from), WIDTH - RIGHT, HEIGHT - BOTTOM

    def px(phase: str, epoch: float) -> float:
        return round(LEFT + (starts[phase] + epoch) / end * (right - LEFT), 1)

    def py(value: float) -> float:
        return round(bottom - y_scale.beyond(value) * (bottom - TOP), 1)

    def line(trace: _Trace) -> Line:
        path, kept, words = "", list[tuple[float, float]](), [trace.name]
        for phase in longest:
            places = trace.places(phase)
            for (_, before), (epoch, value) in pairwise([(-1, None), *places]):
                if value is not None:
                    path += f"{'M' if before is None else 'L'}{px(phase, epoch)} {py(value)}" + ("h0" if before is None else "")
            best: int = trace.curves.get(phase, {}).get("best", -1)
            at_best = dict(places).get(best)
            if at_best is not None:
                kept.insert(0, (px(phase, best), py(at_best)))
                words.append(f"{PHASES[phase]}: kept epoch {best}, {significant(at_best)}")
        return Line(path, kept, trace.css, "\n".join(words), trace.point)

    step = _step(total)
    ticks = [(px(phase, epoch), str(epoch)) for phase, epochs in longest.items() for epoch in range(0, epochs + 1, step)]
    y_ticks = [(py(value), text) for value, text in y_scale.ticks]
    names = [(px(phase, 0), PHASES[phase]) for phase in longest]
    return Chart(title, better, ticks, y_ticks, names, [line(t) for t in traces], y_scale.log)


def _score_words(results: Iterable[PointResult]) -> tuple[str, str]:
    known = list(results)
    task = task_score(known)
    metric = next((r.metrics[task] for r in known if task in r.metrics), None) if task else None
    if metric is None or task is None:
        return "Task score", ""
    arrows = {"higher": "↑ higher is better", "lower": "↓ lower is better", "none": ""}
    return axis_title(task, metric), arrows[metric.direction]


def point_charts(result: PointResult) -> list[Chart]:
    """Draw the losses and the task score of a point; nothing for a network that was not trained here."""
    title, better = _score_words([result])
    losses = [_Trace(result.curves, what, what, f"{NAMES[what]} loss") for what in ("train", "validation")]
    scores = [_Trace(result.curves, "score", "validation", f"{title}, {NAMES['score']}")]
    charts = [_chart("Loss", "", losses, LOG_LOSS), _chart(title, better, scores)]
    return [chart for chart in charts if chart is not None]


def study_charts(results: list[PointResult], key: Key) -> list[Chart]:
    """Draw task score and validation loss of all points together.

    Args:
        results: in the order of their numbers; those without curves are left out.
        key: colours by weight bits; a point that is not ranked is grey.
    """
    drawn = [(number, result) for number, result in enumerate(results) if result.curves]
    if not drawn:
        return []
    title, better = _score_words(result for _, result in drawn)

    def traces(what: str) -> list[_Trace]:
        css = {r.name: f"b{key.bits.index(r.weight_bits)}" if r.ranked else "grey" for _, r in drawn}
        return [_Trace(r.curves, what, css[r.name], r.name, number) for number, r in drawn]

    charts = [_chart(title, better, traces("score")), _chart("Validation loss", "", traces("validation"), LOG_LOSS)]
    return [chart for chart in charts if chart is not None]
