"""The command ``read-report``: what the reports of a vendor's tools say, as a table or as JSON."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from flow import cli
from flow.vendor.reports import Figure, Project, read_project

FACTS = {
    "top": "top",
    "hls_tool": "HLS",
    "hls_version": "HLS version",
    "vivado_version": "Vivado version",
    "hls4ml_version": "hls4ml version",
    "part": "part",
    "clock_target_ns": "clock asked for (ns)",
}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) and not value.is_integer() else str(int(value))


def _row(project: Project, figure: Figure) -> tuple[str, ...]:
    percent = "" if figure.percent is None else f"{figure.percent:.1f}"
    numbers = (_number(figure.value), figure.unit, _number(figure.available), percent)
    return figure.name, *numbers, figure.kind, figure.module, figure.source, project.relative(figure.path)


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table(project: Project) -> str:
    """Return the table of a project: facts, figures with unit, class and file, and what is odd."""
    facts = [(FACTS[key], fact.value, project.relative(fact.path)) for key, fact in project.summary.items()]
    if project.cosim is not None:
        run = project.cosim.run
        verdict = f"{run.status} ({run.language})" if run else "not run"
        facts.append(("co-simulation", verdict, project.relative(project.cosim.path)))
    header = ("figure", "value", "unit", "available", "%", "class", "module", "tool", "file")
    figures = [_row(project, figure) for figure in project.figures()]
    parts = [_lines(facts)] if facts else []
    parts += [_lines([header, *figures]) if figures else ["The reports have no figures."]]
    parts += [[f"note: {note}" for note in project.notes]] if project.notes else []
    return "\n\n".join("\n".join(part) for part in parts)


def command_read_report(args: argparse.Namespace) -> int:
    """Say what the reports of Vivado HLS, Vitis HLS and Vivado in a folder say."""
    project = read_project(Path(args.path))
    if args.json:
        cli.emit(project.to_json())
    else:
        cli.show(table(project))
    return 0
