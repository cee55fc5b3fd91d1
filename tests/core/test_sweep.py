"""Many points on worker processes, and what is left after kills at any moment."""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from flow.core import sweep
from flow.core.artifact import digest
from flow.core.plan import run_point
from flow.core.state import Failure, Result, State
from flow.core.store import Store
from tests import interrupts
from tests.core import toy

STAGE_FOLDERS = [s.id for s in toy.STAGES]


@pytest.fixture
def marks(tmp_path):
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture
def start():
    """Start a process of the toy in a process group of its own, of which nothing survives the test."""
    begun = []

    def go(mode, store, marks):
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.core.process", mode, str(store), str(marks)], cwd=toy.REPOSITORY, start_new_session=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=interrupts.hear,
            )
        )  # fmt: skip
        return begun[-1]

    yield go
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.01)


def words(marks, prefix=""):
    return [line for f in sorted(marks.iterdir()) for line in f.read_text().splitlines() if line.startswith(prefix)]


def pids(marks):
    return {int(line.split()[1]) for line in words(marks, "start ")}


def alive(pid):
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in open(f"/proc/{pid}/status").read()
    return False


def results(store):
    return {(f.parent.name, f.name) for stage in STAGE_FOLDERS for f in (store.root / stage).glob("*")}


def check_whole(store):
    """Every visible result is complete, and its files are those that were written."""
    for stage, key in results(store):
        folder = store.folder(stage, key)
        result = Result.read(folder / "result.json")
        assert (folder / "key.json").is_file()
        assert {p.name: digest(p) for p in (folder / "out").iterdir()} == dict(result.artifacts)


def test_all_points_of_a_study_each_stage_once(tmp_path, marks):
    store, events = Store(tmp_path / "store"), []
    outcomes = list(sweep.run_many([(toy.STAGES, p) for p in toy.study(marks)], store, 2, events.append))
    assert sorted(p.name for p, _ in outcomes) == sorted(p.name for p in toy.study(marks))
    assert len(words(marks, "start")) == len(words(marks, "end")) == len(results(store))
    for point, state in outcomes:
        assert isinstance(state, State)
        assert list(state.results) == STAGE_FOLDERS
        last = [e for e in events if e.point == point.name]
        assert last[-1].result is not None, "the last word of a point may not be lost"
        assert [e.stage for e in last if e.result is not None] == STAGE_FOLDERS
    assert list((store.root / "locks").iterdir()) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_a_point_that_cannot_run_does_not_stop_the_others(tmp_path, marks):
    points = [toy.point(marks, seed=s) for s in range(4)]
    outcomes = {
        p.seed: o for p, o in sweep.run_many([([toy.stage("refuse")], p) for p in points], Store(tmp_path / "s"), 1, lambda e: None)
    }
    assert outcomes[1] == Failure("", "ConfigError", "seed 1 is not for this toy")
    assert outcomes[2].error == "Defect"
    assert "KeyError: 'nobody foresaw this' (at toy.py:" in outcomes[2].message
    assert isinstance(outcomes[0], State)
    assert isinstance(outcomes[3], State)


def test_killed_worker_is_told_and_what_was_finished_is_kept(tmp_path, marks):
    store = Store(tmp_path / "store")
    points = [toy.point(marks, seed=s) for s in (0, 1)]
    outcomes = {p.seed: o for p, o in sweep.run_many([([toy.stage("die")], p) for p in points], store, 1, lambda e: None)}
    assert outcomes[1].error == "WorkerDied"
    assert "Run again" in outcomes[1].message
    assert len(list((store.root / "die").iterdir())) == 1
    again = run_point([toy.stage("die")], points[0], store)
    assert again.results["die"].cached


def test_work_in_a_worker(tmp_path, marks, monkeypatch):
    events = []
    monkeypatch.setattr(sweep, "_EVENTS", [type("Queue", (), {"put": staticmethod(events.append)})])
    store = Store(tmp_path / "store")
    state = sweep._work([toy.stage("fail")], toy.point(marks, seed=1), store)
    assert [f.error for f in state.failures] == ["ToolFailed"]
    assert [e.result is None for e in events] == [True, False]
    assert sweep._work([toy.stage("refuse")], toy.point(marks, seed=1), store).error == "ConfigError"
    assert sweep._work([toy.stage("refuse")], toy.point(marks, seed=2), store).error == "Defect"
    assert not sweep._BUSY.is_set()


