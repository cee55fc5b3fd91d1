import json
import re
from dataclasses import replace

import pytest
from report_samples import failed, point, study

from flow.core.metric import Metric
from flow.core.plan import run_point
from flow.reporting.curves import HEIGHT, LEFT, RIGHT, TOP, WIDTH, point_charts, study_charts
from flow.reporting.page import plot_key
from flow.reporting.report import write_report
from flow.results import point_result
from tests.core.flows import Flow

RUN = {"train": [2.0, 1.0], "validation": [5.0, 3.0, 1.0], "score": [0.5, 0.7, 0.9], "best": 2}


def with_curves(**curves):
    metrics = {"auc": Metric(0.9, "", direction="higher", title="AUC"), "auc_trivial": Metric(0.5)}
    return replace(point(), metrics=metrics, curves=curves)


def places(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def value_at(chart, y):
    """Invert the axis from two of its ticks."""
    (y0, low), (y1, high) = ((at, float(text)) for at, text in (chart.y_ticks[0], chart.y_ticks[-1]))
    return low + (high - low) * (y - y0) / (y1 - y0)


def test_lines_are_where_the_axes_say():
    losses, scores = point_charts(with_curves(float=RUN, quantized={**RUN, "validation": [2.0, 1.5, 1.8], "best": 1}))
    assert (losses.title, scores.title, scores.better) == ("Loss", "AUC", "↑ higher is better")
    train, validation = losses.lines
    assert not losses.log
    drawn = [value_at(losses, y) for _, y in places(validation.path)]
    assert drawn == pytest.approx([5, 3, 1, 2, 1.5, 1.8], abs=0.01)
    epochs = {text: at for at, text in losses.x_ticks[:3]}
    assert [x for x, _ in places(validation.path)[:3]] == [epochs["0"], epochs["1"], epochs["2"]]
    assert [x for x, _ in places(train.path)[:2]] == [epochs["1"], epochs["2"]], "no training loss before training"
    assert [round(value_at(losses, y), 2) for _, y in validation.kept] == [1.5, 1.0]
    assert "kept epoch 1, 1.500" in validation.words
    assert validation.path.count("M") == 2, "float and quantized training are not joined"
    assert epochs["0"] == LEFT and losses.x_ticks[-1] == (WIDTH - RIGHT, "2")
    assert [name for _, name in losses.phases] == ["float", "with quantizers"]


def test_the_axis_is_made_for_what_matters():
    """The untrained network is off the axis; everything from the middle of float training on is on it."""
    steep = {"train": [9.0] * 10, "validation": [1e6, 1e3, 99.0, 50.0, 9, 8, 7, 6, 5, 4, 3], "score": [], "best": 10}
    (chart,) = point_charts(with_curves(float=steep))
    on = [TOP <= y <= HEIGHT for _, y in places(chart.lines[1].path)]
    assert on[5:] == [True] * 6 and on[0] is False


def test_a_value_that_is_not_finite_leaves_a_gap():
    (chart,) = point_charts(with_curves(quantized={"train": [1, 1, 1], "validation": [4, None, 2, 1], "score": [None] * 4, "best": 1}))
    assert chart.lines[1].path.count("M") == 2 and chart.lines[1].kept == []


@pytest.mark.parametrize("curves", [{}, {"float": {"train": [], "validation": [None], "score": [None], "best": 0}}])
def test_no_curves_no_chart(curves):
    assert point_charts(with_curves(**curves)) == []


def test_curves_are_read_from_the_artifacts(tmp_path):
    flow = Flow(tmp_path)
    diverged = '{"train": [NaN], "validation": [1.5, Infinity], "score": [0.5, 0.25], "best": 0}'
    stage = flow.stage("history", work=lambda job: job.output("history").write_text(diverged))
    state = run_point([stage], flow.point(), flow.store)
    found = point_result(flow.point(), state, flow.store, "").curves
    assert found == {"quantized": {"train": [None], "validation": [1.5, None], "score": [0.5, 0.25], "best": 0}}


def test_no_float_training_is_a_dot():
    flat = {"train": [], "validation": [2.0], "score": [0.5], "best": 0}
    chart = point_charts(with_curves(float=flat, quantized=RUN))[0]
    assert re.match(r"M62.0 [\d.]+h0M", chart.lines[1].path)


@pytest.mark.parametrize(("epochs", "labels"), [(4, 5), (100, 6), (1000, 6)])
def test_ticks_stay_few(epochs, labels):
    (chart,) = point_charts(with_curves(float={"train": [1.0] * epochs, "validation": [], "score": [], "best": 0}))
    assert len(chart.x_ticks) == labels


def test_all_points_of_a_study_share_a_chart():
    results = [*study(), replace(point(4), name="imported", curves={})]
    score, loss = study_charts(results, plot_key(results))
    assert (score.title, loss.title) == ("EMD [TC pitch / 2]", "Validation loss")
    assert [line.point for line in score.lines] == list(range(12))
    assert [line.css for line in score.lines].count("grey") == 2, "the failed and the untrained point"
    assert study_charts([replace(point(), curves={})], plot_key([point()])) == []


@pytest.mark.parametrize("curves", [{}, point().curves])
def test_the_section_is_there_when_something_was_trained(tmp_path, monkeypatch, curves):
    monkeypatch.setattr("flow.reporting.report._plots", lambda results: {})
    results = [replace(point(3), curves=curves), replace(failed(), curves=curves)]
    for some in (results, results[:1]):
        folder = write_report(tmp_path, "s", "c", some).parent
        assert ("Learning curves" in (folder / "index.html").read_text()) == bool(curves)
    document = json.loads((folder / "metrics.json").read_text())
    assert document["points"][0]["curves"] == curves
