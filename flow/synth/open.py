"""Open synthesis with Yosys (Wolf, Glaser, "Yosys - a free Verilog synthesis suite", Austrochip 2013): Verilog -> primitives of a family.

Each pipeline stage is a module of its own and is synthesized in a run of its own, the registers around them in another, in
parallel. Stages are cut at registers, so nothing is lost but what crosses them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import InvalidInput, MissingInput
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest
from flow.synth import _xilinx
from flow.synth._family import Family
from flow.synth._parts import Part, find_part
from flow.synth._plan import BuildPlan, Command, Counts, Report

if TYPE_CHECKING:
    from flow.config import DesignPoint

TITLE = "Yosys technology mapping (no vendor tool)"
TOOLS = (YOSYS,)
SUFFIX, NETLIST = ".stat.json", ".netlist.v"
MODULES: tuple[Family, ...] = (_xilinx,)
FAMILIES = {family: module for module in MODULES for family in module.FAMILIES}
PRIMITIVES = tuple(row for module in MODULES for row in module.PRIMITIVES)  # names of cells of two families never meet


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware, which the family of the part decides.

    Raises:
        ConfigError: the part is not known.
    """
    return FAMILIES[find_part(point.hardware.part).family].stages(point)


def _script(top: str, sources: Mapping[str, str], black_boxes: tuple[str, ...], family: str) -> str:
    mapping = FAMILIES[family].script(top, sources, black_boxes, family, {})
    return f"{mapping}write_verilog -noattr {top}{NETLIST}\ntee -q -o {top}{SUFFIX} stat -json\n"


def plan(sources: Mapping[str, str], manifest: Manifest, part: Part) -> BuildPlan:
    """Plan one run for each pipeline stage and one for the registers and wires around them.

    Args:
        sources: Verilog text by relative path.
        manifest: of the Verilog.
        part: target.

    Raises:
        InvalidInput: a name that Yosys cannot be given.
    """
    for name in (*sources, *manifest.stages, manifest.top):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", name):
            raise InvalidInput(f"synthesis: '{name}' has characters that a file or module of a script must not have.")
    scripts = {name: _script(name, sources, (), part.family) for name in manifest.stages}
    scripts[manifest.top] = _script(manifest.top, sources, manifest.stages, part.family)
    # The longest scripts first, so that the last worker does not begin one when the others are done.
    order = sorted(scripts, key=lambda name: -max((len(t) for f, t in sources.items() if f.endswith(f"/{name}.v")), default=0))
    commands = tuple(Command(name, YOSYS.name, ("-q", "-s", f"{name}.ys")) for name in order)
    return BuildPlan({**sources, **{f"{name}.ys": text for name, text in scripts.items()}}, (commands,))


def read(folder: Path) -> Report:
    """Read the statistics that the runs left.

    Args:
        folder: where the plan was executed.

    Raises:
        MissingInput: a run left none.
        InvalidInput: a file is no such statistics, or logic was left unmapped.
    """
    modules: dict[str, Counts] = {}
    scripts = sorted(folder.glob("*.ys"))
    if not scripts:
        raise MissingInput(f"{folder}: there are no synthesis scripts. Run the plan first.")
    tool = ""
    for script in scripts:
        path = script.with_name(script.stem + SUFFIX)
        if not path.is_file():
            raise MissingInput(f"{path.name}: Yosys did not write it. Its log says why.")
        try:
            document = json.loads(path.read_text())
            cells = {str(k): int(v) for k, v in document["design"]["num_cells_by_type"].items()} if document["modules"] else {}
            version = re.search(r"Yosys (\d+\.\d+)", document["creator"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{path.name}: this is not a Yosys statistics file ({type(error).__name__}: {error}).") from None
        tool = f"yosys {version[1]}" if version else "yosys"
        stages = {s.stem for s in scripts}
        modules[script.stem] = count({k: v for k, v in cells.items() if k not in stages}, script.stem)
    return Report(tool, modules)


def count(cells: Mapping[str, int], module: str) -> Counts:
    """Sort primitives into resources.

    Args:
        cells: number of cells by type.
        module: for the message.

    Raises:
        InvalidInput: a cell that is no primitive: logic was left unmapped.
    """
    total = Counts()
    for kind, n in sorted(cells.items()):
        if kind == "$scopeinfo":
            continue
        if kind.startswith(("$", "\\")):
            raise InvalidInput(f"synthesis left {n} cells {kind} of module {module} unmapped; its resources are not known.")
        total += _one(kind, n)
    return total


def _one(kind: str, n: int) -> Counts:
    for pattern, counts in PRIMITIVES:
        found = re.fullmatch(pattern, kind)
        if found:
            return counts(n, found)
    if kind.startswith("RAM"):
        raise InvalidInput(f"synthesis made {n} distributed memories {kind}, whose size in look-up tables is not known to this reader.")
    return Counts(other={kind: n})
