"""What Vivado's ``report_power`` estimates: ``*_power_routed.rpt``, ``power.rpt``."""

from dataclasses import dataclass
from pathlib import Path

from flow.vendor.reports._source import cut_off, lines_of, not_a_report, printable, read_text
from flow.vendor.reports._tables import decimal, tables
from flow.vendor.reports._vivado import Kind, check_contents, provenance, read_head

_TOTAL = "Total On-Chip Power (W)"


@dataclass(frozen=True)
class Power:
    """Power that the tool estimates. A figure below its resolution (``<0.001``) is None.

    Attributes:
        path: the file.
        kind: ``mapped``, or ``routed`` for a design that was placed and routed.
        tool: ``Vivado``.
        version: its version.
        design: top of the netlist.
        device: part as Vivado writes it.
        state: how far the design had come, in Vivado's words.
        total_w: on-chip power, W.
        dynamic_w: the part of it that comes from switching, W.
        static_w: the part of it that the device always takes, W.
        confidence: how sure Vivado is: ``Low``, ``Medium`` or ``High``; low without a simulation of the switching.
    """

    path: Path
    kind: Kind
    tool: str | None = None
    version: str | None = None
    design: str | None = None
    device: str | None = None
    state: str | None = None
    total_w: float | None = None
    dynamic_w: float | None = None
    static_w: float | None = None
    confidence: str | None = None


def read_power(path: Path) -> Power:
    """Read the summary of a report of power.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    text = read_text(path)
    lines = lines_of(text)
    if _TOTAL not in text:
        raise not_a_report(path, "a report of power", f"it has no row '{_TOTAL}', or it is cut off before it")
    table = next((t for t in tables(lines) if t.header and t.header[0][:1] == (_TOTAL,)), None)
    if table is None or not table.whole or any(len(row) != 2 for row in table.header):
        raise cut_off(path, "the table '1. Summary' is not whole")
    check_contents(path, lines)
    values = {row[0]: row[1] for row in table.header}
    head = read_head(lines)
    return Power(
        path,
        provenance(path, head),
        head.tool,
        head.version,
        head.design,
        head.device,
        head.state,
        decimal(values.get(_TOTAL)),
        decimal(values.get("Dynamic (W)")),
        decimal(values.get("Device Static (W)")),
        printable(values.get("Confidence Level")),
    )
