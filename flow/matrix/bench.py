"""Measure one row: lower its networks in every form, compare every output, and put what came out into words."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from flow import gate
from flow.config import DesignPoint, HardwareConfig
from flow.core.errors import FlowError, InvalidInput, MismatchError, ToolFailed, ToolTimeout
from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.gate import Values
from flow.hls.convert import Io, convert
from flow.hls.csim import Csim, build, csim_tool
from flow.matrix import streams
from flow.matrix.imported import Imported
from flow.matrix.networks import Case
from flow.matrix.samples import TOP, Sample, make_sample
from flow.matrix.table import RANK, Cell, Row
from flow.rtl.graph import Graph
from flow.rtl.lower import Lowered, lower
from flow.rtl.simulate import simulate, simulator
from flow.rtl.verilog import write
from flow.stream.build import Design

STAGE = Stage("matrix", lambda job: None, tools=(GXX, csim_tool(), *simulator()))
HARDWARE = HardwareConfig()
FORMS: tuple[Io, ...] = ("parallel", "stream")
LOGIC = {"parallel": "logic", "stream": "stream_logic"}
RTL = {"parallel": "rtl", "stream": "stream_rtl"}
SIMULATED = {"parallel": 1, "stream": 2}  # draws; a stream once with one pixel a cycle, and once with multipliers that are used again


@dataclass(frozen=True)
class Effort:
    """How much is compared.

    Attributes:
        seeds: draws of weights and inputs.
        vectors: inputs for each of them.
        rtl_vectors: inputs to simulate in Verilog with the first seed, of a stream with the first two; 0: no columns of Verilog.
    """

    seeds: int = 3
    vectors: int = 1024
    rtl_vectors: int = 64


@dataclass
class Bench:
    """Lowers the networks of one row.

    Attributes:
        folder: empty folder to work in.
        log: for the words of the libraries.
        programs: compiled projects by what they were compiled from.
    """

    folder: Path
    log: TextIO
    programs: dict[str, tuple[Csim, Path]] = field(default_factory=dict)

    def _job(self, name: str) -> Job:
        folder = self.folder / name
        (folder / "out").mkdir(parents=True)
        return Job(STAGE, DesignPoint(model=TOP), {}, folder / "out", folder, folder / "log", folder / "replay.sh")

    def csim(self, io: Io, sample: Sample) -> tuple[Graph, Values]:
        """Convert, compile unless the C++ is that of an earlier draw, and simulate.

        Returns:
            The lowered graph and (N, outputs).

        Raises:
            InvalidInput: it cannot be converted.
            ToolFailed: it does not compile, or stops.
        """
        project = self.folder / f"{sample.path.stem}_{io}"
        graph = convert(sample.path, project, TOP, HARDWARE.part, HARDWARE.clock_ns, io, self.log)
        key = _fingerprint(project)
        if key not in self.programs:
            self.programs[key] = build(self._job(f"csim_{project.name}"), project), project
        program, compiled = self.programs[key]
        if compiled != project:  # the program reads its weights when it starts
            shutil.copytree(project / "firmware" / "weights", compiled / "firmware" / "weights", dirs_exist_ok=True)
        return graph, program.run(sample.x)

    def verilog(self, lowered: Lowered, graph: Graph, sample: Sample, count: int) -> Values:
        """Return (count, outputs) that the generated Verilog computes.

        Raises:
            MismatchError: a bit is unknown.
            ToolFailed: it does not compile, or stops.
        """
        folder = self.folder / "verilog"
        write(lowered, graph, folder, part=HARDWARE.part, clock_ns=HARDWARE.clock_ns, logic_per_stage=HARDWARE.logic_per_stage)
        x = gate.channels_last(sample.x[:count])
        result = simulate(self._job("rtl"), folder, x, sample.expected[:count], simulator())
        if result.unknown:
            raise MismatchError(f"the Verilog has unknown (X) bits in {result.unknown} of {count} samples.")
        return result.outputs

    def stream(self, made: Design, x: Values, seed: int) -> Values:
        """Return (N, outputs) that the Verilog of streaming hardware computes of (N, ...) frames; see `streams.simulated`."""
        return streams.simulated(self._job(f"stream_rtl_{seed}"), made, x, self.folder / f"stream_verilog_{seed}")


def _fingerprint(project: Path) -> str:
    """Hash what a program is compiled from: all C++ but the weights, and the counts of their zeros, which compute nothing."""
    digest = hashlib.sha256()
    for file in sorted((project / "firmware").rglob("*")):
        if file.suffix in (".h", ".cpp") and file.parent.name != "weights":
            digest.update(re.sub(r"(n_(non)?zeros = )\d+", r"\1", file.read_text(errors="replace")).encode())
    return digest.hexdigest()


def _judge(sample: Sample, level: str, compute: Callable[[], Values]) -> Cell:
    """Compute the outputs of a level and compare them with the expected ones."""
    try:
        got = compute()
        expected = sample.expected[: len(got)]
        count, where = gate.mismatches(expected, got)
        if where is not None:
            raise gate.report(level, "twin", expected, got, "output", where, count)
    except Exception as error:  # noqa: BLE001 - what a library throws is a cell of the table, not the end of it
        return _failed(error, sample.path)
    if sample.error is not None:
        return Cell("approximate", error=sample.error)
    return Cell("repaired" if sample.repairs else "exact")


def _failed(error: Exception, path: Path) -> Cell:
    """Return the cell for what was raised.

    Raises:
        FlowError: it says nothing about the layer: a program is not installed, or the case is no good.
    """
    if isinstance(error, InvalidInput):
        return Cell("refused", _words(error, path))
    if isinstance(error, FlowError) and not isinstance(error, (MismatchError, ToolFailed, ToolTimeout)):
        raise error
    return Cell("wrong", f"{type(error).__name__}: {_words(error, path)}")


def _words(error: Exception, path: Path) -> str:
    """Return a message in one line, without folders of this machine."""
    text = re.sub(r"\s+", " ", str(error)).replace(f"{path}: ", "")
    return text.replace(f"{path.parent}/", "")


def _worst(cells: list[Cell]) -> Cell:
    errors = [cell.error for cell in cells if cell.error is not None]
    worst = min(cells, key=lambda cell: RANK[cell.status])
    return Cell(worst.status, worst.reason, max(errors) if errors and worst.status == "approximate" else None)


def measure(case: Case | Imported, group: str, effort: Effort, folder: Path) -> Row:
    """Measure one row.

    Args:
        case: what the row is about.
        group: heading of the part of the table.
        effort: how much is compared.
        folder: empty folder to work in.

    Returns:
        The row, with the worst of all draws in each column. ``rtl`` is the simulated Verilog with the first draw, and at most as good
        as the column ``logic``, which compares alkaid's logic on all inputs of all draws. ``stream_rtl`` and ``stream_logic`` are the
        same of streaming hardware: with the first draw it takes a pixel a cycle, with the others multipliers are used again.

    Raises:
        ToolNotFound: a program is not installed.
    """
    columns = (*FORMS, *LOGIC.values(), *(RTL.values() if effort.rtl_vectors else ()))
    cells: dict[str, list[Cell]] = {column: [] for column in columns}
    repairs: frozenset[str] = frozenset()
    scales = None
    with (folder / "log").open("a") as log:
        bench = Bench(folder, log)
        for seed in range(effort.seeds):
            path = folder / f"{TOP}_{seed}.onnx"
            try:
                sample = make_sample(case, seed, effort.vectors, folder, log, scales)
            except Exception as error:  # noqa: BLE001 - as above
                cell = _failed(error, path)
                for column in cells.values():
                    column.append(cell)
                continue
            scales, repairs = sample.scales, repairs | sample.repairs
            _lower(bench, sample, seed, effort.rtl_vectors, cells)
    worst = {column: _worst(found) for column, found in cells.items()}
    for io in FORMS if effort.rtl_vectors else ():
        worst[RTL[io]] = _worst([worst[LOGIC[io]], worst[RTL[io]]])
    return Row(case.id, case.title, group, worst, tuple(sorted(repairs)))


def _lower(bench: Bench, sample: Sample, seed: int, rtl_vectors: int, cells: dict[str, list[Cell]]) -> None:
    """Add what one draw shows to each column."""
    x = gate.channels_last(sample.x)
    graphs: dict[str, Graph] = {}
    verilog: dict[str, Callable[[], Values]] = {}

    def csim(io: Io) -> Values:
        graphs[io], got = bench.csim(io, sample)
        return got

    def parallel() -> Values:
        lowered = lower(graphs["parallel"])
        verilog["parallel"] = lambda: bench.verilog(lowered, graphs["parallel"], sample, rtl_vectors)
        return lowered.predict(x)

    def stream() -> Values:
        made = streams.design(graphs["stream"], HARDWARE.part, HARDWARE.clock_ns, reused=seed > 0)
        verilog["stream"] = lambda: bench.stream(made, x[:rtl_vectors], seed)
        return streams.outputs(made, x)

    for io, logic in zip(FORMS, (parallel, stream), strict=True):
        cells[io].append(_judge(sample, "csim", partial(csim, io)))
        # what hls4ml refuses gives no graph to make RTL of, and what has no logic no Verilog
        cells[LOGIC[io]].append(_judge(sample, "logic", logic) if io in graphs else cells[io][-1])
        if rtl_vectors and seed < SIMULATED[io]:
            cells[RTL[io]].append(_judge(sample, "RTL", verilog[io]) if io in verilog else cells[LOGIC[io]][-1])
