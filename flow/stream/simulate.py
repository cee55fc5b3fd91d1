"""Simulate a streaming network with Verilator: frames in, results out, with the cycle of each."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MismatchError, ToolFailed
from flow.core.stage import Job
from flow.core.tool import GXX, Tool, run
from flow.rtl.ports import Bytes, Manifest
from flow.rtl.simulate import MAKE, MAKE_FLAGS, VERILATOR, VERILATOR_FLAGS

DRIVER = Path(__file__).with_name("driver.cpp")
PATIENCE = 1_000_000  # cycles; in the slowest network of a frame much less goes by without a pixel that moves
PAUSES = (30, 40)  # percent of cycles in which the source, and the sink, pause
# Here a million cycles are usual, so the compiler must optimize; files of this size keep both cores at work and the headers cheap.
SPLIT_FLAGS = ("--output-split", "60000", "--output-split-cfuncs", "2000")
OPTIMIZE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")


@dataclass(frozen=True)
class Run:
    """What came out.

    Attributes:
        outputs: (N, outputs) values.
        starts: (N,) cycle in which the first pixel of each frame was taken.
        ends: (N,) cycle in which the last pixel of each result was given.
        damaged: (N,) whether a result is marked as that of a frame with pixels lost or added.
        queues: most pixels that waited, by module of the queue; of those in which any did.
    """

    outputs: NDArray[np.float64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    damaged: NDArray[np.bool_]
    queues: Mapping[str, int]

    @property
    def latency(self) -> int:
        """Rising clock edges from the first pixel of the first frame to the last one of its result: nothing else is in the network."""
        return int(self.ends[0] - self.starts[0])

    @property
    def interval(self) -> int:
        """Cycles from one result to the next, rounded up: the mean of the second half, in which the network is full."""
        half = len(self.ends) // 2
        return -int((self.ends[half] - self.ends[-1]) // (len(self.ends) - 1 - half))


def build(job: Job, sources: Sequence[Path], manifest: Manifest, work: Path, *, traced: bool = False) -> Path:
    """Build a simulation.

    Args:
        job: runs the programs, which its stage declares: `flow.rtl.simulate.simulator`.
        sources: Verilog.
        manifest: names the top module.
        work: folder; when another design was built in it, what both have in common is not compiled again.
        traced: it can write waveforms.

    Returns:
        `work`, in which `simulate` runs it.

    Raises:
        FlowError: a program is missing, fails or takes too long.
    """
    VERILATOR.argv()  # Icarus Verilog, which stages declare in its place where it is missing, does not do here
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "driver.cpp").is_file():
        shutil.copyfile(DRIVER, work / "driver.cpp")
    files = [str(source.resolve()) for source in sources]
    trace = ["--trace-vcd"] if traced else []
    flags = [*VERILATOR_FLAGS, *SPLIT_FLAGS, *trace, "-DSIMULATION", "--top-module", manifest.top]
    job.run_tool(VERILATOR, [*flags, "driver.cpp", *files], cwd=work)
    make = [flag for flag in MAKE_FLAGS if not flag.startswith("OPT_")]
    job.run_tool(MAKE, [*make, *OPTIMIZE, f"CXX={GXX.argv()[0]}", "-C", "obj", "-f", "Vdut.mk"], cwd=work)
    return work


def beats(manifest: Manifest, x: NDArray[np.float64]) -> Bytes:
    """Return frames as the driver reads them.

    Args:
        manifest: of the network.
        x: (N, ...) frames, channels last.

    Returns:
        (N * rows * columns, 1 + bytes): marks (1: first pixel of its frame, 2: last pixel of its row), and the pixel.
    """
    packed = manifest.pack_inputs(x)
    rows, columns = manifest.frame
    marks = np.zeros((len(packed), 1), np.uint8)
    marks[:: rows * columns] = 1
    marks[columns - 1 :: columns] += 2
    return np.concatenate([marks, packed], axis=1)


def simulate(
    job: Job, work: Path, manifest: Manifest, x: NDArray[np.float64], *, gap: int = 0, stall: int = 0, pace: float = 0, seed: int = 1,
    waves: Path | None = None,
) -> Run:  # fmt: skip
    """Send frames one behind the other and take their results.

    Args:
        job: runs the program.
        work: from `build`.
        manifest: of the network.
        x: (N >= 2, ...) frames, channels last.
        gap: percent of cycles in which no pixel is offered.
        stall: percent of cycles in which no result is taken.
        pace: cycles from one pixel to the next at least; 0: as fast as the network takes them.
        seed: of the pauses.
        waves: VCD file to be written, where `build` was told to trace.

    Raises:
        MismatchError: there is not one result for each frame.
        InvalidInput: a value that does not fit its port, or fewer than two frames.
        ToolFailed: the simulation fails, among others when a result changes while it waits.
    """
    if len(x) < 2:
        raise InvalidInput("a stream is simulated with at least two frames.")
    sent = beats(manifest, x)
    sent.tofile(work / "beats.bin")
    size, pixels = -(-manifest.output.width // 8), manifest.result[0] * manifest.result[1]
    program = Tool("simulation", ((str(work / "obj" / "Vdut"),),), "It is built by the stage itself.")
    numbers = [len(x) * pixels, gap, stall, seed, pace, PATIENCE]
    arguments = ["beats.bin", str(sent.shape[1] - 1), "results.bin", str(size), "starts.bin", *(f"{n:.9g}" for n in numbers)]
    arguments += [str(waves)] if waves else []
    text = run(program, arguments, cwd=work, log=job.log, replay=job.replay)
    raw = np.fromfile(work / "results.bin", np.uint8)
    if len(raw) % (9 + size):
        raise ToolFailed(f"{work / 'results.bin'} is cut short.")
    raw = raw.reshape(-1, 9 + size)
    starts = np.fromfile(work / "starts.bin", np.int64)
    last = raw[:, 8] >> 1 & 1
    whole = len(raw) == len(x) * pixels and len(starts) == len(x)
    if not whole or not np.array_equal(np.flatnonzero(last), np.arange(1, len(x) + 1) * pixels - 1):
        raise MismatchError(
            f"gate: level 'rtl' gave {len(raw)} pixels, {int(last.sum())} of them the last of a result, where {len(x)} frames "
            f"have {pixels} each; {len(starts)} frames were taken."
        )
    ends = np.ascontiguousarray(raw[pixels - 1 :: pixels, :8]).view(np.int64).reshape(-1)
    damaged: NDArray[np.bool_] = (raw[:, 8] & 1).reshape(len(x), pixels).max(axis=1) != 0
    outputs = manifest.output.unpack(np.ascontiguousarray(raw[:, 9:])).reshape(len(x), -1)
    return Run(outputs, starts, ends, damaged, _queues(text))


def _queues(text: str) -> dict[str, int]:
    """Read what the queues print: each new highest number of pixels, by module."""
    found: dict[str, int] = {}
    for line in text.partition("reset is over\n")[2].splitlines():
        name, _, count = line.partition(" ")
        if name.endswith("_queue") and count.isdigit():
            found[name] = max(found.get(name, 0), int(count))
    return found
