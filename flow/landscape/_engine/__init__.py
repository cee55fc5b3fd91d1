"""Generated C++ for the loss of one network: all samples at many points, some thirty times faster than torch.

One sample is recorded, operator by operator, with an id for each element of every tensor; what only moves elements then costs nothing.
The operations that are left become sums of products, maxima and element-wise formulas over tables of places, in which each number is a
vector of samples (16 of them with AVX-512). What depends on the samples alone is computed once for all points, and what no result needs is
left out. Words on chip are integers times powers of two, so their sums are exact in any order, and equal those of the twin bit by bit; the
float head and the loss agree to rounding. `build_engine` makes sure of both on some samples.

Points that are the deployed network but for a few words on chip, as those of a campaign of faults, take only the work that the faults make
necessary, with the same results bit by bit; see `flow.landscape._engine.faults`. Many of them should be given in one call.
"""

import ctypes
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flow.core import tool
from flow.core.errors import ToolFailed, ToolNotFound
from flow.landscape._engine.deployed import Deployed, deployed_network
from flow.landscape._engine.emit import Code, emit
from flow.landscape._engine.faults import KERNELS as FAULTS
from flow.landscape._engine.kernels import KERNELS
from flow.landscape._engine.program import shorten
from flow.landscape._engine.record import Recording, record
from flow.landscape._engine.values import Unsupported
from flow.landscape._problem import CHIP, HEAD, apply_head, build_problem
from flow.twin import Twin

__all__ = ["Engine", "Unsupported", "build_engine", "try_engine"]

Floats = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]
Compile = Callable[[list[str], Path], object]
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-w")
STATIC = 4 * 2**20  # bytes of what is kept for the samples of one pass over the points
CHECKED = 37  # samples of the comparison with the twin, no multiple of the lanes
CLOSE = 1e-4  # of the largest loss: far above rounding, far below any mistake


@dataclass(frozen=True)
class Engine:
    """Compiled code of a network and its loss.

    Attributes:
        library: the loaded code.
        codes: programs ``losses`` and ``outputs``.
        size: parameters of a point.
        input_shape: shape of one input.
        target_shape: shape of one target.
        output_shape: shape of the words of one sample.
        memory: bytes for what is kept of the samples.
        deployed: the deployed point, and the steps of its words on chip.
        work: multiplications with additions that the last call took.
    """

    library: ctypes.CDLL
    codes: dict[str, Code]
    size: int
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    memory: int = STATIC
    deployed: Deployed | None = None
    work: list[int] = field(default_factory=lambda: [0])

    @property
    def products(self) -> int:
        """Multiplications with additions that the loss of one sample takes at each point."""
        return self.codes["losses"].products

    def losses(self, points: Floats, x: Tensor, y: Tensor) -> Floats:
        """Return the loss of each sample (P, N) at each point (P, D), whose weights are taken as they are."""
        return self._run("losses", points, x, y, ())

    def outputs(self, points: Floats, x: Tensor) -> Floats:
        """Return the words that leave the chip, (P, N, ...), at each point (P, D), whose weights are taken as they are."""
        return self._run("outputs", points, x, None, self.output_shape)

    def _run(self, name: str, points: Floats, x: Tensor, y: Tensor | None, shape: tuple[int, ...]) -> Floats:
        if points.shape[1:] != (self.size,) or tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(f"points of shape {points.shape} and inputs of shape {tuple(x.shape)} do not fit the network")
        if y is not None and y.shape != (len(x), *self.target_shape):
            raise ValueError(f"targets of shape {tuple(y.shape)} do not fit the network")
        rows = np.ascontiguousarray(points, np.float64)
        inputs, targets = (
            np.ascontiguousarray(v.detach().numpy(), np.float32) if v is not None else np.zeros(1, np.float32) for v in (x, y)
        )
        code, result = self.codes[name], np.empty((len(points), len(x), *shape))
        changes = self.deployed.changes(rows) if self.deployed is not None and code.faults else None
        ends = [_pointer(code.table), _pointer(code.constants), _pointer(result)]
        rest = (_pointer(inputs), _pointer(targets), ctypes.c_long(len(x)), *ends)
        if self.deployed is None or changes is None:
            status = getattr(self.library, f"run_{name}")(_pointer(rows), ctypes.c_long(len(rows)), *rest, ctypes.c_long(self.memory))
            self.work[0] = code.products * len(rows) * len(x)
        else:
            done = np.zeros(1, np.int64)
            point, lists = _pointer(self.deployed.point), [_pointer(values) for values in changes]
            status = getattr(self.library, f"faults_{name}")(point, ctypes.c_long(len(rows)), *lists, *rest, _pointer(done))
            self.work[0] = int(done[0])
        if status:
            raise MemoryError("the compiled network got no memory")
        return result


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _gxx(args: list[str], folder: Path) -> str:
    return tool.run(tool.GXX, args, cwd=folder, log=folder / "engine.log")


