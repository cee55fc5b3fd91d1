"""Interleaved timing of contestants that do the same work, on one thread."""

import os
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


def race(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Let each contestant run once a round, in turn; a round of warm-up is not counted.

    Taking turns puts a slow moment of the machine on all of them alike, so ratios within a round can be trusted when times cannot.
    """
    seconds = {name: np.zeros((rounds, 2)) for name in contestants}
    for work in contestants.values():
        work()
    for number in range(rounds):
        for name, work in contestants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name][number] = time.perf_counter() - wall, time.process_time() - cpu
    return {name: Times(s[:, 0], s[:, 1]) for name, s in seconds.items()}


def load_words() -> str:
    """Say how busy the machine is: a load far above one means that wall times are not to be trusted."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
