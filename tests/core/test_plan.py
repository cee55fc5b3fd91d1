"""Order, keys, caching, and what happens to each kind of error."""

import collections
import dataclasses
import json
import re
import time

import pytest

from flow.core import artifact, plan
from flow.core.errors import (
    ConfigError,
    InvalidInput,
    LicenceUnavailable,
    MismatchError,
    StoreError,
    ToolFailed,
    ToolNotFound,
    ToolTimeout,
)
from flow.core.plan import order, run_point
from flow.core.stage import Stage
from flow.core.tool import Tool
from flow.stages import all_stages
from tests.core.flows import Flow


@pytest.fixture
def flow(tmp_path):
    return Flow(tmp_path)


def raiser(error):
    def work(job):
        raise error

    return work


def fake_tool(folder, version="0.69", name="faketool"):
    path = folder / f"{name}-{version}"
    path.write_text(f"#!/bin/sh\necho {name} {version} $@\n")
    path.chmod(0o755)
    return Tool(name, ((str(path),),), "Install it.")


def ids(stages):
    return [s.id for s in stages]


# --- order


def nothing(job):
    return None


def test_order_follows_reads_and_writes():
    a, b = Stage("a", nothing, writes=("x",)), Stage("b", nothing, reads=("x",), writes=("y", "z"))
    c, d = Stage("c", nothing, reads=("x", "z")), Stage("d", nothing, reads=("y",))
    assert ids(order([d, c, b, a])) == ["a", "b", "d", "c"]
    assert ids(order([d, c, b, a], until="b")) == ["a", "b"]
    assert ids(order([a, b, c, d], until="c")) == ["a", "b", "c"]


def test_order_refuses_what_is_not_there():
    a = Stage("a", nothing, reads=("x",))
    with pytest.raises(ConfigError, match=r"'b' is not a stage\. Stages: a\. Which there are depends on the point"):
        order([a], until="b")
    with pytest.raises(ConfigError, match="stage a reads 'x', which no stage writes"):
        order([a])


def test_the_flow_itself_has_an_order():
    stages = order(all_stages())
    seen = set()
    for stage in stages:
        assert set(stage.reads) <= seen
        seen |= set(stage.writes)
    assert len(stages) == len(all_stages())
    writers = collections.Counter(name for s in stages for name in s.writes)
    assert max(writers.values()) == 1


# --- keys and caching


def test_second_run_does_nothing(flow):
    stages = [flow.stage("a"), flow.stage("b", ["a"]), flow.stage("c", ["b"])]
    first = run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "b", "c"]
    assert first.paths["c"].read_text() == "cba"
    assert not any(r.cached for r in first.results.values())
    second = run_point(stages, flow.point(), flow.store)
    assert flow.ran == []
    assert all(r.cached for r in second.results.values())
    assert second.paths == first.paths
    assert second.artifacts == first.artifacts


def test_only_what_depends_on_a_changed_field_runs(flow):
    stages = [
        flow.stage("a", config=("seed",)), flow.stage("b", ["a"], work=lambda job: job.output("b").write_text("same")),
        flow.stage("c", ["b"]), flow.stage("d", config=("network.weight_bits",)), flow.stage("e", ["d"], config=("network",)),
    ]  # fmt: skip
    run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "b", "c", "d", "e"]
    run_point(stages, flow.point(bits=4), flow.store)
    assert flow.ran == ["d", "e"], "d wrote the same as before, but e looks at the field itself"
    run_point(stages, flow.point(seed=1), flow.store)
    assert flow.ran == ["a"], "a wrote the same as before, so what reads it is not run"
    other = flow.point().model_copy(update={"name": "other"})
    assert all(r.cached for r in run_point(stages, other, flow.store).results.values()), "a name changes nothing"


def test_changed_input_runs_its_readers(flow):
    stages = [
        flow.stage("a", config=("seed",), work=lambda job: job.output("a").write_text(str(job.point.seed))), flow.stage("b", ["a"]),
        flow.stage("c"),
    ]  # fmt: skip
    run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "b", "c"]
    run_point(stages, flow.point(seed=1), flow.store)
    assert flow.ran == ["a", "b"]