def _recorded(twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor) -> tuple[Recording, dict[str, Tensor]]:
    """Record the first sample; the parameters are in the order of `flow.landscape._problem.Problem.params`."""
    parts = {CHIP + name: value.detach().clone() for name, value in twin.params.items()}
    if head is not None:
        parts |= {HEAD + name: value.detach().clone() for name, value in head.named_parameters()}
    chip = {name: parts[CHIP + name] for name in twin.params}
    recording = record(
        parts,
        lambda inputs: twin.forward_values(chip, inputs),
        lambda words, target: loss(apply_head(head, parts, words.to(torch.float32)), target),
        x[:1].clone(),
        y[:1].clone(),
    )
    return recording, parts


def load_code(source: str, folder: Path, compile_: Compile = _gxx) -> ctypes.CDLL:
    """Compile a source, unless the folder has it already, and load it."""
    digest = hashlib.sha256((source + " ".join(FLAGS)).encode()).hexdigest()[:16]
    code, library = folder / f"engine_{digest}.cpp", folder / f"engine_{digest}.so"
    if not library.exists():
        code.write_text(source)
        compile_([*FLAGS, code.name, "-o", f"{library.name}.part"], folder)
        library.with_name(f"{library.name}.part").replace(library)
    return ctypes.CDLL(str(library))


def build_engine(
    twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor, folder: Path, compile_: Compile = _gxx, memory: int = STATIC
) -> Engine:
    """Generate, compile, load and check the code of a network.

    Args:
        twin: the on-chip part.
        head: the off-chip part with its trained parameters, or None.
        loss: ``(output, target) -> (B,)``.
        x: inputs (N, ...), float32; some are used to check.
        y: targets (N, ...), float32.
        folder: where sources and libraries are kept; a library that is there is used again.
        compile_: ``(arguments of the compiler, folder)`` runs g++.
        memory: most bytes for what is kept of the samples.

    Raises:
        Unsupported: no code can be generated for the network, or it does not do what the twin does.
        ToolNotFound: there is no compiler.
    """
    recording, parts = _recorded(twin, head, loss, x, y)
    size, chip = (sum(p.numel() for name, p in parts.items() if name.startswith(side)) for side in ("", CHIP))
    codes = {
        name: emit(shorten(recording.pool, targets), name, size, chip)
        for name, targets in (("losses", recording.loss), ("outputs", recording.output))
    }
    library = load_code("\n".join([KERNELS, FAULTS, *(c.text for c in codes.values())]), folder, compile_)
    engine = Engine(library, codes, size, tuple(x.shape[1:]), tuple(y.shape[1:]), recording.shape, min(memory, STATIC))
    engine = replace(engine, deployed=deployed_network(build_problem(twin, head, loss, x, y)))
    _check(engine, twin, head, loss, x[:CHECKED], y[:CHECKED])
    return engine


def _check(engine: Engine, twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor) -> None:
    """Compare with the twin, at the deployed weights and at half of them.

    Raises:
        Unsupported: words differ at all, or losses by more than rounding.
    """
    problem = build_problem(twin, head, loss, x, y)
    points = problem.quantized(np.stack([problem.point, 0.5 * problem.point]))
    expected = problem.sample_losses(points, quantize=False)
    found = engine.losses(points, x, y)
    if not np.allclose(found, expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max(), equal_nan=True):
        raise Unsupported("the generated code does not compute the losses of the twin")
    for row, words in zip(points, engine.outputs(points, x), strict=True):
        parts = problem.split(torch.from_numpy(row[None]))
        exact = twin.forward_values({name.removeprefix("chip."): parts[name][0] for name in problem.chip}, x)
        if not np.array_equal(words, exact.double().numpy()):
            raise Unsupported("the generated code does not compute the words of the twin")


def try_engine(
    twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor, folder: Path, compile_: Compile = _gxx, memory: int = STATIC
) -> "tuple[Engine | None, str]":
    """Return the compiled code of a network, or None with the reason why there is none; see `build_engine`."""
    try:
        return build_engine(twin, head, loss, x, y, folder, compile_, memory), ""
    except (Unsupported, ToolFailed, ToolNotFound) as error:
        return None, str(error)
