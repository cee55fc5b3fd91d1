"""What ``export_design -flow syn`` or ``-flow impl`` leaves: ``<module>_export.rpt``."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flow.vendor.reports._source import cut_off, not_a_report, printable, read_text, whole_lines
from flow.vendor.reports._tables import decimal, whole
from flow.vendor.reports.csynth import Resources

_TOOL = re.compile(r"Xilinx (Vivado) v\.([0-9]{4}\.[0-9]+(?:\.[0-9]+)?)")
_MET = {"Timing met": True, "Timing not met": False}


@dataclass(frozen=True)
class Export:
    """Counts and clock period after synthesis, or after place and route.

    Attributes:
        path: the file.
        kind: ``mapped`` after synthesis, ``routed`` after implementation; what ``used`` belongs to.
        tool: ``Vivado``.
        version: its version.
        part: FPGA part.
        used: counts; block RAM in halves of 18 Kibit.
        srl: shift registers, which are part of the LUTs.
        clock_required_ns: period that was asked for, ns.
        clock_synth_ns: period achieved after synthesis, ns.
        clock_routed_ns: period achieved after place and route, ns.
        timing_met: the verdict of the tool.
    """

    path: Path
    kind: Literal["mapped", "routed"]
    tool: str | None = None
    version: str | None = None
    part: str | None = None
    used: Resources = field(default_factory=Resources)
    srl: int | None = None
    clock_required_ns: float | None = None
    clock_synth_ns: float | None = None
    clock_routed_ns: float | None = None
    timing_met: bool | None = None


def read_export(path: Path) -> Export:
    """Read the report of an exported design.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, too large, cut off or damaged.
    """
    text = read_text(path)
    routed = "#=== Post-Implementation Resource usage ===" in text
    if not routed and "#=== Post-Synthesis Resource usage ===" not in text:
        raise not_a_report(path, "a report of an exported design", "it has no '#=== Post-... Resource usage ===', or is cut off before it")
    values: dict[str, str] = {}
    lines = [line.strip() for line in whole_lines(text)]
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key, value.strip())
    achieved = next((v for k, v in values.items() if k.startswith("CP achieved post-implem")), None)
    for what in ("LUT", "CP required"):
        if what not in values:
            raise cut_off(path, f"the line '{what}:' is missing")
    if "CP achieved post-synthesis" not in values or (routed and achieved is None):
        raise cut_off(path, f"the line 'CP achieved post-{'implementation' if routed else 'synthesis'}:' is missing")
    tool = _TOOL.fullmatch(values.get("Implementation tool", ""))
    bram, uram = whole(values.get("BRAM")), whole(values.get("URAM"))
    return Export(
        path=path,
        kind="routed" if routed else "mapped",
        tool=tool[1] if tool else None,
        version=tool[2] if tool else None,
        part=printable(values.get("Device target")),
        used=Resources(whole(values.get("LUT")), whole(values.get("FF")), whole(values.get("DSP")), bram, uram),
        srl=whole(values.get("SRL")),
        clock_required_ns=decimal(values.get("CP required")),
        clock_synth_ns=decimal(values.get("CP achieved post-synthesis")),
        clock_routed_ns=decimal(achieved),
        timing_met=next((met for line, met in _MET.items() if line in lines), None),
    )
