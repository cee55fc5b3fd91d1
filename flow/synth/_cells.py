"""What the cells of a netlist do, on words of which every bit is a sample of its own.

Written after the simulation models that come with Yosys (``+/xilinx/cells_sim.v``, ``+/ecp5/cells_sim.v``), with which the tests compare
them. Words are uint64; arrays have the axes (pins, cells, words).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Settings = Mapping[str, NDArray[np.uint64] | list[str]]
FULL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True)
class Model:
    """A kind of cell.

    Attributes:
        inputs: name and width of its input pins; without the clock.
        outputs: the same of its output pins.
        evaluate: ``(settings, inputs, state) -> outputs`` as they are before a clock edge; None: the first bits of the state.
        clock: pin of the clock; empty: no state.
        depth: bits of state.
        step: ``(settings, inputs, state) -> state`` behind a clock edge.
        parameters: names and defaults of the parameters that both are given.
        fixed: parameters that must have this value if they are there at all.
        tied: input pins that must be one of these constants.
        prepare: ``settings -> settings`` that `evaluate` is given instead; worked out once.
    """

    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    evaluate: Callable[[Settings, Words, Words], Words] | None
    clock: str = ""
    depth: int = 0
    step: Callable[[Settings, Words, Words], Words] | None = None
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    fixed: Mapping[str, int | str] = field(default_factory=dict)
    tied: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    prepare: Callable[[Settings], Settings] | None = None


def choose(select: Words, one: Words, zero: Words) -> Words:
    """Return `one` where `select` is set, `zero` elsewhere."""
    chosen: Words = (one ^ zero) & select
    chosen ^= zero  # in place: most of the time of a simulation is spent here
    return chosen


def table(rows: Words, address: Words) -> Words:
    """Look rows (2**k, cells, words) up at an address (k, cells, words), least significant bit first."""
    for bit in address:
        rows = choose(bit, rows[1::2], rows[0::2])
    first: Words = rows[0]
    return first


def _mask(bits: Words) -> Words:
    """Turn 0 and 1 into words of equal bits."""
    return (np.zeros_like(bits) - bits)[..., None]


def _rows(init: Words, count: int) -> Words:
    return _mask(init >> np.arange(count, dtype=np.uint64)[:, None] & np.uint64(1))


def _lut(settings: Settings, pins: Words, state: Words) -> Words:
    rows = np.asarray(settings["low"]) ^ (np.asarray(settings["flip"]) & pins[0])
    return table(rows, pins[1:])[None]


def _lut_rows(size: int) -> Callable[[Settings], Settings]:
    """Split the rows of tables by their first input: where it is 0, and what it changes when it is 1."""

    def prepare(settings: Settings) -> Settings:
        rows = _rows(np.asarray(settings["INIT"], np.uint64), 2**size)
        return {"low": rows[0::2], "flip": rows[0::2] ^ rows[1::2]}

    return prepare


def _lut_model(size: int, pins: str, output: str) -> Model:
    names = [f"{pins}{i}" for i in range(size)] if pins == "I" else pins
    return Model(tuple((name, 1) for name in names), ((output, 1),), _lut, parameters={"INIT": 0}, prepare=_lut_rows(size))


def _mux(settings: Settings, pins: Words, state: Words) -> Words:
    return choose(pins[2], pins[1], pins[0])[None]


def _not(settings: Settings, pins: Words, state: Words) -> Words:
    return ~pins


def _same(settings: Settings, pins: Words, state: Words) -> Words:
    return pins


def _carry(settings: Settings, pins: Words, state: Words) -> Words:
    carry, data, select = pins[0] | pins[1], pins[2:6], pins[6:10]
    out, carries = [], []
    for d, s in zip(data, select, strict=True):
        out.append(s ^ carry)
        carry = choose(s, carry, d)
        carries.append(carry)
    return np.stack(out + carries)


def _product(width: int) -> Callable[[Settings, Words, Words], Words]:
    """A DSP slice without registers: C, if OPMODE takes it, plus the product of the lower bits of A and of B, in two's complement."""

    def evaluate(settings: Settings, pins: Words, state: Words) -> Words:
        a, b, c, takes_c = pins[:width], pins[30:48], pins[48:96], pins[96 + 4]
        wide = np.concatenate([a, np.repeat(a[-1:], 48 - width, axis=0)])
        total: Words = c & takes_c
        for place, bit in enumerate(b):
            row = np.zeros_like(total)
            row[place:] = wide[: 48 - place] & bit
            total = _sum(total, ~row, FULL) if place == 17 else _sum(total, row, np.uint64(0))  # the last bit is the sign
        return total

    return evaluate


