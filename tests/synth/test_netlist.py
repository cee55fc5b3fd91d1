"""The gate of the mapped netlist: a right one passes, and one wrong bit is found and named."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, MismatchError, MissingInput, ToolNotFound
from flow.core.metric import Metric
from flow.core.tool import YOSYS
from flow.reporting.publish import published
from flow.reporting.result import PointResult
from flow.results import gate_of
from flow.rtl.lower import lower
from flow.rtl.ports import Manifest, Port, Word
from flow.rtl.verilog import write
from flow.stages import netsim, synth
from flow.synth._netgate import load
from flow.synth._netlist import parse
from flow.synth._packing import carry8, packed
from tests.rtl import tiny


def found(tool):
    try:
        tool.argv()
    except ToolNotFound:
        return False
    return True


def mapped(folder, verilog, part="xcku115-flvb2104-2-i", **hardware):
    """Map Verilog with the real program, as the stage does."""
    if not found(YOSYS):
        pytest.skip("Yosys is not installed")
    job = tiny.job(synth.STAGE, folder / "synth", verilog=verilog)
    job.full_point = DesignPoint.model_validate({"model": "m", "hardware": {"part": part, **hardware}})
    synth.run(job)
    return job.out / "netlist"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network: Verilog, netlist and vectors."""
    folder = tmp_path_factory.mktemp("network")
    rng = np.random.default_rng(2)
    graph = tiny.convolution(rng)
    lowered = lower(graph)
    x = tiny.inputs(rng, graph, 70)
    write(lowered, graph, folder / "verilog", part="xcku115-flvb2104-2-i", clock_ns=4.0, logic_per_stage=3.0)
    np.savez(folder / "vectors.npz", x=np.moveaxis(x, -1, 1), y=lowered.predict(x))
    return SimpleNamespace(verilog=folder / "verilog", netlist=mapped(folder, folder / "verilog"), vectors=folder / "vectors.npz")


LINES = Manifest(
    "lines", "clk", 14, 1, Port("a", 8, (Word(0, 8, 0, False),)), Port("y", 8, (Word(0, 8, 0, False),)), ("lines.v",), (), "out", "by hand"
)  # fmt: skip
DELAY = """module lines(input clk, input [7:0] a, output reg [7:0] y);
  reg [7:0] line [0:11];
  reg [7:0] first;
  integer i;
  always @(posedge clk) begin
    first <= a;
    line[0] <= first;
    for (i = 1; i < 12; i = i + 1) line[i] <= line[i - 1];
    y <= line[11] + 8'd1;
  end
endmodule
"""


@pytest.fixture(scope="module", params=["xcku115-flvb2104-2-i", "xc7z020clg400-1", "xck26-sfvc784-2LV-c"])
def delay(request, tmp_path_factory):
    """A delay of 14 cycles, which becomes shift registers, without stages inside."""
    folder = tmp_path_factory.mktemp("delay")
    (folder / "verilog").mkdir()
    (folder / "verilog" / "lines.v").write_text(DELAY)
    LINES.save(folder / "verilog" / "manifest.json")
    x = np.random.default_rng(0).integers(0, 256, (90, 1)).astype(float)
    np.savez(folder / "vectors.npz", x=x, y=(x + 1) % 256)
    netlist = mapped(folder, folder / "verilog", request.param)
    return SimpleNamespace(verilog=folder / "verilog", netlist=netlist, vectors=folder / "vectors.npz")


def run(folder, design, netlist=None):
    job = tiny.job(netsim.STAGE, folder, verilog=design.verilog, netlist=netlist or design.netlist, vectors=design.vectors)
    netsim.run(job)
    return job


def broken(folder, design, module, pattern, replacement, which=0):
    """Copy a netlist and change one of the places that a pattern matches."""
    shutil.copytree(design.netlist, folder)
    text = (folder / f"{module}.v").read_text()
    place = [*re.finditer(pattern, text)][which]
    (folder / f"{module}.v").write_text(text[: place.start()] + place.expand(replacement) + text[place.end() :])
    return folder


