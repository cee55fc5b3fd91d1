"""Why a stage would run again, in words; and what can be thrown away."""

import json
import os
import socket

import pytest

from flow.core import artifact, explain
from flow.core.errors import StoreError, ToolFailed, ToolTimeout
from flow.core.explain import collect_garbage, differences
from flow.core.plan import run_point
from tests.core.flows import Flow
from tests.core.test_plan import fake_tool, raiser


@pytest.fixture
def flow(tmp_path):
    return Flow(tmp_path)


def rows(flow, stages, **point):
    return explain.explain(stages, flow.point(name="p", **point), flow.store)


def test_words_for_every_part_of_a_key():
    old = {
        "format": 1, "config": {"network": {"weight_bits": 6, "rounding": "ROUND"}, "seed": 0, "regularizers": {"jacobian": 0.01}},
        "inputs": {"dataset": "1"}, "code": {"flow/a.py": "1", "flow/b.py": "1"}, "sources": {"model": "1"}, "tools": {"yosys": "0.69"},
        "packages": {"torch": "2.12"},
    }  # fmt: skip
    new = {
        "format": 2, "config": {"network": {"weight_bits": 4, "rounding": "FLOOR"}, "seed": 0, "regularizers": {}},
        "inputs": {"dataset": "2"},
        "code": {"flow/a.py": "2", "flow/c.py": "1"}, "sources": {"model": "2"}, "tools": {"yosys": "0.70"}, "packages": {"torch": "2.13"},
    }  # fmt: skip
    assert differences(old, new) == [
        "format 1 -> 2", "network.weight_bits 6 -> 4", "network.rounding ROUND -> FLOOR", "regularizers.jacobian 0.01 -> (none)",
        "input dataset changed", "code flow/a.py changed", "code flow/b.py is gone", "code flow/c.py is new", "source model changed",
        "yosys 0.69 -> 0.70", "torch 2.12 -> 2.13",
    ]  # fmt: skip
    assert differences(old, old) == []


def test_never_ran_then_cached(flow):
    stages = [flow.stage("a"), flow.stage("b", ["a"])]
    assert rows(flow, stages) == [
        ("a", "will run", ["it never ran for this point"]),
        ("b", "will run", ["it never ran for this point", "reads a, which a will write"]),
    ]  # fmt: skip
    assert flow.ran == []
    assert not flow.store.root.exists()
    run_point(stages, flow.point(name="p"), flow.store)
    assert rows(flow, stages) == [("a", "cached", []), ("b", "cached", [])]


def test_changed_configuration_and_what_depends_on_it(flow):
    stages = [
        flow.stage("a", config=("network",)),
        flow.stage("b", ["a"]),
        flow.stage("c", ["b"], config=("network.weight_bits",)),
        flow.stage("d"),
    ]
    run_point(stages, flow.point(name="p"), flow.store)
    assert rows(flow, stages, bits=4) == [
        ("a", "will run", ["network.weight_bits 6 -> 4"]),
        ("b", "depends", ["reads a, which a will write"]),
        ("c", "will run", ["network.weight_bits 6 -> 4", "reads b, which b will write"]),
        ("d", "cached", []),
    ]


def test_changed_tool_and_code(flow, tmp_path, monkeypatch):
    def stages(version):
        return [flow.stage("a", tools=(fake_tool(tmp_path, version),))]

    run_point(stages("0.69"), flow.point(name="p"), flow.store)
    assert rows(flow, stages("0.70")) == [("a", "will run", ["faketool 0.69 -> 0.70"])]
    real = artifact.code_digests
    monkeypatch.setattr(artifact, "code_digests", lambda file: {**real(file), "tests/core/flows.py": "edited"})
    assert rows(flow, stages("0.69")) == [("a", "will run", ["code tests/core/flows.py changed"])]


