"""What is installed: programs, packages, launcher, disk; and what works without that which is not."""

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import Requirement

from flow.core import launcher
from flow.core.container import LICENCES
from flow.core.errors import FlowError, ToolNotFound
from flow.core.tool import GXX, YOSYS, Tool

SPACE = 1024  # MiB that a run of the default point may need
SHOWN = ("torch", "brevitas", "hls4ml", "alkaid", "qonnx", "onnx", "numpy")  # packages by whose version results differ
DOCKER = Tool("docker", (("docker",),), "Install Docker 20.10 or later.", version=r"version (\d+\.\d+)", minimum=(20, 10))
SRUN = Tool("srun", (("srun",),), "It comes with Slurm.", version=r"(\d+\.\d+)")
BSUB = Tool("bsub", (("bsub",),), "It comes with IBM Spectrum LSF.", ("-V",), r"LSF \D*(\d+\.\d+)")


@dataclass(frozen=True)
class Row:
    """One thing that is or is not there.

    Attributes:
        tool: its name.
        version: what it says of itself, or empty.
        found: where it is, or what is wrong and what to do.
        ok: it is there in a version that works.
        needed: by the default flow.
        supported: the version works; None: there is none.
        without: what does not work without it, or what works all the same.
    """

    tool: str
    version: str
    found: str
    ok: bool
    needed: bool = False
    supported: bool | None = None
    without: str = ""

    @property
    def word(self) -> str:
        """One word for a table."""
        if self.ok:
            return "ok"
        return "MISSING" if self.needed else "wrong" if self.supported is False else "absent"

    def to_json(self) -> dict[str, object]:
        """Return it for ``--json``."""
        return {**asdict(self), "status": self.word}

    def line(self) -> str:
        """Return the row of a table: of what is absent, what works without it; of what is wrong, what to do."""
        words = f"without it: {self.without}" if self.word == "absent" and self.without else self.found
        return f"{self.word:<8} {self.tool:<13} {self.version:<13} {words}".rstrip()


def programs() -> list[tuple[Tool, bool, str]]:
    """Return all programs, whether the default flow needs them, and what works without them."""
    from flow.rtl.simulate import IVERILOG, MAKE, VERILATOR, VVP

    return [
        (GXX, True, "no C-simulation, so nothing is proven exact"),
        (MAKE, True, "no RTL simulation with Verilator"),
        (VERILATOR, True, "no RTL simulation; Icarus Verilog does it too, more slowly, but not for streams"),
        (IVERILOG, False, "everything; Verilator simulates"),
        (VVP, False, "everything; Verilator simulates"),
        (YOSYS, True, "no BACKEND=open, the default; everything up to the RTL simulation works"),
        *((tool, False, "everything but the routed Fmax and the bitstream of ECP5 parts") for tool in ecp5_tools()),
        *((tool, False, without) for tool, without in vendor_tools()),
        (DOCKER, False, "everything but LAUNCHER=docker"),
        (SRUN, False, "everything but LAUNCHER=srun"),
        (BSUB, False, "everything but LAUNCHER=bsub"),
    ]


def ecp5_tools() -> tuple[Tool, ...]:
    """Return the programs that place and route ECP5 parts."""
    from flow.synth._nextpnr import ECPPACK, NEXTPNR

    return NEXTPNR, ECPPACK


def vendor_tools() -> list[tuple[Tool, str]]:
    """Return the vendor tools, and what works without them."""
    from flow.vendor.tools import HLS, VIVADO

    hls = "everything but BACKEND=vitis, which needs one of " + ", ".join(tool.name for tool in HLS.programs)
    vivado = "everything but vsynth of BACKEND=vitis; resources come from Yosys"
    return [*((tool, hls) for tool in HLS.programs), (VIVADO, vivado)]


def look(tool: Tool, needed: bool, without: str) -> Row:
    """Find a program and ask it for its version."""
    try:
        found = " ".join(tool.argv())
    except FlowError as error:
        return Row(tool.name, "", str(error), ok=False, needed=needed, without=without)
    try:
        version = tool.read_version()
    except ToolNotFound as error:
        return Row(tool.name, "", str(error), ok=False, needed=needed, without=without)
    except FlowError as error:
        return Row(tool.name, "", str(error), ok=False, needed=needed, supported=False, without=without)
    if tool is DOCKER and (trouble := _engine(found)):
        return Row(tool.name, version, f"{found}, but its engine does not answer: {trouble}", ok=False, supported=False, without=without)
    return Row(tool.name, version, found, ok=True, needed=needed, supported=True, without=without)


