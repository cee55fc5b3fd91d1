"""Single-event upsets of pipeline registers: what a flipped register bit does to the sample that the register holds.

The Verilog is a feed-forward pipeline that takes a sample every cycle: each register is written anew at every clock edge and holds one
sample. So a bit that flips stays wrong for one cycle, meets one sample, and the outputs of that sample are those of the remaining stages
on the flipped word; no other sample is touched. The flip is taken to be there for the whole cycle, the worst case: one that comes too
late in the cycle does not reach the next register in time (timing vulnerability factor, Seifert and Tam, IEEE TDMR 4 (2004) 516).

A flipped word may lie outside of the range that the word has without faults, and then sums in the hardware wrap. alkaid's interpreter
does not know that, so `as_hardware` makes the widths of the Verilog explicit.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from alkaid.codegen.rtl.verilog import fsm_logic_gen
from alkaid.trace.fixed_variable import LookupTable
from alkaid.types import Op, Precision
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.rtl import injection, verilog
from flow.rtl.graph import Array
from flow.rtl.lower import Lowered

NEGATE, ADD, SUBTRACT, QUANTIZE, ADD_CONSTANT, CONSTANT, MUX, MULTIPLY, TABLE, SUM = -2, 0, 1, 3, 4, 5, 6, 7, 8, 11
MEMORY = 1 << 30
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Logic = Any  # alkaid has no types


@dataclass(frozen=True)
class Register:
    """A pipeline register.

    Attributes:
        name: in the Verilog.
        widths: (words,) bits of each word, the first one at bit 0.
        fractions: (words,) bits right of the binary point.
        signed: (words,) whether the word is in two's complement.
    """

    name: str
    widths: Ints
    fractions: Ints
    signed: NDArray[np.bool_]

    @property
    def bits(self) -> int:
        """All bits."""
        return int(self.widths.sum())

    def flip(self, values: Array, bits: Ints) -> Array:
        """Flip bit `bits[k]` of row k.

        Args:
            values: (n, words).
            bits: (n,).
        """
        ends = np.cumsum(self.widths)
        word = np.searchsorted(ends, bits, side="right")
        rows, width, fraction = np.arange(len(values)), self.widths[word], self.fractions[word]
        code = np.ldexp(values[rows, word], fraction).astype(np.int64) & (np.left_shift(1, width) - 1)
        code ^= np.left_shift(1, bits - (ends[word] - width))
        code -= np.where(self.signed[word], code >> width - 1 << width, 0)
        flipped = values.copy()
        flipped[rows, word] = np.ldexp(code.astype(np.float64), -fraction)
        return flipped


@dataclass(frozen=True)
class Table:
    """A table of which the Verilog leaves entries undefined, for no word without faults selects them.

    Attributes:
        word: operation of the stage whose result selects the entry.
        fraction: its bits right of the binary point.
        low: its lowest code.
        defined: by code, from the lowest on.
    """

    word: int
    fraction: int
    low: int
    defined: Flags

    def misses(self, values: Array) -> Flags:
        """Tell which words (n,) select an entry that is undefined."""
        return np.asarray(~self.defined[np.ldexp(values, self.fraction).astype(np.int64) - self.low])


@dataclass(frozen=True)
class StageLogic:
    """What is between two registers: alkaid's logic with the widths of the hardware, and its tables that are not whole."""

    logic: Logic
    tables: tuple[Table, ...] = ()

    def outputs(self, values: Array) -> tuple[Array, Flags]:
        """Return the words of the next register, (n, words), and (n,) whether an undefined entry was selected, which is taken as 0."""
        logic, extra = self.logic, [table.word for table in self.tables]
        outputs, none = [*logic.out_idxs, *extra], [0] * len(extra)
        seen = logic._replace(
            shape=(logic.shape[0], len(outputs)), out_idxs=outputs, out_shifts=[*logic.out_shifts, *none], out_negs=[*logic.out_negs, *none]
        )
        words = np.asarray(seen.predict(values, n_threads=1), np.float64)
        undefined = np.zeros(len(words), np.bool_)
        for table, column in zip(self.tables, words[:, logic.shape[1] :].T, strict=True):
            undefined |= table.misses(column)
        return words[:, : logic.shape[1]], undefined