def test_a_right_netlist_passes(network, delay, tmp_path):
    for design, folder, count in ((network, tmp_path / "network", 70), (delay, tmp_path / "delay", 90)):
        job = run(folder, design)
        assert {n: m.value for n, m in job.metrics.items()} == {"gate_netlist_mismatches": 0, "gate_netlist_samples": count}
        assert json.loads((job.out / "netsim_gate").read_text())["samples"] == count
    kinds = {cell.kind for cell in parse((delay.netlist / "lines.v").read_text(), "lines.v")[0].cells}
    assert kinds & {"SRL16E", "SRLC32E"}


def first_seen(folder, network, module, pattern, change):
    """Change one place after the other until the outputs change: what no vector reads is no fault that vectors can find."""
    manifest = Manifest.load(network.verilog / "manifest.json")
    with np.load(network.vectors) as vectors:
        x, y = np.moveaxis(vectors["x"], 1, -1), vectors["y"]
    text = (network.netlist / f"{module}.v").read_text()
    shutil.copytree(network.netlist, folder)
    for place in re.finditer(pattern, text):
        (folder / f"{module}.v").write_text(text[: place.start()] + change(place) + text[place.end() :])
        if (load(folder, manifest).simulate(x, np.random.default_rng(0))[0] != y).any():
            return folder
    raise AssertionError


def test_one_bit_of_a_look_up_table_is_found_and_named(network, tmp_path):
    module = max(network.netlist.glob("*.v"), key=lambda p: p.read_text().count("LUT")).stem
    netlist = first_seen(
        tmp_path / "netlist", network, module, r"(LUT[23] #\(\s*\.INIT\(\d+'h)([0-9a-f]+)", lambda m: f"{m[1]}{int(m[2], 16) ^ 1:x}"
    )
    job = tiny.job(netsim.STAGE, tmp_path / "job", verilog=network.verilog, netlist=netlist, vectors=network.vectors)
    with pytest.raises(MismatchError) as seen:
        netsim.run(job)
    words = str(seen.value)
    assert re.search(
        r"level 'netlist' differs from 'alkaid' in \d+ of 70 samples; first: layer out, sample \d+, output \d+: expected", words
    )
    assert re.search(rf"Not what its Verilog is: module {module} \(bit \d+ of model_out( and \d+ more)?\)\.$", words)
    assert job.metrics["gate_netlist_mismatches"].value > 0
    assert not (job.out / "netsim_gate").exists()


def test_swapped_carry_inputs_are_found(network, tmp_path, monkeypatch):
    """Verilator stands aside: which module it is was found above."""
    module = next(p.stem for p in sorted(network.netlist.glob("*.v")) if "CARRY4" in p.read_text())
    pattern = r"(\.DI\()(.*)(\),\s*\.O\(.*\),\s*\.S\()(.*)(\))"
    netlist = first_seen(tmp_path / "netlist", network, module, pattern, lambda m: m[1] + m[4] + m[3] + m[2] + m[5])
    monkeypatch.setattr("flow.synth._netgate.suspects", lambda *_: [module])
    with pytest.raises(MismatchError, match=rf"output \d+: expected .* module {module}"):
        run(tmp_path / "job", network, netlist)


TIMES = {
    "times.v": "module times(input [19:0] a, output [19:0] y); assign y = $signed(a[9:0]) * $signed(a[19:10]); endmodule\n",
    "top.v": """module product(input clk, input [19:0] a, output reg [19:0] y);
  reg [19:0] r; wire [19:0] w;
  times t(.a(r), .y(w));
  always @(posedge clk) begin r <= a; y <= w; end
endmodule
""",
}


@pytest.mark.parametrize(("part", "dsp"), [("xc7z020clg400-1", True), ("xck26-sfvc784-2LV-c", True), ("xck26-sfvc784-2LV-c", False)])
def test_products_of_signals_take_dsp_slices_on_request(tmp_path, part, dsp):
    words = (Word(0, 10, 0, True), Word(10, 10, 0, True))
    manifest = Manifest(
        "product", "clk", 2, 1, Port("a", 20, words), Port("y", 20, (Word(0, 20, 0, True),)), tuple(TIMES), ("times",), "o", ""
    )
    (tmp_path / "verilog").mkdir()
    for name, text in TIMES.items():
        (tmp_path / "verilog" / name).write_text(text)
    manifest.save(tmp_path / "verilog" / "manifest.json")
    x = np.random.default_rng(0).integers(-512, 512, (70, 2)).astype(float)
    np.savez(tmp_path / "vectors.npz", x=x, y=x.prod(axis=1, keepdims=True))
    netlist = mapped(tmp_path, tmp_path / "verilog", part, dsp=dsp)
    run(tmp_path / "right", SimpleNamespace(verilog=tmp_path / "verilog", netlist=netlist, vectors=tmp_path / "vectors.npz"))
    kinds = [cell.kind for cell in parse((netlist / "times.v").read_text(), "times.v")[0].cells]
    assert [kind for kind in kinds if kind.startswith("DSP")] == ([f"DSP48E{1 if part.startswith('xc7') else 2}"] if dsp else [])