def test_tool_version_source_and_code_are_in_the_key(flow, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.write_text("1")

    def stages(version="0.69"):
        return [
            flow.stage("a", tools=(fake_tool(tmp_path, version),), sources=lambda point: {"data": data}, packages=("numpy",)),
            flow.stage("b"),
        ]

    state = run_point(stages(), flow.point(), flow.store)
    assert flow.ran == ["a", "b"]
    key = json.loads((flow.store.folder("a", state.results["a"].key) / "key.json").read_text())
    assert artifact.text_digest(key) == state.results["a"].key
    assert key["tools"] == {"faketool": "0.69"}
    assert list(key["packages"]) == ["numpy"]
    assert "tests/core/flows.py" in key["code"]
    run_point(stages("0.70"), flow.point(), flow.store)
    assert flow.ran == ["a"]
    data.write_text("2")
    run_point(stages(), flow.point(), flow.store)
    assert flow.ran == ["a"]
    monkeypatch.setattr(artifact, "code_digests", lambda file: {"flow/x.py": "other"})
    run_point(stages(), flow.point(), flow.store)
    assert flow.ran == ["a", "b"]


def test_paths_are_in_no_key_but_what_lies_there_may_be(flow, tmp_path):
    stages = [flow.stage("a", config=("data",))]
    run_point(stages, flow.point(), flow.store)
    moved = flow.point().model_copy(update={"data": flow.point().data.model_copy(update={"path": "/elsewhere"})})
    assert run_point(stages, moved, flow.store).results["a"].cached


# --- failures


@pytest.mark.parametrize("error", [ToolFailed("code 3"), MismatchError("gate: differs")])
def test_lasting_failure_is_stored_and_others_go_on(flow, error):
    def fail(job):
        job.measure("before", 1.0)
        raise error

    stages = [flow.stage("a", work=fail, measures=("before",)), flow.stage("b", ["a"]), flow.stage("c", ["b"]), flow.stage("d")]
    state = run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "d"]
    assert {r.stage: r.status for r in state.results.values()} == {"a": "failed", "b": "skipped", "c": "skipped", "d": "ok"}
    assert [(f.stage, f.error, f.message) for f in state.failures] == [("a", type(error).__name__, str(error))]
    assert state.metrics["before"].value == 1.0
    assert list((flow.store.folder("a", state.results["a"].key) / "out").iterdir()) == [], "nothing of a failed stage can be read"
    again = run_point(stages, flow.point(), flow.store)
    assert flow.ran == []
    assert again.results["a"].cached
    assert again.failures == state.failures
    assert again.results["b"].status == "skipped"


@pytest.mark.parametrize("error", [ToolTimeout("too long"), LicenceUnavailable("none")])
def test_transient_failure_is_tried_again(flow, error):
    reasons = [error]
    stages = [flow.stage("a", writes=(), work=lambda job: reasons and raiser(reasons.pop())(job)), flow.stage("b")]
    state = run_point(stages, flow.point(), flow.store)
    assert [f.error for f in state.failures] == [type(error).__name__]
    assert flow.store.find("a", state.results["a"].key) is None
    again = run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "b", "a"]
    assert again.failures == []


def test_a_crash_is_a_defect_that_is_not_stored(flow):
    stages = [flow.stage("a", work=raiser(ValueError("a surprise"))), flow.stage("b", ["a"]), flow.stage("c")]
    state = run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a", "c"]
    (failure,) = state.failures
    assert failure.error == "Defect"
    assert failure.message.startswith("ValueError: a surprise (at test_plan.py:")
    run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a"]


def test_what_the_user_gave_wrong_stops_the_point(flow):
    stages = [flow.stage("a", work=raiser(InvalidInput("row 3 is not a number"))), flow.stage("b")]
    with pytest.raises(InvalidInput, match="row 3"):
        run_point(stages, flow.point(), flow.store)
    assert flow.ran == ["a"]
    assert not (flow.store.root / "a").exists()
    assert list((flow.store.root / "locks").iterdir()) == []


