"""From states to documents and folders."""

import json
import shlex
from pathlib import Path

import pytest

from flow import results
from flow.core.errors import NotTrained, ToolFailed
from flow.core.metric import Metric
from flow.core.plan import run_point
from flow.core.state import Failure
from flow.points import load_point, load_study
from flow.reporting.result import PointResult
from flow.results import document, gate_of, point_result, publish_report, request_failure
from tests.core.flows import Flow
from tests.core.test_plan import fake_tool, raiser


@pytest.fixture
def flow(tmp_path):
    return Flow(tmp_path)


def gates(**levels):
    return {f"gate_{k}_{what}": Metric(v) for k, pair in levels.items() for what, v in zip(("mismatches", "samples"), pair, strict=True)}


def test_gate():
    assert gate_of({"other": Metric(1)}) is None
    assert gate_of(gates(twin=(0, 4096), rtl=(0, 256))) == {
        "mismatches": 0, "samples": 256,
        "levels": {"twin": {"mismatches": 0, "samples": 4096}, "rtl": {"mismatches": 0, "samples": 256}},
    }  # fmt: skip
    assert gate_of(gates(twin=(0, 4096), csim=(3, 4096)))["mismatches"] == 3


def test_result_of_a_point(flow, tmp_path):
    options = {"tools": (fake_tool(tmp_path),), "packages": ("numpy",), "measures": ("m",)}
    stages = [
        flow.stage("a", writes=(), work=lambda job: job.measure("m", 2), **options),
        flow.stage("b", work=raiser(ToolFailed("code 3"))), flow.stage("c", ["b"]),
    ]  # fmt: skip
    state = run_point(stages, flow.point(name="p"), flow.store)
    result = point_result(flow.point(name="p"), state, flow.store, "hlscape run p.toml")
    assert (result.name, result.status, result.gate, result.reproduce) == ("p", "failed", None, "hlscape run p.toml")
    assert result.failures == [{"stage": "b", "error": "ToolFailed", "message": "code 3"}]
    assert result.metrics["m"].value == 2
    assert {k: s["status"] for k, s in result.stages.items()} == {"a": "ok", "b": "failed", "c": "skipped"}
    assert result.versions["faketool"] == "0.69"
    assert list(result.versions) == sorted(result.versions)
    assert result.config["data"]["path"] == flow.marks.name, "no path of this computer is told"
    assert PointResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_layers_of_streaming_hardware_travel_to_the_result(flow):
    layer = {"name": "conv", "layer": "conv", "kind": "convolution 3 x 3", "output": [4, 4, 2], "bits": 6, "reuse": 3, "cycles": 68,
             "multipliers": 6, "latency": 5, "queue": [2]}  # fmt: skip
    counts = {"lut": 50, "ff": 20, "srl": 3, "dsp": 0, "bram": 0.5}
    around = {"lut": 7, "ff": 1, "srl": 0, "dsp": 0, "bram": 0.0}

    def rtl(job):
        job.output("verilog").mkdir()
        (job.output("verilog") / "layers.json").write_text(json.dumps([layer]))

    def synth(job):
        total = {key: counts[key] + around[key] for key in counts}
        report = {"tool": "yosys 1", "part": "p", "layers": {"conv": counts, "top": around}, "total": total}
        job.output("synth_report").write_text(json.dumps(report))

    stages = [flow.stage("rtl", writes=("verilog",), work=rtl), flow.stage("synth", ["verilog"], writes=("synth_report",), work=synth)]
    found = point_result(flow.point(), run_point(stages, flow.point(), flow.store), flow.store, "").layers
    assert found["layers"][0]["counts"] == counts and found["rest"] == around and found["total"]["lut"] == 57
    alone = point_result(flow.point(), run_point(stages[:1], flow.point(), flow.store), flow.store, "").layers
    assert alone["layers"][0]["reuse"] == 3 and "total" not in alone


@pytest.mark.parametrize(("error", "status"), [(None, "ok"), (NotTrained("no better"), "untrained"), (ToolFailed("x"), "failed")])
def test_status(flow, error, status):
    state = run_point([flow.stage("a", work=raiser(error) if error else None)], flow.point(), flow.store)
    assert point_result(flow.point(), state, flow.store, "").status == status


def test_point_that_could_not_be_run(flow):
    result = request_failure(flow.point(name="p"), Failure("", "WorkerDied", "killed"), "cmd")
    assert (result.status, result.failures) == ("failed", [{"stage": "", "error": "WorkerDied", "message": "killed"}])


def test_document_of_one_and_of_many(flow):
    states, found = {}, []
    for seed in (0, 1):

        def work(job, seed=seed):
            job.output("a").touch()
            job.metrics.update(gates(twin=(seed, 64 + seed)))

        stage = flow.stage("a", config=("seed",), measures=("*",), work=work)
        point = flow.point(seed=seed)
        states[point.name] = run_point([stage], point, flow.store)
        found.append(point_result(point, states[point.name], flow.store, ""))
    one = document(found[:1], dict(list(states.items())[:1]), {"point": "x"})
    assert one["point"] == "x"
    assert set(one["metrics"]) == {"gate_twin_mismatches", "gate_twin_samples"}
    assert one["gate"]["levels"] == {"twin": {"mismatches": 0, "samples": 64}}
    assert one["stages"]["a"]["cached"] is False
    assert one["failures"] == {}
    both = document(found, states, {})
    assert (both["gate"]["mismatches"], both["gate"]["samples"]) == (1, 64)
    assert set(both["gate"]["levels"]) == {"w6-s0/twin", "w6-s1/twin"}
    assert set(both["stages"]) == {"w6-s0/a", "w6-s1/a"}
    assert json.loads(json.dumps(both))["status"] == {"w6-s0": "ok", "w6-s1": "ok"}
    assert document([], {}, {})["gate"]["samples"] == 0


def test_report_is_written_when_it_changed(flow, tmp_path, monkeypatch):
    from flow.reporting import report

    written = []

    def write(folder, study, command, found, *more):
        written.append([r.name for r in found])
        folder.mkdir(exist_ok=True)
        (folder / "index.html").write_text("page")
        return folder / "index.html"

    monkeypatch.setattr(report, "write_report", write)
    result = PointResult("p", "ok")
    for found in ([result], [result], [result, result]):
        assert publish_report(flow.store, tmp_path / "r", "study", "cmd", found).read_text() == "page"
    assert written == [["p"], ["p", "p"]]
    (tmp_path / "r" / "index.html").unlink()
    publish_report(flow.store, tmp_path / "r", "study", "cmd", [result, result])
    assert len(written) == 3


def test_commands_can_be_pasted():
    assert results.run_command("a b.toml", ["x=1", "data.path=it's"]) == "hlscape run 'a b.toml' --set x=1 --set 'data.path=it'\"'\"'s'"


def test_the_command_of_a_point_makes_that_very_point(tmp_path):
    (tmp_path / "p.toml").write_text('model = "econ_t"\n')
    axes = 'axes = { "network.weight_bits" = [3, 4], regularizers = [{}, { jacobian = 0.0003 }], "data.split" = [[0.6, 0.2, 0.2]] }\n'
    (tmp_path / "s.toml").write_text('name = "s"\npoint = "p.toml"\n' + axes)
    study, points = load_study(tmp_path / "s.toml", ["seed=7"])
    for point in points:
        words = shlex.split(results.point_command(str(tmp_path / "s.toml"), study, point, ["seed=7"]))
        assert words[:2] == ["hlscape", "run"]
        assert load_point(Path(words[2]), words[4::2]) == point
