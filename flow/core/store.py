"""The content-addressed store: ``<root>/<stage>/<key>/{key.json,out/,result.json,log.txt,replay.sh}``."""

import errno
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flow.core.errors import StoreError
from flow.core.state import Result

HEARTBEAT = 5.0
STALE = 60.0
FULL = 32 * 2**20
PIECES = "modules"  # folder of parts of results by their content


def _sync(*paths: Path) -> None:
    """Force files and folder entries onto the disk, so that a rename can never show half of a result."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def free_bytes(root: Path) -> int:
    """Return how much room is left where the store is."""
    return shutil.disk_usage(root).free


def disk_full(root: Path, why: str = "less than 32 MiB are free") -> StoreError:
    """Return the error for a store that cannot be written."""
    return StoreError(
        f"The store {root} cannot be written: {why}. Free some space (`hlscape gc`), or set HLSCAPE_STORE to another folder. "
        "What was finished is kept; nothing is half-written."
    )


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or read-only disk into words.

    Raises:
        StoreError: in place of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EFBIG):
            raise
        raise disk_full(root, error.strerror or "") from None


class Store:
    """Results by stage and key. Safe for many processes, also on a network file system (no fcntl)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Return where a result lies or will lie."""
        return self.root / stage / key

    def find(self, stage: str, key: str) -> Result | None:
        """Return a stored result."""
        path = self.folder(stage, key) / "result.json"
        return Result.read(path) if path.is_file() else None

    @contextmanager
    def workspace(self, stage: str, key: str) -> Iterator[Path]:
        """Give a new temporary folder, removed at the end if it was not committed."""
        folder = self.root / "tmp" / f"{stage}-{key[:12]}-{uuid.uuid4().hex}"
        with disk_errors(self.root):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, result: Result) -> None:
        """Make a finished folder visible in one step; if another process was first, its result stays."""
        target = self.folder(result.stage, result.key)
        with disk_errors(self.root):
            replay = folder / "replay.sh"
            if replay.is_file():
                replay.write_text(replay.read_text().replace(str(folder), str(target)))
            result.write(folder / "result.json")
            _sync(*folder.rglob("*"), folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            _sync(target.parent)
        shutil.rmtree(self.scratch(result.stage, result.key), ignore_errors=True)

    def scratch(self, stage: str, key: str) -> Path:
        """Return the folder for checkpoints of an unfinished stage; it survives a kill."""
        return self.root / "tmp" / f"partial-{stage}-{key}"

    def in_use(self) -> bool:
        """Tell whether a living process holds a lock; what killed processes left is cleared away."""
        busy = False
        for path in (self.root / "locks").glob("*"):
            if not _is_stale(path):
                busy = True
            elif path.is_dir():
                with suppress(OSError):
                    path.rmdir()
            else:
                _break_if_stale(path)
        return busy

    @contextmanager
    def lock(self, stage: str, key: str) -> Iterator[None]:
        """Hold the right to work on a key; wait while a living process has it.

        The lock file holds host and pid; its modification time is a heartbeat. A lock is stale when its process is gone from
        this host, or when its heart has not beaten for a minute.
        """
        path = self.root / "locks" / f"{stage}-{key}"
        while not _take(path, self.root):
            _break_if_stale(path)
            time.sleep(0.1)
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
        beat.start()
        try:
            yield
        finally:
            stop.set()
            beat.join()
            path.unlink(missing_ok=True)


def _take(path: Path, root: Path) -> bool:
    with disk_errors(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and linked, so that a lock never exists without its owner's name in it.
        mine = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            mine.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
            path.hardlink_to(mine)
        except FileExistsError:
            return False
        finally:
            mine.unlink(missing_ok=True)
    return True


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT):
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text())
    except FileNotFoundError:
        return False
    except (IsADirectoryError, ValueError):  # a breaker's folder, or a file whose writer was killed before it was linked
        return age > STALE
    return age > STALE or (owner["host"] == socket.gethostname() and not _alive(owner["pid"]))


def _break_if_stale(path: Path) -> None:
    """Remove a dead process's lock; a second lock makes sure that a fresh one is never removed."""
    if not _is_stale(path):
        return
    breaker = path.with_name(path.name + ".break")
    try:
        breaker.mkdir()
    except FileExistsError:
        with suppress(FileNotFoundError):  # its owner may be done with it by now
            if time.time() - breaker.stat().st_mtime > STALE:
                breaker.rmdir()
        return
    try:
        if _is_stale(path):
            path.unlink(missing_ok=True)
    finally:
        with suppress(FileNotFoundError):
            breaker.rmdir()
