"""The text forms of a report of C synthesis: one module, with two layouts of its latency, and the summary of newer Vitis HLS."""

import re
from collections.abc import Sequence
from pathlib import Path

from flow.core.errors import InvalidInput
from flow.vendor.reports._source import cut_off, lines_of, printable, whole_lines
from flow.vendor.reports._tables import Row, Table, decimal, share, tables, whole
from flow.vendor.reports.csynth import Csynth, Resources

_TITLE = re.compile(r"== (Vivado|Vitis) HLS Report for '([^']+)'")
_SUMMARY = re.compile(r"== Synthesis Summary Report of '([^']+)'")
_VERSION = re.compile(r"([0-9]{4}\.[0-9]+(?:\.[0-9]+)?) \(Build")
Heading = tuple[str, str, str]  # of "== section", of "+ part", of "* table"
_COLUMNS = {"lut": ("LUT",), "ff": ("FF",), "dsp": ("DSP", "DSP48E"), "bram_18k": ("BRAM_18K", "BRAM"), "uram": ("URAM",)}


def _facts(text: str) -> dict[str, str]:
    """Read the first ``* Key: value`` of each key."""
    facts: dict[str, str] = {}
    for line in whole_lines(text):
        key, colon, value = line.strip().partition(":")
        if colon and key.startswith("* ") and printable(value.strip()):
            facts.setdefault(key[2:], value.strip())
    return facts


def _version(facts: dict[str, str]) -> str | None:
    found = _VERSION.match(facts.get("Version", ""))
    return found[1] if found else None


def _by_heading(lines: Sequence[str]) -> dict[Heading, Table]:
    """Return the first table under each heading."""
    found: dict[Heading, Table] = {}
    section = plus = star = ""
    at = 0
    for table in tables(lines):
        for line in map(str.strip, lines[at : table.start]):
            if line.startswith("== "):
                section, plus, star = line[3:], "", ""
            elif line.startswith("+ "):
                plus, star = line[2:].removesuffix(":"), ""
            elif line.startswith("* "):
                star = line[2:].removesuffix(":")
        at = table.start
        found.setdefault((section, plus, star), table)
    return found


def _find(path: Path, found: dict[Heading, Table], section: str, plus: str, star: str) -> Table:
    """Return one table, which must be whole."""
    name = f"{section} / {plus} / {star}" if plus else f"{section} / {star}"
    for (s, p, t), table in found.items():
        if s == section and p.startswith(plus) and bool(p) == bool(plus) and t == star:
            if table.whole and len(table.groups) > 1:
                return table
            raise cut_off(path, f"the table '{name}' is not whole")
    raise cut_off(path, f"the table '{name}' is missing")


def _latency(path: Path, table: Table) -> tuple[int | None, int | None, int | None, int | None]:
    """Read latency and interval; two layouts: with and without a pair of columns in time between them."""
    groups = [cell.split("(")[0].strip() for cell in table.header[0]]
    if len(table.header) != 2 or groups[:1] != ["Latency"] or "Interval" not in groups:
        raise cut_off(path, "the header of the table 'Latency / Summary' is not one that is known")
    row, at = table.body[0], 2 * groups.index("Interval")
    if table.header[1][at : at + 2] != ("min", "max"):
        raise cut_off(path, "the header of the table 'Latency / Summary' is not one that is known")
    return whole(row[0]), whole(row[1]), whole(row[at]), whole(row[at + 1])


def _resources(header: Row, row: Row) -> Resources:
    """Read a row of resources by the names of the columns."""
    by_name = dict(zip(header, row, strict=True))
    counts = {key: next((share(by_name[n]) for n in names if n in by_name), None) for key, names in _COLUMNS.items()}
    return Resources(**counts)


def _one(path: Path, titles: Sequence[str]) -> None:
    """Refuse a file in which the reports of several modules are joined."""
    if len(set(titles)) > 1:
        raise InvalidInput(f"{path}: it has the reports of {len(titles)} modules ({titles[0]}, {titles[1]}, ...). Give one file for each.")