def test_interrupt_leaves_only_the_scratch_folder(flow):
    def work(job):
        (job.scratch / "checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_point([flow.stage("a", work=work)], flow.point(), flow.store)
    (kept,) = (flow.store.root / "tmp").iterdir()
    assert (kept / "checkpoint").read_text() == "epoch 3"

    def resume(job):
        job.output("a").write_text((job.scratch / "checkpoint").read_text())

    state = run_point([flow.stage("a", work=resume)], flow.point(), flow.store)
    assert state.paths["a"].read_text() == "epoch 3"
    assert not kept.exists()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda job: job.input("other"), "stage a reads 'other' but does not declare it in `reads`"),
        (lambda job: job.output("other"), "stage a writes 'other' but does not declare it in `writes`"),
        (lambda job: job.point.train, "looks at 'train' of the design point"),
        (lambda job: job.point.network.input_bits, "looks at 'network.input_bits' of the design point"),
        (lambda job: job.run_tool(Tool("g++", (), ""), [], cwd=job.out), r"stage a runs g\+\+ but does not declare it in `tools`"),
        (lambda job: (job.output("a").touch(), (job.out / "b").touch()), r"declares to write \['a'\] but wrote \['a', 'b'\]"),
        (lambda job: None, r"declares to write \['a'\] but wrote \[\]"),
        (lambda job: (job.output("a").touch(), job.measure("emd_x", 1), job.measure("other", 1)), r"measured \['other'\]"),
    ],
)
def test_undeclared(flow, work, words):
    stage = flow.stage("a", ["x"], work=work, config=("seed", "network.weight_bits"), measures=("emd_*",))
    state = run_point([flow.stage("x"), stage], flow.point(), flow.store)
    (failure,) = state.failures
    assert failure.error == "Undeclared"
    assert re.search(words, failure.message)
    assert state.results["a"].artifacts == {}


def test_declared_is_what_a_stage_gets(flow, tmp_path):
    tool = fake_tool(tmp_path)

    def work(job):
        assert (job.point.seed, job.point.network.weight_bits, job.point.train.batch) == (0, 6, 128)
        assert list(job.out.iterdir()) == []
        assert job.run_tool(tool, ["hello"], cwd=job.scratch) == "faketool 0.69 hello\n"
        job.output("a").write_text(job.input("x").read_text())
        job.measure("m", 2, "LUT", kind="mapped", direction="lower", ci=(1, 3), source="s", part="p", title="t")

    stages = [
        flow.stage("x"),
        flow.stage("a", ["x"], work=work, config=("seed", "network.weight_bits", "train"), tools=(tool,), measures=("m",)),
    ]
    state = run_point(stages, flow.point(), flow.store)
    assert state.failures == []
    folder = flow.store.folder("a", state.results["a"].key)
    assert (folder / "log.txt").read_text() == "faketool 0.69 hello\n"
    assert "hello" in (folder / "replay.sh").read_text()
    assert state.metrics["m"].to_json() == {
        "value": 2.0, "unit": "LUT", "class": "mapped", "direction": "lower", "ci": [1, 3], "source": "s", "part": "p", "title": "t"
    }  # fmt: skip


def test_random_numbers_differ_by_seed_stage_and_purpose(flow):
    drawn = []

    def draw(seed, purpose):
        return lambda job: drawn.append(job.rng(seed, purpose).random())

    for name, seed, purpose in (("a", 0, "p"), ("a", 0, "p"), ("a", 0, "q"), ("a", 1, "p"), ("b", 0, "p")):
        stage = flow.stage(name, writes=(), work=draw(seed, purpose))
        run_point([stage], flow.point(seed=len(drawn)), Flow(flow.marks / str(len(drawn))).store)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


# --- before any work


def test_missing_tool_is_found_before_any_stage_runs(flow):
    stages = [flow.stage("a"), flow.stage("b", ["a"], tools=(Tool("ghost", (("no-such-program",),), "Install ghost."),))]
    with pytest.raises(ToolNotFound, match=r"Install ghost\."):
        run_point(stages, flow.point(), flow.store)
    assert flow.ran == []
    assert not flow.store.root.exists()