def test_a_netlist_of_ecp5_passes_and_a_wrong_one_does_not(tmp_path):
    (tmp_path / "verilog").mkdir()
    (tmp_path / "verilog" / "lines.v").write_text(DELAY)
    LINES.save(tmp_path / "verilog" / "manifest.json")
    x = np.random.default_rng(0).integers(0, 256, (90, 1)).astype(float)
    np.savez(tmp_path / "vectors.npz", x=x, y=(x + 1) % 256)
    netlist = mapped(tmp_path, tmp_path / "verilog", "lfe5u-85f")
    design = SimpleNamespace(verilog=tmp_path / "verilog", netlist=netlist, vectors=tmp_path / "vectors.npz")
    run(tmp_path / "right", design)
    wrong = broken(tmp_path / "netlist", design, "lines", r"\.INJECT1_0\(\"NO\"\)", '.INJECT1_0("YES")')
    with pytest.raises(MismatchError, match="module lines"):
        run(tmp_path / "wrong", design, wrong)


@pytest.mark.parametrize(("cell", "pin"), [("FDRE", "CE"), ("SRL16E|SRLC32E", "CE")])
def test_a_clock_enable_that_is_tied_off_is_found(delay, tmp_path, cell, pin):
    netlist = broken(tmp_path / "netlist", delay, "lines", rf"((?:{cell}) [^;]*\.{pin}\()1'h1\)", r"\g<1>1'h0)")
    with pytest.raises(MismatchError, match=r"sample \d+, output 0: .* Wrong around the stages: module lines\.$"):
        run(tmp_path / "job", delay, netlist)


def test_a_netlist_without_ports_or_modules_is_refused(delay, tmp_path):
    netlist = broken(tmp_path / "a", delay, "lines", r"input \[7:0\] a;\n  wire \[7:0\] a;", "input [6:0] a;\n  wire [6:0] a;")
    with pytest.raises(InvalidInput, match=r"wire a has no bits \[7:7\]"):
        run(tmp_path / "job", delay, netlist)
    text = (netlist / "lines.v").read_text()
    (netlist / "lines.v").write_text(text.replace("a[7]", "a[6]"))
    with pytest.raises(InvalidInput, match="port a has 7 bits, not 8"):
        run(tmp_path / "job", delay, netlist)
    (netlist / "netlist.json").write_text('{"top": "lines", "modules": []}')
    with pytest.raises(MissingInput, match="no netlist of lines"):
        run(tmp_path / "again", delay, netlist)


def test_samples_beyond_what_fits_into_memory_at_once(network, tmp_path, monkeypatch):
    monkeypatch.setattr(netsim, "AT_ONCE", 32)
    assert run(tmp_path, network).metrics["gate_netlist_samples"].value == 70


def test_no_resource_of_a_wrong_netlist_is_published():
    metrics = {name: Metric(100.0, kind="mapped") for name in ("lut", "lut6_packed", "carry8")}
    metrics |= {"emd": Metric(1.0), "gate_netlist_samples": Metric(64.0), "gate_netlist_mismatches": Metric(1.0)}
    gate = gate_of(metrics)
    assert gate == {"mismatches": 1, "samples": 64, "levels": {"netlist": {"mismatches": 1, "samples": 64}}}
    (shown,), hidden = published([PointResult("p", "failed", metrics=metrics, gate=gate)])
    assert hidden == {"p": ["carry8", "lut", "lut6_packed"]}
    assert "emd" in shown.metrics and "lut" not in shown.metrics
    failure = {"stage": "netsim", "error": "MismatchError", "message": ""}  # the metrics of a failed stage may be lost
    _, hidden = published([PointResult("p", "failed", metrics={"lut": metrics["lut"]}, failures=[failure])])
    assert hidden == {"p": ["lut"]}


