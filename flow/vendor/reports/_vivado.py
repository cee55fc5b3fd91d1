"""What reports of Vivado have in common: the head, the table of contents, and how far the design had come."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flow.vendor.reports._source import cut_off, printable

_VERSION = re.compile(r"Vivado v\.([0-9]{4}\.[0-9]+(?:\.[0-9]+)?)\b")
_ENTRY = re.compile(r"[0-9]+(\.[0-9]+)*\.? [A-Za-z].{0,100}")
Kind = Literal["mapped", "routed"]


@dataclass(frozen=True)
class Head:
    """The lines ``| Key : value`` over a report.

    Attributes:
        version: version of Vivado.
        design: name of the top of the netlist.
        device: the part as Vivado writes it, for example ``7z020clg400-1``.
        state: how far the design had come, for example ``Synthesized`` or ``Routed``.
    """

    version: str | None
    design: str | None
    device: str | None
    state: str | None

    @property
    def tool(self) -> str | None:
        """The name of the tool, if the head names it."""
        return None if self.version is None else "Vivado"


def read_head(lines: Sequence[str]) -> Head:
    """Read the head; lines that are not there are None."""
    values: dict[str, str] = {}
    for line in lines[:100]:
        key, colon, value = line.partition(":")
        if colon and key.startswith("| "):
            values.setdefault(key[2:].strip(), value.strip().rstrip("|").strip())
    version = _VERSION.search(values.get("Tool Version", ""))
    return Head(version[1] if version else None, *(printable(values.get(key)) for key in ("Design", "Device", "Design State")))


def provenance(path: Path, head: Head) -> Kind:
    """Return the class of the figures: ``routed`` only if the report, or else its name, says so."""
    where = path.stem if head.state is None else head.state
    return "routed" if "routed" in where.lower() else "mapped"


def check_contents(path: Path, lines: Sequence[str]) -> None:
    """Check that each section of the table of contents is there.

    Raises:
        InvalidInput: one is not; the file is cut off.
    """
    start = next((i for i, line in enumerate(lines) if line.strip() == "Table of Contents"), None)
    if start is None:
        return
    entries: list[str] = []
    at = start + 2
    while at < len(lines) and _ENTRY.fullmatch(lines[at].strip()):
        entries.append(lines[at].strip())
        at += 1
    there = {line.strip() for line in lines[at:]}
    missing = [entry for entry in entries if entry not in there]
    if missing or not entries:
        raise cut_off(path, f"the section '{missing[0]}' is missing" if missing else "the table of contents is not whole")
