"""Xilinx 7-series, UltraScale and UltraScale+ in Yosys: `synth_xilinx` with what is of no use to this logic left out.

The inverters that are left drive S or DI of carry chains (negations), which nothing but a look-up table can: each is counted as one.
Look-up tables are mapped with ``abc``, which for adder trees is twice as fast as the default ``abc9`` (that models carry delays) and
within 1 % in look-up tables.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flow.stages import OPEN
from flow.synth._family import Row
from flow.synth._modules import has_memory
from flow.synth._netlist import Module
from flow.synth._packing import carry8, packed
from flow.synth._plan import Counts

if TYPE_CHECKING:
    from flow.config import DesignPoint

CLOCKED = re.compile(r"\balways\s*@\s*\(posedge")
FAMILIES = ("xc7", "xcu", "xcup")  # `synth_xilinx -family`
SIM_LIBRARY = ("+/xilinx/cells_sim.v",)
DSP_BITS = 9
PRIMITIVES: tuple[Row, ...] = (
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


def refine(counts: Counts, module: Module, family: str) -> Counts:
    """Add how many LUT6 small tables that share one take, and for UltraScale how many carry primitives of 8 bits."""
    return replace(counts, lut6_packed=packed(module), carry8=None if family == "xc7" else carry8(module))


def script(top: str, sources: Mapping[str, str], black_boxes: tuple[str, ...], family: str, options: Mapping[str, bool]) -> str:
    """Return the commands of Yosys; see `flow.synth._family.Family.script`."""
    # The libraries of block RAMs take seconds to read, and names inside of modules are of no use to anyone.
    common = f"-family {family} -noiopad -noclkbuf{'' if options.get('dsp') else ' -nodsp'} -flatten"
    blocks = f"synth_xilinx {common} -run map_memory:map_ffram\n" if has_memory(sources) else ""
    # For 7-series, Yosys moves registers into DSP slices and chains the slices, of which `_cells` has no model; such a netlist could not be
    # simulated. It does not see registers that are single bits. So flip-flops are counted that a vendor's tool would have in its slices.
    split = options.get("dsp") and family == "xc7" and any(CLOCKED.search(text) for text in sources.values())
    registers = f"synth_xilinx {common} -run prepare:map_dsp\nsimplemap t:$dff* t:$sdff*\n" if split else ""
    wide = "2:2,3,6:5,10,20"  # cost of LUT1..LUT8; 7 and 8 inputs are two and four LUT6 with a wide multiplexer
    hidden = f"blackbox {' '.join(black_boxes)}\n" if black_boxes else ""
    return f"""read_verilog {" ".join(sorted(sources))}
{hidden}read_verilog -lib +/xilinx/cells_sim.v
hierarchy -check -top {top}
proc
flatten -noscopeinfo
opt_clean -purge
{registers}synth_xilinx {common} -run {"map_dsp" if split else "prepare"}:map_memory
{blocks}synth_xilinx {common} -run map_ffram:map_luts
opt_expr -mux_undef -noclkinv
abc -luts {wide}
clean
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
clean -purge
"""