def module(cells, ports="  input [9:0] a;\n  output [9:0] y;\n", wires="  wire [19:0] w;\n"):
    lines = [
        f"  {kind} u{i} (\n" + ",\n".join(f"    .{k}({v})" for k, v in pins.items()) + "\n  );\n" for i, (kind, pins) in enumerate(cells)
    ]
    return parse(f"module m(a, y);\n{ports}{wires}{''.join(lines)}endmodule\n", "m.v")[0]


def lut(inputs, output):
    return f"LUT{len(inputs)}", {**{f"I{i}": f"a[{n}]" for i, n in enumerate(inputs)}, "O": output}


@pytest.mark.parametrize(
    ("tables", "sites"),
    [
        (["01234", "01"], 1),  # inside of the other
        (["01234", "05"], 2),  # six inputs
        (["012", "34"], 1),  # five inputs, none in common
        (["012", "345"], 2),
        (["012345", "0"], 2),  # six inputs leave no second output
        (["0123", "012", "0124", "34"], 2),  # the largest that fits goes first
        (["0"] * 7, 4),
        ([], 0),
    ],
)
def test_small_tables_share_one(tables, sites):
    assert packed(module([lut([int(c) for c in text], f"y[{i}]") for i, text in enumerate(tables)])) == sites


CHAIN = {"S": "w[3:0]", "DI": "w[7:4]", "CI": "1'h0", "CYINIT": "1'h0", "O": "y[3:0]"}


def test_tables_of_a_carry_chain_share_with_their_own_bit_only():
    carry = ("CARRY4", {**CHAIN, "CO": "w[11:8]"})
    select, data = lut([0, 1], "w[0]"), lut([0, 1, 2], "w[4]")
    assert packed(module([carry, select, data])) == 1
    assert packed(module([carry, select, lut([0, 1], "w[1]")])) == 2  # S of two bits
    assert packed(module([carry, select, lut([0, 1], "y[9]")])) == 2  # S and something else
    assert packed(module([carry, select, lut([2, 3, 4, 5], "w[4]")])) == 2  # six inputs
    assert packed(module([carry, select, data, ("INV", {"I": "w[4]", "O": "y[9]"})])) == 2  # DI goes elsewhere too: it pairs with INV
    assert packed(module([lut([0], "w[0]"), lut([1], "w[1]"), ("MUXF7", {"I0": "w[0]", "I1": "w[1]", "S": "a[3]", "O": "y[0]"})])) == 2
    assert packed(module([("SRL16E", {"D": "a[0]", "Q": "y[0]"}), lut([0], "y[1]")])) == 2


def test_carry_chains_are_counted_in_whole_carry8():
    def link(i):
        low, high = f"w[{4 * i + 3}:{4 * i}]", f"w[{4 * i - 1}]" if i else "1'h0"
        return "CARRY4", {**CHAIN, "CI": high, "CO": low, "S": "a[3:0]", "DI": "a[3:0]"}

    assert [carry8(module([link(i) for i in range(n)])) for n in (0, 1, 2, 3, 4, 5)] == [0, 1, 1, 2, 2, 3]
    alone = ("CARRY4", {**CHAIN, "CO": "w[19:16]"})
    assert carry8(module([link(0), link(1), link(2), alone])) == 3


def test_the_reader_understands_names_slices_and_constants():
    text = "module m(a, y);\n  input [9:0] a;\n  wire [9:0] a;\n  output [9:0] y;\n  wire [4:1] \\x.y [0] ;\n"
    text = text.replace(" [0] ;", ";") + "  assign \\x.y [2:1] = a[9:8];\n  assign \\x.y [4:3] = { 1'h1, a[0] };\n"
    text += "  wire z;\n  assign y = { \\x.y , 2'bx1, 4'd5 };\nendmodule\n"
    (made,) = parse(text.replace("wire [4:1] \\x.y;", "wire [4:1] \\x.y ;"), "m.v")
    root = made.resolved()
    a, y = made.inputs["a"], [int(root[net]) for net in made.outputs["y"]]
    assert y[:5] == [1, 0, 1, 0, 1]  # 4'd5, then the lower bit of 2'bx1
    assert y[5] not in (*a, 0, 1)  # unknown: nothing drives it
    assert y[6:] == [a[8], a[9], a[0], 1]
