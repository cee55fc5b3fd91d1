"""Simulates a mapped netlist cycle by cycle, many streams of samples at once: every bit of a word is a stream of its own.

Independent of the simulator of the RTL, and fast: all cells of a kind and a level of logic are one operation on an array.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.synth._cells import FULL, Model, Settings, Words, model
from flow.synth._memories import model as memory
from flow.synth._memories import reduced
from flow.synth._netlist import ONE, ZERO, Cell, Module, Nets, follow


@dataclass(frozen=True)
class Instance:
    """A module inside the top one: its name, and the nets of its ports, the least significant bit first, in the order of the ports."""

    module: str
    inputs: dict[str, Nets]
    outputs: dict[str, Nets]


@dataclass
class _Batch:
    """Cells of one kind that can be evaluated at once: pins (pins, cells)."""

    model: Model
    settings: Settings
    inputs: Nets
    outputs: Nets
    clocks: Nets
    state: Words

    def part(self, keep: NDArray[np.int64]) -> "_Batch":
        settings = {name: [values[i] for i in keep] if isinstance(values, list) else values[keep] for name, values in self.settings.items()}
        return _Batch(self.model, settings, self.inputs[:, keep], self.outputs[:, keep], self.clocks[keep], self.state[:, keep])


Step = tuple[Callable[[Settings, Words, Words], Words], _Batch, _Batch, NDArray[np.int64]]


class Circuit:
    """A flat netlist in the order of evaluation."""

    def __init__(self, modules: Mapping[str, Module], top: str, clock: str) -> None:
        """Flatten and sort.

        Args:
            modules: by name.
            top: the one that has the ports.
            clock: its port with the one clock; all registers see its rising edge.

        Raises:
            InvalidInput: a cell that there is no model of, a loop without a register, or another clock.
        """
        self._root: list[Nets] = [np.array([ZERO, ONE])]
        self._total = 2
        self._bound: list[tuple[int, int]] = []
        self._cells: dict[tuple[str, bool], list[tuple[int, Cell]]] = {}
        self._placed: list[tuple[Module, int]] = []
        base = self._add(modules, top, ())
        root = np.concatenate(self._root)
        for net, driver in self._bound:
            root[net] = driver
        root = follow(np.append(root, self._total), top)  # the last net takes what pins that are not connected give
        self._total += 1
        self.inputs = {name: root[base + np.array(nets)] for name, nets in modules[top].inputs.items()}
        self.outputs = {name: root[base + np.array(nets)] for name, nets in modules[top].outputs.items()}
        self.instances = [
            Instance(module.name, *({n: root[at + np.array(p)] for n, p in ports.items()} for ports in (module.inputs, module.outputs)))
            for module, at in self._placed[1:]
        ]  # fmt: skip
        if clock not in self.inputs:
            raise InvalidInput(f"netlist of {top}: it has no clock '{clock}'.")
        batches = [_batch(kind, cells, root) for (kind, _), cells in sorted(self._cells.items())]
        for batch in batches:
            if batch.model.clock and (batch.clocks != self.inputs[clock][0]).any():
                raise InvalidInput(f"netlist of {top}: a register that does not see the rising edge of '{clock}' itself.")
        self._registers = [b for b in batches if b.model.clock]
        self._steps = _levels(batches, self._total, top)

    def _add(self, modules: Mapping[str, Module], name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise InvalidInput(f"netlist: module {name} is inside of itself.")
        module, base = modules[name], self._total
        self._placed.append((module, base))
        same = module.resolved()
        root = same + base
        root[[ZERO, ONE]] = ZERO, ONE
        root[root == base + ZERO] = ZERO
        root[root == base + ONE] = ONE
        self._root.append(root)
        self._total += module.nets
        for cell in module.cells:
            if cell.kind not in modules:
                primitive = reduced(cell, same)
                self._cells.setdefault((primitive.kind, "Z" in cell.pins), []).append((base, primitive))
                continue
            inner = self._add(modules, cell.kind, (*path, name))
            child = modules[cell.kind]
            for port, nets in child.inputs.items():
                self._bound += [(inner + net, base + pin) for net, pin in zip(nets, cell.pins.get(port, ()), strict=False)]
            for port, nets in child.outputs.items():
                self._bound += [(base + pin, inner + net) for net, pin in zip(nets, cell.pins.get(port, ()), strict=False)]
        return base

    def run(self, stimulus: Words, rng: np.random.Generator, port: str) -> "Trace":
        """Simulate; what nothing drives, and registers without a value of their own, begin with random bits.

        Args:
            stimulus: (cycles, bits, words) of the input port.
            rng: draws the random bits.
            port: name of the input.
        """
        values = self.begin(stimulus.shape[2], rng)
        watched = np.unique(np.concatenate([*self._watched(), [ZERO]]))
        trace = Trace(watched, [])
        for cycle in stimulus:
            values[self.inputs[port]] = cycle
            self.settle(values)
            trace.values.append(values[watched])
            self.clock(values)
        return trace

    def begin(self, words: int, rng: np.random.Generator) -> Words:
        """Return values of all nets (nets, words) and set all registers: random bits where nothing else is known."""
        values = rng.integers(0, 2**64, (self._total, words), np.uint64)
        values[ZERO], values[ONE] = 0, FULL
        for batch in self._registers:
            batch.state = _initial(batch, words, rng)
        return values

    def settle(self, values: Words) -> None:
        """Work out all nets from the inputs, which are set already, and the registers."""
        for batch in self._registers:
            if batch.model.evaluate is None:
                values[batch.outputs] = batch.state[: len(batch.outputs)]
        for evaluate, part, owner, keep in self._steps:
            values[part.outputs] = evaluate(part.settings, values[part.inputs], owner.state[:, keep])

    def clock(self, values: Words) -> None:
        """Let the registers take what their inputs are."""
        for batch in self._registers:
            if batch.model.step is not None:
                batch.state = batch.model.step(batch.settings, values[batch.inputs], batch.state)

    def _watched(self) -> list[Nets]:
        modules = [ports for instance in self.instances for ports in (instance.inputs, instance.outputs)]
        return [nets for ports in (self.outputs, *modules) for nets in ports.values()]


@dataclass
class Trace:
    """Values of the outputs and of the ports of all modules at the end of each cycle, before its clock edge.

    Attributes:
        nets: sorted.
        values: of each cycle, (nets, words).
    """

    nets: Nets
    values: list[Words]

    def port(self, nets: Nets) -> Words:
        """Return (cycles, bits, words)."""
        rows = np.searchsorted(self.nets, nets)
        return np.stack([values[rows] for values in self.values])


def _initial(batch: _Batch, words: int, rng: np.random.Generator) -> Words:
    state = rng.integers(0, 2**64, (batch.model.depth, batch.inputs.shape[1], words), np.uint64)
    given = batch.settings.get("INIT.known")
    if given is None:
        return state
    init = np.asarray(batch.settings["INIT"], np.uint64)
    bits = init >> np.arange(batch.model.depth, dtype=np.uint64)[:, None] & np.uint64(1)
    known = np.asarray(given, np.uint64).astype(bool)
    state[:, known] = (np.zeros_like(bits) - bits)[:, known, None]
    return state


def _batch(kind: str, cells: Sequence[tuple[int, Cell]], root: Nets) -> _Batch:
    found = memory(kind) or model(kind, cells[0][1].pins)
    if found is None:
        raise InvalidInput(f"netlist: {len(cells)} cells {kind}, of which there is no model here, so the netlist cannot be simulated.")
    for name, value in found.fixed.items():
        if any(cell.parameters.get(name, value) != value for _, cell in cells):
            raise InvalidInput(f"netlist: a cell {kind} whose {name} is not {value}; there is no model of it here.")
    _check_tied(found, kind, cells, root)
    settings: dict[str, NDArray[np.uint64] | list[str]] = {}
    for name, default in found.parameters.items():
        values = [cell.parameters.get(name, default) for _, cell in cells]
        settings[name] = [str(v) for v in values] if isinstance(default, str) else np.array(values, np.uint64)
    if found.depth:
        settings["INIT"] = np.array([cell.parameters.get("INIT", 0) for _, cell in cells], np.uint64)
        settings["INIT.known"] = np.array(["INIT" in cell.parameters for _, cell in cells], np.uint64)
    empty = np.zeros((found.depth, len(cells), 1), np.uint64)
    clocks = _pins(((found.clock, 1),), kind, cells, root)[0] if found.clock else np.zeros(len(cells), np.int64)
    inputs, outputs = _pins(found.inputs, kind, cells, root), _pins(found.outputs, kind, cells, root, len(root) - 1)
    return _Batch(found, settings, inputs, outputs, clocks, empty)


def _check_tied(found: Model, kind: str, cells: Sequence[tuple[int, Cell]], root: Nets) -> None:
    for pin, allowed in found.tied.items():
        for base, cell in cells:
            nets = [int(root[base + net]) for net in cell.pins.get(pin, ())]
            if any(net > ONE for net in nets) or sum(bit << i for i, bit in enumerate(nets)) not in allowed:
                raise InvalidInput(
                    f"netlist: {kind} {cell.name}: pin {pin} is not one of {allowed}, which is all that there is a model of."
                )


def _pins(pins: Sequence[tuple[str, int]], kind: str, cells: Sequence[tuple[int, Cell]], root: Nets, spare: int = ZERO) -> Nets:
    rows = []
    for base, cell in cells:
        row: list[int] = []
        for name, width in pins:
            nets = cell.pins.get(name, ())
            if nets and len(nets) != width:
                raise InvalidInput(f"netlist: pin {name} of cell {cell.name} ({kind}) has {len(nets)} bits, not {width}.")
            row += [base + net for net in nets] if nets else [spare] * width
        rows.append(row)
    return root[np.array(rows, np.int64).T]


def _levels(batches: Sequence[_Batch], nets: int, top: str) -> list[Step]:
    """Sort cells so that each comes behind those that drive it: by level, then by kind."""
    logic = [(batch.model.evaluate, batch) for batch in batches if batch.model.evaluate is not None]
    counts = np.cumsum([0, *(batch.inputs.shape[1] for _, batch in logic)])
    driver = np.full(nets, -1)
    for first, (_, batch) in zip(counts, logic, strict=False):
        driver[batch.outputs] = first + np.arange(batch.inputs.shape[1])
    sources = [driver[batch.inputs] for _, batch in logic]
    level = np.zeros(counts[-1], np.int64)
    for _ in range(counts[-1] + 2):
        new = level.copy()
        for first, last, source in zip(counts, counts[1:], sources, strict=False):
            new[first:last] = np.where(source >= 0, level[source] + 1, 0).max(axis=0)
        if np.array_equal(new, level):
            break
        level = new
    else:
        raise InvalidInput(f"netlist of {top}: a loop of logic without a register.")
    steps = []
    for depth in range(int(level.max(initial=-1)) + 1):
        for first, last, (evaluate, batch) in zip(counts, counts[1:], logic, strict=False):
            keep = np.flatnonzero(level[first:last] == depth)
            if len(keep):
                part = batch.part(keep)
                part.settings = batch.model.prepare(part.settings) if batch.model.prepare else part.settings
                steps.append((evaluate, part, batch, keep))
    return steps
