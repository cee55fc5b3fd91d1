"""How much the usual FPGA parts hold."""

import re
from dataclasses import dataclass

from flow.core.errors import ConfigError
from flow.core.plugins import suggest

KU, KUP7, ZUP = "AMD/Xilinx DS890", "AMD/Xilinx DS190", "AMD/Xilinx DS891"
# Of xcku115, xc7z020, xcvu9p and xcu250 (the die of xcvu13p) reports of the vendor's own tools tell the same numbers.
ECP5 = "Lattice FPGA-DS-02012, exact numbers from the database of nextpnr-ecp5"


@dataclass(frozen=True)
class Part:
    """Capacity of a device.

    Attributes:
        device: the beginning of the part name, without package and speed grade.
        family: ``-family`` of Yosys.
        lut: 6-input look-up tables, of ECP5 4-input ones.
        ff: flip-flops.
        dsp: DSP slices.
        bram: 36-kbit block RAMs, of ECP5 18-kbit ones.
        source: product table.
        example: a full part name.
    """

    device: str
    family: str
    lut: int
    ff: int
    dsp: int
    bram: int
    source: str
    example: str


PARTS = tuple(
    Part(*row)
    for row in (
        ("xcku035", "xcu", 203_128, 406_256, 1_700, 540, KU, "xcku035-fbva676-2-e"),
        ("xcku040", "xcu", 242_400, 484_800, 1_920, 600, KU, "xcku040-ffva1156-2-e"),
        ("xcku115", "xcu", 663_360, 1_326_720, 5_520, 2_160, KU, "xcku115-flvb2104-2-i"),
        ("xc7z020", "xc7", 53_200, 106_400, 220, 140, KUP7, "xc7z020clg400-1"),
        ("xczu9eg", "xcup", 274_080, 548_160, 2_520, 912, ZUP, "xczu9eg-ffvb1156-2-e"),
        ("xcvu9p", "xcup", 1_182_240, 2_364_480, 6_840, 2_160, KU, "xcvu9p-flga2104-2-e"),
        ("xcvu13p", "xcup", 1_728_000, 3_456_000, 12_288, 2_688, KU, "xcvu13p-flga2577-2-e"),
        ("xcu250", "xcup", 1_728_000, 3_456_000, 12_288, 2_688, "AMD/Xilinx DS962", "xcu250-figd2104-2L-e"),
        ("xck26", "xcup", 117_120, 234_240, 1_248, 144, "AMD/Xilinx DS987", "xck26-sfvc784-2LV-c"),
        ("lfe5u-12f", "ecp5", 12_000, 12_000, 28, 32, "Lattice FPGA-DS-02012", "lfe5u-12f-6bg381c"),  # nextpnr may use all of its 24 k
        ("lfe5u-25f", "ecp5", 24_288, 24_288, 28, 56, ECP5, "lfe5u-25f-6bg381c"),
        ("lfe5u-45f", "ecp5", 43_848, 43_848, 72, 108, ECP5, "lfe5u-45f-6bg554c"),
        ("lfe5u-85f", "ecp5", 83_640, 83_640, 156, 208, ECP5, "lfe5u-85f-6bg756c"),
        *((f"lfe5{line}-25f", "ecp5", 24_288, 24_288, 28, 56, ECP5, f"lfe5{line}-25f-8bg381c") for line in ("um", "um5g")),
        *((f"lfe5{line}-45f", "ecp5", 43_848, 43_848, 72, 108, ECP5, f"lfe5{line}-45f-8bg554c") for line in ("um", "um5g")),
        *((f"lfe5{line}-85f", "ecp5", 83_640, 83_640, 156, 208, ECP5, f"lfe5{line}-85f-8bg756c") for line in ("um", "um5g")),
    )
)


def find_part(name: str) -> Part:
    """Return the capacity of a part.

    Args:
        name: full part name, for example ``xcku115-flvb2104-2-i``.

    Raises:
        ConfigError: it is not known; lists the parts.
    """
    for part in PARTS:
        if re.fullmatch(part.device + r"(-?[a-z]{3,4}\d+[a-z0-9-]*|-[678][a-z]{2}\d{3}[a-z]?)?", name.lower()):
            return part
    known = [p.example for p in PARTS]
    raise ConfigError(
        f"hardware.part = '{name}' is not a known part. Known: {', '.join(known)} (any package and speed).{suggest(name, known)}"
    )
