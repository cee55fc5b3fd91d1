"""What `hlscape screen` found, for the page: predicted against measured degradations, and how good the predictions are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flow.reporting.numbers import signed, significant
from flow.reporting.result import PointResult
from flow.reporting.scale import scale
from flow.reporting.svg import Key

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 10, 42
BEST = 6
"""Landscape scores of a target that are listed."""


@dataclass(frozen=True)
class Spot:
    """A point in pixels: `bar` are the ends of the prediction interval, or None; `point` is its number in the report, or None."""

    x: float
    y: float
    bar: tuple[float, float] | None
    css: str
    shape: str
    words: str
    point: int | None


@dataclass(frozen=True)
class Scatter:
    """Predicted (x) against measured (y) degradations, in pixels; `diagonal` is where both are the same."""

    title: str
    unit: str
    spots: list[Spot]
    ticks_x: list[tuple[float, str]]
    ticks_y: list[tuple[float, str]]
    diagonal: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class TargetView:
    """A degradation: its plot, figures as (words, value), and the landscape scores that say most about it."""

    title: str
    scatter: Scatter | None
    figures: list[tuple[str, str]]
    scores: list[tuple[str, str, str]]


def _with_ci(value: float | None, ci: list[float] | None) -> str:
    if value is None:
        return "none: one side is constant"
    return signed(value) + ("" if ci is None else f" ({signed(ci[0])} to {signed(ci[1])})")


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"


def _scatter(target: Mapping[str, Any], results: Mapping[str, PointResult], key: Key) -> Scatter | None:
    known = [p for p in target["points"] if p["measured"] is not None]
    if not known:
        return None
    # Both axes are the same, and made for the values: an interval may be far wider and is cut at the edge.
    axis = scale([v for p in known for v in (p["predicted"], p["measured"])], [], float("inf"))
    frame = Scatter(str(target["title"]), str(target["unit"]), [], [], [], "")

    def px(value: float) -> float:
        return round(frame.left + axis(value) * (frame.right - frame.left), 1)

    def py(value: float) -> float:
        return round(frame.bottom - axis(value) * (frame.bottom - frame.top), 1)

    spots = []
    for p in known:
        result = results.get(p["name"])
        drawn = result is not None and result.ranked
        css = f"b{key.bits.index(result.weight_bits)}" if result is not None and drawn else "grey"
        shape = key.shape(result.regularizer if result is not None and drawn else key.regularizers[0]) if key.regularizers else ""
        bar = None if p["low"] is None else (px(p["low"]), px(p["high"]))
        words = f"{p['name']}\npredicted {significant(p['predicted'], 3)}\nmeasured {significant(p['measured'], 3)}"
        spots.append(Spot(px(p["predicted"]), py(p["measured"]), bar, css, shape, words, key.points.get(p["name"])))
    x_ticks, y_ticks = [(px(v), text) for v, text in axis.ticks], [(py(v), text) for v, text in axis.ticks]
    return Scatter(frame.title, frame.unit, spots, x_ticks, y_ticks, f"M{frame.left} {frame.bottom}L{frame.right} {frame.top}")


def _target(target: Mapping[str, Any], results: Mapping[str, PointResult], key: Key, level: float) -> TargetView:
    base = target.get("baseline") or {}
    figures = [
        ("points measured", str(target["measured"])),
        ("ρ of predicted with measured", _with_ci(target["spearman"], target["spearman_ci"])),
        ("ρ from bit widths and clean score alone", _with_ci(base.get("spearman"), base.get("spearman_ci"))),
        ("gain of ρ by the landscape", _with_ci(target["gain"], target["gain_ci"])),
        ("most robust quarter found", f"{_percent(target['recall'])} ({_percent(target['recall_random'])} by chance)"),
        (f"measured within the {_percent(level)} prediction interval", _percent(target.get("coverage"))),
        ("cost of the short trainings", _percent(target.get("cost_share"))),
    ]
    scores = [
        (str(m["title"] or m["id"]), _with_ci(m["partial"], m["ci"]), "–" if m["plain"] is None else signed(m["plain"]))
        for m in target.get("metrics", [])[:BEST]
    ]
    return TargetView(str(target["title"]), _scatter(target, results, key), figures, scores)


def screening(screen: Mapping[str, Any] | None, results: list[PointResult], key: Key) -> list[TargetView]:
    """Return a view of each target of a screening, or none without one.

    Args:
        screen: the document of `hlscape screen`, see `flow.screening`.
        results: points of the report.
        key: colours and markers.
    """
    if screen is None:
        return []
    by_name = {result.name: result for result in results}
    return [_target(target, by_name, key, float(screen.get("level", 0.9))) for _, target in sorted(screen["targets"].items())]
