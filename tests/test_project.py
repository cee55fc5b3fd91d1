"""The folder of a point for the next engineer."""

import json
import shutil

import numpy as np
import pytest

from flow import project
from flow.core.metric import Metric
from flow.core.plan import run_point
from flow.core.state import State
from flow.project import publish, write_vectors
from flow.reporting.result import PointResult
from flow.results import point_result
from flow.rtl.lower import lower
from flow.rtl.ports import Manifest
from flow.rtl.verilog import write
from tests.core.flows import Flow
from tests.rtl import tiny


@pytest.fixture
def flow(tmp_path):
    return Flow(tmp_path)


def stages(flow):
    def folder(job):
        (job.output("project") / "firmware").mkdir(parents=True)
        (job.output("project") / "firmware" / "top.cpp").write_text(str(job.point.seed))

    return [flow.stage("qonnx"), flow.stage("convert", ["qonnx"], writes=("project",), work=folder, config=("seed",))]


def published(flow, target, state, point, command="cmd"):
    return publish(flow.store, target, state, point_result(point, state, flow.store, command))


def test_it_is_written_when_it_changed(flow, tmp_path):
    target = tmp_path / "hls_projects" / "p"
    assert published(flow, target, run_point([flow.stage("a")], flow.point(), flow.store), flow.point()) is None
    assert not target.exists()
    state = run_point(stages(flow), flow.point(), flow.store)
    assert published(flow, target, state, flow.point(), "hlscape run p") == target
    top = target / "hls" / "firmware" / "top.cpp"
    assert top.read_text() == "0"
    assert (target / "model.onnx").read_text() == "qonnx"
    assert "Made by `hlscape run p`" in (target / "README.md").read_text()
    top.write_text("by hand")
    published(flow, target, state, flow.point(), "hlscape run p")
    assert top.read_text() == "by hand", "nothing changed, so nothing is written"
    other = flow.point(seed=1)
    published(flow, target, run_point(stages(flow), other, flow.store), other, "hlscape run p")
    assert top.read_text() == "1"


def test_what_a_new_result_does_not_have_is_removed(flow, tmp_path):
    target = tmp_path / "p"
    state = run_point(stages(flow), flow.point(), flow.store)
    published(flow, target, state, flow.point())
    (target / "notes.txt").write_text("a person's")
    less = State({"qonnx": state.results["qonnx"]}, {"qonnx": state.paths["qonnx"]})
    published(flow, target, less, flow.point())
    assert sorted(p.name for p in target.iterdir() if p.name != ".digest") == ["README.md", "model.onnx", "notes.txt"]


def test_everything_that_is_copied_is_described():
    assert set(project.CONTENTS) == {*project.COPIED, *project.MADE}


