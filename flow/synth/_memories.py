"""Block RAMs and distributed RAMs of netlists, as far as one port writes words and the other reads words of the same width.

After AMD UG473 and UG573, and Lattice FPGA-TN-02204. A block RAM is first reduced to a cell ``memory ROWS BITS`` with the pins EN (both
must be set for a write), WE (one for each byte of 9 bits), WA, DI, RE, RA and DO, whatever the family; another use of it than this one is
refused. It begins with random words, even where Yosys has written zeros; one with other contents is refused. What is read in the cycle in
which the same row is written is not defined here: bits that are surely wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from flow.core.errors import InvalidInput
from flow.synth._cells import FULL, Model, Settings, Words, choose, table
from flow.synth._netlist import ONE, ZERO, Cell, Nets

UNUSED = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5, 72: 6}  # lowest bits of an address that do not choose a row, by width of a word
XILINX = re.compile(r"RAMB(18|36)E([12])")
Pins = tuple[int, ...]
ODD = "not one port of it writes and one reads words of the same width"


def rows_of(address: Words) -> Words:
    """Return which row an address (k, cells, words), least significant bit first, is: (2**k, cells, words)."""
    rows = np.full_like(address[:1], FULL)
    for bit in address:
        rows = np.concatenate([rows & ~bit, rows & bit])
    return rows


def _write(select: Words, data: Words, store: Words, mask: Words) -> None:
    """Write data (bits, cells, words), where the mask says so, into rows (rows, cells, words) of a store (rows, bits, cells, words)."""
    hit = np.flatnonzero(select.any(axis=(1, 2)))  # few: streams are close to each other
    store[hit] = choose(select[hit][:, None] & mask, data[None], store[hit])


def block(rows: int, bits: int) -> Model:
    """Return a memory that is read through a register; the state is that register, and the rows behind it."""
    k, groups = (rows - 1).bit_length(), max(1, bits // 9)
    pins = (("EN", 2), ("WE", groups), ("WA", k), ("DI", bits), ("RE", 1), ("RA", k))
    ends = np.cumsum([width for _, width in pins])[:-1]

    def step(settings: Settings, inputs: Words, state: Words) -> Words:
        enable, which, write_at, data, read, read_at = np.split(inputs, ends)
        store = state[bits:].reshape(rows, bits, *state.shape[1:])
        select = rows_of(read_at) & read
        hit = np.flatnonzero(select.any(axis=(1, 2)))
        word = np.bitwise_or.reduce(select[hit][:, None] & store[hit], axis=0)
        write, mask = enable[0] & enable[1], np.repeat(which, -(-bits // groups), axis=0)
        same = ~np.bitwise_or.reduce(write_at ^ read_at, axis=0)
        state[:bits] = choose(read[0], word ^ (same & write & mask), state[:bits])
        _write(rows_of(write_at) & write, data, store, mask)
        return state

    return Model(pins, (("DO", bits),), None, "CLK", bits + rows * bits, step)


def _dpr16x4_step(settings: Settings, pins: Words, state: Words) -> Words:
    _write(rows_of(pins[4:8]) & pins[8], pins[:4], state.reshape(16, 4, *state.shape[1:]), np.full_like(pins[:4], FULL))
    return state


def _dpr16x4(settings: Settings, pins: Words, state: Words) -> Words:
    return np.stack([table(state[bit::4], pins[9:]) for bit in range(4)])


DPR16X4 = Model(
    (("DI", 4), ("WAD", 4), ("WRE", 1), ("RAD", 4)), (("DO", 4),), _dpr16x4, "WCK", 64, _dpr16x4_step,
    fixed={"WCKMUX": "WCK", "WREMUX": "WRE"},
)  # fmt: skip


def model(kind: str) -> Model | None:
    """Return the model of a reduced block RAM or of a distributed RAM."""
    if found := re.fullmatch(r"memory (\d+) (\d+)", kind):
        return block(int(found[1]), int(found[2]))
    return DPR16X4 if kind == "TRELLIS_DPR16X4" else None


def reduced(cell: Cell, same: Nets) -> Cell:
    """Return a block RAM as a cell ``memory ROWS BITS``, and any other cell as it is.

    Args:
        cell: of a module.
        same: of each net of the module the one that it is assigned from.

    Raises:
        InvalidInput: a block RAM that is used in another way than here.
    """
    found = XILINX.fullmatch(cell.kind)
    if not found and cell.kind != "DP16KD":
        return cell
    contents = [n for n, v in cell.parameters.items() if re.match(r"INIT(P|VAL)?_[0-9A-F]{2}$", n) and v]
    if contents:
        raise _refuse(cell, f"it begins with contents ({contents[0]})")
    cell = replace(cell, pins={name: tuple(int(same[net]) for net in nets) for name, nets in cell.pins.items()})
    return _xilinx(cell, int(found[1]), found[2]) if found else _dp16kd(cell)


def _refuse(cell: Cell, why: str) -> InvalidInput:
    return InvalidInput(f"netlist: block RAM {cell.kind} {cell.name}: {why}; there is no model of that here.")


def _must(cell: Cell, parameters: Mapping[str, int | str], pins: Mapping[str, int]) -> None:
    for name, value in parameters.items():
        if cell.parameters.get(name, value) != value:
            raise _refuse(cell, f"its {name} is not {value}")
    for name, net in pins.items():
        if set(cell.pins.get(name, ())) - {net}:
            raise _refuse(cell, f"its pin {name} is not {net}")


def _many(cell: Cell, *names: str) -> Pins:
    return tuple(net for name in names for net in cell.pins.get(name, ()))


def _made(
    cell: Cell, enables: tuple[Pins, Pins, Pins], address: tuple[Pins, Pins], data: tuple[Pins, Pins], clocks: Pins
) -> Cell:  # fmt: skip
    """Return the reduced cell; enables of writing, of its bytes and of reading; the pairs are those of writing and of reading."""
    if len(set(clocks)) != 1:
        raise _refuse(cell, "it has two clocks")
    write, which, read = enables
    pins = {"EN": write, "WE": which, "WA": address[0], "DI": data[0], "RE": read, "RA": address[1], "DO": data[1], "CLK": clocks[:1]}
    return Cell(f"memory {1 << len(address[0])} {len(data[0])}", cell.name, {}, pins)


def _xilinx(cell: Cell, kbit: int, generation: str) -> Cell:
    inverted = {f"IS_{pin}_INVERTED": 0 for pin in ("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN", "RSTRAMARSTRAM", "RSTRAMB")}
    never = {"RSTRAMARSTRAM": ZERO, "RSTRAMB": ZERO, "SLEEP": ZERO}
    _must(cell, {"DOA_REG": 0, "DOB_REG": 0, **inverted}, {**never, "ADDRENA": ONE, "ADDRENB": ONE})
    widths = [{side: int(cell.parameters.get(f"{way}_WIDTH_{side}", 0)) for side in "AB"} for way in ("WRITE", "READ")]
    ports = [[side for side in "AB" if width[side]] for width in widths]
    if [len(sides) for sides in ports] != [1, 1] or widths[0][ports[0][0]] != widths[1][ports[1][0]]:
        raise _refuse(cell, ODD)
    (writer,), (reader,) = ports
    bits, used = widths[0][writer], {"A": ("ADDRARDADDR", "ENARDEN", "WEA"), "B": ("ADDRBWRADDR", "ENBWREN", "WEBWE")}
    groups = max(1, bits // 9)

    def data(name: str, side: str) -> Pins:
        """Of pins such as DIADI and DIPADIP the bits of a word, byte by byte; one of twice the width of a port is at both."""
        sides = "AB" if bits == 2 * kbit else side
        plain, parity = (_many(cell, *(f"{n}{s}{n}" for s in sides)) for n in (name, f"{name}P"))
        if bits < 9:
            return plain[:bits]
        return tuple(net for i in range(groups) for net in (*plain[8 * i : 8 * i + 8], parity[i]))

    names = ("DI", "DO") if generation == "1" else ("DIN", "DOUT")
    write, read = (tuple(cell.pins[used[side][0]][UNUSED[bits] : 14 + (kbit == 36)]) for side in (writer, reader))
    enables = (*cell.pins[used[writer][1]], ONE), cell.pins[used[writer][2]][:groups], cell.pins[used[reader][1]]
    return _made(cell, enables, (write, read), (data(names[0], writer), data(names[1], reader)), _many(cell, "CLKARDCLK", "CLKBWRCLK"))


def _dp16kd(cell: Cell) -> Cell:
    fixed = {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG", "CSDECODE_A": "0b000", "CSDECODE_B": "0b000", "CLKAMUX": "CLKA", "CLKBMUX": "CLKB"}
    _must(cell, fixed, {f"{pin}{side}{i}": ZERO for side in "AB" for pin, i in (("RST", ""), ("CS", 0), ("CS", 1), ("CS", 2))})
    bits = int(cell.parameters.get("DATA_WIDTH_A", 0))
    writer, reader = "AB" if _many(cell, "WEB") == (ZERO,) else "BA"
    if cell.parameters.get("DATA_WIDTH_B") != bits or _many(cell, f"WE{reader}") != (ZERO,) or bits not in UNUSED:
        raise _refuse(cell, ODD)

    def wires(name: str, count: int) -> Pins:
        return _many(cell, *(f"{name}{i}" for i in range(count)))

    def data(name: str, side: str) -> Pins:
        return wires(f"{name}A", 18) + wires(f"{name}B", 18) if bits == 36 else wires(f"{name}{side}", bits)

    write, read = (wires(f"AD{side}", 14)[UNUSED[bits] :] for side in (writer, reader))
    enables = _many(cell, f"WE{writer}", f"CE{writer}"), wires(f"AD{writer}", bits // 9) if bits > 9 else (ONE,), _many(cell, f"CE{reader}")
    return _made(cell, enables, (write, read), (data("DI", writer), data("DO", reader)), _many(cell, "CLKA", "CLKB"))
