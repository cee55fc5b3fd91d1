"""`hlscape screen` through a toy flow with real worker processes, store and files."""

import json

import pytest

from flow.config import Study
from flow.core.plan import order
from flow.core.store import Store
from flow.core.sweep import run_many
from flow.points import load_study
from flow.screening import figures
from tests import screening_toy

POINT = 'model = "econ_t"\n[train]\npretrain_epochs = 20\nepochs = 20\n'
STUDY = """name = "toy"
point = "point.toml"
[axes]
"network.weight_bits" = [4, 6]
regularizers = [{}, {l2 = 1.0}, {l2 = 2.0}, {l2 = 3.0}, {l2 = 4.0}]
seed = [0, 1]
"""


@pytest.fixture
def study(tmp_path, monkeypatch, hlscape):
    """A toy study whose points but the last have been run."""
    monkeypatch.setattr("flow.stages.all_stages", screening_toy.planner)
    monkeypatch.setattr(figures, "RESAMPLES", 200)
    (tmp_path / "point.toml").write_text(POINT)
    (tmp_path / "study.toml").write_text(STUDY)

    def run(extra="", point=POINT, leave=1, text=STUDY):
        (tmp_path / "point.toml").write_text(point)
        (tmp_path / "study.toml").write_text(text + extra)
        _, points = load_study(tmp_path / "study.toml")
        work = [(order(screening_toy.STAGES), p) for p in points[: len(points) - leave]]
        list(run_many(work, Store(tmp_path / "store"), 1, lambda event: None))
        return tmp_path / "study.toml"

    return run


def test_screen(study, hlscape, tmp_path):
    path = study()
    done = hlscape("screen", path, "-j", "1")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "reports" / "toy" / "screen.json").read_text())
    assert (document["points"], document["configurations"], document["failed"]) == (20, 10, {})
    assert document["cost"]["epochs"] == {"short": 4, "full": 40, "share": pytest.approx(0.1)}
    assert document["cost"]["with_landscape_share"] is not None
    assert list(document["targets"]) == ["emd_gauss_10"]
    target = document["targets"]["emd_gauss_10"]
    assert target["measured"] == 19
    assert target["spearman"] > 0.9
    assert target["spearman_ci"][0] > 0.5
    assert target["gain_ci"][0] > 0
    assert target["baseline"]["spearman_ci"] is None or target["baseline"]["spearman_ci"][0] < 0
    assert target["recall"] > 0.7
    assert target["recall_random"] == pytest.approx(5 / 19)
    metrics = {row["id"]: row for row in target["metrics"]}
    assert metrics["hessian_trace"]["ci"][0] > 0.5
    assert metrics["gradient_norm"]["ci"][0] <= 0 <= metrics["gradient_norm"]["ci"][1]
    new = next(p for p in target["points"] if p["measured"] is None)
    assert new["name"] == "toy-w6-l24-s1"
    assert abs(new["predicted"] - 4) < 0.6
    assert new["low"] < new["predicted"] < new["high"]
    assert [p["predicted"] for p in target["points"]] == sorted(p["predicted"] for p in target["points"])
    for words in (
        "the landscape adds to bit widths",
        "predict nothing by themselves: gradient_norm",
        "not measured",
        "screen.json",
        "4 of 40 epochs",
    ):
        assert words in done.out
    assert max(map(len, done.out.splitlines()[:-1])) <= 112


def test_again_from_the_store(study, hlscape):
    path = study()
    first = hlscape("screen", path, "-j", "1", "--json")
    again = hlscape("screen", path, "-j", "2", "--json")
    assert first.out == again.out, "cached, and the same whatever the number of processes"
    assert "0.0 s" not in again.err
    assert json.loads(first.out)["study"] == "toy"


def test_it_says_plainly_that_nothing_is_predicted(study, hlscape):
    path = study(point=POINT + "[data]\nsamples = 250\n")
    done = hlscape("screen", path, "-j", "1")
    assert done.code == 0, done.err
    assert "cannot be told from 0" in done.out or "Nothing predicts it" in done.out
    assert "the landscape adds to bit widths" not in done.out


def test_short_training_that_fails_is_named(study, hlscape):
    """With 4 bits, a few epochs are not enough for the toy; the other configurations are ranked."""
    point = POINT.replace("epochs = 20\n", "epochs = 20\nbatch = 1\n", 1)
    done = hlscape("screen", study(point=point), "-j", "1")
    assert done.code == 2
    assert "measured for 5 configurations" in done.err
    path = study(point=point, text=STUDY.replace("[4, 6]", "[4, 6, 8]"), leave=0)
    done = hlscape("screen", path, "-j", "1", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["points"], document["configurations"], len(document["failed"])) == (20, 10, 10)
    assert document["failed"]["toy-w4-plain-s0"] == "4 bits need more epochs"
    assert not [p for p in document["targets"]["emd_gauss_10"]["points"] if "-w4-" in p["name"]]
    out = hlscape("screen", path, "-j", "1").out
    assert "failed: toy-w4-plain-s0, toy-w4-plain-s1" in out
    assert "The first said: 4 bits need" in " ".join(out.split())


def test_requests_that_make_no_sense(study, hlscape, tmp_path):
    hlscape("screen", "gone.toml").refused("gone.toml", "no such file")
    hlscape("screen", tmp_path / "study.toml", "-j", "0").refused("at least one process")
    hlscape("screen", tmp_path / "study.toml").refused("no degradation", "Run: hlscape sweep")
    hlscape("screen", study(leave=14)).refused("measured for 3 configurations", "at least 8", "Add values to the axes")
    hlscape("screen", study('[screen]\nmetrics = ["sharpnes"]\n')).refused("'sharpnes' is no landscape score", "Did you mean 'sharpness'")
    path = study('[screen]\ntargets = ["emd_gaus_10"]\n')
    hlscape("screen", path).refused("'emd_gaus_10' was not measured", "Did you mean 'emd_gauss_10'")
    path.write_text(path.read_text() + "budget = 2.0\n")
    hlscape("screen", path).refused("screen.budget = 2.0", "less than or equal to 1")


def test_a_metric_that_was_not_measured(study, hlscape):
    done = hlscape("screen", study('[screen]\nmetrics = ["hessian_trace", "sharpness_mean_7"]\n'), "-j", "1")
    assert done.code == 2
    assert "'sharpness_mean_7' was not measured. Measured after the short training: hessian_trace, gradient_norm." in done.err


def test_chosen_metrics_and_targets(study, hlscape):
    path = study('[screen]\nmetrics = ["gradient_norm"]\ntargets = ["emd_gauss_20", "emd_gauss_5"]\nbudget = 0.5\n')
    document = json.loads(hlscape("screen", path, "-j", "1", "--json").out)
    assert list(document["targets"]) == ["emd_gauss_20", "emd_gauss_5"]
    assert [row["id"] for row in document["targets"]["emd_gauss_5"]["metrics"]] == ["gradient_norm"]
    assert document["cost"]["epochs"]["short"] == 20


def test_settings_of_a_study_are_checked():
    assert Study(name="s", point="p.toml").screen.budget == 0.1


def test_help_has_an_example(hlscape):
    done = hlscape("screen", "--help")
    assert "hlscape screen models/econ_t/study.toml -j 2" in done.out
