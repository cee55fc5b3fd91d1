"""How fast the logic of the FPGA families is: what the timing estimate is made of, and where each figure is from.

Data sheets since UltraScale list no delays of look-up tables, so the figures are from timing reports that others published. *Assumed*
figures are marked so. Of Xilinx parts only two published routed paths were compared (within 7 %, see the tests), no network.

ECP5 was compared with nextpnr, which routed twelve two-layer perceptrons of 4 to 6 bits with 3 to 20 pipeline stages for lfe5u-85f-6: the
estimated period is 0.94 to 1.42 of the routed one, in the middle 1.26. It errs on the safe side where one stage is slower than all others,
because nextpnr keeps the nets of few paths short; of the four whose depth was chosen for a clock, it is 0.94, 1.03, 1.11 and 1.22.
It is optimistic for larger networks, whose nets are longer: 7.9 ns against 9.1 ns routed for a jet tagger of 8,000 LUT4.
"""

import re
from dataclasses import dataclass, replace

from flow.core.errors import ConfigError

VERSION = 1  # of the figures


@dataclass(frozen=True)
class Fabric:
    """Delays in ns.

    Attributes:
        name: of the family.
        grade: speed grade.
        clock_to_q: register clock to output.
        setup: register set-up.
        uncertainty: jitter and skew of the clock.
        lut: through a look-up table.
        lut_inputs: inputs of one.
        add_in: operand to the carry out of the first carry primitive, its look-up table included.
        carry: carry chain, each further bit.
        carry_free: bits of the first carry primitive.
        add_out: carry to the sum.
        net: a net with one load, routed.
        fan: a net becomes so much slower each time its loads double.
        source: where the figures are from.
        negates_apart: a sum of three with a minus has a carry chain more, as Yosys maps it when the terms differ in width.
    """

    name: str
    grade: str
    clock_to_q: float
    setup: float
    uncertainty: float
    lut: float
    lut_inputs: int
    add_in: float
    carry: float
    carry_free: int
    add_out: float
    net: float
    fan: float
    source: str
    negates_apart: bool = False

    @property
    def overhead(self) -> float:
        """What a period loses at its end: set-up time and clock uncertainty."""
        return self.setup + self.uncertainty

    def describe(self) -> str:
        """Return words for the source of a metric."""
        return f"delay model {VERSION}, {self.name} -{self.grade} ({self.source})"

    def scaled(self, factor: float, grade: str) -> "Fabric":
        """Return the same fabric in another speed grade."""
        times = ("clock_to_q", "setup", "lut", "add_in", "carry", "add_out", "net", "fan")
        return replace(self, grade=grade, **{key: factor * getattr(self, key) for key in times}) if factor != 1 else self


# Routed paths of xczu3eg-1 in Vivado 2021.2 (github.com/gussmith23/lakeroad-evaluation); the nets are fitted to them.
_PLUS = Fabric(
    "UltraScale+", "1", 0.096, 0.03, 0.05, 0.15, 6, 0.40, 0.0064, 8, 0.146, 0.27, 0.035, "figures of routed xczu3eg-1"
)  # fmt: skip
# Published routed paths of xc7z020-1 (two SHA-256 cores), and the figures of FloPoCo for Zynq7000, which are from Vivado.
_ARTIX = Fabric(
    "7-series (Artix logic)", "1", 0.456, 0.03, 0.10, 0.25, 6, 0.674, 0.0285, 4, 0.33, 0.55, 0.12, "figures of routed xc7z020-1"
)  # fmt: skip
# FloPoCo for Kintex7 -3, from Vivado, over 0.82; a published routed path has the same. Nets are assumed.
_KINTEX = Fabric(
    "7-series (Kintex logic)", "1", 0.269, 0.03, 0.10, 0.11, 6, 0.36, 0.0145, 4, 0.18, 0.45, 0.10, "figures in FloPoCo, nets assumed"
)  # fmt: skip
# A routed path of xcvu095-2 (github.com/optimsoc/optimsoc/issues/104) has look-up tables (up to 0.174 ns) and nets (0.15 to 0.35 ns) as
# UltraScale+ -1. That its carry chains and registers are as fast as there is assumed.
_ULTRA = replace(_PLUS, name="UltraScale", grade="2", source="look-up tables and nets of routed xcvu095-2, the rest assumed")
# Timing data base of nextpnr 0.11 (Project Trellis); nets fitted to the networks above.
_ECP5 = Fabric(
    "ECP5", "6", 0.52, 0.0, 0.0, 0.24, 4, 0.45, 0.036, 2, 0.42, 0.75, 0.08, "figures of nextpnr 0.11, fitted to twelve networks", True
)
# Medians over cells (0.88, 0.76, 0.60) and over nets (0.90, 0.79, 0.70) of the database of nextpnr 0.11, halfway between the two.
_ECP5_GRADES = {"6": 1.0, "7": 0.89, "8": 0.78, "8 (5G)": 0.65}
# Pattern of the part, fabric, factor on its delays by speed grade. UltraScale+: 0.82 is xcvu3p-2 (FloPoCo, RapidWright) over xczu3eg-1.
# 7-series: 0.82 is Kintex-7 -3 over -1. All other factors are assumed.
_GRADES: tuple[tuple[str, Fabric, dict[str, float]], ...] = (
    (r"xc7(a|s|z0(07|10|12|14|15|20))", _ARTIX, {"1": 1.0, "2": 0.9, "3": 0.82}),
    (r"xc7", _KINTEX, {"1": 1.0, "2": 0.9, "3": 0.82}),
    (r"xc(ku|vu)\d{3}(?!p)", _ULTRA, {"1": 1.15, "2": 1.0, "3": 0.9}),
    (r"xc(ku|vu|zu|au|k\d|u\d)", _PLUS, {"1": 1.0, "2": 0.82, "3": 0.74}),
)


def fabric(part: str) -> Fabric:
    """Return the delays of a part.

    Args:
        part: its full name; the speed grade is the digit behind the last hyphens (``-2-i``). A low-voltage grade (``-2LV``) counts as -1,
            a part without a grade as the slowest.

    Raises:
        ConfigError: its family has no delay model.
    """
    name = part.lower()
    if name.startswith("lfe5"):
        grade = "8 (5G)" if name.startswith("lfe5um5g") else next(iter(re.findall(r"-([678])[a-z]{2}\d", name)), "6")
        return _ECP5.scaled(_ECP5_GRADES[grade], grade)
    found = re.search(r"-([123])(lv)?", name)
    grade = "1" if not found or found[2] else found[1]
    for pattern, base, factors in _GRADES:
        if re.match(pattern, name):
            return base.scaled(factors[grade], grade)
    raise ConfigError(
        f"hardware.part = '{part}': there is no delay model of its family, so the pipeline depth cannot be chosen. "
        "Set hardware.logic_per_stage."
    )
