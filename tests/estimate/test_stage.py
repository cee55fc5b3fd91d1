"""The stage: which figures there are, of which class, with which words; and what it refuses."""

import json
import time

import numpy as np
import pytest

from benchmarks.estimate_data import draw
from flow.config import DesignPoint
from flow.core import plugins
from flow.core.errors import ConfigError
from flow.core.stage import Job
from flow.estimate.model import calibration
from flow.rtl.graph import FixedType, Graph, Layer
from flow.stages import all_stages, estimate

SEED = 3  # a network of the calibration


def measure(graph, folder, **hardware):
    folder.mkdir(parents=True)
    graph.save(folder / "lowered")
    (folder / "out").mkdir()
    point = DesignPoint.model_validate({"model": "m", "hardware": {"backend": "estimate", **hardware}})
    estimate.check(point)
    job = Job(estimate.STAGE, point, {"lowered": folder / "lowered"}, folder / "out", folder, folder / "log.txt", folder / "replay.sh")
    estimate.run(job)
    return job.metrics, json.loads((folder / "out" / "estimate_report").read_text())


def test_a_network_of_the_calibration_is_inside_of_it(tmp_path):
    graph, part, clock = draw(SEED)
    metrics, report = measure(graph, tmp_path / "a", part=part, clock_ns=clock)
    assert {m.kind for m in metrics.values()} == {"estimate"}
    assert metrics["estimate_outside"].value == 0 and report["outside"] == []
    for figure in ("lut", "lut6_packed", "ff", "latency_cycles"):
        metric, true = metrics[figure], calibration().measured[figure][SEED]
        assert metric.ci[0] < metric.value < metric.ci[1]
        assert metric.ci[0] < true < metric.ci[1]
        assert metric.part == part and "yosys" in metric.source and "OUTSIDE" not in metric.source
    assert metrics["latency_ns"].value == metrics["latency_cycles"].value * clock
    assert metrics["lut_percent"].value == pytest.approx(100 * metrics["lut"].value / 663_360, rel=0.01)
    assert metrics["dsp"].value == 0 and metrics["ii_cycles"].value == 1


def test_what_the_calibration_does_not_cover_says_so(tmp_path):
    graph, part, clock = draw(SEED)
    metrics, _ = measure(graph, tmp_path / "hand", part=part, clock_ns=clock, logic_per_stage=3.0)
    assert metrics["estimate_outside"].value >= 1
    assert "OUTSIDE of what was calibrated: " in metrics["lut"].source and "set by hand" in metrics["lut"].source
    rng, word = np.random.default_rng(0), FixedType(False, 8, 1)
    weight = rng.integers(-127, 128, (400, 200)) / 128.0, FixedType(True, 8, 1)
    huge = Graph((
        Layer("in", "Input", (), (400,), word), Layer("fc", "Dense", ("in",), (200,), FixedType(True, 26, 11), {}, {"weight": weight}),
    ))  # fmt: skip
    metrics, report = measure(huge, tmp_path / "huge")
    assert any(text.startswith("adder_bits") and "above" in text for text in report["outside"])
    assert metrics["estimate_outside"].value == len(report["outside"])


def test_adder_trees_that_are_traced_give_a_narrower_interval(tmp_path):
    graph, part, clock = draw(SEED)
    counted, traced = (
        measure(graph, tmp_path / mode, part=part, clock_ns=clock, estimate=mode)[0]["lut"] for mode in ("counted", "traced")
    )
    true = calibration().measured["lut"][SEED]
    assert traced.ci[0] < true < traced.ci[1]
    assert traced.ci[1] / traced.ci[0] < 0.8 * counted.ci[1] / counted.ci[0]


def test_a_stream_has_only_what_is_counted(tmp_path):
    graph, part, _ = draw(SEED)
    metrics, report = measure(graph, tmp_path / "a", part=part, io="stream")
    assert set(metrics) == {"bops", "weights", "digits", "hls_dsp", "hls_bram18"}
    assert "figures" not in report


def test_parts_that_were_not_measured_are_refused():
    for part, words in (("lfe5u-85f-6bg756c", "calibrated for Xilinx parts only"), ("xyz", "not a known part")):
        with pytest.raises(ConfigError, match=words):
            estimate.check(DesignPoint.model_validate({"model": "m", "hardware": {"part": part}}))


def test_the_back_end_ends_in_this_stage():
    point = DesignPoint.model_validate({"model": "m", "hardware": {"backend": "estimate"}})
    assert plugins.load("synth", "estimate").stages(point) == ("estimate",)
    stages = [stage.id for stage in all_stages(point)]
    assert stages[-3:] == ["estimate", "landscape", "robustness"] and "rtl" not in stages and "csim" in stages
    assert list(estimate.sources(point)) == ["calibration"]


def test_it_takes_milliseconds(tmp_path):
    graph, part, clock = draw(SEED)
    measure(graph, tmp_path / "warm", part=part, clock_ns=clock)
    start = time.process_time()
    for i in range(5):
        measure(graph, tmp_path / str(i), part=part, clock_ns=clock)
    assert (time.process_time() - start) / 5 < 0.1