def test_changed_input(flow, tmp_path):
    data = tmp_path / "data"
    data.write_text("1")

    def stages(extra):
        return [
            flow.stage("a", sources=lambda point: {"data": data}, work=lambda job: job.output("a").write_text(data.read_text())),
            flow.stage("b", ["a"]), *extra,
        ]  # fmt: skip

    run_point(stages([]), flow.point(name="p"), flow.store)
    data.write_text("2")
    assert rows(flow, stages([]))[0] == ("a", "will run", ["source data changed"])
    run_point(stages([])[:1], flow.point(name="p"), flow.store)
    assert rows(flow, stages([]))[1] == ("b", "will run", ["input a changed"])


def test_failed_before_and_what_it_takes_with_it(flow):
    stages = [flow.stage("a", work=raiser(ToolFailed("code 3"))), flow.stage("b", ["a"]), flow.stage("c", ["b"]), flow.stage("d")]
    state = run_point(stages, flow.point(name="p"), flow.store)
    assert rows(flow, stages) == [
        ("a", "failed before", ["code 3"]),
        ("b", "skipped", ["reads a, which is missing"]),
        ("c", "skipped", ["reads b, which is missing"]),
        ("d", "cached", []),
    ]  # fmt: skip
    assert [r.status for r in state.results.values()] == ["failed", "skipped", "skipped", "ok"]


def test_result_that_was_not_kept(flow):
    stages = [flow.stage("a", work=raiser(ToolTimeout("late")))]
    run_point(stages, flow.point(name="p"), flow.store)
    assert rows(flow, stages) == [("a", "will run", ["its last result is no longer in the store"])]


def stored(flow):
    return sorted(p.parent.parent.name for p in flow.store.root.glob("*/*/result.json"))


def test_garbage_is_what_no_point_refers_to(flow):
    stages = [flow.stage("a", config=("seed",)), flow.stage("b")]
    for seed in (0, 1, 2):
        run_point(stages, flow.point(name="p", seed=seed), flow.store)
    run_point(stages, flow.point(name="q", seed=0), flow.store)
    (flow.store.root / "tmp" / "partial-a-0").mkdir()
    (flow.store.root / "tmp" / "partial-a-0" / "checkpoint").write_bytes(b"x" * 10_000)
    half = flow.store.root / "tmp" / "a-killed-just-before-its-rename"
    half.mkdir()
    (half / "result.json").write_text("{}")

    count, size = collect_garbage(flow.store, dry_run=True)
    assert count == 3
    assert 10_000 < size < 100_000
    assert stored(flow) == ["a", "a", "a", "b", "tmp"]
    assert collect_garbage(flow.store) == (count, size)
    assert stored(flow) == ["a", "a", "b"]
    assert list((flow.store.root / "tmp").iterdir()) == []
    assert collect_garbage(flow.store) == (0, 0)
    assert flow.ran
    run_point(stages, flow.point(name="p", seed=2), flow.store)
    run_point(stages, flow.point(name="q", seed=0), flow.store)
    assert flow.ran == []


def test_a_kill_while_garbage_is_removed_leaves_no_half_result(flow, monkeypatch):
    stages = [flow.stage("a", config=("seed",))]
    for seed in (0, 1):
        run_point(stages, flow.point(name="p", seed=seed), flow.store)
    monkeypatch.setattr(explain.shutil, "rmtree", raiser_of(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        collect_garbage(flow.store)
    monkeypatch.undo()
    assert stored(flow).count("a") == 1
    assert collect_garbage(flow.store)[0] == 1
    run_point(stages, flow.point(name="q", seed=0), flow.store)
    assert (flow.store.root / "tmp").is_dir()


def raiser_of(error):
    def call(*args, **kwargs):
        raise error

    return call


def test_garbage_waits_for_the_living_only(flow):
    run_point([flow.stage("a")], flow.point(name="p"), flow.store)
    lock = flow.store.root / "locks" / "a-key"
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    with pytest.raises(StoreError, match="in use"):
        collect_garbage(flow.store)
    os.utime(lock, (0, 0))
    assert collect_garbage(flow.store) == (0, 0), "what a killed run left does not block it for ever"


def test_nothing_to_collect(flow):
    assert collect_garbage(flow.store) == (0, 0)
