"""The stages rtl and rtlsim, as the kernel calls them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from flow.config import DesignPoint
from flow.core.errors import ConfigError, MismatchError
from flow.rtl.graph import FixedType, Graph, Layer
from flow.rtl.simulate import Simulation
from flow.stages import rtl, rtlsim
from flow.twin import load_twin
from tests.qonnx_models import write_mlp
from tests.rtl import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A QONNX file, its lowered graph made by hand, and the twin's answers."""
    folder = tmp_path_factory.mktemp("exported")
    write_mlp(folder / "net.onnx")
    twin = load_twin(folder / "net.onnx")
    codes = [c.numpy().astype(float) for c in twin.codes(twin.params).values()]
    port, hidden = FixedType(False, 5, 1, "RND_CONV", "SAT"), FixedType(False, 5, 1, "RND_CONV", "SAT")
    wide, kernel, bias = FixedType(True, 20, 13), FixedType(True, 4, 1), FixedType(True, 8, 1)

    def weights(w, b):
        return {"weight": (w.T / 8, kernel), "bias": (b / 128, bias)}

    graph = Graph((
        Layer("in", "Input", (), (4,), port),
        Layer("fc1", "Dense", ("in",), (5,), wide, {}, weights(*codes[:2]), wide),
        Layer("act", "Activation", ("fc1",), (5,), hidden, {"activation": "relu"}),
        Layer("fc2", "Dense", ("act",), (3,), wide, {}, weights(*codes[2:]), wide),
        Layer("out", "Activation", ("fc2",), (3,), FixedType(True, 8, 2, "RND_CONV", "SAT"), {"activation": "linear"}),
    ))  # fmt: skip
    x = tiny.inputs(np.random.default_rng(0), graph, 64)
    with torch.no_grad():
        y = twin(twin.params, torch.from_numpy(x.astype(np.float32))).numpy().astype(float)
    np.savez(folder / "vectors.npz", x=x, y=y)
    graph.save(folder / "lowered.npz")
    tiny.changed(graph, "fc2", "bias", 2.0**-7).save(folder / "wrong.npz")
    return folder


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory):
    job = tiny.job(
        rtl.STAGE, tmp_path_factory.mktemp("job"),
        lowered=exported / "lowered.npz", vectors=exported / "vectors.npz", qonnx=exported / "net.onnx",
    )  # fmt: skip
    rtl.run(job)
    return job


def test_rtl_writes_the_folder_and_passes_the_gate(written):
    gates = {n: m.value for n, m in written.metrics.items() if n.startswith("gate")}
    assert gates == {"gate_alkaid_mismatches": 0, "gate_alkaid_samples": 64}
    slowest, slack = written.metrics["stage_delay_ns"], written.metrics["clock_slack_ns"]
    assert (slowest.kind, slack.kind, slowest.part) == ("estimate", "estimate", "xcku115-flvb2104-2-i")
    assert slowest.value + slack.value == 5.0
    assert "delay model 1, UltraScale -2" in slowest.source
    assert {p.name for p in (written.out / "verilog" / "tb").iterdir()} == {"tb.sv", "inputs.hex", "expected.hex"}
    assert len((written.out / "verilog" / "tb" / "inputs.hex").read_text().split()) == 40


def test_rtl_names_the_layer_of_a_planted_error(exported, tmp_path):
    job = tiny.job(rtl.STAGE, tmp_path, lowered=exported / "wrong.npz", vectors=exported / "vectors.npz", qonnx=exported / "net.onnx")
    with pytest.raises(
        MismatchError, match=r"level 'alkaid' differs from 'twin' in \d+ of 64 samples; first: layer .*Codes: expected"
    ) as caught:
        rtl.run(job)
    assert "first: layer Gemm_8, sample" in str(caught.value)  # the second of two dense layers
    assert job.metrics["gate_alkaid_mismatches"].value > 0
    assert not (tmp_path / "out" / "verilog").exists()


