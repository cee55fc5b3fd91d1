"""Lattice ECP5 in Yosys: `synth_lattice -family ecp5` of the modules, which `flow.synth._nextpnr` places and routes as they are.

Look-up tables are mapped with ``abc9``, the only mapper that Yosys has for this family.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError
from flow.stages import OPEN
from flow.synth._family import Row
from flow.synth._modules import has_memory
from flow.synth._plan import Counts

if TYPE_CHECKING:
    from flow.config import DesignPoint

FAMILIES = ("ecp5",)
SIM_LIBRARY = ("+/lattice/cells_sim_ecp5.v",)
DSP_BITS = 2  # Yosys takes a multiplier for every product, however narrow
PRIMITIVES: tuple[Row, ...] = (
    (r"LUT4", lambda n, m: Counts(lut=n, lut_by_inputs={"4": n})),
    (r"CCU2C", lambda n, m: Counts(lut=2 * n, carry=n)),  # both look-up tables of a slice, as Lattice and nextpnr count
    (r"TRELLIS_FF", lambda n, m: Counts(ff=n)),
    (r"PFUMX|L6MUX21", lambda n, m: Counts(muxf=n)),
    (r"MULT18X18D", lambda n, m: Counts(dsp=n)),
    (r"TRELLIS_DPR16X4", lambda n, m: Counts(lut=6 * n)),  # three slices: two with the bits, and one for the write port (TN-02204)
    (r"DP16KD|PDPW16KD", lambda n, m: Counts(bram=n)),
)
UNITS = {
    "lut": ("LUT4", "Look-up tables of 4 inputs, those of carry chains too"),
    "carry": ("CCU2C", "Carry primitives of 2 bits"),
    "dsp": ("MULT18X18D", "Multipliers of 18 x 18 bits"),
    "bram": ("DP16KD", "Block RAMs of 18 kbit"),
}
PACKAGES = {"bg256": "CABGA256", "bg381": "CABGA381", "bg554": "CABGA554", "bg756": "CABGA756", "mg285": "CSFBGA285", "tg144": "TQFP144"}
_SMALL, _MIDDLE = ("CABGA381", "CABGA256", "CSFBGA285"), ("CABGA554", "CABGA381", "CABGA256", "CSFBGA285")
SOLD: dict[str, tuple[str, ...]] = {"12": _SMALL, "25": _SMALL, "45": _MIDDLE, "85": ("CABGA756", "CABGA554", "CABGA381", "CSFBGA285")}


@dataclass(frozen=True)
class Target:
    """What nextpnr is told about a part.

    Attributes:
        device: option of nextpnr without its hyphens, for example ``um-45k``.
        package: its name in nextpnr.
        speed: grade 6 (slowest), 7 or 8.
    """

    device: str
    package: str
    speed: int


def target(part: str) -> Target:
    """Read a part name, ``lfe5u-85f`` or an ordering code such as ``LFE5U-85F-6BG756C``.

    Without package and speed it means the largest package and the slowest grade that are sold.

    Raises:
        ConfigError: there is no such part; says which packages and grades there are.
    """
    found = re.fullmatch(r"lfe5(u|um|um5g)-(12|25|45|85)f(?:-([678])([a-z]{2}\d{3})[ci]?)?", part.lower())
    if not found or (found[1] != "u" and found[2] == "12"):
        raise ConfigError(f"hardware.part = '{part}' is not an ECP5 part. Examples: lfe5u-85f, LFE5UM-45F-7BG381C.")
    line, size, grade, code = found.groups()
    sold = (*SOLD[size], *(("TQFP144",) if line == "u" and size != "85" else ()))
    grades = (8,) if line == "um5g" else (6, 7, 8)
    package = PACKAGES.get(code, "") if code else sold[0]
    speed = int(grade or grades[0])
    if package not in sold or speed not in grades:
        names = ", ".join(code.upper() for code, name in PACKAGES.items() if name in sold)
        raise ConfigError(
            f"hardware.part = '{part}': this device has the packages {names} and the speed grades {', '.join(map(str, grades))}."
        )
    return Target({"u": "", "um": "um-", "um5g": "um5g-"}[line] + f"{size}k", package, speed)


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware."""
    return (*OPEN, "route")


def script(top: str, sources: Mapping[str, str], black_boxes: tuple[str, ...], family: str, options: Mapping[str, bool]) -> str:
    """Return the commands of Yosys; see `flow.synth._family.Family.script`."""
    hidden = f"blackbox {' '.join(black_boxes)}\n" if black_boxes else ""
    memories = "" if has_memory(sources) else " -nobram -nolutram"  # their libraries take time to read
    slices = "" if options.get("dsp") else " -nodsp"
    return f"""read_verilog {" ".join(sorted(sources))}
{hidden}synth_lattice -family {family} -top {top} -noiopad{memories}{slices} -run begin:check
hierarchy -check
"""
