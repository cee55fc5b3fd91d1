"""Which files of a folder are reports, and of what kind."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

from flow.core.errors import InvalidInput, MissingInput
from flow.vendor.reports._source import read_text
from flow.vendor.reports.cosim import has_cosim

MOST_FILES = 100_000
# The first pattern that matches a name decides; a kind of "" is something else with a similar name.
PATTERNS = (
    ("*_csynth.xml", "csynth"),
    ("csynth.xml", "csynth"),
    ("*_csynth.rpt", "csynth"),
    ("csynth.rpt", "csynth"),
    ("*_cosim.rpt", "cosim"),
    ("*_export.rpt", "export"),
    ("export_syn.rpt", "export"),
    ("export_impl.rpt", "export"),
    ("vivado_synth.rpt", "utilization"),
    ("*clock_util*.rpt", ""),
    ("*utilization*.rpt", "utilization"),
    ("*timing_paths*.rpt", ""),
    ("*timing*.rpt", "timing"),
    ("*power*.rpt", "power"),
    ("hls4ml_config.yml", "config"),
    ("vivado_hls.app", "app"),
    ("hls.app", "app"),
    ("vivado_hls.log", "log"),
    ("vitis_hls.log", "log"),
    ("vivado.log", "log"),
)
KINDS = ("csynth", "cosim", "export", "utilization", "timing", "power")
_MARKS = (
    ("csynth", ("HLS Report for '", "== Synthesis Summary Report of '", "<profile>")),
    ("export", ("#=== Post-Synthesis Resource usage", "#=== Post-Implementation Resource usage")),
    ("power", ("Total On-Chip Power (W)",)),
    ("timing", ("WNS(ns)",)),
    ("utilization", ("Slice LUTs", "CLB LUTs", "Total LUTs")),
)


def kind_of_name(name: str) -> str:
    """Return the kind that the name of a file stands for; empty for none."""
    return next((kind for pattern, kind in PATTERNS if fnmatchcase(name, pattern)), "")


def kind_of_file(path: Path) -> str:
    """Return the kind of a single file, by its content, or else by its name.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is no report.
    """
    named = kind_of_name(path.name)
    if path.suffix == ".xml" or named in ("config", "app", "log"):
        return named or "csynth"
    text = read_text(path)
    found = "cosim" if has_cosim(text) else ""
    found = next((kind for kind, marks in _MARKS if any(mark in text for mark in marks)), found)
    if not (found or named):
        raise InvalidInput(f"{path}: this is not a report that is known. Known are reports of {', '.join(KINDS)}, as the tools write them.")
    return found or named


def find(folder: Path) -> dict[str, list[Path]]:
    """Find all files that matter, by kind; the nearest come first. Hidden folders and links to folders are left out.

    Raises:
        MissingInput: there is no such folder, or nothing in it.
        InvalidInput: there are too many files.
    """
    found: dict[str, list[Path]] = {}
    count = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        count += len(files)
        if count > MOST_FILES:
            raise InvalidInput(f"{folder}: there are more than {MOST_FILES} files below it. Give the folder of one project.")
        for name in sorted(files):
            if kind := kind_of_name(name):
                found.setdefault(kind, []).append(Path(root) / name)
    if not any(kind in found for kind in KINDS):
        looked = ", ".join(pattern for pattern, kind in PATTERNS if kind in KINDS)
        raise MissingInput(
            f"{folder}: there is no report in it or below it. Looked for {looked}. Give the folder of a project, or a report."
        )
    for paths in found.values():
        paths.sort(key=lambda path: (len(path.parts), path))
    return found
