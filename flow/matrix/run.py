"""Measure all rows on several processes; hls4ml changes the working folder of its process, so threads would not do."""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError
from flow.core.plugins import suggest
from flow.core.tool import kill_all
from flow.matrix.cases import CASES
from flow.matrix.imported import IMPORTED, Imported
from flow.matrix.networks import Case
from flow.matrix.table import Matrix, Row, versions
from flow.terminal import clock

if TYPE_CHECKING:
    from flow.matrix.bench import Effort

LAYERS, FILES = "Layers of hlscape", "Files of other exporters"


def rows() -> dict[str, tuple[Case | Imported, str]]:
    """Return every case and the heading it stands under, by id, in the order of the table."""
    return {case.id: (case, LAYERS) for case in CASES} | {file.id: (file, FILES) for file in IMPORTED}


def _stop(number: int, frame: FrameType | None) -> None:
    """Signal handler of a worker: its programs end with it."""
    kill_all()
    os._exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _stop(signal.SIGTERM, None)


def _start() -> None:
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)  # of libraries, about themselves
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it sends SIGTERM
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(id_: str, effort: "Effort", folder: Path) -> Row:
    from flow.matrix.bench import measure

    case, group = rows()[id_]  # a case cannot be sent: it has functions without a name
    folder.mkdir()
    return measure(case, group, effort, folder)


def measure_all(effort: "Effort", jobs: int, say: Callable[[str], None], ids: Sequence[str] = ()) -> Matrix:
    """Measure the matrix.

    Args:
        effort: how much is compared.
        jobs: processes.
        say: is told about every row that is done, and the time left.
        ids: rows to measure; none: all.

    Raises:
        ConfigError: there is no such row, or its network shows nothing.
        ToolNotFound: a program is not installed.
    """
    cases, done, started = rows(), dict[str, Row](), time.monotonic()
    if unknown := [id_ for id_ in ids if id_ not in cases]:
        raise ConfigError(f"'{unknown[0]}' is not a row of the matrix: {', '.join(cases)}.{suggest(unknown[0], list(cases))}")
    wanted = [id_ for id_ in cases if not ids or id_ in ids]
    for row in _measured(wanted, effort, jobs):
        done[row.id] = row
        elapsed = time.monotonic() - started
        left = elapsed / len(done) * (len(wanted) - len(done))
        words = ", ".join(f"{column} {cell.status}" for column, cell in row.cells.items())
        say(f"[{len(done):>2}/{len(wanted)}] {row.id:<26} {words}  (elapsed {clock(elapsed)}, left ~{clock(left)})")
    return Matrix(tuple(done[i] for i in wanted), effort.seeds, effort.vectors, effort.rtl_vectors, versions())


def _measured(ids: Sequence[str], effort: "Effort", jobs: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="hlscape-matrix-") as scratch:
        pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start)
        try:
            for future in as_completed([pool.submit(_work, id_, effort, Path(scratch) / id_) for id_ in ids]):
                yield future.result()
        except BaseException:
            for process in list(pool._processes.values()):  # the pool has no public way to stop a running task
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()
