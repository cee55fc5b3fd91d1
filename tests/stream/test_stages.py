"""A small CNN through convert, rtl and rtlsim as the kernel calls them."""

import json

import numpy as np
import pytest
import torch

from flow.config import DesignPoint
from flow.core.errors import ConfigError, MismatchError, ToolFailed
from flow.core.stage import Job
from flow.core.tool import GXX, Tool, run
from flow.rtl.axis import TESTBENCH_FLAGS
from flow.rtl.graph import Graph
from flow.rtl.ports import Manifest
from flow.rtl.simulate import MAKE, MAKE_FLAGS, VERILATOR
from flow.stages import convert, rtl, rtlsim
from flow.stream import simulate, sizing
from flow.stream.reuse import cycles
from flow.twin import load_twin
from tests.hls.networks import Layers
from tests.rtl import tiny

HARDWARE = {"io": "stream", "part": "xcku035-fbva676-2-e"}
FRAMES = 64


def point(**hardware):
    return DesignPoint.model_validate({"model": "plasma", "hardware": HARDWARE | hardware, "gate": {"samples": FRAMES, "rtl_samples": 24}})


def job(stage, folder, point, **inputs):
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(stage, point, inputs, folder / "out", folder / "scratch", folder / "log.txt", folder / "replay.sh")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Padding, convolution, pooling, dense: QONNX, gate vectors, and the graph of hls4ml."""
    folder = tmp_path_factory.mktemp("exported")
    b = Layers(1, 6, 6)
    x = b.pool(b.relu(b.conv(b.input(), 1, 3, 3, 3, pad=1)), 2, 2)
    b.save(folder / "net.onnx", b.output(b.dense(b.flat(x), 27, 2)))
    twin = load_twin(folder / "net.onnx")
    x = np.random.default_rng(0).integers(0, 32, (FRAMES, 1, 6, 6)) / 16.0
    with torch.no_grad():
        y = twin(twin.params, torch.from_numpy(x.astype(np.float32))).numpy().astype(float)
    np.savez(folder / "vectors.npz", x=x, y=y)
    one = job(convert.STAGE, folder / "convert", point(), qonnx=folder / "net.onnx", vectors=folder / "vectors.npz")
    convert.run(one)
    return {"lowered": one.out / "lowered", "vectors": folder / "vectors.npz", "qonnx": folder / "net.onnx"}


UNROLLED = {"reuse": {"Conv2D_Conv_0": 1, "Dense_MatMul_0": 1}}
REUSED = {"reuse": {"Conv2D_Conv_0": 9, "Dense_MatMul_0": 27}, "frame_rate_hz": 250_000.0}  # 800 cycles; a padded frame has 64 pixels


@pytest.fixture(scope="module", params=[UNROLLED, REUSED], ids=["unrolled", "reused"])
def written(request, exported, tmp_path_factory):
    hardware = request.param
    one = job(rtl.STAGE, tmp_path_factory.mktemp("rtl"), point(**hardware), **exported)
    rtl.run(one)
    return one


def test_rtl_passes_the_gate_and_writes_a_folder(written):
    assert {n: written.metrics[n].value for n in ("gate_alkaid_mismatches", "gate_alkaid_samples")} == {
        "gate_alkaid_mismatches": 0, "gate_alkaid_samples": FRAMES,
    }  # fmt: skip
    folder = written.out / "verilog"
    manifest = Manifest.load(folder / "manifest.json")
    assert (manifest.io, manifest.frame, manifest.result, manifest.top) == ("stream", (6, 6), (1, 1), "network_axis")
    assert (len(manifest.input.words), len(manifest.output.words)) == (1, 2)
    assert dict(manifest.reuse).items() >= written.full_point.hardware.reuse.items()
    assert set(manifest.queues) == ({"Conv2D_Conv_0", "Reshape_0_out0"} if manifest.reuse["Conv2D_Conv_0"] > 1 else set())
    assert manifest.sources == tuple(f"src/{p.name}" for p in sorted((folder / "src").iterdir()))
    assert {p.name for p in folder.iterdir()} >= {"README.md", "constraints.xdc", "vivado_synth.tcl", "reuse.json", "tb"}
    assert "network_axis" in (folder / "vivado_synth.tcl").read_text()
    assert "[get_ports aclk]" in (folder / "constraints.xdc").read_text()
    assert len((folder / "tb" / "inputs.hex").read_text().split()) == 16 * 36
    assert f"A frame every {manifest.interval} cycles" in (folder / "README.md").read_text()
    assert list(json.loads((folder / "reuse.json").read_text())["elements"])[-1] == "Dense_MatMul_0"


def test_rtlsim_counts_what_the_handshakes_promised(written, exported, tmp_path):
    one = job(rtlsim.STAGE, tmp_path, written.full_point, verilog=written.out / "verilog", vectors=exported["vectors"])
    rtlsim.run(one)
    manifest = Manifest.load(written.out / "verilog" / "manifest.json")
    got = {n: m.value for n, m in one.metrics.items()}
    assert got == {
        "gate_rtl_mismatches": 0, "gate_rtl_samples": 24, "latency_cycles": manifest.latency, "ii_cycles": manifest.interval,
        "latency_ns": manifest.latency * 5, "frames_per_s": 1e9 / (manifest.interval * 5),
    }  # fmt: skip
    assert (one.metrics["frames_per_s"].kind, one.metrics["frames_per_s"].unit) == ("estimate", "1/s")
    assert 64 <= manifest.interval < manifest.latency + 36 and manifest.latency > 36
    assert json.loads((one.out / "rtlsim_gate").read_text())["latency_cycles"] == manifest.latency


def test_rtlsim_refuses_a_wrong_word_a_marked_frame_and_a_longer_interval(written, exported, tmp_path, monkeypatch):
    """The simulation is real, its second run (with pauses) is changed; it is built once."""
    build, real = simulate.build, simulate.simulate
    works, change = [], {}

    def built_once(job, sources, manifest, work):
        works.append(works[0] if works else build(job, sources, manifest, work))
        return works[0]

    def changed(job, *args, gap=0, stall=0):
        result = real(job, *args, gap=gap, stall=stall)
        result.outputs[3, 1] += change.get("word", 0) * (gap > 0)
        result.damaged[7] |= change.get("mark", False) and gap > 0
        result.ends[:] += np.arange(len(result.ends)) * (change.get("slow", False) and gap == 0)
        return result

    monkeypatch.setattr(simulate, "simulate", changed)
    monkeypatch.setattr(simulate, "build", built_once)
    interval = Manifest.load(written.out / "verilog" / "manifest.json").interval
    for key, words in (
        ("word", r"1 of 24 samples.*sample 3, output 1.*pauses"), ("mark", r"marks 1 of 24.*first is 7"),
        ("slow", rf"takes {interval + 1} cycles from frame to frame, and stage rtl counted {interval} "),
    ):  # fmt: skip
        change.clear()
        change[key] = True
        one = job(rtlsim.STAGE, tmp_path, written.full_point, verilog=written.out / "verilog", vectors=exported["vectors"])
        with pytest.raises(MismatchError, match=words):
            rtlsim.run(one)
        assert not (one.out / "rtlsim_gate").exists()
    assert len(works) == 3


def bench(folder, work, log):
    """Build the testbench with Verilator and run it."""
    tool = Tool("testbench", ((str(work / "obj" / "Vtb"),),), "")
    sources = [str(p) for p in sorted((folder / "src").iterdir())]
    run(
        VERILATOR,
        [*TESTBENCH_FLAGS, "--prefix", "Vtb", "--Mdir", str(work / "obj"), "--top-module", "tb", "tb.sv", *sources],
        cwd=folder / "tb",
        log=log,
    )
    make = [*MAKE_FLAGS, "VM_PARALLEL_BUILDS=0", f"CXX={GXX.argv()[0]}", "-C", str(work / "obj"), "-f", "Vtb.mk"]
    run(MAKE, make, cwd=work, log=log)
    return lambda: run(tool, [], cwd=folder / "tb", log=log)


def test_the_testbench_passes_and_notices_a_wrong_word(written, tmp_path):
    folder = written.out / "verilog"
    start = bench(folder, tmp_path, tmp_path / "log.txt")
    assert "PASS: 16 frames twice" in start()
    expected = folder / "tb" / "expected.hex"
    good = expected.read_text()
    last = good.splitlines()[-1]
    expected.write_text(good.replace(last, f"{int(last, 16) ^ 1:0{len(last)}x}"))
    try:
        with pytest.raises(ToolFailed, match="FAIL: "):
            start()
    finally:
        expected.write_text(good)


def test_rtl_names_the_layer_of_a_planted_error(exported, tmp_path):
    tiny.changed(Graph.load(exported["lowered"]), "Dense_MatMul_0", "bias", 2.0**-3).save(tmp_path / "wrong")
    one = job(rtl.STAGE, tmp_path, point(), **(exported | {"lowered": tmp_path / "wrong"}))
    with pytest.raises(
        MismatchError, match=r"level 'alkaid' differs from 'twin' in \d+ of 64 samples; first: layer .*Codes: expected"
    ) as caught:
        rtl.run(one)
    assert "first: layer Conv" not in str(caught.value)
    assert not (tmp_path / "out" / "verilog").exists()


def test_a_frame_rate_above_one_pixel_a_cycle_is_refused(exported, tmp_path):
    one = job(rtl.STAGE, tmp_path, point(frame_rate_hz=4e6), **exported)
    with pytest.raises(ConfigError, match="frame_rate_hz"):
        rtl.run(one)


def slower(monkeypatch, cycles_more):
    """Stand in for the simulation of handshakes: every frame takes longer than the busy cycles of the slowest element."""
    tried = []

    def size(job, design):
        tried.append(dict(design.reuse))
        return sizing.Sized({}, 500, max(cycles(e, design.reuse.get(e.name, 1)) for e in design.elements) + cycles_more)

    monkeypatch.setattr(sizing, "size", size)
    return tried


AT_352 = {"frame_rate_hz": 1e9 / (5 * 352), "dsp": True}  # the convolution may take 9 cycles, all of its window


def test_factors_are_chosen_again_where_the_simulation_takes_longer(exported, tmp_path, monkeypatch):
    tried = slower(monkeypatch, 30)
    one = job(rtl.STAGE, tmp_path, point(**AT_352, reuse={"Dense_MatMul_0": 14}), **exported)
    rtl.run(one)
    first, last = (made["Conv2D_Conv_0"] for made in tried)
    assert (first, last) == (9, 5), "factors of 6 to 8 have as many multipliers"
    assert {made["Dense_MatMul_0"] for made in tried} == {14}, "what is set is kept"
    document = json.loads((one.out / "verilog" / "reuse.json").read_text())
    assert (document["frame_cycles"], document["budget_cycles"]) == (352, 322)
    assert document["simulated_interval_cycles"] == document["interval_cycles"] + 30 <= 352
    manifest = Manifest.load(one.out / "verilog" / "manifest.json")
    assert (manifest.interval, manifest.reuse["Conv2D_Conv_0"]) == (document["simulated_interval_cycles"], last)
    assert one.metrics["reuse_factor"].value == last, "that of the convolution, which has most products"
    assert one.metrics["multipliers"].value == 2 * 3 + 2 * 2  # of a step for each output: two words


@pytest.mark.parametrize("more", [300, 30])
def test_a_frame_rate_that_is_not_reached_in_simulation_is_refused(exported, tmp_path, monkeypatch, more):
    """Not even unrolled, or because a factor is set."""
    given = {} if more == 300 else {"reuse": {"Conv2D_Conv_0": 9}}
    tried = slower(monkeypatch, more)
    with pytest.raises(ConfigError, match=rf"a frame may take 352 cycles, and takes {364 if more == 300 else 382} in simulation"):
        rtl.run(job(rtl.STAGE, tmp_path, point(**AT_352, **given), **exported))
    assert len(tried) == (2 if more == 300 else 1)


def test_settings_of_the_c_code_are_refused():
    with pytest.raises(ConfigError, match=r"reuse_factor = 4: .*frame_rate_hz"):
        rtl.check(point(reuse_factor=4))
    with pytest.raises(ConfigError, match="logic_per_stage"):
        rtl.check(point(logic_per_stage=3.0))
    rtl.check(point())
    assert set(rtl.sources(point())) == {"driver", "calibration"}, "the data of the estimate decide the reuse factors"
    assert set(rtlsim.sources(point())) == {"driver"}
    assert rtl.sources(DesignPoint.model_validate({"model": "m"})) == {}
    assert {"hardware.frame_rate_hz", "hardware.reuse", "hardware.reuse_for", "hardware.dsp"} <= set(rtl.STAGE.config)
