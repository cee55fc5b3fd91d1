"""Processes: what belongs to one, how much memory it holds, and its output line by line while limits are watched."""

import codecs
import io
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = 0.5  # seconds between two looks at a program that prints nothing
MEASURE = 1.0  # seconds between two measurements of memory

Watch = Callable[[str, int], None]  # a line of output, or "" at least every second; and the resident bytes of the process tree


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: of the clock.
        memory: resident bytes of the whole process tree; None: any. Not watched where there is no ``/proc``.
    """

    seconds: float
    memory: int | None = None


def tree(pid: int) -> dict[int, int]:
    """Return the resident bytes of a process and of all that it started, by pid; a session leader's whole session counts.

    Zombies, which hold nothing, are left out. Empty where there is no ``/proc``.
    """
    parent: dict[int, int] = {}
    resident: dict[int, int] = {}
    members = {pid}
    page = os.sysconf("SC_PAGE_SIZE")
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            text = path.read_text(errors="replace")
            fields = text[text.rindex(")") + 2 :].split()  # the name before may contain anything
            if fields[0] == "Z":
                continue
            one = int(path.parent.name)
            parent[one], resident[one] = int(fields[1]), int(fields[21]) * page
            if int(fields[3]) == pid:
                members.add(one)
    grown = True
    while grown:
        more = {one for one, above in parent.items() if above in members} - members
        grown = bool(more)
        members |= more
    return {one: resident[one] for one in members if one in resident}


def kill_tree(process: "subprocess.Popen[str]") -> None:
    """Kill a process, its group, its session and all their descendants."""
    for _ in range(2):  # what one of them started in the meantime is seen the second time
        pids = set(tree(process.pid)) - {os.getpid()}
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in pids - {process.pid}:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if pids <= {process.pid}:
            return


class _Lines:
    """The output of a process, line by line, without waiting for it longer than asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        if process.stdout is None:
            raise ValueError("the output of the process is not a pipe")
        self.process, self.pipe, self.ended, self.rest = process, process.stdout.fileno(), False, ""
        self.decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    def read(self, wait: float) -> list[str]:
        """Return the lines that came within some seconds, at the end also an unfinished one."""
        if self.ended:
            time.sleep(0.01)
            return []
        if select.select([self.pipe], [], [], wait)[0]:
            chunk = os.read(self.pipe, 65536)
        elif self.process.poll() is None:
            return []
        else:
            chunk = b""  # a child that outlives it holds the pipe
        self.ended = not chunk
        *lines, self.rest = (self.rest + self.decoder.decode(chunk, final=self.ended)).split("\n")
        return [line + "\n" for line in lines] + [self.rest] * (self.ended and self.rest != "")


def follow(process: "subprocess.Popen[str]", feed: Callable[[str], None], watch: Watch | None, limits: Limits) -> str:
    """Hand out the output of a process line by line until it ends or passes a limit; nothing is killed here.

    Args:
        process: its output is a pipe that nobody else reads.
        feed: takes each line.
        watch: takes each line, too, and is called at least every second.
        limits: of time and memory.

    Returns:
        ``time`` or ``memory`` if that ran out, or nothing.
    """
    output, used = _Lines(process), 0
    started = measured = time.monotonic()
    while not output.ended or process.poll() is None:
        for line in output.read(TICK):
            feed(line)
            if watch is not None:
                watch(line, used)
        now = time.monotonic()
        if now - started >= limits.seconds:
            return "time"
        if now - measured >= MEASURE and (watch is not None or limits.memory is not None):
            measured, used = now, sum(tree(process.pid).values())
            if limits.memory is not None and used > limits.memory:
                return "memory"
            if watch is not None:
                watch("", used)
    return ""