def read_module(path: Path, text: str) -> Csynth:
    """Read the report of one module, also inside what hls4ml prints.

    Raises:
        InvalidInput: it is cut off or damaged.
    """
    lines, facts = lines_of(text), _facts(text)
    titles = [title for line in lines if printable(line) and (title := _TITLE.fullmatch(line.strip()))]
    _one(path, [t[2] for t in titles])
    if not titles:
        raise cut_off(path, "the title with the name of the module is not whole")
    found = _by_heading(lines)
    clocks = _find(path, found, "Performance Estimates", "Timing", "Summary").body
    clock = clocks[0] if len(clocks) == 1 else next((row for row in clocks if row[0] == "ap_clk"), ("", "", "", ""))
    latency = _latency(path, _find(path, found, "Performance Estimates", "Latency", "Summary"))
    area = _find(path, found, "Utilization Estimates", "", "Summary")
    rows = {row[0]: row for row in area.body}
    for name in ("Total", "Available", "Utilization (%)"):
        if name not in rows:
            raise cut_off(path, f"the row '{name}' of the table 'Utilization Estimates / Summary' is missing")
    inner = [t for (_, plus, star), t in found.items() if plus == "Detail" and star == "Instance"]
    if not all(table.whole for table in inner):
        raise cut_off(path, "the table 'Detail / Instance' is not whole")
    return Csynth(
        path=path,
        module=titles[0][2],
        tool=f"{titles[0][1]} HLS",
        version=_version(facts),
        project=facts.get("Project"),
        part=facts.get("Target device"),
        clock_target_ns=decimal(clock[1], "ns"),
        clock_estimated_ns=decimal(clock[2], "ns"),
        clock_uncertainty_ns=decimal(clock[3], "ns"),
        latency_min_cycles=latency[0],
        latency_max_cycles=latency[1],
        interval_min_cycles=latency[2],
        interval_max_cycles=latency[3],
        used=_resources(area.header[-1], rows["Total"]),
        available=_resources(area.header[-1], rows["Available"]),
        calls=tuple(dict.fromkeys(row[1] for table in inner for row in table.body if len(row) > 1 and printable(row[1]))),
    )


def read_summary(path: Path, text: str) -> Csynth:
    """Read ``csynth.rpt`` of newer Vitis HLS: all modules in one table, the top first.

    It has one figure each for latency and interval and does not say whether it is the least or the most, so both are absent here.

    Raises:
        InvalidInput: it is cut off or damaged.
    """
    lines, facts = lines_of(text), _facts(text)
    titles = [found[1] for line in lines if printable(line) and (found := _SUMMARY.fullmatch(line.strip()))]
    _one(path, titles)
    if not titles:
        raise cut_off(path, "the title with the name of the top is not whole")
    table = next((t for t in tables(lines) if t.header and t.header[0][:1] == ("Modules",)), None)
    if table is None or not table.whole or len(table.groups) < 2 or len({len(row) for row in table.header}) > 1:
        raise cut_off(path, "the table 'Performance & Resource Estimates' is missing or not whole")
    header = tuple(" ".join(filter(None, column)) for column in zip(*table.header, strict=True))
    top = next((row for row in table.body if row[0].startswith("+ ") and row[0][2:].rstrip("*").strip() == titles[0]), None)
    if top is None:
        raise cut_off(path, f"the row of '{titles[0]}' is missing")
    inner = (row[0][1:].strip().rstrip("*").strip() for row in table.body if row is not top and row[0].startswith("+"))
    return Csynth(
        path=path,
        module=titles[0],
        tool="Vitis HLS",
        version=_version(facts),
        project=facts.get("Project"),
        part=facts.get("Target device"),
        used=_resources(header, top),
        calls=tuple(dict.fromkeys(inner)),
    )
