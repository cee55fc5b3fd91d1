"""What Vivado's ``report_timing_summary`` says: ``*_timing_synth.rpt``, ``*_timing_routed.rpt``, ``*_timing_summary_routed.rpt``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flow.vendor.reports._source import cut_off, not_a_report, read_text, whole_lines
from flow.vendor.reports._tables import decimal, whole
from flow.vendor.reports._vivado import Kind, provenance, read_head

_COLUMNS = re.compile(r"-{3,}")
_CLOCK = re.compile(r"(\S+) +\{[-0-9. ]{1,80}\} +([0-9.]{1,20}) +([0-9.]{1,20})")
_HEADER = "WNS(ns)"
_CLOCKS = "Clock Waveform(ns) Period(ns) Frequency(MHz)"


@dataclass(frozen=True)
class Timing:
    """Slacks of a design. Where there are no constrained paths the tool writes ``NA`` or ``inf``, and the figure is None.

    Attributes:
        path: the file.
        kind: ``mapped``, or ``routed`` for a design that was placed and routed.
        tool: ``Vivado``.
        version: its version.
        design: top of the netlist.
        device: part as Vivado writes it.
        state: how far the design had come; older reports do not say it.
        wns_ns: worst slack of setup, ns; negative if the clock is too fast.
        tns_ns: sum of all negative slacks of setup, ns; 0 if there are none.
        failing_endpoints: endpoints whose setup fails.
        whs_ns: worst slack of hold, ns.
        ths_ns: sum of all negative slacks of hold, ns.
        clocks: period of each clock, ns, by its name.
    """

    path: Path
    kind: Kind
    tool: str | None = None
    version: str | None = None
    design: str | None = None
    device: str | None = None
    state: str | None = None
    wns_ns: float | None = None
    tns_ns: float | None = None
    failing_endpoints: int | None = None
    whs_ns: float | None = None
    ths_ns: float | None = None
    clocks: tuple[tuple[str, float], ...] = ()

    @property
    def clock_ns(self) -> float | None:
        """The period, ns, of ``ap_clk``, or of the only clock; None if there are several and none is called so."""
        by_name = dict(self.clocks)
        return by_name.get("ap_clk", self.clocks[0][1] if len(self.clocks) == 1 else None)


def _columns(header: str, rule: str, row: str) -> dict[str, str]:
    """Return the cells of a row by column. Numbers end where the dashes under the name of their column end; a blank cell is absent."""
    ends = [(m.end(), header[m.start() : m.end()].strip()) for m in _COLUMNS.finditer(rule)]
    cells = {m.end(): m.group() for m in re.finditer(r"\S+", row)}
    return {name: cells[end] for end, name in ends if end in cells}


def _clocks(path: Path, lines: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read the table of clocks; generated clocks are indented."""
    start = next((i for i, line in enumerate(lines) if " ".join(line.split()) == _CLOCKS), None)
    if start is None:
        return ()
    found: list[tuple[str, float]] = []
    for line in map(str.strip, lines[start + 2 :]):
        if not line:
            return tuple(found)
        row = _CLOCK.fullmatch(line)
        period = decimal(row[2]) if row else None
        if row is None or period is None:
            break
        found.append((row[1], period))
    raise cut_off(path, "the table 'Clock Summary' is not whole")


def read_timing(path: Path) -> Timing:
    """Read the summary of timing.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    lines = whole_lines(read_text(path))
    start = next((i for i, line in enumerate(lines) if line.split()[:2] == [_HEADER, "TNS(ns)"]), None)
    if start is None:
        raise not_a_report(path, "a summary of timing", f"it has no columns {_HEADER} and TNS(ns), or it is cut off before them")
    if start + 2 >= len(lines) or not lines[start + 1].strip().startswith("---") or not lines[start + 2].strip():
        raise cut_off(path, "the table 'Design Timing Summary' is not whole")
    values = _columns(*(line.rstrip() for line in lines[start : start + 3]))
    head = read_head(lines)
    return Timing(
        path,
        provenance(path, head),
        head.tool,
        head.version,
        head.design,
        head.device,
        head.state,
        decimal(values.get(_HEADER)),
        decimal(values.get("TNS(ns)")),
        whole(values.get("TNS Failing Endpoints")),
        decimal(values.get("WHS(ns)")),
        decimal(values.get("THS(ns)")),
        _clocks(path, lines[start:]),
    )