def test_an_unknown_part_is_refused_before_any_work():
    point = DesignPoint.model_validate({"model": "m", "hardware": {"part": "xcku116-flvb2104-2-i"}})
    with pytest.raises(ConfigError, match="Did you mean 'xcku115-flvb2104-2-i'"):
        rtl.check(point)


def simulation(job, exported, monkeypatch, change=0.0, unknown=0):
    """Run rtlsim with a stand-in for the simulator, which is tested elsewhere."""

    def simulate(job, verilog, x, y, tools):
        outputs = y.copy()
        outputs[5, 1] += change
        return Simulation(outputs, 6, int(change != 0), unknown)

    monkeypatch.setattr("flow.rtl.simulate.simulate", simulate)
    monkeypatch.setattr(rtlsim, "version", lambda tools: "verilator 5")
    rtlsim.run(job)


def test_rtlsim_measures_latency_and_interval(written, exported, tmp_path, monkeypatch):
    job = tiny.job(rtlsim.STAGE, tmp_path, verilog=written.out / "verilog", vectors=exported / "vectors.npz")
    simulation(job, exported, monkeypatch)
    values = {n: (m.value, m.unit, m.kind) for n, m in job.metrics.items()}
    assert values == {
        "gate_rtl_mismatches": (0, "samples", "measured"), "gate_rtl_samples": (40, "samples", "measured"),
        "latency_cycles": (6, "cycles", "measured"), "ii_cycles": (1, "cycles", "measured"), "latency_ns": (30, "ns", "estimate"),
    }  # fmt: skip
    assert json.loads((job.out / "rtlsim_gate").read_text())["latency_cycles"] == 6
    assert set(rtlsim.sources(job.full_point)) == {"driver"}


def with_wrapper(job):
    """The same execution of a point that wants an AXI-Stream wrapper."""
    hardware = job.full_point.hardware.model_copy(update={"axi_stream": True, "logic_per_stage": None})
    return dataclasses.replace(job, full_point=job.full_point.model_copy(update={"hardware": hardware}))


def test_a_wrapper_is_written_and_simulated(exported, tmp_path, monkeypatch):
    job = with_wrapper(
        tiny.job(
            rtl.STAGE, tmp_path / "rtl",
            lowered=exported / "lowered.npz", vectors=exported / "vectors.npz", qonnx=exported / "net.onnx",
        )
    )  # fmt: skip
    rtl.run(job)
    assert {p.name for p in (job.out / "verilog" / "axis").iterdir()} == {"network_axis.v", "tb_axis.sv", "constraints.xdc"}
    assert job.metrics["clock_slack_ns"].value >= 0, "the depth is chosen for the clock"
    again = with_wrapper(tiny.job(rtlsim.STAGE, tmp_path / "sim", verilog=job.out / "verilog", vectors=exported / "vectors.npz"))
    seen = []
    monkeypatch.setattr("flow.rtl.axis.simulate", lambda job, verilog, tools: seen.append(verilog))
    simulation(again, exported, monkeypatch)
    assert seen == [job.out / "verilog"]
    assert {n: again.metrics[n].value for n in ("gate_axis_mismatches", "gate_axis_samples")} == {
        "gate_axis_mismatches": 0, "gate_axis_samples": 160,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "unknown", "words"), [(2.0**-6, 0, r"1 of 40 samples; first: layer out, sample 5, output 1.*Codes"), (0, 2, "unknown")]
)
def test_rtlsim_refuses_what_differs_or_is_unknown(written, exported, tmp_path, monkeypatch, change, unknown, words):
    job = tiny.job(rtlsim.STAGE, tmp_path, verilog=written.out / "verilog", vectors=exported / "vectors.npz")
    with pytest.raises(MismatchError, match=words):
        simulation(job, exported, monkeypatch, change, unknown)
    assert not (job.out / "rtlsim_gate").exists()
