"""Stages of a toy flow, importable by worker processes.

Every execution leaves a line in a file of the folder `data.path` of the point (a field that is in no key), outside the store.
"""

import contextlib
import os
import time
from pathlib import Path

from flow.config import DataConfig, DesignPoint, NetworkConfig
from flow.core.errors import ConfigError, ToolFailed
from flow.core.stage import Job, Stage
from flow.core.state import State

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 0.08


def point(marks: Path, bits: int = 6, seed: int = 0, name: str = "") -> DesignPoint:
    return DesignPoint(
        model="toy", name=name or f"w{bits}-s{seed}", seed=seed, network=NetworkConfig(weight_bits=bits), data=DataConfig(path=str(marks))
    )


def mark(job: Job, word: str) -> None:
    folder = Path(job.full_point.data.path or "")
    with (folder / job.scratch.name.removeprefix("partial-")).open("a") as stream:
        stream.write(word + "\n")


def _recorded(work):
    def run(job: Job) -> None:
        mark(job, f"start {os.getpid()}")
        time.sleep(SECONDS)
        work(job)
        mark(job, "end")

    return run


def _base(job: Job) -> None:
    job.output("base").write_text("base\n" * 1000)


def _mid(job: Job) -> None:
    job.output("mid").write_text(job.input("base").read_text() + f"{job.point.network.weight_bits}\n")


def _left(job: Job) -> None:
    folder = job.output("left")
    for part in ("a/1", "a/2", "b"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text(f"{part} {job.point.seed} {len(job.input('mid').read_text())}\n")
        time.sleep(SECONDS / 5)
    job.measure("size", 3 + job.point.seed, "files", direction="lower")


def _right(job: Job) -> None:
    job.measure("length", len(job.input("mid").read_text()), "bytes", ci=(0.0, 1e6))


def _end(job: Job) -> None:
    job.output("end").write_text("".join(p.read_text() for p in sorted(job.input("left").rglob("*")) if p.is_file()))


STAGES = [
    Stage("base", _recorded(_base), writes=("base",), config=("model",)),
    Stage("mid", _recorded(_mid), reads=("base",), writes=("mid",), config=("network.weight_bits",)),
    Stage("left", _recorded(_left), reads=("mid",), writes=("left",), measures=("size",), config=("seed",)),
    Stage("right", _recorded(_right), reads=("mid",), measures=("length",)),
    Stage("end", _recorded(_end), reads=("left",), writes=("end",)),
]


class Named(Stage):
    """A stage that travels to a worker by its id, as its function is made at import."""

    def __reduce__(self):
        return _named, (self.id,)


def _named(name: str) -> Stage:
    return next(s for s in (*STAGES, *SPECIAL) if s.id == name)


def _fail(job: Job) -> None:
    mark(job, "start")
    if job.point.seed == 1:
        raise ToolFailed("the toy tool ended with code 3")
    job.output("special").write_text(str(job.point.seed))


def _die(job: Job) -> None:
    mark(job, "start")
    if job.point.seed == 1:
        os.kill(os.getpid(), 9)
    job.output("special").write_text("alive")


def _slow(job: Job) -> None:
    mark(job, f"start {os.getpid()}")
    try:
        time.sleep(30)
        mark(job, "end")
    except KeyboardInterrupt:
        mark(job, "interrupted")
        raise
    finally:
        with contextlib.suppress(OSError):
            mark(job, "cleaned")


def _refuse(point: DesignPoint) -> None:
    if point.seed == 1:
        raise ConfigError("seed 1 is not for this toy")
    if point.seed == 2:
        raise KeyError("nobody foresaw this")


SPECIAL = [
    Stage("fail", _fail, writes=("special",), config=("seed",)),
    Stage("die", _die, writes=("special",), config=("seed",)),
    Stage("slow", _slow, config=("seed",)),
    Stage("refuse", _fail, writes=("special",), config=("seed",), check=_refuse),
]
STAGES = [Named(**s.__dict__) for s in STAGES]
SPECIAL = [Named(**s.__dict__) for s in SPECIAL]


def study(marks: Path) -> list[DesignPoint]:
    return [point(marks, bits, seed) for bits in (4, 6, 8) for seed in range(3)]


def comparable(state: State) -> dict:
    """What of a state must not depend on how often the flow was interrupted."""
    return {r.stage: (r.key, r.status, r.artifacts, r.metrics, r.failure) for r in state.results.values()}


def stage(name: str) -> Stage:
    return _named(name)
