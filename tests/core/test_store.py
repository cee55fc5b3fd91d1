"""The store: one-step commits, locks between processes, full disks."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flow.core import store as module
from flow.core.errors import StoreError
from flow.core.metric import Metric
from flow.core.state import Failure, Result
from flow.core.store import Store
from tests.core import toy


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, text="1", key="k", **fields):
    with store.workspace("s", key) as folder:
        (folder / "out").mkdir()
        (folder / "out" / "a").write_text(text)
        store.commit(folder, Result("s", key, "ok", **fields))


def dead_pid():
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def leave_lock(store, pid, host=None, age=0.0):
    path = store.root / "locks" / "s-k"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": host or socket.gethostname(), "pid": pid}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def try_lock(store, seconds=0.5):
    """Take and release the lock in a thread; tell whether it was got in time, and free the thread if not."""
    got = threading.Event()

    def hold():
        with store.lock("s", "k"):
            got.set()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    was = got.wait(seconds)
    if not was:
        (store.root / "locks" / "s-k").unlink()
    thread.join(5)
    return was


def test_commit_and_find(store):
    metric = Metric(1.5, "LUT", "mapped", "lower", (1.0, 2.0), "yosys 0.70", "xcku115", "LUTs")
    fields = {"artifacts": {"a": "d"}, "metrics": {"m": metric}, "failure": Failure("s", "E", "m"), "seconds": 2.5}
    assert store.find("s", "k") is None
    put(store, **fields)
    assert store.find("s", "k") == Result("s", "k", "ok", **fields, cached=True)
    assert (store.folder("s", "k") / "out" / "a").read_text() == "1"
    assert list((store.root / "tmp").iterdir()) == []


def test_first_commit_wins_silently(store):
    put(store, "first", seconds=1.0)
    put(store, "second", seconds=2.0)
    assert (store.folder("s", "k") / "out" / "a").read_text() == "first"
    assert store.find("s", "k").seconds == 1.0
    assert list((store.root / "tmp").iterdir()) == []


def test_a_commit_is_one_rename_of_a_synced_folder(store, monkeypatch):
    seen, synced = [], []
    rename, fsync = Path.rename, os.fsync

    def spy(self, target):
        seen.append(sorted(str(p.relative_to(self)) for p in self.rglob("*")))
        assert not Path(target).exists()
        assert len(synced) == len(seen[0]) + 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", spy)
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), fsync(handle)))
    put(store)
    assert seen == [["out", "out/a", "result.json"]]
    assert len(synced) == 5, "the folder that holds the results is synced after the rename"


def test_workspace_is_removed_after_an_error(store):
    with pytest.raises(RuntimeError), store.workspace("s", "k") as folder:
        (folder / "out").mkdir()
        raise RuntimeError
    assert list((store.root / "tmp").iterdir()) == []
    assert store.find("s", "k") is None


def test_scratch_survives_until_the_commit(store):
    store.scratch("s", "k").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), store.workspace("s", "k"):
        raise KeyboardInterrupt
    assert store.scratch("s", "k").is_dir()
    put(store)
    assert not store.scratch("s", "k").exists()


def test_lock_excludes_four_processes(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, "-m", "tests.core.process", "point", str(tmp_path / "store"), str(marks)]
    processes = [subprocess.Popen(command, cwd=toy.REPOSITORY, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        (marks / "go").touch()
        assert [p.communicate(timeout=30)[1] for p in processes] == [""] * 4
    finally:
        for process in processes:
            process.kill()
    (file,) = [p for p in marks.iterdir() if p.name != "go"]
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["start", "end"]


def test_lock_excludes_threads_and_leaves_nothing(store):
    running, most = [], []

    def work():
        with store.lock("s", "k"):
            running.append(1)
            most.append(len(running))
            time.sleep(0.02)
            running.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4
    assert list((store.root / "locks").iterdir()) == []


def test_lock_of_a_dead_process_is_broken(store):
    leave_lock(store, dead_pid())
    assert try_lock(store)


def test_fresh_lock_of_a_living_process_is_respected(store):
    leave_lock(store, os.getpid(), age=module.STALE - 20)
    assert not try_lock(store)


def test_lock_of_another_user_is_respected(store, monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    leave_lock(store, 1)
    assert not try_lock(store, 0.3)


@pytest.mark.parametrize(("age", "broken"), [(module.STALE - 20, False), (module.STALE + 1, True)])
def test_lock_of_another_host_is_broken_only_when_its_heart_stopped(store, age, broken):
    leave_lock(store, dead_pid(), host="elsewhere", age=age)
    assert try_lock(store) is broken


def test_a_fresh_lock_in_place_of_a_stale_one_is_not_removed(store, monkeypatch):
    """Between seeing a stale lock and removing it, another process may have taken it."""
    path = leave_lock(store, dead_pid())
    mkdir = Path.mkdir

    def meanwhile(self, *args, **kwargs):
        mkdir(self, *args, **kwargs)
        if self.name.endswith(".break"):
            leave_lock(store, os.getpid())

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    module._break_if_stale(path)
    assert path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["s-k"]


def test_two_that_break_a_lock_at_the_same_time(store, monkeypatch):
    path = leave_lock(store, dead_pid())
    breaker = path.with_name("s-k.break")
    breaker.mkdir()
    module._break_if_stale(path)
    assert path.exists(), "the other one does it"
    os.utime(breaker, (0, 0))
    module._break_if_stale(path)
    assert not breaker.exists(), "the other one was killed while it did it"
    module._break_if_stale(path)
    assert not path.exists()

    path = leave_lock(store, dead_pid())
    mkdir = Path.mkdir

    def gone_again(self, *args, **kwargs):
        if self.name.endswith(".break"):
            raise FileExistsError
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", gone_again)
    module._break_if_stale(path)
    assert path.exists(), "the other one is done, and this one looks again later"


def test_in_use_clears_away_what_the_dead_left(store):
    assert not store.in_use()
    path = leave_lock(store, dead_pid())
    half, breaker = path.with_name("s-k.0123"), path.with_name("s-l.break")
    half.write_text("")
    breaker.mkdir()
    assert store.in_use(), "these may be in the making at this moment"
    assert not path.exists()
    os.utime(half, (0, 0))
    os.utime(breaker, (0, 0))
    assert not store.in_use()
    assert list(path.parent.iterdir()) == []
    leave_lock(store, os.getpid())
    assert store.in_use()
    path.unlink()
    assert not module._is_stale(path)


def test_heartbeat(store, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    with store.lock("s", "k"):
        path = store.root / "locks" / "s-k"
        assert json.loads(path.read_text()) == {"host": socket.gethostname(), "pid": os.getpid()}
        os.utime(path, (0, 0))
        until = time.monotonic() + 5
        while path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 5
        path.unlink()  # someone broke it; the heart stops and the release does not mind
        time.sleep(0.1)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "means"), [(errno.ENOSPC, StoreError), (errno.EROFS, StoreError), (errno.EACCES, StoreError), (errno.EIO, OSError)]
)
def test_full_or_read_only_disk(store, monkeypatch, number, means):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", fail)
        with pytest.raises(means, match=os.strerror(number)), store.workspace("s", "k"):
            pytest.fail("there is no folder")
        with pytest.raises(means), store.lock("s", "k"):
            pytest.fail("there is no lock")
    with store.workspace("s", "k") as folder, monkeypatch.context() as patch:
        patch.setattr(Result, "write", fail)
        with pytest.raises(means) as caught:
            store.commit(folder, Result("s", "k", "ok"))
    if means is StoreError:
        assert "hlscape gc" in str(caught.value)
        assert str(store.root) in str(caught.value)
    assert store.find("s", "k") is None


def test_commit_does_not_hide_other_errors(store, monkeypatch):
    def fail(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StoreError):
        put(store)