def test_signal_unwinds_a_busy_worker_once_and_ends_an_idle_one(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(sweep, "_STOPPED", type(sweep._STOPPED)())
    monkeypatch.setattr(sweep, "_BUSY", type(sweep._BUSY)())
    sweep._BUSY.set()
    with pytest.raises(KeyboardInterrupt):
        sweep._stop_worker(15, None)
    sweep._stop_worker(15, None)
    assert ended == []
    with pytest.raises(KeyboardInterrupt):
        sweep._tell(None)
    monkeypatch.setattr(sweep, "run_point", lambda *a: None)
    monkeypatch.setattr(sweep, "_EVENTS", [type("Queue", (), {"put": None})])
    sweep._work([], None, None)
    assert ended == [1], "a stopped worker may not take the next point"
    sweep._stop_worker(15, None)
    assert ended == [1, 1]


def test_abandoned_sweep_stops_at_once_and_cleans_up(tmp_path, marks):
    """What Ctrl-C does: six points wait, two run; none of the others may begin."""
    points = [toy.point(marks, seed=s) for s in range(6)]
    store = Store(tmp_path / "store")

    def listen(event):
        if len(words(marks, "start")) == 2:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(sweep.run_many([([toy.stage("slow")], p) for p in points], store, 2, listen))
        pytest.fail("the listener is called while the stages run")
    assert time.monotonic() - begun < 15
    assert sorted(w.split()[0] for w in words(marks)) == ["cleaned"] * 2 + ["interrupted"] * 2 + ["start"] * 2
    assert list((store.root / "locks").iterdir()) == []
    assert not any(map(alive, pids(marks)))


def hear_the_third(ready):
    heard = []

    def handler(number, frame):
        heard.append(number)
        if len(heard) == 3:
            os._exit(7)

    signal.signal(signal.SIGTERM, handler)
    ready.set()
    while True:
        time.sleep(30)


def test_a_worker_that_missed_the_signal_gets_it_again():
    """A signal just before a blocking call is as good as lost; with a single one this would wait for ever."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=hear_the_third, args=(ready,), daemon=True)
    worker.start()
    assert ready.wait(30)
    ended = threading.Thread(target=sweep._end, args=([worker],), daemon=True)
    ended.start()
    ended.join(15)
    try:
        assert worker.exitcode == 7
    finally:
        worker.kill()


def test_orphaned_workers_end_by_themselves(tmp_path, marks, start):
    process = start("slow", tmp_path / "store", marks)
    wait_for(lambda: len(words(marks, "start")) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(map(alive, pids(marks))), 10)
    assert len(words(marks, "start")) == len(words(marks, "cleaned")) == 2
    assert "Traceback" not in process.stdout.read()
    assert list((tmp_path / "store" / "locks").iterdir()) == []


def test_interrupt_from_the_terminal(tmp_path, marks, start):
    process = start("slow", tmp_path / "store", marks)
    wait_for(lambda: len(words(marks, "start")) == 2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGINT
    assert output.count("Traceback") == 1, "only the parent, whose command line catches it"
    assert len(words(marks, "start")) == len(words(marks, "cleaned")) == 2


def test_kill_at_any_moment_and_resume(tmp_path, marks, start):
    store, rng, kills = Store(tmp_path / "store"), random.Random(7), 0
    for already in range(3):
        before = len(words(marks, "start"))
        process = start("study", store.root, marks)
        wait_for(lambda n=already, b=before: len(words(marks, "start")) > b and len(results(store)) >= n)
        time.sleep(rng.uniform(0.0, 0.25))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        check_whole(store)
    assert kills, "on a computer that is busy the last run may have been done before it was killed, but not the first"
    finished = results(store)
    assert len(finished) >= 2

    for file in marks.iterdir():
        file.unlink()
    outcomes = list(sweep.run_many([(toy.STAGES, p) for p in toy.study(marks)], store, 2, lambda event: None))
    check_whole(store)
    ran = {tuple(f.name.rsplit("-", 1)) for f in marks.iterdir()}
    assert ran == results(store) - finished
    assert len(words(marks, "start")) == len(ran)
    assert not store.in_use(), "a lock stays where a process was killed between the result and its release"
    assert list((store.root / "locks").iterdir()) == []

    undisturbed = Store(tmp_path / "undisturbed")
    toy_seconds, toy.SECONDS = toy.SECONDS, 0.0
    try:
        for point, state in outcomes:
            assert toy.comparable(state) == toy.comparable(run_point(toy.STAGES, point, undisturbed))
    finally:
        toy.SECONDS = toy_seconds
    assert results(undisturbed) == results(store)
