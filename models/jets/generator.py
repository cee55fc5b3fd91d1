"""Built-in jets on all cores, in chunks that outlive a kill. What is simulated: `simulation.py`."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.stage import Progress
from flow.model import Array, load_model

from .features import CLASSES
from .simulation import library, simulate

CHUNK = 500
"""Jets that are made with one seed, and kept together when the generation is stopped."""
MOST_WORKERS = 16

_MOST_SEED = 900_000_000  # of Pythia
_STARTED = threading.Event()


@dataclass(frozen=True)
class Chunk:
    """Jets of one class and one seed, and the file that keeps them."""

    kind: str
    jets: int
    seed: int
    file: Path


def plan(samples: int, seed: int, scratch: Path) -> list[Chunk]:
    """Divide jets among the classes, as evenly as can be, and into chunks, each with a seed of its own."""
    chunks = []
    for number, kind in enumerate(CLASSES):
        jets = samples // len(CLASSES) + (number < samples % len(CLASSES))
        for index, first in enumerate(range(0, jets, CHUNK)):
            own = 1 + int(np.random.SeedSequence([seed, number, index]).generate_state(1)[0]) % _MOST_SEED
            size = min(CHUNK, jets - first)
            chunks.append(Chunk(kind, size, own, scratch / f"{kind}-{index}-{size}-{own}.npy"))
    return chunks


def make(chunk: Chunk) -> int:
    """Write a chunk's jets (N, 16) to its file, unless it is there, and return N; the file appears when it is whole."""
    if not chunk.file.is_file():
        rows = simulate(chunk.kind, chunk.jets, chunk.seed).astype(np.float32)
        part = chunk.file.with_suffix(f".{os.getpid()}.tmp")
        with part.open("wb") as stream:
            np.save(stream, rows, allow_pickle=False)
        part.replace(chunk.file)
    return chunk.jets


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: Chunk) -> int:
    """Make a chunk in a worker process, which ends with its parent."""
    if not _STARTED.is_set():
        _STARTED.set()
        threading.Thread(target=_end_with_parent, daemon=True).start()
    return make(chunk)


@contextmanager
def _made(chunks: list[Chunk], workers: int) -> Iterator[Iterable[int]]:
    """Make chunks on several processes; inside, the size of each can be had as it ends. An error ends all processes at once."""
    if workers == 1:
        yield map(make, chunks)
        return
    # The initializer gives a new process the private name of this model's package, under which it then finds `_work`.
    context, folder = multiprocessing.get_context("spawn"), str(Path(__file__).parent)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=load_model, initargs=(folder,))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # new processes inherit this and leave Ctrl-C to their parent
    try:
        try:
            futures = [pool.submit(_work, chunk) for chunk in chunks]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield (future.result() for future in as_completed(futures))
    except BaseException:
        for process in list(pool._processes.values()):  # the pool has no public way to stop a running task
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def generate(samples: int, seed: int, scratch: Path, progress: Progress, workers: int | None = None) -> tuple[Array, NDArray[np.int64]]:
    """Generate jets, the same number of each class.

    The result depends on `samples` and `seed`, not on the number of processes. A generation that was stopped goes on from the chunks
    in `scratch` to the same jets.

    Args:
        samples: jets of all classes together.
        seed: any number that is not negative.
        scratch: folder that survives a kill.
        progress: told after each chunk.
        workers: processes; None: one for each core; 1: this one.

    Returns:
        Features (N, 16), and the number (N,) of each jet's class in `CLASSES`.

    Raises:
        ToolNotFound: Pythia, FastJet or awkward is not installed.
        ToolFailed: Pythia refuses to work.
    """
    for name in ("pythia8mc", "fastjet", "awkward"):
        library(name)
    scratch.mkdir(parents=True, exist_ok=True)
    chunks = plan(samples, seed, scratch)
    done = 0
    with _made(chunks, workers or min(os.cpu_count() or 1, MOST_WORKERS, len(chunks))) as sizes:
        for jets in sizes:
            done += jets
            progress(done / samples, f"{done:,} of {samples:,} jets")
    labels = np.repeat([CLASSES.index(chunk.kind) for chunk in chunks], [chunk.jets for chunk in chunks])
    return np.concatenate([np.load(chunk.file, allow_pickle=False) for chunk in chunks]), labels
