"""Open synthesis with Yosys (Wolf, Glaser, "Yosys - a free Verilog synthesis suite", Austrochip 2013): Verilog -> primitives of a family.

Each pipeline stage is a module of its own and is synthesized in a run of its own, the registers around them in another, in
parallel. Stages are cut at registers, so nothing is lost but what crosses them. A run reads the files it needs and nothing else, and is
not done again for the same text. Resources are counted in the netlists, which stage netsim simulates.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import InvalidInput, MissingInput
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest
from flow.synth import _ecp5, _xilinx
from flow.synth._family import Family
from flow.synth._modules import inside, needed
from flow.synth._netlist import parse
from flow.synth._parts import Part, find_part
from flow.synth._plan import BuildPlan, Command, Counts, Report

if TYPE_CHECKING:
    from flow.config import DesignPoint

TITLE = "Yosys technology mapping (no vendor tool)"
TOOLS = (YOSYS,)
OPTIONS = ("dsp",)
NETLIST = ".netlist.v"
MODULES: tuple[Family, ...] = (_xilinx, _ecp5)
FAMILIES = {family: module for module in MODULES for family in module.FAMILIES}
PRIMITIVES = tuple(row for module in MODULES for row in module.PRIMITIVES)  # names of cells of two families never meet
ABOUT = "plan.json"  # what the netlists are of


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware, which the family of the part decides.

    Raises:
        ConfigError: the part is not known.
    """
    waveform = ("waveform",) if point.gate.waveform else ()
    return (*FAMILIES[find_part(point.hardware.part).family].stages(point), *waveform)


def plan(sources: Mapping[str, str], manifest: Manifest, part: Part) -> BuildPlan:
    """Plan without options; see `plan_with`."""
    return plan_with(sources, manifest, part, {})


def plan_with(sources: Mapping[str, str], manifest: Manifest, part: Part, options: Mapping[str, bool]) -> BuildPlan:
    """Plan one run for each module that the manifest names, and one for the registers and wires around them.

    Those modules are pipeline stages beside each other, or a tree: layers with their stages inside.

    Args:
        sources: Verilog text by relative path.
        manifest: of the Verilog.
        part: target.
        options: ``dsp``: products of two signals may become DSP slices.

    Raises:
        InvalidInput: a name that Yosys cannot be given, or a module that no file has.
    """
    for name in (*sources, *manifest.stages, manifest.top):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", name):
            raise InvalidInput(f"synthesis: '{name}' has characters that a file or module of a script must not have.")
    names = (*manifest.stages, manifest.top)
    tree = inside(sources, names)
    about = {"family": part.family, "top": manifest.top, "modules": names, "layers": layers(tree, manifest.top)}
    files = {**sources, ABOUT: json.dumps(about)}
    sizes, commands = {}, []
    for name in names:
        black_boxes = tree[name]
        own = needed(sources, name, black_boxes)
        mapping = FAMILIES[part.family].script(name, own, black_boxes, part.family, options)
        files |= {**own, f"{name}.ys": f"{mapping}write_verilog -noattr -simple-lhs {name}{NETLIST}\n"}
        sizes[name] = sum(map(len, own.values()))
        args, reads = ("-q", "-s", f"{name}.ys"), (f"{name}.ys", *sorted(own))
        commands.append(Command(name, YOSYS.name, args, reads, (f"{name}{NETLIST}",)))
    # The longest text first, so that the last worker does not begin one when the others are done.
    return BuildPlan(files, (tuple(sorted(commands, key=lambda command: -sizes[command.name])),))


def layers(tree: Mapping[str, tuple[str, ...]], top: str) -> dict[str, str]:
    """Return the layer of each module: the one right below the top that it is inside of, or before which it is a queue.

    Args:
        tree: modules that are mapped alone, and which of them each has inside.
        top: the top module.

    Returns:
        Layer by module, without the top; empty when no module has others inside, as then modules are stages and not layers.
    """
    if not any(tree[name] for name in tree[top]):
        return {}
    found: dict[str, str] = {}
    for name in tree[top]:
        served = re.fullmatch(r"(\w+?)(_[ab])?_queue", name)
        todo = [name]
        while todo:
            found[inner := todo.pop()] = served[1] if served and served[1] in tree else name
            todo += tree[inner]
    return found


def read(folder: Path) -> Report:
    """Count the primitives of the netlists that the runs left.

    Args:
        folder: where the plan was executed.

    Raises:
        MissingInput: a run left none.
        InvalidInput: a file is no netlist, or logic was left unmapped.
    """
    if not (folder / ABOUT).is_file():
        raise MissingInput(f"{folder}: there is no {ABOUT}. Write and run the plan first.")
    about = json.loads((folder / ABOUT).read_text())
    family, modules, version = FAMILIES[about["family"]], {}, None
    for name in about["modules"]:
        path = folder / f"{name}{NETLIST}"
        if not path.is_file():
            raise MissingInput(f"{path.name}: Yosys did not write it. Its log says why.")
        text = path.read_text()
        version = re.search(r"Yosys (\d+\.\d+)", text[:200])
        found = {module.name: module for module in parse(text, path.name)}
        if name not in found or len(found) > 1:
            raise InvalidInput(f"{path.name}: it has the modules {', '.join(found)}, not {name} alone.")
        cells = Counter(cell.kind for cell in found[name].cells if cell.kind not in about["modules"])
        counts = count(cells, name)
        modules[name] = family.refine(counts, found[name], about["family"]) if hasattr(family, "refine") else counts
    layer = {name: about["layers"].get(name, about["top"]) for name in modules} if about.get("layers") else {}
    return Report(f"yosys {version[1]}" if version else "yosys", modules, layer)


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
