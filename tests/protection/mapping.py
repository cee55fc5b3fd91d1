"""Maps Verilog with Yosys, in the way of stage synth."""

from flow.core.tool import YOSYS, run
from flow.rtl.ports import Manifest, Port
from flow.synth import open as back_end
from flow.synth._netlist import parse
from flow.synth._parts import find_part

NOTHING = Port("bits", 1, ())
PARTS = {"plus": "xcku115-flvb2104-2-i", "ecp5": "lfe5u-85f"}


def mapped(folder, sources, top, inside, part=PARTS["plus"]):
    """Return the report and the netlists by module."""
    manifest = Manifest(top, "clk", 0, 1, NOTHING, NOTHING, tuple(sources), tuple(inside), "", "")
    plan = back_end.plan_with(sources, manifest, find_part(part), {})
    folder.mkdir(exist_ok=True)
    plan.write(folder)
    for command in plan.groups[0]:
        run(YOSYS, list(command.args), cwd=folder, log=folder / "log.txt", replay=folder / "replay.sh")
    modules = {}
    for name in (*inside, top):
        modules |= {m.name: m for m in parse((folder / f"{name}.netlist.v").read_text(), name)}
    return back_end.read(folder), modules
