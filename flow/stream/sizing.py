"""How many pixels have to wait, and where: found by a simulation of the handshakes alone, not by guessing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flow.core.errors import InvalidInput
from flow.core.stage import Job
from flow.stream.build import LEAST_FLIGHT, Design, queue_name, queues, skeleton, with_queues
from flow.stream.simulate import Run, build, simulate
from flow.stream.write import describe, write_sources

FRAMES = 8  # at least
TRIES = 6


@dataclass(frozen=True)
class Sized:
    """Queues, and what the network reaches with them.

    Attributes:
        depths: pixels by place, as `flow.stream.build.build` takes them.
        latency: rising clock edges from the first pixel of a frame to the last one of its result, the network being empty before.
        interval: cycles from one frame to the next when they come one behind the other.
    """

    depths: Mapping[str, int]
    latency: int
    interval: int


def size(job: Job, design: Design) -> Sized:
    """Find the depth of every queue of a design.

    The design is first run with queues that are never full, as fast as it takes pixels: that gives latency and interval. In front of the
    layer that is the slowest the queue would then fill without bound, so the depths are read from a second run, in which pixels come
    evenly at the interval just found. A third run shows that with these depths latency and interval stay what they were; where they do
    not, because pixels in fact come in bursts, the depths are doubled, up to what the first run used.

    Args:
        job: runs the simulator; its stage declares `flow.rtl.simulate.simulator`.
        design: with any queues, which are not looked at.

    Raises:
        InvalidInput: the network gets stuck or slower whatever the depths; nothing but an error in a template does that.
        FlowError: a program is missing, fails or takes too long.
    """
    places = queues(design.elements, design.reuse)
    deep = max([16, *(e.source.rows * e.source.columns for e in design.elements)])
    bare = skeleton(design, deep)
    handshakes = Handshakes(job, bare)
    free = handshakes.run()
    latency, interval = free.latency, free.interval
    if not places:
        return Sized({}, latency, interval)
    pixels = design.elements[0].source.rows * design.elements[0].source.columns
    even = handshakes.run(pace=interval / pixels)
    most = {place: free.queues.get(queue_name(place), 0) + 1 for place in places}
    depths = {place: min(even.queues.get(queue_name(place), 0) + 1, most[place]) for place in places}
    for _ in range(TRIES):
        got = Handshakes(job, with_queues(bare, depths)).run()
        if got.latency <= latency and got.interval <= interval:
            return Sized(depths, got.latency, got.interval)
        if depths == most:
            break
        depths = {place: min(2 * depth, most[place]) for place, depth in depths.items()}
    got = Handshakes(job, with_queues(bare, most)).run()
    if got.latency > latency or got.interval > interval:
        raise InvalidInput(
            f"with queues as full as they ever were the network takes {got.interval} cycles for a frame, without a limit {interval}; "
            f"latency {got.latency} and {latency}."
        )
    return Sized(most, got.latency, got.interval)


class Handshakes:
    """A skeleton that is built and can be run, until the next one is built."""

    def __init__(self, job: Job, design: Design) -> None:
        self.job, self.manifest = job, describe(design)
        # where many short frames are inside at once, so many that they would wait if there were no room for them
        self.frames = FRAMES if design.flight == LEAST_FLIGHT else 4 * design.flight
        self.work = build(job, write_sources(design, job.work / "skeleton"), self.manifest, job.work / "handshakes")

    def run(self, pace: float = 0) -> Run:
        """Send frames of zeros; the words of a skeleton have no meaning."""
        rows, columns = self.manifest.frame
        x = np.zeros((self.frames, rows, columns, len(self.manifest.input.words)))
        return simulate(self.job, self.work, self.manifest, x, pace=pace)
