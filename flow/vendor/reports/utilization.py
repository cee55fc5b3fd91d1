"""What Vivado's ``report_utilization`` counts: ``vivado_synth.rpt``, ``*_utilization_synth.rpt``, ``*_utilization_routed.rpt``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from flow.core.errors import InvalidInput
from flow.vendor.reports._source import cut_off, lines_of, not_a_report, printable, read_text
from flow.vendor.reports._tables import Row, Table, decimal, tables, whole
from flow.vendor.reports._vivado import Kind, check_contents, provenance, read_head

# Series 7, UltraScale, Versal. A star is a footnote.
LUTS, REGISTERS = ("Slice LUTs", "CLB LUTs"), ("Slice Registers", "CLB Registers", "Registers")
DSPS, TILES, URAMS = ("DSPs", "DSP Slices", "DSP Blocks"), ("Block RAM Tile",), ("URAM", "URAMs")
RAMB36, RAMB18 = ("RAMB36/FIFO", "RAMB36"), ("RAMB18",)


@dataclass(frozen=True)
class Site:
    """One row. Sums over all parts of the chip.

    Attributes:
        used: how many are used; a half is possible for tiles of block RAM.
        available: how many the part has.
    """

    used: float
    available: float | None = None


@dataclass(frozen=True)
class Utilization:
    """Counts of a netlist; what the report does not have is None.

    Attributes:
        path: the file.
        kind: ``mapped``, or ``routed`` for a design that was placed and routed.
        tool: ``Vivado``.
        version: its version.
        design: top of the netlist; a wrapper around the network counts too.
        device: part as Vivado writes it.
        state: how far the design had come, in Vivado's words.
        lut: look-up tables, as logic and as memory.
        ff: flip-flops and latches.
        dsp: DSP blocks.
        bram_tiles: tiles of block RAM of 36 Kibit, in halves; NOT the ``BRAM_18K`` of HLS, of which one tile is two.
        ramb36: blocks of 36 Kibit used whole.
        ramb18: blocks of 18 Kibit.
        uram: UltraRAM blocks.
    """

    path: Path
    kind: Kind
    tool: str | None = None
    version: str | None = None
    design: str | None = None
    device: str | None = None
    state: str | None = None
    lut: Site | None = None
    ff: Site | None = None
    dsp: Site | None = None
    bram_tiles: Site | None = None
    ramb36: Site | None = None
    ramb18: Site | None = None
    uram: Site | None = None


@overload
def _halves(count: float) -> float: ...
@overload
def _halves(count: None) -> None: ...
def _halves(count: float | None) -> float | None:
    """Return a whole count as an integer; only tiles of block RAM come in halves."""
    return int(count) if count is not None and count.is_integer() else count


def _sites(path: Path, lines: Sequence[str]) -> dict[str, set[Site]]:
    """Read the rows of all tables with counts for the whole chip, by the name of the site."""
    found: dict[str, set[Site]] = {}
    for table in tables(lines):
        names = table.header[-1] if table.header else ()
        if len(table.header) != 1 or "Used" not in names or "Available" not in names or names[0] != "Site Type":
            continue  # by clock region, by SLR, by primitive
        if not table.whole or not table.body:
            raise cut_off(path, f"the table at line {table.start + 1} is not whole")
        used, available = names.index("Used"), names.index("Available")
        for row in table.body:
            count = decimal(row[used])
            if count is not None and count >= 0:
                found.setdefault(row[0].rstrip("*"), set()).add(Site(_halves(count), _halves(decimal(row[available]))))
    return found


def _hierarchy(path: Path, lines: Sequence[str]) -> tuple[str, dict[str, Site]]:
    """Read the first row, the top, of ``report_utilization -hierarchical``."""
    for table in tables(lines):
        names = table.header[-1] if table.header else ()
        if "Total LUTs" in names and "FFs" in names:
            if not table.whole or not table.body:
                raise cut_off(path, f"the table at line {table.start + 1} is not whole")
            return table.body[0][names.index("Module") if "Module" in names else 0], _counts(names, table)
    return "", {}


def _counts(names: Row, table: Table) -> dict[str, Site]:
    counts = {name: whole(cell) for name, cell in zip(names, table.body[0], strict=True)}
    return {name: Site(count) for name, count in counts.items() if count is not None}


def _one(path: Path, found: dict[str, set[Site]], names: Sequence[str]) -> Site | None:
    """Return the row of one of the names.

    Raises:
        InvalidInput: there are several that differ: two reports are in one file.
    """
    rows = set().union(*(found.get(name, set()) for name in names))
    if len(rows) > 1:
        raise InvalidInput(f"{path}: it has several counts of '{names[0]}', so it has more than one report. Give one file for each.")
    return next(iter(rows), None)


def read_utilization(path: Path) -> Utilization:
    """Read what Vivado counts, with or without its hierarchy.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    lines = lines_of(read_text(path))
    head = read_head(lines)
    found = _sites(path, lines)
    if not any(name in found for name in LUTS):
        top, counts = _hierarchy(path, lines)
        if counts:
            return _from_hierarchy(path, lines, top, counts)
        why = "it has no row 'Slice LUTs' or 'CLB LUTs' in a table with the columns 'Used' and 'Available', or it is cut off before it"
        raise not_a_report(path, "a report of utilisation", why)
    check_contents(path, lines)
    return Utilization(
        path,
        provenance(path, head),
        head.tool,
        head.version,
        head.design,
        head.device,
        head.state,
        *(_one(path, found, names) for names in (LUTS, REGISTERS, DSPS, TILES, RAMB36, RAMB18, URAMS)),
    )


def _from_hierarchy(path: Path, lines: Sequence[str], top: str, counts: dict[str, Site]) -> Utilization:
    """Build the result from the row of the top; tiles follow from the blocks."""
    head = read_head(lines)
    check_contents(path, lines)
    whole36, half18 = counts.get("RAMB36"), counts.get("RAMB18")
    tiles = Site(_halves(whole36.used + half18.used / 2)) if whole36 and half18 else None
    dsp = next((counts[name] for name in (*DSPS, "DSP48 Blocks") if name in counts), None)
    return Utilization(
        path,
        provenance(path, head),
        head.tool,
        head.version,
        head.design or printable(top),
        head.device,
        head.state,
        counts.get("Total LUTs"),
        counts.get("FFs"),
        dsp,
        tiles,
        whole36,
        half18,
        counts.get("URAM"),
    )
