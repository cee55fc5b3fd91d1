"""Groups of points that differ in the seed only, and the stage that compares them, with stages of the toy flow."""

import json
from fnmatch import fnmatch

import numpy as np
import pytest
import torch

from flow import comparison
from flow.config import DesignPoint, HardwareConfig
from flow.core.errors import ToolFailed, Undeclared
from flow.core.explain import collect_garbage
from flow.core.plan import run_point
from flow.core.stage import Job, Stage
from flow.core.state import Failure, State
from flow.core.store import Store
from flow.model import Dataset
from flow.stages.compare import stage_for
from flow.stages.data import write_dataset
from tests.core import toy
from tests.qonnx_models import write_mlp


def measure_sizes(job: Job) -> None:
    """Compare what the members' stage ``left`` wrote."""
    toy.mark(job, "compared")
    job.progress(0.5, "half of it")
    left = [job.input(name) for name in job.stage.reads if name != "base"]
    seeds = [int((folder / "b").read_text().split()[1]) for folder in left]
    if seeds == [3, 4]:
        raise ToolFailed("these two cannot be compared")
    job.output("curves").write_text(str(seeds))
    job.measure("cka_toy", sum(seeds) + len(job.input("base").read_text()), "bytes", title="sum")


def toy_stage(members):
    return Stage(
        "compare", measure_sizes, reads=("base", *(f"left_{i}" for i in range(len(members)))), writes=("curves",), measures=("cka*",),
        config=("model",),
    )  # fmt: skip


@pytest.fixture
def marks(tmp_path):
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store, and comparisons of the toy's artifacts."""
    monkeypatch.setattr(toy, "SECONDS", 0.0)
    for name, value in {"SHARED": ("base",), "OWN": ("left",), "stage_for": toy_stage, "comparing": lambda point: ("toy",)}.items():
        monkeypatch.setattr(comparison, name, value)
    return Store(tmp_path / "store")


@pytest.fixture
def here(monkeypatch):
    """Run groups in this process, one after the other."""

    def run_many(work, store, jobs, listen, given):
        for stages, point in work:
            yield point, run_point(stages, point, store, listen, given[point.name])

    monkeypatch.setattr(comparison, "run_many", run_many)


def compared(marks):
    return sum(f.read_text().count("compared") for f in marks.iterdir())


def run(points, store):
    return {point.name: run_point(toy.STAGES, point, store) for point in points}


def values(outcomes):
    return {name: state.metrics["cka_toy"].value for name, state in outcomes.items() if "cka_toy" in getattr(state, "metrics", ())}


def test_groups_are_equal_in_all_but_seed_and_name(marks, store):
    points = [toy.point(marks, bits, seed) for bits in (4, 6) for seed in (2, 0, 1)]
    other = toy.point(marks, 4, 7).model_copy(update={"hardware": HardwareConfig(clock_ns=9.0)})
    assert [[p.name for p in group] for group in comparison.alike([*points, other])] == [
        ["w4-s0", "w4-s1", "w4-s2"], ["w6-s0", "w6-s1", "w6-s2"],
    ]  # fmt: skip
    assert comparison.alike(points[:1]) == []


def test_a_point_without_a_plugin_that_compares_has_no_group(marks, store, monkeypatch):
    monkeypatch.setattr(comparison, "comparing", lambda point: ())
    assert comparison.alike([toy.point(marks, seed=s) for s in range(3)]) == []


def test_each_group_is_compared_once_and_every_member_has_the_result(marks, store):
    points = [toy.point(marks, bits, seed) for bits in (4, 10) for seed in (1, 0)] + [toy.point(marks, 8, 5)]
    outcomes, events = run(points, store), []
    after = comparison.compare(points, outcomes, store, 2, events.append)
    assert values(after) == dict.fromkeys(("w4-s0", "w4-s1", "w10-s0", "w10-s1"), 5001.0)
    assert "compare" not in after["w8-s5"].results
    assert "compare" not in outcomes["w4-s0"].results, "what was handed in is left as it was"
    assert after["w4-s1"].paths["curves"].read_text() == "[0, 1]", "by rising seed"
    assert list(after["w4-s0"].results) == [*(s.id for s in toy.STAGES), "compare"]
    assert set(after["w4-s0"].artifacts) == {*outcomes["w4-s0"].artifacts, "curves"}, "the names of members are for the stage alone"
    assert compared(marks) == 2
    assert {e.point for e in events if e.result is not None} == {"w4-s0", "w10-s0"}

    again = comparison.compare(points, outcomes, store, 2, events.append)
    assert compared(marks) == 2
    assert values(again) == values(after)
    assert again["w4-s0"].results["compare"].cached
    assert collect_garbage(store)[0] == 0, "each member refers to it"
    assert all("compare" in json.loads((store.root / "points" / f"{p.name}.json").read_text()) for p in points[:4])


def test_stored_comparisons_are_found_without_running_any(marks, store, here):
    points = [toy.point(marks, 4, seed) for seed in range(3)]
    outcomes = run(points, store)
    before, missing = comparison.add_stored(points, outcomes, store)
    assert (values(before), [len(g.members) for g in missing]) == ({}, [3])
    comparison.compare(points, outcomes, store, 1, lambda event: None)
    after, missing = comparison.add_stored(points, outcomes, store)
    assert len(values(after)) == 3
    assert missing == []
    assert compared(marks) == 1


