"""Ours against peers: interleaved processor time, peak memory, and one entry of `bench.json` for each peer."""

import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.memory import peak_mib
from benchmarks.timing import Times, load_words, race

OURS = "ours"
METHOD = {
    "time": "processor time, one thread each, median of rounds",
    "memory": "peak above what was loaded before, in a process of its own",
}
EXTRA = "not installed: pip install -e '.[bench]'"


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    Attributes:
        run: does it, or a part of it.
        words: what it is: for a peer, package and version, or whose loop is stated anew here.
        share: part of the whole work that `run` does, or how often it does all of it; a time is divided by it.
        part: words for that if it is not 1.
        brief: less of the same work in pieces of the same size, which has the same peak of memory; `run` when left out.
        peak: measures the memory in MiB itself.
    """

    run: Callable[[], Any]
    words: str
    share: float = 1.0
    part: str = ""
    brief: Callable[[], Any] | None = None
    peak: Callable[[], float | None] | None = None


@dataclass(frozen=True)
class Entry:
    """What one contest found: the key in `bench.json`, and the figures under it."""

    name: str
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Contest:
    """A piece of work, and who does it.

    Attributes:
        name: key in `bench.json` of the contest with the naive peer; for any other its name is appended.
        work: what is done, in words.
        naive: name of the peer that works as a published tool does; all others are competent baselines.
        sides: `OURS`, and the peers by name, as far as they are installed.
        warm_up: the same on little data.
        rounds: how often each is timed.
        targets: the ratio that is hoped for, by peer.
        check: takes what each side returned and says in words how well they agree.
        limit: seconds that ours should stay below; None: there is no such target.
    """

    name: str
    work: str
    naive: str
    sides: Mapping[str, Side]
    warm_up: Mapping[str, Side]
    rounds: int = 3
    targets: Mapping[str, float] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], str] = lambda results: ""
    limit: float | None = None


def version(package: str) -> str:
    """Return name and version of a package."""
    return f"{package} {importlib.metadata.version(package)}"


def installed(package: str) -> bool:
    """Return whether a peer is there."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def software() -> str:
    """Say what ran: architecture, vector unit and versions."""
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, Python {platform.python_version()}, torch {torch.__version__}"


def _figures(contest: Contest, name: str, found: Mapping[str, Times], peaks: Mapping[str, float | None]) -> dict[str, Any]:
    """Return the entry of one peer."""
    ours, peer = contest.sides[OURS], contest.sides[name]
    scale = ours.share / peer.share
    middle, low, high = found[name].ratio(found[OURS])
    parts = [
        f"{who}: {side.part}, {'scaled up to the whole' if side.share < 1 else 'time of one'}"
        for who, side in (("ours", ours), ("peer", peer))
        if side.share != 1
    ]
    return {
        "ours_s": float(_median(found[OURS]) / ours.share),
        "peer_s": float(_median(found[name]) / peer.share),
        "peer": peer.words,
        "ratio": middle * scale,
        "ratio_low": low * scale,
        "ratio_high": high * scale,
        "work": "; ".join([contest.work, *parts]),
        "ours": ours.words,
        "ours_mib": peaks[OURS],
        "peer_mib": peaks[name],
        "baseline": "naive" if name == contest.naive else "competent",
        "rounds": contest.rounds,
        **METHOD,
        "software": software(),
        **({"target": contest.targets[name]} if name in contest.targets else {}),
        **({"target_s": contest.limit} if contest.limit is not None else {}),
    }


def _median(times: Times) -> float:
    return float(sorted(times.cpu)[len(times.cpu) // 2])


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _row(name: str, seconds: float, peak: float | None, rest: str, words: str) -> str:
    return f"  {name:<22}{seconds:>11.4g}{_mib(peak):>9}  {rest:<44}{words}"


def run_contest(contest: Contest) -> Iterator[str | Entry]:
    """Time all sides in turn, then take the peak memory of each in a process of its own; yields lines and entries."""
    results: dict[str, Any] = {}

    def keeping(name: str, side: Side) -> Callable[[], None]:
        def run() -> None:
            results[name] = side.run()

        return run

    found = race(
        {name: keeping(name, side) for name, side in contest.sides.items()}, contest.rounds,
        {name: side.run for name, side in contest.warm_up.items()},
    )  # fmt: skip
    peaks = {name: side.peak() if side.peak else peak_mib(side.brief or side.run) for name, side in contest.sides.items()}
    yield f"{contest.name}: {contest.work}; median of {contest.rounds} round{'s' * (contest.rounds > 1)}, {load_words()}"
    yield f"  {'':<22}{'CPU s':>11}{'MiB':>9}  {'ratio (10 to 90 % of the rounds), target':<44}"
    ours = contest.sides[OURS]
    limit = "" if contest.limit is None else f"target <= {contest.limit:g} s"
    yield _row(OURS, _median(found[OURS]) / ours.share, peaks[OURS], limit, "; ".join(w for w in (ours.words, ours.part) if w))
    agreement = contest.check(results)
    for name, side in contest.sides.items():
        if name == OURS:
            continue
        entry = _figures(contest, name, found, peaks)
        spread = f"({entry['ratio_low']:.3g} to {entry['ratio_high']:.3g})"
        target = f", target {entry['target']:g}x" if "target" in entry else ""
        rest = f"{entry['ratio']:.3g}x {spread}{target}"
        yield _row(name, entry["peer_s"], peaks[name], rest, "; ".join(w for w in (side.words, side.part) if w))
        key = contest.name if name == contest.naive else f"{contest.name}_{name}"
        yield Entry(key, entry | ({"agreement": agreement} if agreement else {}))
    if agreement:
        yield f"  {agreement}"
    yield ""