def _sum(a: Words, b: Words, carry: np.uint64 | Words) -> Words:
    """Add numbers (bits, cells, words), least significant bit first, and a carry that is the same for all or (cells, words)."""
    out, rest = np.empty_like(a), np.full_like(a[0], carry)
    for place, (x, y) in enumerate(zip(a, b, strict=True)):
        half = x ^ y
        out[place] = half ^ rest
        rest = (x & y) | (half & rest)
    return out


def _dsp(width: int, operation: int) -> Model:
    """Describe a slice that multiplies (OPMODE 0x05) or multiplies and adds C (0x35), as Yosys leaves it in combinational logic."""
    registers = ("A", "B", "C", "D", "AD", "M", "P", "ALUMODE", "INMODE", "OPMODE", "CARRYIN", "CARRYINSEL")
    fixed: dict[str, int | str] = {f"{name}REG": 0 for name in registers} | {"USE_MULT": "MULTIPLY", "USE_SIMD": "ONE48"}
    tied = {"OPMODE": (0x05, 0x35), **dict.fromkeys(("ALUMODE", "INMODE", "CARRYIN", "CARRYINSEL"), (0,))}
    pins = (("A", 30), ("B", 18), ("C", 48), ("OPMODE", operation))
    return Model(pins, (("P", 48),), _product(width), fixed=fixed, tied=tied)


def _mult18(settings: Settings, pins: Words, state: Words) -> Words:
    """The product of A and B of 18 bits, each in two's complement where its pin SIGNED is set."""
    a, b, sign_a, sign_b = pins[:18], pins[18:36], pins[36], pins[37]
    wide = np.concatenate([a, np.repeat(a[-1:] & sign_a, 18, axis=0)])
    total = np.zeros_like(wide)
    for place, bit in enumerate(b):
        row = np.zeros_like(wide)
        row[place:] = wide[: 36 - place] & bit
        total = _sum(total, row ^ sign_b, sign_b) if place == 17 else _sum(total, row, np.uint64(0))  # the last bit may be a sign
    return total


def _register(value: int, reset: str = "R") -> Model:
    """Xilinx's flip-flop with a synchronous reset to `value`, which comes before the clock enable."""

    def step(settings: Settings, pins: Words, state: Words) -> Words:
        data, enable, force = pins
        data = data ^ _mask(np.asarray(settings["IS_D_INVERTED"], np.uint64))
        force = force ^ _mask(np.asarray(settings[f"IS_{reset}_INVERTED"], np.uint64))
        held = choose(enable, data, state[0])
        new: Words = held | force if value else held & ~force
        return new[None]

    inverted: dict[str, int | str] = {"IS_D_INVERTED": 0, f"IS_{reset}_INVERTED": 0}
    return Model((("D", 1), ("CE", 1), (reset, 1)), (("Q", 1),), None, "C", 1, step, inverted, {"IS_C_INVERTED": 0})


def _shift(settings: Settings, pins: Words, state: Words) -> Words:
    data, enable = pins[0], pins[1]
    return choose(enable, np.concatenate([data[None], state[:-1]]), state)


def _tap(settings: Settings, pins: Words, state: Words) -> Words:
    return table(state, pins[2:])[None]


def _tap_and_end(settings: Settings, pins: Words, state: Words) -> Words:
    return np.stack([table(state, pins[2:]), state[-1]])


def _equal(settings: Settings, name: str, word: str) -> Words:
    return _mask(np.array([given == word for given in settings[name]], np.uint64))


