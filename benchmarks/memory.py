"""Peak memory of a piece of work, in a process of its own."""

import ctypes
import gc
import multiprocessing
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KIB_PER_MIB = 1024


def _resident(field: str, status: Path = STATUS) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (the most so far) of a process in MiB; 0 of one that has ended."""
    line = next((line for line in status.read_text().splitlines() if line.startswith(field + ":")), "- 0")
    return int(line.split()[1]) / KIB_PER_MIB


def _peak(work: Callable[[], object]) -> float:
    """Run in this process and return by how much its resident memory rose at most, in MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that is kept would be used again unseen
    CLEAR.write_text("5")  # sets VmHWM back to VmRSS
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _child(work: Callable[[], object], pipe: Connection) -> None:
    pipe.send(_peak(work))


def peak_mib(work: Callable[[], object]) -> float | None:
    """Run `work` once in a process of its own and return the peak of its memory, above what was loaded before, in MiB.

    The process is a fork of this one, in which libraries, data and the network are loaded and warm: they do not count, on no side.
    `ru_maxrss` would be wrong here, because a fork begins with the peak of its parent.

    Returns:
        None where the system has no ``/proc`` or refuses to set the peak back.
    """
    try:
        CLEAR.write_text("5")
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return None
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, there))
    process.start()
    there.close()
    try:
        return float(here.recv())
    except EOFError:
        return None
    finally:
        process.join()


def program_peak_mib(command: Sequence[str]) -> float | None:
    """Run a program and return all of the memory it had at most, in MiB; it is looked at every few milliseconds.

    `ru_maxrss` of a child would be that of this process, which it is a copy of until the program starts.
    """
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with suppress(OSError):
                peak = max(peak, _resident("VmHWM", Path(f"/proc/{process.pid}/status")))
            time.sleep(0.002)
    return peak or None
