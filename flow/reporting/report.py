"""Write the report of a study: metrics.json, pareto.csv, PNG plots and a self-contained index.html."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from flow.core.errors import StoreError
from flow.reporting.catalog import COSTS, plotted_scores
from flow.reporting.findings import SCREEN, findings, read_screen
from flow.reporting.page import plot_key, render_page
from flow.reporting.panels import Panel, all_panels
from flow.reporting.publish import published, scrub
from flow.reporting.record import metrics_json, pareto_csv
from flow.reporting.result import PointResult


def write_report(folder: Path, study: str, command: str, results: list[PointResult], title: str = "") -> Path:
    """Write the report of a study into a folder; each file appears whole or not at all, index.html last.

    The same results give the same bytes of metrics.json, pareto.csv and index.html, in whatever order they come. A screen.json of
    `hlscape screen` that is in the folder is a part of them.

    Args:
        folder: made if it is not there; plots of an earlier report that are no longer drawn are removed.
        study: name of the study.
        command: what makes the study again.
        results: its points.
        title: words for the headline; empty: the name of the study.

    Returns:
        Path of index.html.

    Raises:
        ConfigError: two points have the same name.
        StoreError: the folder cannot be written, or its screen.json is something else.
    """
    shown, withheld = published(results)
    command, found = scrub(command), findings(shown, read_screen(folder))
    files: dict[str, bytes] = {
        "metrics.json": metrics_json(study, title, command, shown, withheld, found).encode(),
        "pareto.csv": pareto_csv(shown).encode(),
        **_plots(shown),
    }
    beside = sorted([*files, *([SCREEN] if found.screen else [])])
    files["index.html"] = render_page(study, title, command, shown, withheld, found, beside).encode()
    try:
        _write(folder, files)
    except OSError as error:
        raise StoreError(f"{folder}: the report cannot be written: {error.strerror}. Free space or choose another folder.") from error
    return folder / "index.html"


def _plots(results: list[PointResult]) -> dict[str, bytes]:
    main, _ = plotted_scores([result for result in results if result.ranked])
    drawn: dict[str, list[Panel]] = {
        score: [panel for cost in COSTS for panel in by_cost[cost][0][:1]] for score, by_cost in all_panels(results, main).items()
    }
    if not any(drawn.values()):
        return {}
    from flow.reporting.png import render

    key = plot_key(results)
    return {f"pareto_{re.sub(r'[^A-Za-z0-9_.-]', '_', score)}.png": render(columns, key) for score, columns in drawn.items() if columns}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    for old in folder.glob("pareto_*.png"):
        if old.name not in files:
            old.unlink()