def _engine(docker: str) -> str:
    """Return why Docker's engine does not work, or nothing."""
    command = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def packages(requirements: Sequence[str] | None = None) -> Iterator[Row]:
    """Compare the packages with what the project asks for."""
    given = importlib.metadata.requires("hlscape") or [] if requirements is None else requirements
    for requirement in map(Requirement, given):
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not needed and 'extra == "jets"' not in str(requirement.marker):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            hint = f"Install it: pip install '{requirement.name}{requirement.specifier}'"
            without = "" if needed else "everything but the simulation of jets"
            yield Row(requirement.name, "", hint, ok=False, needed=needed, without=without)
            continue
        right = requirement.specifier.contains(version, prereleases=True)
        found = "Python package" if right else f"{requirement.specifier} is needed: pip install '{requirement.name}{requirement.specifier}'"
        yield Row(requirement.name, version, found, ok=right, needed=needed, supported=right)


def place(store: Path, reason: str = "") -> Iterator[Row]:
    """Look at Python, the launcher, the licence and the disk.

    Args:
        store: folder of the store.
        reason: why none of the vendor tools is there, or nothing.
    """
    yield Row("python", platform.python_version(), sys.executable, ok=True, needed=True, supported=True)
    try:
        words = launcher.words()
        if words:
            launcher.launch(["true"], {}, None)
        text = f"LAUNCHER={shlex.join(words)}" if words else "none: vendor tools run on this machine (LAUNCHER=docker, srun, bsub)"
        useless = f"; none of the vendor tools was found with it: {reason}" if words and reason else ""
        yield Row("launcher", "", text + useless, ok=not useless, supported=not useless)
    except FlowError as error:
        yield Row("launcher", "", str(error), ok=False, supported=False)
    home = Path("~/.Xilinx/Xilinx.lic").expanduser()
    found = [f"${name}" for name in LICENCES if os.environ.get(name)] or [str(home)] * home.is_file()
    without = "everything that the vendor's free licence covers; set XILINXD_LICENSE_FILE for larger parts"
    yield Row("licence", "", ", ".join(found), ok=bool(found), without=without)
    there = next(folder for folder in (store, *store.parents) if folder.exists())
    free = shutil.disk_usage(there).free // 2**20
    more = "" if free > SPACE else f"; {SPACE} MiB are needed: `hlscape gc`, or set HLSCAPE_STORE"
    yield Row("disk", f"{free} MiB", f"free at {store}{more}", ok=free > SPACE, needed=True)


def examine(store: Path, say: Callable[[str], None]) -> list[Row]:
    """Look at everything.

    Args:
        store: folder of the store.
        say: takes words for a person who waits.
    """
    work = programs()
    if text := os.environ.get(launcher.VARIABLE):
        say(f"The vendor tools are asked for their versions with {launcher.VARIABLE}={text}, which may take a while.")
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda item: look(*item), work))
    if {row.tool for row in rows if row.ok} >= {"iverilog", "vvp"}:  # then Verilator and make are not needed
        rows = [Row(**{**asdict(row), "needed": False}) if row.tool in ("verilator", "make") else row for row in rows]
    vendor = [row for row in rows if row.tool in {tool.name for tool, *_ in work if tool.launched}]
    reason = "" if any(row.ok for row in vendor) else next((row.found for row in vendor if row.found), "")
    names = {row.tool for row in rows}  # a package that is a program has been looked at
    return [*rows, *(row for row in packages() if row.tool not in names), *place(store, reason)]


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table; packages that are as they should be share one."""
    fine = [row for row in rows if row.ok and row.found == "Python package"]
    shown: Mapping[str, str] = {row.tool: row.version for row in fine}
    names = ", ".join(f"{name} {shown[name]}" for name in SHOWN if name in shown)
    lines = [row.line() for row in rows if row not in fine]
    missing = ", ".join(row.tool for row in rows if row.needed and not row.ok)
    verdict = f"The default flow needs what is missing: {missing}." if missing else "Everything that the default flow needs is there."
    return [*lines, Row("packages", f"{len(fine)} as asked", names, ok=True).line(), verdict]
