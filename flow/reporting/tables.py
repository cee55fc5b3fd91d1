"""Plain text tables for the terminal."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from flow.core.metric import Metric
from flow.reporting.catalog import Group, group_of, ids_of, task_score, title
from flow.reporting.layers import LayerRow, layers_view
from flow.reporting.numbers import half_width, listing, plus_minus, significant
from flow.reporting.perturbation import middle_levels, perturbed
from flow.reporting.publish import published
from flow.reporting.result import PointResult
from flow.reporting.strengths import CurveView, curve_views, share_views
from flow.reporting.times import fitting

WIDTH = 110
TITLE, VALUE, UNIT, EXTRA, CLASS = 36, 16, 14, 9, 9
SOURCE = WIDTH - (TITLE + VALUE + UNIT + EXTRA + CLASS + 2)
TIE = "\0"
"""Stands for a space at which no line may end."""
SECTIONS: tuple[tuple[Group, str, str], ...] = (
    ("hardware", "Hardware cost", "of part"),
    ("task", "Task score", ""),
    ("robustness", "Degradation under a perturbation", "of clean"),
    ("protection", "Protection", ""),
    ("landscape", "Loss landscape", ""),
    ("compat", "As the released code, to compare", ""),
    ("import", "Approximation of an imported network", ""),
    ("facts", "Data and training", ""),
)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _row(words: str, value: str, unit: str, extra: str, kind: str, source: str, indent: str = "  ") -> str:
    head = f"{indent + _cut(words, TITLE - len(indent)):<{TITLE}}{value:>{VALUE}}"
    left = f"{head} {_cut(unit, UNIT - 2):<{UNIT - 1}}{extra:>{EXTRA}}  {kind:<{CLASS}}"
    return (left + _cut(source, WIDTH - len(left))).rstrip()


def _extra(name: str, result: PointResult) -> str:
    percent = result.metrics.get(f"{name}_percent")
    if percent is not None:
        return f"{significant(percent.value, 3)} %"
    parts = perturbed(name, result.metrics)
    clean = result.metrics.get(parts.task) if parts else None
    if clean is None or clean.value == 0 or clean.unit != result.metrics[name].unit:
        return ""
    return f"{100 * result.metrics[name].value / abs(clean.value):+.3g} %"


def _ids(group: Group, result: PointResult) -> list[str]:
    found = ids_of(group, result.metrics, task_score([result]))
    return [name for name in found if not name.endswith("_percent")]


def _source(metric: Metric, part: str, footnotes: list[str]) -> str:
    """Write the source, and the part where it is not the one of the heading; what is too long becomes a footnote."""
    text = ", ".join(words for words in (metric.source, metric.part if metric.part != part else "") if words)
    return _noted(text, footnotes)


def _noted(text: str, footnotes: list[str]) -> str:
    if len(text) <= SOURCE:
        return text
    if text not in footnotes:
        footnotes.append(text)
    mark = f" [{footnotes.index(text) + 1}]"
    return _cut(text, SOURCE - len(mark)) + mark


def _strengths(view: CurveView, known: str) -> list[str]:
    """Write the degradations of a perturbation: its name, then strength n and value side by side, and what the whole curve has."""
    unit = f" [{view.unit}]" if view.unit else ""
    words = wrap(view.words.removeprefix(known) + unit, WIDTH - len(view.source) - 6)
    lines = [f"  {words[0]:<{WIDTH - len(view.source) - 2}}{view.source}", *(f"    {more}" for more in words[1:])]
    items = [f"{level}: {value}" + (f" ± {error}" if error else "") for level, value, error in view.cells]
    items += [f"mean: {view.area[0]}" + (f" ± {view.area[1]}" if view.area[1] else "")] if view.area[0] else []
    value, error, unit = view.critical
    items += [f"visible from {value}" + (f" ± {error}" if error else "") + (f" {unit}" if unit else "")] if value else []
    text = "   ".join(item.replace(" ", TIE) for item in items)
    return lines + [line.replace(TIE, " ") for line in wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")]


def _section(group: Group, heading: str, extra: str, result: PointResult, footnotes: list[str]) -> list[str]:
    ids = _ids(group, result)
    if not ids:
        return []
    lines = ["", _row(heading, "value", "unit", extra, "class", "source", indent="")]
    task = task_score([result])
    known = f"{title(task, result.metrics[task])} degradation, " if task else ""
    if any(name.endswith("_area") for name in ids):  # measured with whole curves, so with many strengths
        curves, ids = curve_views(ids, result.metrics, lambda source: _noted(source, footnotes))
        lines += [line for view in curves for line in _strengths(view, known)]
    if group == "protection":
        shares, ids = share_views(ids, result.metrics, lambda source: _noted(source, footnotes))
        lines += [line for view in shares for line in _strengths(view, known)]
    for name in ids:
        metric = fitting(result.metrics[name])
        words, *more = wrap(title(name, metric).removeprefix(known), TITLE - 3) or [name]
        source = _source(metric, _part(result), footnotes)
        lines.append(_row(words, plus_minus(metric), metric.unit, _extra(name, result), metric.kind, source))
        lines += [f"    {line}" for line in more]
    return lines


def _gate_line(result: PointResult) -> str:
    if result.gate is None:
        return "Exactness gate: not run"
    inner = result.gate.get("levels", {})
    by_level = ", ".join(f"{level} {counts['mismatches']}/{counts['samples']}" for level, counts in inner.items())
    verdict = "passed" if result.exact else "NOT PASSED"
    return f"Exactness gate: {verdict}, {result.gate['mismatches']} mismatches in {result.gate['samples']} samples" + (
        f" ({by_level})" if by_level else ""
    )


def _reasons(result: PointResult, indent: str = "  ") -> list[str]:
    lines = []
    for failure in result.failures:
        text = f"{failure.get('stage', '?')}: {failure.get('error', 'failed')}: {failure.get('message', '')}"
        for line in text.splitlines():
            lines += wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ") or [""]
    return lines


def _part(result: PointResult) -> str:
    return str(result.config.get("hardware", {}).get("part", ""))


def _heading(result: PointResult) -> str:
    own = {name: given["bits"] for name, given in result.config.get("network", {}).get("layers", {}).items() if given.get("bits")}
    mixed = f" ({listing(f'{name} {bits}' for name, bits in own.items())})" if own else ""
    bits = "" if result.weight_bits is None else f", {result.weight_bits}-bit weights{mixed}"
    model = str(result.config.get("model", "")).rstrip("/").rpartition("/")[2]
    trained = f", regularizer {result.regularizer}, seed {result.config.get('seed')}" if "onnx" not in result.config else ", imported"
    part = f", {_part(result)}" if _part(result) else ""
    return f"{result.name}: {result.status.upper()}  ({model or 'no model'}{bits}{trained}{part})"


def _layers(result: PointResult) -> list[str]:
    """Write streaming hardware by layer; what is wider than the table is cut."""
    view = layers_view(result.layers)
    if view is None:
        return []
    head = LayerRow("Hardware by layer", "kind", "output", "reuse", "cycles", "", "queue", view.headings)
    rows = [head, *view.rows, *(row for row in (view.rest, view.total) if row)]
    widths = [max(7, len(heading.removeprefix("of them ")) + 1) for heading in view.headings]
    return ["", *(_layer(row, widths) for row in rows)]


def _layer(row: LayerRow, widths: Sequence[int]) -> str:
    counts = "".join(f"{count.removeprefix('of them '):>{width}}" for count, width in zip(row.counts, widths, strict=False))
    line = f"{_cut(row.name, 22):<23}{_cut(row.kind, 17):<18}{row.output:>13}{row.reuse:>6}{row.cycles:>8}{row.queue:>7}{counts}"
    return _cut(line.rstrip(), WIDTH)


def terminal_table(result: PointResult) -> str:
    """Write all numbers of a design point, grouped, at most 110 columns wide.

    Intervals of 95 % stand behind ±. Hardware figures of a point at whose gate something differed are left out and named.
    """
    (shown,), hidden = published([result])
    footnotes: list[str] = []
    lines = [*wrap(_heading(shown), WIDTH, subsequent_indent="  "), *wrap(_gate_line(shown), WIDTH, subsequent_indent="  ")]
    for group, heading, extra in SECTIONS:
        lines += _section(group, heading, extra, shown, footnotes)
        if group == "hardware":
            lines += _layers(shown)
    if hidden:
        names = ", ".join(next(iter(hidden.values())))
        lines += ["", *wrap(f"Withheld, because levels of the gate disagree: {names}", WIDTH, subsequent_indent="  ")]
    if shown.status == "untrained":
        lines += ["", "Untrained: no better than a trivial predictor, so no number of it may be ranked."]
    if shown.failures:
        lines += ["", "Failures", *_reasons(shown)]
    if any(half_width(metric) is not None for metric in shown.metrics.values()):
        lines += ["", "± is half of the 95 % confidence interval (the larger half)."]
    for number, text in enumerate(footnotes, 1):
        lines += wrap(f"[{number}] {text}", WIDTH, subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _columns(results: list[PointResult]) -> list[str]:
    task = task_score(results)
    costs = ("lut", "ff", "dsp", "latency_cycles", "latency_ns", "reuse_factor", "frames_per_s")
    wanted = [*costs, *([task] if task else []), *middle_levels(results), "hessian_trace"]
    return [name for name in wanted if any(name in result.metrics for result in results)]


def _header(name: str, results: Sequence[PointResult]) -> tuple[str, str]:
    words = {"latency_cycles": "cycles", "latency_ns": "latency", "hessian_trace": "trace"}
    unit = next(result.metrics[name].unit for result in results if name in result.metrics)
    text = words.get(name, name.replace("_", " ") if len(name) > 4 else name.upper())
    if any(name in result.metrics and group_of(name, result.metrics) == "robustness" for result in results):
        text = f"Δ {text}"
    return text, "" if unit.lower() == text.lower() else unit


def _cell(name: str, metrics: Mapping[str, Metric]) -> str:
    if name not in metrics:
        return "-"
    return plus_minus(metrics[name]) if metrics[name].ci else significant(metrics[name].value, 4)


def study_table(results: list[PointResult]) -> str:
    """Write one row a point with its main numbers; failed and untrained points stand below with the reason."""
    shown, _ = published(results)
    ranked = [result for result in shown if result.ranked]
    columns = _columns(ranked)
    headers = [_header(name, ranked) for name in columns]
    table = [["point", "bits", *(h[0] for h in headers)], ["", "", *(h[1] for h in headers)]]
    for result in ranked:
        bits = "-" if result.weight_bits is None else str(result.weight_bits)
        table.append([result.name, bits, *(_cell(name, result.metrics) for name in columns)])
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in table
    ]
    lines.insert(2, "-" * max(map(len, lines)))
    for result in shown:
        if not result.ranked:
            state = result.status if result.status != "ok" else "not exact"
            lines += [f"{result.name}  {state}, not ranked", *_reasons(result, "    ")]
    lines.append("Δ: how much worse the score becomes under the perturbation. ± is half of the 95 % confidence interval.")
    return "\n".join(lines) + "\n"
