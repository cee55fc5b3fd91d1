"""The task score, its interval, and the refusal to rank what did not train."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from flow.core.errors import NotTrained
from flow.core.metric import Metric
from flow.core.stage import Job, Stage
from flow.model import Dataset, Score
from flow.quant.evaluate import measure_float, measure_score, score_interval

RNG = np.random.default_rng(0)
TARGET = {k: RNG.normal(2, 1, (n, 3)).astype(np.float32) for k, n in (("train", 400), ("test", 200))}
MEAN = TARGET["train"].mean(0)
DATA = Dataset(TARGET, TARGET)


def mse(output, target):
    scores = ((output - target) ** 2).mean(1).astype(np.float64)
    scores[:3] = np.nan
    return scores


def extras(output, target, rng):
    return {"worst": Metric(float(np.abs(output - target).max()), "v", direction="lower", title="Worst"), "n": Metric(3.0)}


LOWER = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0), extras)
HIGHER = Score("quality", "Quality", "", "higher", lambda o, t: -mse(o, t), lambda t: t.mean(0))


def measured(score, output):
    job = Job(Stage("s", lambda job: None), None, {}, *[Path()] * 4)
    error = None
    try:
        measure_score(job, score, DATA, np.asarray(output, np.float32), np.random.default_rng(0))
    except NotTrained as caught:
        error = str(caught)
    return job.metrics, error


def test_interval_against_scipy():
    values = np.array([1.0, 2.0, np.nan, 4.0, 3.5])
    kept = values[~np.isnan(values)]
    mean, interval = score_interval(values)
    assert mean == pytest.approx(kept.mean())
    assert interval == pytest.approx(stats.t.interval(0.95, 3, kept.mean(), stats.sem(kept)))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan, np.inf]])
def test_nothing_to_average(values):
    with pytest.raises(NotTrained, match=f"Only {min(len(values), 1)} of {len(values)} test samples have a score"):
        score_interval(np.array(values))


@pytest.mark.parametrize("score", [LOWER, HIGHER], ids=["lower", "higher"])
def test_trained(score):
    metrics, error = measured(score, TARGET["test"] + 0.1)
    assert error is None
    figure, trivial = metrics[score.id], metrics[f"{score.id}_trivial"]
    assert abs(figure.value) == pytest.approx(0.01, rel=1e-5)
    assert abs(trivial.value) == pytest.approx(np.nanmean(mse(TARGET["train"].mean(0), TARGET["test"])), rel=1e-5)
    for metric in (figure, trivial):
        assert metric.ci[0] <= metric.value <= metric.ci[1]
        assert (metric.unit, metric.direction) == (score.unit, score.direction)
    assert figure.title == score.title
    assert trivial.title == f"{score.title} of the best constant output"


def test_extras():
    metrics, _ = measured(LOWER, TARGET["test"] + 0.5)
    assert metrics["worst"].value == pytest.approx(0.5, rel=1e-5)
    assert (metrics["worst"].unit, metrics["worst"].title) == ("v", "Worst")
    assert set(measured(HIGHER, TARGET["test"])[0]) == {"quality", "quality_trivial"}


@pytest.mark.parametrize("score", [LOWER, HIGHER], ids=["lower", "higher"])
@pytest.mark.parametrize(
    "output",
    [
        np.broadcast_to(MEAN, TARGET["test"].shape),
        np.zeros_like(TARGET["test"]),
        RNG.normal(2, 1, TARGET["test"].shape),
        MEAN + np.where(np.arange(200) % 25 < 13, 0.1, -0.09)[:, None] * (TARGET["test"] - MEAN),
    ],
    ids=["constant", "zero", "noise", "not significantly better"],
)
def test_not_trained(score, output, request):
    metrics, error = measured(score, output)
    assert error.startswith(f"The network did not train: its {score.title} of ")
    assert "Raise train.epochs" in error
    gain = float(re.search(r"gain (\S+),", error)[1])
    assert (gain > 0) == ("significantly" in request.node.callspec.id)
    assert score.id in metrics, "the numbers are kept so that a person can see why"
    assert not NotTrained.transient


def test_dead_network():
    metrics, error = measured(LOWER, np.full_like(TARGET["test"], np.nan))
    assert error.startswith("Only 0 of 200")
    assert metrics == {}


def test_float_network():
    job = Job(Stage("s", lambda job: None), None, {}, *[Path()] * 4)
    measure_float(job, LOWER, (TARGET["test"] + 0.5).astype(np.float32), TARGET["test"], np.random.default_rng(0))
    assert set(job.metrics) == {"mse_float", "worst_float"}, "what has no better and worse is not repeated"
    assert job.metrics["mse_float"].value == pytest.approx(0.25, rel=1e-5)
    assert job.metrics["mse_float"].ci is not None
    assert job.metrics["worst_float"].title == "Worst of the float network"
