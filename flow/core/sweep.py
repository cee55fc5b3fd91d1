"""Many design points in worker processes. hls4ml changes the working folder of its process, so threads would not do."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Queue
from queue import Empty
from types import FrameType
from typing import TYPE_CHECKING

from flow.core.errors import FlowError
from flow.core.interrupt import postponed
from flow.core.plan import Event, Listener, defect, run_point
from flow.core.stage import Stage
from flow.core.state import Failure, State
from flow.core.store import Store

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from flow.config import DesignPoint

AGAIN = 0.2  # seconds

# Of a worker process. A queue cannot be sent with a task, so it is set when the process starts.
_EVENTS: list["Queue[Event]"] = []
_BUSY, _STOPPED = threading.Event(), threading.Event()


def _stop_worker(number: int, frame: FrameType | None) -> None:
    """Signal handler of a worker: unwind what it does, once, so that tools are killed and locks are released; if idle, just end."""
    if not _BUSY.is_set():
        os._exit(1)
    if not _STOPPED.is_set() and not postponed(number, frame):
        _STOPPED.set()
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(AGAIN)


def _start_worker(events: "Queue[Event]") -> None:
    _EVENTS.append(events)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it sends SIGTERM
    signal.signal(signal.SIGTERM, _stop_worker)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _tell(event: Event) -> None:
    if _STOPPED.is_set():  # and yet it goes on: some libraries (torch.export) turn a KeyboardInterrupt into an error
        raise KeyboardInterrupt
    _EVENTS[0].put(event)


def _work(stages: Sequence[Stage], point: "DesignPoint", store: Store, state: State | None = None) -> State | Failure:
    _BUSY.set()
    try:
        return run_point(stages, point, store, _tell, state)
    except FlowError as error:
        return Failure("", type(error).__name__, str(error))
    except Exception as error:  # noqa: BLE001 - one point must not take the others with it
        return defect("", error)
    finally:
        _BUSY.clear()
        if _STOPPED.is_set():
            os._exit(1)  # going on would take the next point from the queue


def _end(workers: "Sequence[BaseProcess]") -> None:
    """Terminate workers and wait for them.

    The signal is sent again until they are gone: Python sees one that comes just before a blocking call only when the call returns.
    A worker that is already unwinding does not hear it.
    """
    while workers := [worker for worker in workers if worker.is_alive()]:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(AGAIN)


def run_many(
    work: "Sequence[tuple[Sequence[Stage], DesignPoint]]", store: Store, jobs: int, listen: Listener,
    given: Mapping[str, State] | None = None,
) -> Iterator[tuple["DesignPoint", State | Failure]]:  # fmt: skip
    """Run points, each through its stages, on `jobs` processes and yield each point as it ends.

    A point whose request itself is wrong comes as a `Failure`; it does not stop the others. Ctrl-C stops all workers. `given` holds by
    name what is there already of a point, as for `flow.core.plan.run_point`.
    """
    known = given or {}
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(events,))
    try:
        futures = {pool.submit(_work, tuple(stages), point, store, known.get(point.name)): point for stages, point in work}
        yield from _collect(futures, events, listen)
    except BaseException:
        _end(list(pool._processes.values()))  # the pool has no public way to stop a running task
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
    _drain(events, listen)  # what the last workers said while their results came by another way


def _collect(
    futures: "dict[Future[State | Failure], DesignPoint]", events: "Queue[Event]", listen: Listener
) -> "Iterator[tuple[DesignPoint, State | Failure]]":
    open_futures = set(futures)
    while open_futures:
        done, open_futures = wait(open_futures, timeout=0.2, return_when=FIRST_COMPLETED)
        _drain(events, listen)
        for future in done:
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                yield (
                    futures[future],
                    Failure("", "WorkerDied", "The worker process was killed (out of memory?). Run again: finished stages are kept."),
                )


def _drain(events: "Queue[Event]", listen: Listener) -> None:
    while True:
        try:
            listen(events.get_nowait())
        except Empty:
            return