def _ccu2c(settings: Settings, pins: Words, state: Words) -> Words:
    carry, sums = pins[0], []
    for half in (0, 1):
        init, inject = np.asarray(settings[f"INIT{half}"], np.uint64), _equal(settings, f"INJECT1_{half}", "YES")
        address = pins[1 + 4 * half : 5 + 4 * half]
        wide, narrow = table(_rows(init, 16), address), table(_rows(init & np.uint64(15), 4), address[:2])
        sums.append(wide ^ (carry & ~inject))
        carry = choose(wide, carry, narrow & ~inject)
    return np.stack([*sums, carry])


def _trellis(settings: Settings, pins: Words, state: Words) -> Words:
    data, enable, force = pins
    enable = ((enable ^ _equal(settings, "CEMUX", "INV")) | _equal(settings, "CEMUX", "1")) & ~_equal(settings, "CEMUX", "0")
    force = force ^ _equal(settings, "LSRMUX", "INV")
    return choose(force, _equal(settings, "REGSET", "SET"), choose(enable, data, state[0]))[None]


_SHIFT_PINS = (("D", 1), ("CE", 1))
XILINX: dict[str, Model] = {
    **{f"LUT{size}": _lut_model(size, "I", "O") for size in range(1, 7)},
    **dict.fromkeys(("MUXF7", "MUXF8", "MUXF9"), Model((("I0", 1), ("I1", 1), ("S", 1)), (("O", 1),), _mux)),
    "INV": Model((("I", 1),), (("O", 1),), _not),
    "BUFG": Model((("I", 1),), (("O", 1),), _same),
    "CARRY4": Model((("CI", 1), ("CYINIT", 1), ("DI", 4), ("S", 4)), (("O", 4), ("CO", 4)), _carry),
    "DSP48E1": _dsp(25, 7),
    "DSP48E2": _dsp(27, 9),  # Yosys has no model of it: after AMD UG579, and the tests compare it with products of integers
    "FDRE": _register(0),
    "FDSE": _register(1, "S"),
    "SRL16E": Model(
        (*_SHIFT_PINS, *((f"A{i}", 1) for i in range(4))), (("Q", 1),), _tap, "CLK", 16, _shift, fixed={"IS_CLK_INVERTED": 0}
    ),
    "SRLC32E": Model(
        (*_SHIFT_PINS, ("A", 5)), (("Q", 1), ("Q31", 1)), _tap_and_end, "CLK", 32, _shift, fixed={"IS_CLK_INVERTED": 0}
    ),
}  # fmt: skip
ECP5: dict[str, Model] = {
    "LUT4": _lut_model(4, "ABCD", "Z"),
    "PFUMX": Model((("BLUT", 1), ("ALUT", 1), ("C0", 1)), (("Z", 1),), _mux),
    "L6MUX21": Model((("D0", 1), ("D1", 1), ("SD", 1)), (("Z", 1),), _mux),
    "CCU2C": Model(
        (("CIN", 1), *((f"{pin}{half}", 1) for half in (0, 1) for pin in "ABCD")), (("S0", 1), ("S1", 1), ("COUT", 1)), _ccu2c,
        parameters={"INIT0": 0, "INIT1": 0, "INJECT1_0": "YES", "INJECT1_1": "YES"},
    ),
    "TRELLIS_FF": Model(
        (("DI", 1), ("CE", 1), ("LSR", 1)), (("Q", 1),), None, "CLK", 1, _trellis,
        {"CEMUX": "1", "LSRMUX": "LSR", "REGSET": "RESET"}, {"CLKMUX": "CLK", "SRMODE": "LSR_OVER_CE", "LSRMODE": "LSR"},
    ),
    # Yosys has no model of it either: after Lattice's TN-02205, and the tests compare it with products of integers
    "MULT18X18D": Model(
        (*((f"{pin}{i}", 1) for pin in "AB" for i in range(18)), ("SIGNEDA", 1), ("SIGNEDB", 1)), tuple((f"P{i}", 1) for i in range(36)),
        _mult18, fixed={f"REG_{name}_CLK": "NONE" for name in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")},
        tied={"SOURCEA": (0,), "SOURCEB": (0,)},
    ),
}  # fmt: skip


def model(kind: str, pins: Mapping[str, object]) -> Model | None:
    """Return the model of a cell; the LUT4 of two families differ in their pins."""
    if kind == "LUT4" and "Z" in pins:
        return ECP5[kind]
    return XILINX.get(kind) or ECP5.get(kind)