def test_check_is_asked_only_for_what_is_not_cached(flow):
    asked = []
    stages = [
        flow.stage("a", check=lambda p: asked.append("a")),
        flow.stage("b", ["a"], config=("seed",), check=lambda p: asked.append("b")),
    ]
    run_point(stages, flow.point(), flow.store)
    assert asked == ["a", "b"]
    run_point(stages, flow.point(), flow.store)
    assert asked == ["a", "b"]
    run_point(stages, flow.point(seed=1), flow.store)
    assert asked == ["a", "b", "b"]


def test_check_refuses_before_any_stage_runs(flow):
    def refuse(point):
        raise ConfigError("no such size")

    with pytest.raises(ConfigError, match="no such size"):
        run_point([flow.stage("a"), flow.stage("b", check=refuse)], flow.point(), flow.store)
    assert flow.ran == []


def test_full_disk(flow, monkeypatch):
    monkeypatch.setattr(plan, "free_bytes", lambda root: 1000)
    with pytest.raises(StoreError, match="less than 32 MiB"):
        run_point([flow.stage("a")], flow.point(), flow.store)
    assert flow.ran == []
    room = iter([2**40, 1000])
    monkeypatch.setattr(plan, "free_bytes", lambda root: next(room))
    with pytest.raises(StoreError):
        run_point([flow.stage("a", work=raiser(ToolFailed("cannot write")))], flow.point(), flow.store)
    assert not (flow.store.root / "a").exists(), "a tool that failed for want of room is not a result"


# --- what a person sees


def test_events(flow):
    events = []

    def work(job):
        job.progress(0.5, "half")
        time.sleep(0.01)

    stages = [flow.stage("a", writes=(), work=work, seconds=100), flow.stage("b", seconds=20)]
    run_point(stages, flow.point(), flow.store, events.append)
    assert [(e.index, e.total, e.stage, e.fraction, e.text, e.result is None) for e in events] == [
        (1, 2, "a", 0.0, "", True), (1, 2, "a", 0.5, "half", True), (1, 2, "a", 1.0, "", False),
        (2, 2, "b", 0.0, "", True), (2, 2, "b", 1.0, "", False),
    ]  # fmt: skip
    assert [e.seconds_left for e in events] == [120, 70, 20, 20, 0]
    assert {e.point for e in events} == {"w6-s0"}
    events.clear()
    run_point(stages, flow.point(), flow.store, events.append)
    assert events[0].seconds_left < 1, "the second time it is known how long it takes"


def test_the_latest_keys_of_a_point_are_remembered(flow):
    stages = [flow.stage("a", config=("seed",)), flow.stage("b", work=raiser(ToolTimeout("late"))), flow.stage("c", ["b"])]
    state = run_point(stages, flow.point(name="p"), flow.store)
    path = plan.index_file(flow.store, "p")
    assert json.loads(path.read_text()) == {r.stage: r.key for r in state.results.values() if r.key}
    before = path.stat().st_mtime_ns
    run_point(stages, flow.point(name="p"), flow.store)
    assert path.stat().st_mtime_ns == before
    after = run_point(stages[:1], flow.point(name="p", seed=1), flow.store)
    assert json.loads(path.read_text()) == {"a": after.results["a"].key, "b": state.results["b"].key}
    assert [p.name for p in path.parent.iterdir()] == ["p.json"]


def test_result_of_another_process_that_was_first(flow, monkeypatch):
    """Both planned the same stage; the second gets the lock when the first has finished."""
    stage = flow.stage("a")
    done = run_point([stage], flow.point(), flow.store).results["a"]
    answers = iter([None, None, done])
    monkeypatch.setattr(flow.store, "find", lambda *key: next(answers))
    assert run_point([stage], flow.point(), flow.store).results["a"] == dataclasses.replace(done)
    assert flow.ran == ["a"]