def test_a_member_that_failed_leaves_its_group(marks, store, here):
    points = [toy.point(marks, 4, seed) for seed in range(3)]
    outcomes = run(points, store)
    unfinished = State({k: v for k, v in outcomes["w4-s1"].results.items() if k != "left"})
    after = comparison.compare(points, {**outcomes, "w4-s1": unfinished}, store, 1, lambda event: None)
    assert values(after) == {"w4-s0": 5002.0, "w4-s2": 5002.0}
    assert after["w4-s1"] == unfinished
    failure = Failure("", "ConfigError", "no")
    after = comparison.compare(points, {**outcomes, "w4-s1": failure, "w4-s2": failure}, store, 1, lambda event: None)
    assert values(after) == {}
    assert after["w4-s1"] == failure


def test_a_comparison_that_fails_is_a_failure_of_each_member(marks, store, here):
    points = [toy.point(marks, 4, seed) for seed in (3, 4)]
    after = comparison.compare(points, run(points, store), store, 1, lambda event: None)
    for state in after.values():
        assert [(f.stage, f.error, f.message) for f in state.failures] == [("compare", "ToolFailed", "these two cannot be compared")]
        assert "size" in state.metrics
    assert compared(marks) == 1


def test_a_killed_worker_is_told(marks, store, monkeypatch):
    monkeypatch.setattr(comparison, "run_many", lambda *a: iter([(points[0], Failure("", "WorkerDied", "killed"))]))
    points = [toy.point(marks, 4, seed) for seed in (0, 1)]
    after = comparison.compare(points, run(points, store), store, 1, lambda event: None)
    assert {(f.stage, f.error) for state in after.values() for f in state.failures} == {("compare", "WorkerDied")}
    assert values(comparison.compare(points, run(points, store), store, 1, lambda event: None)) == {}


# --- the stage itself, on networks made on the spot

NETWORK = """
from torch import nn
SIZES, INPUT_MAX = ("baseline",), 2.0
def on_chip(layers, size):
    raise NotImplementedError
def off_chip(size):
    return nn.Linear(2, 2)
def loss(output, target):
    return (output - target).square().mean(1)
"""
SCORE = """
from flow.model import Score
SCORE = Score("mse", "MSE", "", "lower", lambda o, t: ((o - t) ** 2).mean(1).astype("f8"), lambda t: t.mean(0))
"""


def job_of(folder, count, engine):
    """Inputs of the stage: the same data, and a network for each seed."""
    folder.mkdir(exist_ok=True)
    for name, text in (("network", NETWORK), ("data", "def load(config):\n    raise NotImplementedError\n"), ("score", SCORE)):
        (folder / f"{name}.py").write_text(text)
    x = {s: np.random.default_rng(0).random((40, 3)).astype(np.float32) for s in ("train", "validation", "test")}
    write_dataset(folder / "dataset.npz", Dataset(x, {s: v[:, :2] for s, v in x.items()}))
    inputs = {"dataset": folder / "dataset.npz"}
    for seed in range(count):
        inputs[f"qonnx_{seed}"] = write_mlp(folder / f"{seed}.onnx", (3, 4, 2), seed=seed)
        inputs[f"head_{seed}"] = folder / f"{seed}.pt"
        torch.save({"weight": torch.eye(2) * (1 + seed), "bias": torch.zeros(2)}, inputs[f"head_{seed}"])
    metrics = ["hessian_trace", "cka", "mode_connectivity"]
    landscape = {"metrics": metrics, "samples": 32, "connectivity_epochs": 2, "engine": engine}
    points = [DesignPoint.model_validate({"model": str(folder), "seed": seed, "landscape": landscape}) for seed in range(count)]
    stage, out = stage_for(points), folder / f"{engine}_{count}" / "out"
    out.mkdir(parents=True)
    assert set(stage.reads) == set(inputs)
    shown = []
    return Job(stage, points[0], inputs, out, out, folder / "log", folder / "replay", lambda f, t: shown.append(f)), shown


def test_the_stage_runs_every_plugin_that_compares(tmp_path):
    job, shown = job_of(tmp_path / "model", 3, "twin")
    job.stage.run(job)
    assert all(any(fnmatch(name, pattern) for pattern in job.stage.measures) for name in job.metrics)
    assert {"cka_seeds", "mode_connectivity_linear", "mode_connectivity_aligned", "mode_connectivity_curve"} <= set(job.metrics)
    assert shown == sorted(shown)
    assert 0.9 < shown[-1] <= 1
    with np.load(job.out / "curves") as curves:
        assert curves["mode_connectivity_linear"].shape == (3, len(curves["mode_connectivity_t"]))
    again, _ = job_of(tmp_path / "model", 3, "compiled")
    again.stage.run(again)
    assert {k: m.value for k, m in again.metrics.items()} == pytest.approx({k: m.value for k, m in job.metrics.items()}, rel=1e-5)


def test_the_key_has_the_plugins_that_compare_and_no_seed(tmp_path):
    job, _ = job_of(tmp_path / "model", 2, "twin")
    assert {"model", "landscape cka", "landscape mode_connectivity"} <= set(job.stage.sources(job.full_point))
    assert "landscape hessian_trace" not in job.stage.sources(job.full_point)
    with pytest.raises(Undeclared, match="seed"):
        _ = job.point.seed
