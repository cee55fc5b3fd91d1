"""Block RAMs and distributed RAMs of netlists, against memories of Python; and those that there is no model of."""

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.synth._circuit import Circuit
from flow.synth._netlist import parse

STREAMS, CYCLES = 16, 150


def vector(pins):
    """Write nets, the least significant bit first, as Yosys does."""
    return f"{{ {', '.join(reversed(pins))} }}"


def bits(name, count, first=0):
    return [f"{name}[{i}]" for i in range(first, first + count)]


def by_byte(name, count):
    """Return data and parity bits of words of bytes of nine bits."""
    whole = bits(name, count)
    return [net for i, net in enumerate(whole) if i % 9 < 8], whole[8::9]


def xilinx(generation, kbit, width):
    """Write through one port and read through the other: of the widest words reading is at port A."""
    names = ("DI", "DO") if generation == 1 else ("DIN", "DOUT")
    wide, zeros = width == 2 * kbit, ["1'h0"] * {18: 4, 36: 5, 72: 6}[width]
    r, w = ("A", "B") if wide else ("B", "A")
    pins = {"CLKARDCLK": "clk", "CLKBWRCLK": "clk", "RSTRAMARSTRAM": "1'h0", "RSTRAMB": "1'h0"}
    port = {"A": ("ADDRARDADDR", "ENARDEN", "WEA"), "B": ("ADDRBWRADDR", "ENBWREN", "WEBWE")}
    rows = {18: 14, 36: 15}[kbit] - len(zeros)
    high = ["1'h1"] if (generation, kbit) == (1, 36) else []  # of a cascade
    pins |= {port[r][0]: vector([*zeros, *bits("ra", rows), *high]), port[w][0]: vector([*zeros, *bits("wa", rows), *high])}
    pins |= {port[r][1]: "re", port[w][1]: "en", port[r][2]: "4'h0", port[w][2]: vector(bits("we", width // 9))}
    for name, wires, ways in ((names[0], "di", w), (names[1], "do", r)):
        plain, parity = by_byte(wires, width)
        for n, side in enumerate("AB" if wide else ways):
            size, few = (len(plain) // 2, len(parity) // 2) if wide else (len(plain), len(parity))
            pins |= {f"{name}{side}{name}": vector(plain[n * size :][:size]), f"{name}P{side}{name}P": vector(parity[n * few :][:few])}
    parameters = {f"READ_WIDTH_{r}": width, f"WRITE_WIDTH_{w}": width, f"READ_WIDTH_{w}": 0, f"WRITE_WIDTH_{r}": 0, "DOA_REG": 0}
    return f"RAMB{kbit}E{generation}", parameters, pins, rows


def lattice(width):
    """Write through port A and read through port B; words of 36 bits are at both."""
    low = {9: 3, 18: 4, 36: 5}[width]
    on = bits("we", width // 9) if width > 9 else []
    pins = {"CLKA": "clk", "CLKB": "clk", "WEB": "1'h0", "WEA": "en" if on else "we[0]", "CEA": "1'h1" if on else "en", "CEB": "re"}
    pins |= {f"ADA{i}": net for i, net in enumerate([*on, *["1'h0"] * (low - len(on)), *bits("wa", 14 - low)])}
    pins |= {f"ADB{i}": net for i, net in enumerate([*["1'h0"] * low, *bits("ra", 14 - low)])}
    for name, wires, side in (("DI", "di", "A"), ("DO", "do", "B")):
        for i, net in enumerate(bits(wires, width)):
            pins[f"{name}{'AB'[i // 18] if width == 36 else side}{i % 18}"] = net
    return "DP16KD", {"DATA_WIDTH_A": width, "DATA_WIDTH_B": width, "REGMODE_B": '"NOREG"', "INITVAL_00": "320'h0"}, pins, 14 - low


def distributed():
    pins = {"DI": "di", "DO": "do", "WAD": "wa", "RAD": "ra", "WRE": "en", "WCK": "clk"}
    return "TRELLIS_DPR16X4", {"WCKMUX": '"WCK"', "WREMUX": '"WRE"'}, pins, 4


def circuit(kind, parameters, pins, rows, width):
    ways = {"clk": 1, "en": 1, "re": 1, "we": max(1, width // 9), "wa": rows, "ra": rows, "di": width}
    heads = "".join(f"  input [{size - 1}:0] {name};\n" for name, size in ways.items()) + f"  output [{width - 1}:0] do;\n"
    given, wired = (",\n".join(f"    .{k}({v})" for k, v in some.items()) for some in (parameters, pins))
    text = f"module m({', '.join(ways)}, do);\n{heads}  {kind} #(\n{given}\n  ) u (\n{wired}\n  );\nendmodule\n"
    return Circuit({"m": parse(text, "m.v")[0]}, "m", "clk")


CELLS = {"RAMB18E2": (xilinx(2, 18, 18), 18), "RAMB36E2": (xilinx(2, 36, 36), 36), "RAMB36E1": (xilinx(1, 36, 72), 72),
         "RAMB18E1": (xilinx(1, 18, 36), 36), "DP16KD 9": (lattice(9), 9), "DP16KD": (lattice(18), 18), "DP16KD 36": (lattice(36), 36),
         "TRELLIS_DPR16X4": (distributed(), 4)}  # fmt: skip


def lanes(numbers, width):
    """Turn a number of each stream into words (width, 1) of which each bit is a stream."""
    return np.array([[sum((int(n) >> i & 1) << s for s, n in enumerate(numbers))] for i in range(width)], np.uint64)


@pytest.mark.parametrize("name", CELLS)
def test_a_memory_keeps_the_words_of_each_stream(name):
    (*cell, rows), width = CELLS[name]
    made, rng, groups = circuit(*cell, rows, width), np.random.default_rng(4), max(1, width // 9)
    values, memory, shown = made.begin(1, rng), [{} for _ in range(STREAMS)], [None] * STREAMS
    compared = 0
    for _ in range(CYCLES):
        wa = rng.integers(0, 6, STREAMS) * 37 % 2**rows  # few rows, some with high bits of the address
        ra = np.where((other := rng.integers(0, 6, STREAMS) * 37 % 2**rows) == wa, (wa + 1) % 2**rows, other)
        en, re, we = rng.random(STREAMS) < 0.6, rng.random(STREAMS) < 0.6, rng.integers(0, 2**groups, STREAMS)
        data = [int.from_bytes(rng.bytes(9)) % 2**width for _ in range(STREAMS)]
        for pin, numbers in (("en", en), ("re", re), ("we", we), ("wa", wa), ("ra", ra), ("di", data)):
            values[made.inputs[pin]] = lanes(numbers, len(made.inputs[pin]))
        made.settle(values)
        got = np.unpackbits(values[made.outputs["do"]].view(np.uint8), axis=1, bitorder="little")
        for s in range(STREAMS):
            expected = memory[s].get(int(ra[s])) if name == "TRELLIS_DPR16X4" else shown[s]
            if expected is not None:
                known, number = expected
                assert sum(int(bit) << i for i, bit in enumerate(got[:, s])) & known == number & known
                compared += bool(known)
            if re[s]:
                shown[s] = memory[s].get(int(ra[s]))
            if en[s]:
                on = 2**width - 1 if groups == 1 else sum(511 << 9 * i for i in range(groups) if int(we[s]) >> i & 1)
                on = 0 if name == "DP16KD 9" and not we[s] else on
                known, old = memory[s].get(int(wa[s]), (0, 0))
                memory[s][int(wa[s])] = known | on, old & ~on | data[s] & on
        made.clock(values)
    assert compared > STREAMS * CYCLES / 4


def test_a_row_that_is_read_while_it_is_written_is_not_what_it_was_or_becomes():
    (*cell, rows), width = CELLS["DP16KD"]
    made, rng = circuit(*cell, rows, width), np.random.default_rng(5)
    values = made.begin(1, rng)
    values[2:] = np.uint64(2**64 - 1)  # row of ones, read and written with ones
    for _ in range(2):
        made.settle(values)
        made.clock(values)
    made.settle(values)
    assert not values[made.outputs["do"]].any()


@pytest.mark.parametrize(
    ("name", "parameters", "pins", "words"),
    [
        ("RAMB18E2", {"DOB_REG": 1}, {}, "its DOB_REG is not 0"),
        ("RAMB18E2", {"WRITE_WIDTH_B": 18}, {}, "not one port of it writes and one reads"),
        ("RAMB18E1", {"READ_WIDTH_A": 18}, {}, "words of the same width"),
        ("RAMB36E2", {"INIT_00": "256'h1"}, {}, r"begins with contents \(INIT_00\)"),
        ("RAMB36E1", {}, {"RSTRAMB": "en"}, "its pin RSTRAMB is not 0"),
        ("DP16KD", {"DATA_WIDTH_B": 9}, {}, "words of the same width"),
        ("DP16KD", {}, {"WEB": "en"}, "not one port of it writes"),
        ("DP16KD 36", {}, {"CLKB": "re"}, "two clocks"),
        ("TRELLIS_DPR16X4", {"WREMUX": '"INV"'}, {}, "WREMUX is not WRE"),
    ],
)
def test_other_uses_of_a_memory_are_refused(name, parameters, pins, words):
    (kind, given, wired, rows), width = CELLS[name]
    with pytest.raises(InvalidInput, match=words):
        circuit(kind, given | parameters, wired | pins, rows, width)
