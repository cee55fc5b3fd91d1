"""The screening as text for a terminal."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from flow.reporting.numbers import listing, significant

WIDTH = 110
SHOWN = 12


def _ci(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"[{ends[0]:+.2f}, {ends[1]:+.2f}]"


def _rho(value: float | None) -> str:
    return "none" if value is None else f"{value:+.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f} %"


def verdict(target: Mapping[str, Any]) -> str:
    """Say in words what the predictions of a target are worth."""
    ends, gain = target["spearman_ci"], target["gain_ci"]
    if ends is None:
        return "Nothing predicts it: every regression gives the same for all points."
    if ends[0] <= 0:
        return "It is not predicted: the rank correlation cannot be told from 0."
    if gain is None or gain[0] <= 0:
        return "It is predicted, but what the landscape adds to bit widths and task score cannot be told from 0."
    return "It is predicted, and the landscape adds to bit widths and task score."


def _quality(target: Mapping[str, Any]) -> list[str]:
    base = target["baseline"]
    rows = [
        ("", "rank correlation [95 %]", "quarter found [95 %]", f"error (rms) {target['unit']}".strip()),
        ("with the landscape", *_cells(target)),
        ("bit widths and task score alone", *_cells(base)),
        ("gain", f"{_rho(target['gain'])} {_ci(target['gain_ci'])}", "", ""),
        ("random choice", "+0.00", _percent(target["recall_random"]), ""),
    ]
    return [f"  {a:<34}{b:<28}{c:<24}{d}".rstrip() for a, b, c, d in rows]


def _cells(figures: Mapping[str, Any]) -> tuple[str, str, str]:
    found = f"{_percent(figures['recall'])} [{', '.join(_percent(v) for v in figures['recall_ci'] or ())}]"
    return f"{_rho(figures['spearman'])} {_ci(figures['spearman_ci'])}", found, significant(figures["rmse"], 3)


def _metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the scores that say something by themselves, and those that do not."""
    tells = [row for row in rows if row["ci"] is not None and not row["ci"][0] <= 0 <= row["ci"][1]]
    silent = [row["id"] for row in rows if row not in tells]
    lines = [f"  Rank correlation of single scores, given bit widths and task score [95 %]; {len(rows)} tested, 1 in 20 by chance:"]
    lines += [f"    {row['id']:<40}{_rho(row['partial'])} {_ci(row['ci']):<18}  (plain {_rho(row['plain'])})" for row in tells[:SHOWN]]
    if len(tells) > SHOWN:
        lines.append(f"    and {len(tells) - SHOWN} more")
    if silent:
        lines += wrap(f"predict nothing by themselves: {listing(silent, 20)}", WIDTH, initial_indent="    ", subsequent_indent="      ")
    return lines


def _points(target: Mapping[str, Any], level: float) -> list[str]:
    points = target["points"]
    width = max(len(point["name"]) for point in points)
    header = f"  {'':>4}  {'point, most robust first':<{max(width, 24)}}  {'predicted':>10}  {f'[{_percent(level)}]':^24}  {'measured':>12}"
    lines = [header]
    for i, point in enumerate(points, 1):
        low, high, measured = point["low"], point["high"], point["measured"]
        ends = "no interval" if low is None or high is None else f"[{significant(low, 3)}, {significant(high, 3)}]"
        value = "not measured" if measured is None else significant(measured, 3)
        lines.append(f"  {i:>4}  {point['name']:<{max(width, 24)}}  {significant(point['predicted'], 3):>10}  {ends:^24}  {value:>12}")
    return lines


def _target(name: str, target: Mapping[str, Any], level: float) -> list[str]:
    coverage = target["coverage"]
    lines = ["", f"{name}: {target['title']}{', ' + target['unit'] if target['unit'] else ''}", f"  {verdict(target)}", ""]
    lines += [*_quality(target), "", *_metrics(target["metrics"]), "", *_points(target, level)]
    if coverage is not None:
        lines.append(f"  {_percent(coverage)} of the {target['measured']} measured points are inside of their interval.")
    return lines


def table(document: Mapping[str, Any]) -> str:
    """Write the document of `flow.screening`, at most 110 columns wide unless names of points are long."""
    cost = document["cost"]
    epochs = cost["epochs"]
    lines = [
        f"{document['study']}: {document['points']} points in {document['configurations']} configurations (everything but the seed)",
        f"Short training: {epochs['short']} of {epochs['full']} epochs ({_share(epochs['share'])}).",
        f"Measured time: {_share(cost['training_share'])} of the full training; "
        f"with the landscape {_share(cost['screening_share'])} of training and robustness.",
    ]
    if failed := document["failed"]:
        words = f"Not ranked, because the short training failed: {listing(failed)}. The first said: {next(iter(failed.values()))}"
        lines += wrap(words, WIDTH, subsequent_indent="  ")
    if document["dropped"]:
        lines += wrap(f"left out, because some short training lacks them: {listing(document['dropped'])}", WIDTH, subsequent_indent="  ")
    for name, target in document["targets"].items():
        lines += _target(name, target, document["level"])
    lines += [
        "",
        *wrap(
            "Each point is predicted by a regression that saw no seed of its configuration. A quarter found: share of the most robust "
            "quarter that is in the predicted one.",
            WIDTH,
        ),
    ]
    return "\n".join(lines)
