"""Which modules of a streaming network are mapped alone, and the simulation of what the mapper made of them.

Many streams run at once, each bit of a word is one; each of them offers its own frames when the network is ready, one behind the other.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MissingInput
from flow.rtl.ports import Manifest
from flow.stream.build import Design
from flow.synth._cells import Words
from flow.synth._circuit import Circuit
from flow.synth._netlist import Module, parse

RESET = 4  # cycles
IN, OUT = "s_axis_", "m_axis_"
PATIENCE = 1000  # cycles in which nothing moves, beyond what the design says it takes
Share = float | NDArray[np.floating[Any]]
SPARE = 64  # cycles behind the last result


def pieces(design: Design) -> tuple[str, ...]:
    """Return the modules that synthesis maps in runs of their own: elements, queues, memories, and the large ones inside of elements.

    Pipeline stages of kernels and arrays of multipliers are as large as all the rest, and change when nothing else does.
    """
    names = [name.removesuffix(".v") for name in design.files]
    inner = [name for name in names if name.rpartition("_logic")[2].isdigit()]
    arrays = [f"a_{name}" for name, cycles in design.reuse.items() if cycles > 1 and name in design.kernels]
    storage = [name for name in names if name.endswith(("_queue", "_lines"))]
    return tuple(dict.fromkeys((*inner, *arrays, *storage, *(e.name for e in design.elements))))


@dataclass(frozen=True)
class Results:
    """What a netlist gave.

    Attributes:
        values: (N, outputs) results; NaN where none came, or tlast was not where the frame ends.
        damaged: (N,) frames that the network itself marked as not whole.
        cycles: clock cycles that were simulated, the reset included.
        extra: results beyond those of the frames.
    """

    values: NDArray[np.float64]
    damaged: NDArray[np.bool_]
    cycles: int
    extra: int


def load(folder: Path, manifest: Manifest) -> Circuit:
    """Read the netlists that stage synth wrote.

    Raises:
        MissingInput: there are none.
        InvalidInput: they are not understood, or do not have the ports of the Verilog.
    """
    about = json.loads((folder / "netlist.json").read_text())
    if manifest.top not in about["modules"]:
        raise MissingInput(f"{folder}: there is no netlist of {manifest.top}; the back end of synthesis left none.")
    modules: dict[str, Module] = {}
    for name in about["modules"]:
        modules |= {module.name: module for module in parse((folder / f"{name}.v").read_text(), f"{name}.v")}
    circuit = Circuit(modules, manifest.top, manifest.clock)
    wanted = {"inputs": ("aresetn", f"{IN}tvalid", f"{IN}tuser", f"{IN}tlast", f"{OUT}tready"),
              "outputs": (f"{IN}tready", f"{OUT}tvalid", f"{OUT}tuser", f"{OUT}tlast")}  # fmt: skip
    for side, names in wanted.items():
        for name in names:
            if len(getattr(circuit, side).get(name, ())) != 1:
                raise InvalidInput(f"netlist of {manifest.top}: it has no {side[:-1]} {name} of one bit.")
    for ports, name, port in ((circuit.inputs, f"{IN}tdata", manifest.input), (circuit.outputs, f"{OUT}tdata", manifest.output)):
        if len(ports.get(name, ())) < port.width:
            raise InvalidInput(f"netlist of {manifest.top}: port {name} has {len(ports.get(name, ()))} bits, not {port.width}.")
    return circuit


def simulate(
    circuit: Circuit, manifest: Manifest, x: NDArray[np.float64], rng: np.random.Generator, frames: int = 2,
    gap: Share = 0.0, stall: Share = 0.0,
) -> Results:  # fmt: skip
    """Send frames through a mapped network.

    Args:
        circuit: from `load`.
        manifest: of the Verilog it was mapped from.
        x: (N, ...) samples, channels last.
        rng: draws what registers hold at power-on, gaps and stalls.
        frames: that each stream sends, one behind the other.
        gap: probability that a stream has no pixel in a cycle in which it could offer one; of all, or of each (streams,).
        stall: probability that it does not take a result in a cycle; the same.

    Raises:
        InvalidInput: values that do not fit the port.
    """
    host = _Host(circuit, manifest, x, frames)
    values = circuit.begin(-(-host.streams // 64), rng)
    cycle, silent, patience = 0, 0, PATIENCE + 4 * (manifest.latency + manifest.interval)
    # Some cycles more than are needed, to see whether results come that belong to no frame.
    while silent < (patience if host.waits() else SPARE):
        offers, takes = rng.random((2, host.streams))
        host.drive(values, cycle >= RESET, offers >= gap, takes >= stall)
        circuit.settle(values)
        silent = 0 if host.read(values) else silent + 1
        circuit.clock(values)
        cycle += 1
    return host.results(cycle)


class _Host:
    """Sends the frames of all streams and takes their results; arrays have an axis of streams first."""

    def __init__(self, circuit: Circuit, manifest: Manifest, x: NDArray[np.float64], frames: int) -> None:
        self.circuit, self.manifest, self.samples = circuit, manifest, len(x)
        self.streams = -(-len(x) // frames)
        rows = np.concatenate([x, np.repeat(x[-1:], self.streams * frames - len(x), axis=0)])
        bits = np.unpackbits(manifest.pack_inputs(rows), axis=1, bitorder="little")[:, : manifest.input.width]
        height, width = manifest.frame
        place = np.arange(len(bits)) % (height * width)
        # tuser, tlast, tdata
        beats = np.column_stack([place == 0, place % width == width - 1, bits]).astype(np.uint8)
        self.beats = beats.reshape(self.streams, -1, beats.shape[1])
        self.each = manifest.result[0] * manifest.result[1]
        self.got = np.zeros((self.streams, self.each * frames, 2 + manifest.output.width), np.uint8)
        self.sent, self.taken = np.zeros((2, self.streams), np.int64)
        self.offered, self.ready = np.zeros((2, self.streams), np.bool_)
        self.extra = 0

    def waits(self) -> bool:
        """Tell whether results are missing."""
        return bool((self.taken < self.got.shape[1]).any())

    def drive(self, values: Words, running: bool, offer: NDArray[np.bool_], ready: NDArray[np.bool_]) -> None:
        """Set the inputs; what was offered stays until it is taken, as the standard wants it."""
        self.offered = (self.offered | offer) & running & (self.sent < self.beats.shape[1])
        self.ready = ready & running
        beat = self.beats[np.arange(self.streams), np.minimum(self.sent, self.beats.shape[1] - 1)]
        reset = np.full(self.streams, running)
        for name, bits in (
            ("aresetn", reset[:, None]), (f"{IN}tvalid", self.offered[:, None]), (f"{OUT}tready", self.ready[:, None]),
            (f"{IN}tuser", beat[:, :1]), (f"{IN}tlast", beat[:, 1:2]), (f"{IN}tdata", beat[:, 2:]),
        ):  # fmt: skip
            nets = self.circuit.inputs[name]
            values[nets] = 0
            values[nets[: bits.shape[1]]] = _words(bits)

    def read(self, values: Words) -> bool:
        """Look at the outputs before the clock edge, and tell whether a pixel was taken or a result came that is waited for."""
        ready, valid, user, last, data = (
            _bits(values[self.circuit.outputs[name]], self.streams)
            for name in (f"{IN}tready", f"{OUT}tvalid", f"{OUT}tuser", f"{OUT}tlast", f"{OUT}tdata")
        )
        accepted = self.offered & ready[:, 0].astype(bool)
        result = self.ready & valid[:, 0].astype(bool)
        who = np.flatnonzero(result & (self.taken < self.got.shape[1]))
        self.got[who, self.taken[who]] = np.column_stack([user, last, data[:, : self.manifest.output.width]])[who]
        self.extra += int(result.sum()) - len(who)
        self.taken[who] += 1
        self.sent, self.offered = self.sent + accepted, self.offered & ~accepted
        return bool(accepted.any()) or len(who) > 0

    def results(self, cycles: int) -> Results:
        """Return what came."""
        count = self.got.shape[1]
        flat = self.got.reshape(self.streams * count, -1)
        values = self.manifest.output.unpack(np.packbits(flat[:, 2:], axis=1, bitorder="little"))
        place = np.arange(count)
        whole = (place < self.taken[:, None]) & (self.got[:, :, 1] == (place % self.each == self.each - 1))
        values[~whole.reshape(-1)] = np.nan
        marked = flat[:, 0].reshape(-1, self.each).max(axis=1).astype(bool)
        return Results(values.reshape(len(marked), -1)[: self.samples], marked[: self.samples], cycles, self.extra)


def _words(bits: NDArray[np.generic]) -> Words:
    """Turn bits (streams, bits) into words (bits, words) of which each bit is a stream."""
    padded = np.pad(bits.astype(np.uint8).T, ((0, 0), (0, -len(bits) % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1, bitorder="little")).view(np.uint64)


def _bits(words: Words, streams: int) -> NDArray[np.uint8]:
    """Turn words (bits, words) into bits (streams, bits)."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")[:, :streams].T
