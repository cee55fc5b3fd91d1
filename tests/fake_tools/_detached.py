"""A program that is no descendant of the client that had it started, as one in a container or on a node is none."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path


def start(argv, record, cwd=None, env=None):
    """Start a program whose process id stands in `record` while it lives; return a function that waits for its exit code."""
    ended = record.with_name(record.name + ".ended")
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return lambda: _wait(record, ended)
    os.setsid()
    if os.fork():
        os._exit(0)
    program = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    _write(record, program.pid)
    code = program.wait()
    _write(ended, code if code >= 0 else 128 - code)
    os._exit(0)


def kill(pid):
    """Kill a program and all that it started, as the end of a container does."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    doomed = [pid]
    for one in doomed:
        doomed += children.get(one, [])
    for one in doomed:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _write(path, number):
    part = path.with_name(path.name + ".part")
    part.write_text(str(number))
    part.rename(path)


def _wait(record, ended):
    while not ended.exists():
        time.sleep(0.01)
    code = int(ended.read_text())
    ended.unlink()
    record.unlink(missing_ok=True)
    return code