@dataclass(frozen=True)
class Pipeline:
    """The stages of the Verilog and the registers before, between and behind them.

    Attributes:
        stages: between the registers.
        registers: one more than stages; the bits of all of them are numbered in this order.
        memory: most bytes of a batch.
    """

    stages: tuple[StageLogic, ...]
    registers: tuple[Register, ...]
    memory: int = MEMORY

    @cached_property
    def ends(self) -> Ints:
        """(registers,) number of the first bit behind each register."""
        return np.cumsum(np.array([r.bits for r in self.registers], np.int64))

    def locate(self, bits: Ints) -> tuple[Ints, Ints]:
        """Return the register of each bit, and its place there."""
        register = np.searchsorted(self.ends, bits, side="right").astype(np.int64)
        return register, bits - np.concatenate([[0], self.ends])[register]

    def outputs(self, x: Array, bits: Ints | None = None) -> tuple[Array, Flags]:
        """Return the output words of samples, with a flipped bit each.

        Args:
            x: (n, ...) inputs on the grid of the port, channels last.
            bits: (n,) numbers of the bits; None: without a flip.

        Returns:
            (n, outputs), and (n,) whether they depend on what the Verilog leaves undefined.
        """
        flat = np.ascontiguousarray(x.reshape(len(x), -1), np.float64)
        size = max(1, self.memory // (32 * max(len(s.logic.ops) for s in self.stages)))
        pieces = [slice(i, i + size) for i in range(0, len(flat), size)]
        done = [self._some(flat[piece], None if bits is None else bits[piece]) for piece in pieces]
        return np.concatenate([values for values, _ in done]), np.concatenate([undefined for _, undefined in done])

    def _some(self, values: Array, bits: Ints | None) -> tuple[Array, Flags]:
        register, place = (np.full(len(values), -1), np.zeros(len(values), np.int64)) if bits is None else self.locate(bits)
        undefined = np.zeros(len(values), np.bool_)
        for i, words in enumerate(self.registers):
            hit = np.flatnonzero(register == i)
            if len(hit):
                values = values.copy()
                values[hit] = words.flip(values[hit], place[hit])
            if i < len(self.stages):
                values, missed = self.stages[i].outputs(values)
                undefined |= missed
        return values, undefined


def pipeline(
    lowered: Lowered, folder: Path, *, part: str, clock_ns: float, logic_per_stage: float | None, memory: int = MEMORY
) -> Pipeline:
    """Cut logic into the stages of its Verilog, and make sure that they are those.

    Args:
        lowered: from `flow.rtl.lower.lower`.
        folder: that `flow.rtl.verilog.write` wrote from the same, with the settings that follow.
        part: FPGA part.
        clock_ns: target clock period in ns.
        logic_per_stage: as of `flow.rtl.verilog.write`.
        memory: most bytes of a batch.

    Raises:
        InvalidInput: the Verilog in the folder is another one.
    """
    fsm = verilog.pipelined(lowered.logic, part, clock_ns, logic_per_stage)
    for name, text in fsm_logic_gen(fsm, verilog.NAME).items():
        path = folder / "src" / f"{name}.v"
        if not path.is_file() or path.read_text().strip() != text.strip():
            raise InvalidInput(f"{path}: this is not the Verilog of the lowered network. Run stage rtl again.")
    stages = tuple(fsm.logic[f"logic{i}"] for i in range(len(fsm.logic)))
    kifs = [*(s.inp_kifs for s in stages), stages[-1].out_kifs]
    written = injection.registers((folder / "src" / f"{verilog.NAME}.v").read_text())
    registers = tuple(
        Register(name, k.sum(axis=0).astype(np.int64), k[2].astype(np.int64), k[0] > 0) for (name, _), k in zip(written, kifs, strict=True)
    )
    if [r.bits for r in registers] != [width for _, width in written]:
        raise InvalidInput("the registers of the top module are not as wide as the words of the stages.")
    return Pipeline(tuple(as_hardware(s) for s in stages), registers, memory)


def as_hardware(logic: Logic) -> StageLogic:
    """Make alkaid's interpreter compute what the Verilog does, whatever bits the inputs have.

    Behind each sum, product or selection that words of any bits could take out of its range, its width is cut to that of the Verilog.
    """
    tables: list[LookupTable] = []
    partial: list[Table] = []
    ops: list[Op] = []
    place: list[int] = []
    for op in logic.ops:
        kept, new = op.qint.kif, op._replace(addr=tuple(place[a] for a in op.addr))
        if op.opcode == TABLE:
            table, key = logic.lookup_tables[op.data[0]], logic.ops[op.addr[0]].qint
            values, defined = _whole(table, key)
            tables.append(LookupTable(values, spec=table.spec))
            new = new._replace(data=(len(tables) - 1, *op.data[1:]))
            if not defined.all():
                partial.append(Table(new.addr[0], key.kif[2], round(key.kif.qint.min / key.step), defined))
        if op.opcode != CONSTANT and sum(kept):
            new = new._replace(qint=kept.qint)
            exact = _exact(op, [logic.ops[a].qint.kif for a in op.addr])
            if exact is not None and any(a < b for a, b in zip(kept, exact, strict=True)):
                ops.append(new._replace(qint=exact.qint))
                new = Op((len(ops) - 1,), QUANTIZE, (0,), kept.qint, op.latency, 0.0)
        ops.append(new)
        place.append(len(ops) - 1)
    outputs = [place[i] if i >= 0 else i for i in logic.out_idxs]
    return StageLogic(logic._replace(ops=ops, out_idxs=outputs, lookup_tables=tuple(tables) or None), tuple(partial))


def _exact(op: Op, kifs: list[Precision]) -> Precision | None:
    """Return a format that holds the result of an operation on words of any bits; None where the result always fits."""
    if op.opcode in (ADD, SUBTRACT, MUX):
        shifts = [0, op.data[0]]
    elif op.opcode == SUM:
        shifts = list(op.data[1 : 2 * len(kifs) : 2])
    elif op.opcode == NEGATE:
        shifts = [0]
    elif op.opcode == ADD_CONSTANT:
        kifs, shifts = [*kifs, Precision(True, int(op.data[0]).bit_length() - op.data[1], op.data[1])], [0, 0]
    elif op.opcode == MULTIPLY:
        return Precision(True, kifs[0][1] + kifs[1][1] + 1, kifs[0][2] + kifs[1][2])
    else:
        return None
    terms = list(zip(kifs, shifts, strict=False))
    spare = 1 if op.opcode == MUX else len(terms)
    return Precision(True, max(i + s for (_, i, _), s in terms) + spare, max(f - s for (_, _, f), s in terms))


def _whole(table: LookupTable, key: Any) -> tuple[NDArray[np.int32], Flags]:  # noqa: ANN401
    """Return the entries for every code of a word, from the lowest on, and which the Verilog defines."""
    pads = table._get_pads(key)
    known = np.ones(len(table.table), np.bool_) if table.mask is None else ~table.mask
    return np.pad(np.where(known, table.table, 0), pads).astype(np.int32), np.pad(known, pads)
