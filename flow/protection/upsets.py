"""Simulates a mapped netlist in which registers are upset: any bit of state, in any cycle, in each of many experiments at once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flow.rtl.ports import Manifest
from flow.synth._cells import FULL, Words, model
from flow.synth._circuit import Circuit
from flow.synth._netgate import Netlist
from flow.synth._netlist import ONE, ZERO, Module, Nets

AT_ONCE = 4096  # samples, for the memory
Flips = Mapping[int, Words]


class Upsets(Circuit):
    """A circuit that can be given the state of its registers, and upsets of them; every bit of a word is an experiment of its own.

    Attributes:
        registers: of each bit of state the instance it is in, ``""`` for the top module, and the name of its cell; a cell with more than
            one bit of state is there as often.
    """

    def __init__(self, modules: Mapping[str, Module], top: str, clock: str) -> None:
        """Flatten and sort; see `Circuit`. Modules inside have no further ones inside."""
        super().__init__(modules, top, clock)
        inside = [cell.name for cell in modules[top].cells if cell.kind in modules]
        instance = dict(zip((base for _, base in self._placed[1:]), inside, strict=True))
        self.registers: list[tuple[str, str]] = []
        for (kind, _), cells in sorted(self._cells.items()):
            found = model(kind, cells[0][1].pins)
            if found is not None and found.clock:
                self.registers += [(instance.get(base, ""), cell.name) for base, cell in cells] * found.depth

    def go(
        self, stimulus: Mapping[str, Words], state: Words, flips: Flips, watched: Mapping[str, Nets] | None = None
    ) -> tuple[dict[str, Words], Words]:  # fmt: skip
        """Simulate.

        Args:
            stimulus: (cycles, bits, words) of each input port but the clock.
            state: (registers, words) that the simulation begins with.
            flips: the bits of state (registers, words) that are upset just before a cycle, by cycle.
            watched: nets that are recorded by name; None: the outputs.

        Returns:
            The nets before each clock edge, (cycles, bits, words) by name, and the state behind the last one.
        """
        watched = self.outputs if watched is None else watched
        cycles, words = next(iter(stimulus.values())).shape[0], state.shape[1]
        values = np.zeros((self._total, words), np.uint64)
        values[ONE] = FULL
        seen: dict[str, list[Words]] = {name: [] for name in watched}
        for cycle in range(cycles):
            if cycle in flips:
                state = state ^ flips[cycle]
            self._put(state)
            for port, lanes in stimulus.items():
                values[self.inputs[port]] = lanes[cycle]
            values[ZERO] = 0
            for batch in self._registers:
                if batch.model.evaluate is None:
                    values[batch.outputs] = batch.state
            for evaluate, part, owner, keep in self._steps:
                values[part.outputs] = evaluate(part.settings, values[part.inputs], owner.state[:, keep])
            for name, nets in watched.items():
                seen[name].append(values[nets])
            for batch in self._registers:
                if batch.model.step is not None:
                    batch.state = batch.model.step(batch.settings, values[batch.inputs], batch.state)
            state = self._get()
        return {name: np.stack(rows) for name, rows in seen.items()}, state

    def _put(self, state: Words) -> None:
        at = 0
        for batch in self._registers:
            shape = (batch.model.depth, batch.inputs.shape[1], state.shape[1])
            size = shape[0] * shape[1]
            batch.state = state[at : at + size].reshape(shape)
            at += size

    def _get(self) -> Words:
        parts = [batch.state.reshape(-1, batch.state.shape[-1]) for batch in self._registers]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.uint64)


def outputs(circuit: Circuit, manifest: Manifest, x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Simulate a mapped network as stage ``netsim`` does.

    Args:
        circuit: of the network.
        manifest: of its Verilog.
        x: (N, ...) inputs, channels last.
        rng: draws what registers hold before.

    Returns:
        (N, outputs).
    """
    netlist = Netlist(circuit, manifest)
    return np.concatenate([netlist.simulate(x[first : first + AT_ONCE], rng)[0] for first in range(0, len(x), AT_ONCE)])


def lanes(bits: NDArray[np.bool_]) -> Words:
    """Pack experiments (..., experiments) into words (..., words); those behind the last one are 0."""
    padded = np.concatenate([bits, np.zeros((*bits.shape[:-1], -bits.shape[-1] % 64), bool)], axis=-1)
    return np.packbits(padded, axis=-1, bitorder="little").view(np.uint64)


def unpack(words: Words, experiments: int) -> NDArray[np.bool_]:
    """Return the bits (..., experiments) of words (..., words)."""
    raw = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(raw, axis=-1, bitorder="little")[..., :experiments].astype(bool)
