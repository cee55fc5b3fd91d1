"""Upsets of the cells of a mapped weight store: every cell of each of its modules, and random cells of the whole."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import MismatchError
from flow.protection.hamming import Bits, Ints
from flow.protection.store import BARE, TOP, Layout, cells, image, width
from flow.protection.upsets import Upsets, lanes, unpack
from flow.synth._netlist import Module

CONTENTS = 4  # random contents that a module is tried with
CYCLES = 3  # before the upset, with it, behind it

Bools = NDArray[np.bool_]


def prove(modules: Mapping[str, Module], name: str, rng: np.random.Generator) -> dict[str, int]:
    """Upset every flip-flop of a mapped module, one at a time, with several contents.

    Args:
        modules: netlists by name.
        name: a module of `flow.protection.store`.
        rng: draws contents.

    Returns:
        The place in the shift register that each flip-flop holds, by the name of its cell.

    Raises:
        MismatchError: there are not as many flip-flops as the design has, one is not where it should be, or an upset does to the output
            what it should not: anything at all, or, if the module is ``store_bare``, anything but flip the bit.
    """
    circuit = Upsets({name: modules[name]}, name, "clk")
    if len(circuit.registers) != cells(name):
        raise MismatchError(f"protection: module {name} has {len(circuit.registers)} flip-flops behind synthesis, not {cells(name)}.")
    places = _places(circuit, name)
    upset = np.concatenate([np.eye(len(places), dtype=bool)] * CONTENTS, axis=1)
    contents = np.repeat(rng.integers(0, 2, (CONTENTS, width(name)), np.uint8), len(places), axis=0)
    state = np.stack([np.concatenate(image(name, row)) for row in contents], axis=1)[places].astype(bool)
    idle = np.zeros((CYCLES, 1, lanes(upset).shape[1]), np.uint64)
    seen, after = circuit.go({"load": idle, "din": idle}, lanes(state), {1: lanes(upset)})
    right = np.repeat(contents.T[None].astype(bool), CYCLES, axis=0)
    kept = state.copy()
    if name == BARE:
        right[1:] ^= upset
        kept ^= upset
    got = unpack(seen["q"], upset.shape[1])
    if (got != right).any() or (unpack(after, upset.shape[1]) != kept).any():
        cycle, _, which = np.argwhere(got != right)[0] if (got != right).any() else (CYCLES, 0, 0)
        cell = circuit.registers[int(which) % len(places)][1]
        raise MismatchError(f"protection: an upset of flip-flop {cell} of module {name} is not corrected as designed (cycle {cycle}).")
    return {cell: int(place) for (_, cell), place in zip(circuit.registers, places, strict=True)}


def _places(circuit: Upsets, name: str) -> Ints:
    """Load a single 1 into each place of the shift register and return the place that each flip-flop holds."""
    length = sum(map(len, image(name, np.zeros(width(name), np.uint8))))
    din = lanes(np.eye(length, dtype=bool)[::-1][:, None])  # place 0 is the last one loaded
    load = np.full_like(din, np.uint64(0xFFFF_FFFF_FFFF_FFFF))
    _, state = circuit.go({"load": load, "din": din}, np.zeros((len(circuit.registers), din.shape[2]), np.uint64), {})
    held = unpack(state, length)
    if (held.sum(axis=1) != 1).any():
        raise MismatchError(f"protection: the flip-flops of module {name} do not hold what is loaded into it.")
    return np.asarray(held.argmax(axis=1), np.int64)


def strike(
    circuit: Upsets, layout: Layout, places: Mapping[str, Mapping[str, int]], bits: Bits, hit: Ints
) -> tuple[Bools, Bools]:  # fmt: skip
    """Upset one flip-flop of the whole mapped store in each of many experiments.

    Args:
        circuit: of `layout`, with ``weight_store`` as its top module.
        layout: the store.
        places: of each module, from `prove`.
        bits: deployed bits (total,) that it holds.
        hit: the flip-flop of each experiment, a number of `Upsets.registers`.

    Returns:
        The bits at the output without upset (total,), and of each experiment (experiments, total), in the cycle of the upset.
    """
    order: dict[str, list[Bits]] = {}
    for module, which in layout.instances:
        order.setdefault(module, []).append(np.concatenate(image(module, bits[which])))
    state = np.empty(len(circuit.registers), bool)
    for i, (instance, cell) in enumerate(circuit.registers):
        module, _, index = instance.removeprefix("\\").removesuffix("].one").rpartition("s[")
        state[i] = order[module][int(index)][places[module][cell]]
    flips = np.zeros((len(state), len(hit)), bool)
    flips[hit, np.arange(len(hit))] = True
    flips = lanes(flips)
    idle = np.zeros((2, 1, flips.shape[1]), np.uint64)
    start = np.where(state[:, None], np.uint64(0xFFFF_FFFF_FFFF_FFFF), np.uint64(0)) * np.ones_like(flips)
    seen, _ = circuit.go({"load": idle, "din": idle}, start, {1: flips}, {"bits": circuit.outputs["bits"]})
    read = unpack(seen["bits"], len(hit))
    return read[0, :, 0], read[1].T


def store_circuit(modules: Mapping[str, Module]) -> Upsets:
    """Return the circuit of a whole mapped store."""
    return Upsets(modules, TOP, "clk")
