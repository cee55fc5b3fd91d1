"""Metrics, results and states: JSON both ways, never NaN."""

import dataclasses
import json

import pytest

from flow.core.errors import FlowError, ToolFailed
from flow.core.metric import Metric
from flow.core.state import Failure, Result, State, failure_of

METRICS = [
    Metric(0.0),
    Metric(-1.5e-300, "ns", "routed", "higher", (-2.0, 0.0), "vivado 2024.1", "xcku115", "worst slack"),
    Metric(0.1 + 0.2, "LUT", "mapped", "lower", None, "yosys 0.70", "xcku115"),
]


@pytest.mark.parametrize("metric", METRICS)
def test_metric_both_ways(metric):
    document = json.loads(json.dumps(metric.to_json()))
    assert document["class"] == metric.kind
    assert Metric.from_json(document) == metric


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_metric_must_be_finite(bad):
    with pytest.raises(ValueError, match="'T' is not finite"):
        Metric(bad, title="T")
    with pytest.raises(ValueError, match="not finite"):
        Metric(1.0, ci=(0.0, bad))


def test_comparable_is_same_unit_class_part_and_tool():
    lut = METRICS[2]
    assert lut.comparable(dataclasses.replace(lut, value=7.0, source=f"{lut.tool} of another version", title="x"))
    for change in ({"unit": "FF"}, {"kind": "csynth"}, {"part": "xc7a35t"}, {"source": "Vivado 2023.2"}):
        assert not lut.comparable(dataclasses.replace(lut, **change))


@pytest.mark.parametrize("failure", [None, Failure("s", "ToolFailed", "line\nline é")])
def test_result_both_ways(tmp_path, failure):
    result = Result("s", "k", "ok", {"a": "1"}, {str(i): m for i, m in enumerate(METRICS)}, failure, 1.25)
    result.write(tmp_path / "r.json")
    assert Result.read(tmp_path / "r.json") == dataclasses.replace(result, cached=True)
    assert list(Result.read(tmp_path / "r.json").metrics) == ["0", "1", "2"]


def test_state_collects_and_never_changes(tmp_path):
    empty = State()
    one = empty.add(Result("a", "k1", "ok", {"x": "d1"}, {"m": METRICS[0]}), {"x": tmp_path / "x"})
    two = one.add(Result("b", "k2", "failed", {}, {"n": METRICS[1]}, Failure("b", "E", "words")))
    assert (empty.results, empty.paths, empty.artifacts, empty.metrics, empty.failures) == ({}, {}, {}, {}, [])
    assert list(one.results) == ["a"]
    assert two.artifacts == {"x": "d1"}
    assert two.metrics == {"m": METRICS[0], "n": METRICS[1]}
    assert two.failures == [Failure("b", "E", "words")]
    assert two.paths == {"x": tmp_path / "x"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        two.results = {}


def test_failure_of_an_error():
    assert failure_of("s", ToolFailed("what")) == Failure("s", "ToolFailed", "what")
    assert issubclass(ToolFailed, FlowError)
