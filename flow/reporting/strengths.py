"""Metrics that differ in a number only, in one row: degradations by their strength, hardened designs by the share of protected bits."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flow.core.metric import Metric
from flow.reporting.catalog import title
from flow.reporting.numbers import value_and_error
from flow.reporting.perturbation import FIGURES, perturbed

SHARE = re.compile(r"^(harden_.+)_(\d+(?:\.\d+)?)$")
"""Ids of hardened designs that differ in the share of the bits, in percent."""
PERCENT = re.compile(r"[\d.]+ %")


@dataclass(frozen=True)
class CurveView:
    """The degradations by a perturbation in a row.

    Attributes:
        words: title without the strength.
        unit: of the degradation.
        cells: strength, value and half-width, from weak to strong.
        area: value and half-width; empty without.
        critical: value and half-width, and unit; empty without.
        source: of the first one.
        id: of all, with ``*`` for the strength.
    """

    words: str
    unit: str
    cells: list[tuple[str, str, str]]
    area: tuple[str, str]
    critical: tuple[str, str, str]
    source: str
    id: str


def _curve_view(ids: list[str], metrics: Mapping[str, Metric], stem: str, cite: Callable[[str], str]) -> CurveView:
    """Write degradations that differ in the strength only, and what the whole curve has."""
    parts = {name: part for name in ids if (part := perturbed(name, metrics)) is not None}
    first, last = parts[ids[0]], metrics[ids[-1]]
    text, level = title(ids[-1], last), f"{parts[ids[-1]].level:g}"
    before, found, after = text.rpartition(f" {level}")
    words = f"{before} n{after}" if found else text
    area, critical = metrics.get(f"{stem}_area"), metrics.get(f"{stem}_critical")
    if first.statistic:
        area = critical = None
    at = ("", "", "") if critical is None else (*value_and_error(critical), critical.unit)
    cells = [(f"{part.level:g}", *value_and_error(metrics[name])) for name, part in parts.items()]
    shown = f"{stem}_*" + (f"_{first.statistic}" if first.statistic else "")
    return CurveView(words, last.unit, cells, ("", "") if area is None else value_and_error(area), at, cite(metrics[ids[0]].source), shown)


def curve_views(ids: list[str], metrics: Mapping[str, Metric], cite: Callable[[str], str]) -> tuple[list[CurveView], list[str]]:
    """Take the degradations out of a list of ids.

    Returns:
        A row for each perturbation and statistic with several strengths, and the ids that are in none.
    """
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in ids:
        part = perturbed(name, metrics)
        if part is not None:
            rows.setdefault((part.task, part.kind, part.statistic), []).append(name)
    rows = {key: some for key, some in rows.items() if len(some) > 1}
    stems = {f"{task}_{kind}": kind for task, kind, statistic in rows if not statistic}
    told = {name for some in rows.values() for name in some} | {f"{stem}_{figure}" for stem in stems for figure in FIGURES}
    views = [_curve_view(some, metrics, f"{task}_{kind}", cite) for (task, kind, _), some in rows.items()]
    return views, [name for name in ids if name not in told]


def share_views(ids: list[str], metrics: Mapping[str, Metric], cite: Callable[[str], str]) -> tuple[list[CurveView], list[str]]:
    """Take the figures of hardened designs by share out of a list of ids.

    Returns:
        A row for each figure with several shares, and the ids that are in none.
    """
    rows: dict[str, dict[float, str]] = {}
    for name in ids:
        found = SHARE.match(name)
        if found:
            rows.setdefault(found[1], {})[float(found[2])] = name
    views = []
    for stem, by_share in rows.items():
        if len(by_share) < 2:
            continue
        last = metrics[by_share[max(by_share)]]
        words = PERCENT.sub("n %", title(stem, last), count=1)
        cells = [(f"{share:g}", *value_and_error(metrics[by_share[share]])) for share in sorted(by_share)]
        source = ", ".join(text for text in (last.kind if last.kind != "measured" else "", last.source, last.part) if text)
        views.append(CurveView(words, last.unit, cells, ("", ""), ("", "", ""), cite(source), f"{stem}_*"))
    told = {name for by_share in rows.values() if len(by_share) > 1 for name in by_share.values()}
    return views, [name for name in ids if name not in told]
