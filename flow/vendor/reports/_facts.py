"""What the other files of an hls4ml project tell: its configuration, the project file of HLS, the first lines of the logs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flow.vendor.reports._source import printable, read_text, whole_lines
from flow.vendor.reports._tables import decimal
from flow.vendor.reports._xml import Elements

_HEAD = 64 << 10
_HLS = re.compile(r"(Vivado|Vitis)(?:\(TM\))? HLS - High-Level Synthesis[^\n]{0,80} v([0-9]{4}\.[0-9]+(?:\.[0-9]+)?) \(64-bit\)")
_OLD_HLS = re.compile(r"Vivado\(TM\) HLS - High-Level Synthesis[^\n]{0,80}\n\s{0,8}Version ([0-9]{4}\.[0-9]+(?:\.[0-9]+)?)\n")
_RUN = re.compile(r"\*{3,} (vitis-run) v([0-9]{4}\.[0-9]+(?:\.[0-9]+)?) \(64-bit\)")
_VIVADO = re.compile(r"\*{3,} Vivado v([0-9]{4}\.[0-9]+(?:\.[0-9]+)?) \(64-bit\)")
_SETTING = re.compile(r"([A-Za-z]+):\s+'?([^'\s]{1,200})'?\s*")


@dataclass(frozen=True)
class Fact:
    """A text or a number, and the file it is from."""

    value: str
    path: Path


def read_config(path: Path) -> dict[str, Fact]:
    """Read the top level of ``hls4ml_config.yml``.

    A YAML reader is not needed for that, and could not read the Python objects that hls4ml puts there.
    """
    names = {"ProjectName": "network", "Part": "part", "XilinxPart": "part", "ClockPeriod": "clock", "Version": "hls4ml"}
    facts: dict[str, Fact] = {}
    for line in whole_lines(read_text(path)):
        found = _SETTING.fullmatch(line) if len(line) < 300 else None
        if found and found[1] in names and found[2] != "null" and printable(found[2]):
            facts[names[found[1]]] = Fact(found[2], path)
    if "clock" in facts and decimal(facts["clock"].value) is None:
        del facts["clock"]
    return facts


def read_app(path: Path) -> dict[str, Fact]:
    """Read ``vivado_hls.app`` or ``hls.app``: the function that was synthesised, and the name of the project."""
    root = next(iter(Elements(path).read().attributes.values()), {})
    facts = {"top": root.get("top", ""), "project": root.get("name", "")}
    return {key: Fact(value, path) for key, value in facts.items() if value}


def read_log(path: Path) -> dict[str, Fact]:
    """Read the versions of the tools that wrote a log, from its first lines."""
    text = read_text(path)[:_HEAD]
    facts: dict[str, Fact] = {}
    if found := _HLS.search(text):
        facts = {"hls_tool": Fact(f"{found[1]} HLS", path), "hls": Fact(found[2], path)}
    elif found := _OLD_HLS.search(text):
        facts = {"hls_tool": Fact("Vivado HLS", path), "hls": Fact(found[1], path)}
    elif found := _RUN.search(text):
        facts = {"hls_tool": Fact("Vitis HLS", path), "hls": Fact(found[2], path)}
    if found := _VIVADO.search(text):
        facts["vivado"] = Fact(found[1], path)
    return facts


def read_facts(found: Mapping[str, Sequence[Path]]) -> dict[str, Fact]:
    """Read all that is there: ``top``, ``project``, ``network``, ``part``, ``clock``, ``hls4ml``, ``hls_tool``, ``hls``, ``vivado``."""
    facts: dict[str, Fact] = {}
    for kind, read in (("config", read_config), ("app", read_app), ("log", read_log)):
        for path in found.get(kind, ()):
            facts = {**read(path), **facts}
    return facts
