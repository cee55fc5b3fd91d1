"""Interleaved timing of contestants that do the same work, on one thread."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Times:
    """Seconds of each round: wall clock and processor."""

    wall: Floats
    cpu: Floats

    def ratio(self, peer: "Times") -> tuple[float, float, float]:
        """Return processor time over that of a peer in the same round: median, first and ninth decile over the rounds."""
        low, middle, high = np.quantile(self.cpu / peer.cpu, [0.1, 0.5, 0.9])
        return float(middle), float(low), float(high)


def processor_time() -> float:
    """Return the processor seconds of this process and of the programs that it ran and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def race(
    contestants: Mapping[str, Callable[[], object]], rounds: int, warm_up: Mapping[str, Callable[[], object]] | None = None
) -> dict[str, Times]:  # fmt: skip
    """Let each contestant run once a round, in turn; a round of warm-up is not counted.

    Taking turns puts a slow moment of the machine on all of them alike, so ratios within a round can be trusted when times cannot.

    Args:
        contestants: what is timed.
        rounds: how often.
        warm_up: what is run first instead of a whole round: the same work on less data, where a round is long.
    """
    seconds = {name: np.zeros((rounds, 2)) for name in contestants}
    for work in (contestants if warm_up is None else warm_up).values():
        work()
    for number in range(rounds):
        for name, work in contestants.items():
            wall, cpu = time.perf_counter(), processor_time()
            work()
            seconds[name][number] = time.perf_counter() - wall, processor_time() - cpu
    return {name: Times(s[:, 0], s[:, 1]) for name, s in seconds.items()}


def load_words() -> str:
    """Say how busy the machine is: a load far above one means that wall times are not to be trusted."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
