"""The table itself: what is written to ``docs/layers.json`` and ``docs/layers.md``, and when a cell became worse."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from flow.core.errors import InvalidInput

Status = Literal["wrong", "refused", "approximate", "repaired", "exact"]
RANK: Mapping[str, int] = {status: rank for rank, status in enumerate(get_args(Status))}
COLUMNS: Mapping[str, str] = {"parallel": "parallel", "stream": "stream", "rtl": "RTL", "stream_rtl": "streaming RTL"}
PACKAGES = ("alkaid", "brevitas", "hls4ml", "onnx", "onnxruntime", "qonnx", "torch")
MARKS: Mapping[str, str] = {"wrong": "**wrong**", "refused": "–"}
MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class Cell:
    """What is known about a layer in one form of hardware.

    Attributes:
        status: from worst to best as in `Status`; ``repaired`` is exact after a repair of the graph.
        reason: why it is not exact and what to do, or empty.
        error: largest error of an approximate output in units of its last bit.
    """

    status: Status
    reason: str = ""
    error: float | None = None


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        id: of the case.
        title: what people call it.
        group: heading of the part of the table.
        cells: by column.
        repairs: what changed the graph before hls4ml, by id of the repair.
    """

    id: str
    title: str
    group: str
    cells: Mapping[str, Cell]
    repairs: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether a value was computed wrongly and nothing refused it."""
        return any(cell.status == "wrong" for cell in self.cells.values())


@dataclass(frozen=True)
class Matrix:
    """All rows and how they were measured.

    Attributes:
        seeds: draws of weights and inputs for each row.
        vectors: inputs compared for each of them.
        rtl_vectors: inputs simulated in Verilog, with the first seed or, of a stream, the first two.
        packages: versions by name.
    """

    rows: tuple[Row, ...]
    seeds: int
    vectors: int
    rtl_vectors: int
    packages: Mapping[str, str]


def versions() -> dict[str, str]:
    """Return the versions of the packages that a cell depends on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def save(matrix: Matrix, folder: Path) -> tuple[Path, Path]:
    """Write both files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    document, page = folder / "layers.json", folder / "layers.md"
    document.write_text(json.dumps(asdict(matrix), indent=1) + "\n", encoding="utf-8")
    page.write_text(render(matrix), encoding="utf-8")
    return document, page


def load_matrix(path: Path) -> Matrix:
    """Read what `save` wrote.

    Raises:
        InvalidInput: it is not such a file.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{path}: the file is too large to be a matrix of layers.")
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(_row(row) for row in document["rows"])
        return Matrix(**{**document, "rows": rows})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: this is no matrix of layers ({type(error).__name__}: {error}). Run: hlscape matrix") from None


def _row(document: Mapping[str, Any]) -> Row:
    cells = {column: Cell(**cell) for column, cell in document["cells"].items()}
    return Row(**{**document, "cells": cells, "repairs": tuple(document["repairs"])})


def worse(before: Iterable[Row], after: Iterable[Row]) -> list[str]:
    """Say which cells became worse; a row or a cell that is gone is worse, a measured error that grew by a tenth too."""
    return _moved(before, after, 1)


def better(before: Iterable[Row], after: Iterable[Row]) -> list[str]:
    """Say which cells became better or are new."""
    return _moved(after, before, -1)


def _moved(before: Iterable[Row], after: Iterable[Row], sign: int) -> list[str]:
    now = {row.id: row for row in after}
    lines = []
    for row in before:
        for column, old in row.cells.items():
            new = now[row.id].cells.get(column) if row.id in now else None
            if new is None or RANK[new.status] < RANK[old.status] or (new.error or 0) > 1.1 * (old.error or 0):
                was, is_ = (_words(old), _words(new))[::sign]
                lines.append(f"{row.id}, {COLUMNS.get(column, column)}: {was} -> {is_}")
    return lines


def _words(cell: Cell | None) -> str:
    if cell is None:
        return "absent"
    error = f", error {cell.error:g} LSB" if cell.error is not None else ""
    return cell.status + error + (f" ({cell.reason})" if cell.reason else "")


def _note(row: Row) -> str:
    reasons = dict.fromkeys(cell.reason for cell in row.cells.values() if cell.reason)
    repairs = f"repairs: {', '.join(f'`{r}`' for r in row.repairs)}" if row.repairs else ""
    return "; ".join([*([repairs] if repairs else []), *reasons]).replace("|", "\\|")


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return ""
    error = f" ({cell.error:.3g} LSB)" if cell.error is not None else ""
    return MARKS.get(cell.status, cell.status) + error


def render(matrix: Matrix) -> str:
    """Return the Markdown page."""
    lines = [HEAD.format(m=matrix, packages=", ".join(f"{k} {v}" for k, v in matrix.packages.items()))]
    for group in dict.fromkeys(row.group for row in matrix.rows):
        lines += [
            f"\n## {group}\n",
            f"| layer | {' | '.join(COLUMNS.values())} | repairs, or reason and remedy |",
            f"|---{'|---' * len(COLUMNS)}|---|",
        ]
        for row in matrix.rows:
            if row.group == group:
                lines.append(f"| {row.title} | {' | '.join(_mark(row.cells.get(c)) for c in COLUMNS)} | {_note(row)} |")
    return "\n".join(lines) + "\n"


HEAD = """# Layers

Made by `hlscape matrix`; do not edit. Each row is a network of two or three layers with random weights. Every output of {m.vectors}
input vectors for each of {m.seeds} seeds is compared bit for bit: Brevitas in float64 (a file of another exporter: the ONNX runtime) =
twin of the file = C-simulation of the hls4ml project (`io_parallel`, `io_stream`) = logic of the RTL, unrolled and streaming. With the
first seed the generated Verilog is simulated on {m.rtl_vectors} vectors. Streaming RTL takes a pixel a cycle with the first seed, and uses
multipliers as often as possible with the others; its Verilog is simulated with two seeds, without and with pauses.

- **exact**: no value differs.
- **repaired**: no value differs, after hlscape rewrote its copy of the graph; the last column names the repairs.
- **approximate**: only with `network.allow_approximate`; the largest error that was measured, in units of the last bit of the output.
- **–**: refused before anything is built; the last column says why and what to do. Nothing is silently wrong.

Versions: {packages}."""
