"""Open synthesis with Yosys (Wolf, Glaser, "Yosys - a free Verilog synthesis suite", Austrochip 2013): Verilog -> Xilinx primitives.

Each pipeline stage is a module of its own and is synthesized in a run of its own, the registers around them in another, in
parallel. Stages are cut at registers, so nothing is lost but what crosses them. Look-up tables are mapped with ``abc``, which for
these adder trees is twice as fast as the default ``abc9`` (that models carry delays) and within 1 % in look-up tables.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import InvalidInput, MissingInput
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest
from flow.stages import OPEN
from flow.synth._parts import Part
from flow.synth._plan import BuildPlan, Command, Counts, Report

if TYPE_CHECKING:
    from flow.config import DesignPoint

TITLE = "Yosys technology mapping (no vendor tool)"
TOOLS = (YOSYS,)
SUFFIX = ".stat.json"
PRIMITIVES: tuple[tuple[str, Callable[[int, re.Match[str]], Counts]], ...] = (
    (r"LUT([1-6])", lambda n, m: Counts(lut=n, lut_by_inputs={m[1]: n})),
    (r"INV", lambda n, m: Counts(lut=n, lut_by_inputs={"1": n})),
    (r"SRL\w+", lambda n, m: Counts(lut=n, srl=n)),
    (r"(FD|LD)[A-Z]+(_1)?", lambda n, m: Counts(ff=n)),
    (r"CARRY4", lambda n, m: Counts(carry=n)),
    (r"MUXF[789]", lambda n, m: Counts(muxf=n)),
    (r"DSP\w+", lambda n, m: Counts(dsp=n)),
    (r"RAMB18\w*", lambda n, m: Counts(bram=n / 2)),
    (r"RAMB36\w*", lambda n, m: Counts(bram=n)),
)


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware."""
    return OPEN


def _script(top: str, sources: Mapping[str, str], black_boxes: tuple[str, ...], family: str) -> str:
    # No memory can come out of combinational logic, and the libraries of block RAMs take seconds to read.
    memory = "" if black_boxes else " -nobram -nolutram"
    wide = "2:2,3,6:5,10,20"  # cost of LUT1..LUT8; 7 and 8 inputs are two and four LUT6 with a wide multiplexer
    hidden = f"blackbox {' '.join(black_boxes)}\n" if black_boxes else ""
    return f"""read_verilog {" ".join(sorted(sources))}
{hidden}read_verilog -lib -specify +/xilinx/cells_sim.v
hierarchy -check -top {top}
synth_xilinx -family {family} -noiopad -noclkbuf{memory} -flatten -run prepare:map_luts
opt_expr -mux_undef -noclkinv
abc -luts {wide}
clean
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
clean
tee -q -o {top}{SUFFIX} stat -json
"""


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