@pytest.fixture(scope="module")
def rtl(tmp_path_factory):
    """A folder with Verilog and vectors, and what the vectors are."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(1)
    graph = tiny.convolution(rng)
    lowered = lower(graph)
    manifest = write(lowered, graph, folder / "verilog", part="xcku115-flvb2104-2-i", clock_ns=4.0, logic_per_stage=None)
    x = tiny.inputs(rng, graph, 20)
    y = lowered.predict(x)
    np.savez(folder / "gate.npz", x=np.moveaxis(x, -1, 1), y=y)
    write_vectors(folder / "vectors", folder / "gate.npz", manifest)
    return folder, manifest, x.reshape(20, -1), y


def test_vectors_say_the_same_in_every_form(rtl):
    folder, manifest, x, y = rtl
    with np.load(folder / "vectors" / "vectors.npz") as archive:
        assert np.array_equal(archive["x"], x)
        assert np.array_equal(archive["y"], y)
    assert np.array_equal(np.loadtxt(folder / "vectors" / "inputs.dat"), x)
    assert np.array_equal(np.loadtxt(folder / "vectors" / "outputs.dat"), y)
    for name, port, values in (("inputs", manifest.input, x), ("outputs", manifest.output, y)):
        for line, row in zip((folder / "vectors" / f"{name}.hex").read_text().split(), values, strict=True):
            word, wide = port.words[1], int(line, 16)  # by hand, from the manifest alone
            code = wide >> word.offset & (1 << word.width) - 1
            code -= (code >> word.width - 1 & word.signed) << word.width
            assert code * 2.0**-word.fraction == row[1]
    text = (folder / "vectors" / "README.md").read_text()
    assert "20 samples with 16 input words and 3 output words" in text
    assert "inputs.hex" in text


METRICS = {
    "lut": Metric(123, "LUT", "mapped", "lower", source="yosys 0.70", part="xcku115-flvb2104-2-i", title="Look-up tables"),
    "stage_delay_ns": Metric(4.7, "ns", "estimate", "lower", source="delay model 1", title="Slowest pipeline stage"),
    "emd": Metric(1.2, "TC pitch", direction="lower", ci=(1.1, 1.3), source="2400 test samples", title="EMD"),
    "emd_trivial": Metric(4.1, "TC pitch", direction="lower", title="EMD of the best constant output"),
    "emd_flip_1": Metric(0.1, direction="lower", title="1 flip"),
    "emd_flip_5": Metric(0.2, direction="lower", title="5 flips"),
    "emd_flip_20": Metric(0.3, direction="lower", title="20 flips"),
}
GATE = {"mismatches": 0, "samples": 256, "levels": {"csim": {"mismatches": 0, "samples": 4096}, "rtl": {"mismatches": 0, "samples": 256}}}
CONFIG = {"hardware": {"part": "xcku115-flvb2104-2-i", "clock_ns": 4.0, "backend": "open", "io": "parallel"}}


def text(rtl, tmp_path, **fields):
    shutil.copytree(rtl[0] / "verilog", tmp_path / "verilog")
    defaults = {"name": "p", "status": "ok", "metrics": METRICS, "gate": GATE, "config": CONFIG, "reproduce": "hlscape run p.toml"}
    return project.readme(tmp_path, PointResult(**{**defaults, **fields}), "p")


def test_the_readme_has_figures_with_class_and_source(rtl, tmp_path):
    words = text(rtl, tmp_path, versions={"yosys": "0.70"}, stages={"vsynth": {"status": "ok"}, "csynth": {"status": "skipped"}})
    assert "| Look-up tables | 123 LUT | mapped | yosys 0.70 |" in words
    assert "| Slowest pipeline stage | 4.700 ns | estimate | delay model 1 |" in words
    assert "| EMD | 1.20 ± 0.10 TC pitch | measured | 2400 test samples |" in words
    assert "| 5 flips | 0.2000 | measured | - |" in words
    assert "20 flips" not in words, "a few lines on robustness, not all"
    assert "| rtl | 256 | 0 |" in words
    assert "part `xcku115-flvb2104-2-i`, clock period 4.0 ns" in words
    assert "word i is `model_inp[" in words
    assert "Not run for this point: Vitis HLS, co-simulation." in words
    assert "Versions: yosys 0.70." in words
    assert "`emulator/`" not in words
    assert "axi_stream = true" in words
    (tmp_path / "verilog" / "axis").mkdir()
    assert "`verilog/axis/` is an AXI-Stream wrapper" in project.readme(tmp_path, PointResult("p", "ok"), "p")
    streamed = project.readme(tmp_path, PointResult("p", "ok", config={"hardware": {"io": "stream"}}), "p")
    assert "AXI-Stream wrapper" not in streamed and "Its ports are AXI4-Stream" in streamed


def test_figures_of_an_inexact_point_are_withheld(rtl, tmp_path):
    failures = [{"stage": "rtlsim", "error": "MismatchError", "message": "gate: level 'rtl' differs\nlast lines"}]
    words = text(rtl, tmp_path, status="failed", failures=failures)
    assert "Look-up tables" not in words
    assert "4.700 ns" not in words
    assert "| EMD |" in words
    assert "**Stage `rtlsim` failed** (MismatchError): gate: level 'rtl' differs\n" in words
    assert "figures of hardware are withheld, and what is in this folder must not be used" in words


def test_points_without_figures_or_rtl_say_so(tmp_path):
    words = project.readme(tmp_path, PointResult("p", "untrained"), "")
    assert "No figure was measured." in words
    assert "no better than a constant output" in words
    assert "The exactness gate was not run." in words
    (tmp_path / "hls" / "firmware").mkdir(parents=True)
    (tmp_path / "hls" / "firmware" / "defines.h").write_text("typedef ap_ufixed<8,1> input_t;\ntypedef ap_fixed<9,3> result_t;\n")
    assert "- `typedef ap_ufixed<8,1> input_t;`" in project.readme(tmp_path, PointResult("p", "ok"), "")


def test_a_manifest_of_the_rtl_is_what_the_readme_reads(rtl):
    assert Manifest.load(rtl[0] / "verilog" / "manifest.json") == rtl[1]
    assert json.loads((rtl[0] / "verilog" / "manifest.json").read_text())["delay_model"].startswith("delay model 1, UltraScale -2")
