"""Many faulty networks, one after the other, in pieces that are kept: a campaign goes on where it was killed.

Trial ``t`` of a campaign is made by numbers that depend on its seed and on ``t`` alone, so it is the same in whatever order, batch or run.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._subject import Subject, Values

PIECE = 64  # trials between two looks at the clock
KEEP_SECONDS = 20.0

Make = Callable[[Ints], Ints]


@dataclass(frozen=True)
class Campaign:
    """What is tried.

    Attributes:
        subject: the network.
        space: the words that faults act on.
        name: tells it from others, e.g. ``flip_10``; exact, so one flip is never taken for ten.
        make: trials (M,) -> words (M, W). It must give the same words for the same trial whatever the others are.
        samples: how many are scored.
        seed: what `make` draws with; enters the name of what is kept.
    """

    subject: Subject
    space: BitSpace
    name: str
    make: Make
    samples: int
    seed: int = 0

    def rng(self, trial: int) -> np.random.Generator:
        """Return the generator of a trial."""
        return trial_rng(self.seed, trial)

    @property
    def file(self) -> Path | None:
        """Where finished trials are kept; None: nowhere. The name has all that they depend on."""
        subject = self.subject
        if subject.scratch is None:
            return None
        digest = hashlib.sha256(f"{self.name} {self.seed} {self.samples} {subject.score.id}".encode())
        for array in (self.space.words, self.space.widths, subject.clean[: self.samples], subject.x[: self.samples]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return subject.scratch / f"campaign_{self.name}_{digest.hexdigest()[:16]}.npy"

    def run(self, trials: int, progress: Progress) -> Values:
        """Return the degradation of each sample in each of the first trials, (trials, samples).

        Args:
            trials: how many.
            progress: shows life.
        """
        file, samples = self.file, min(self.samples, len(self.subject.x))
        done = _read(file, samples)[:trials]
        pieces, count, kept = [done], len(done), time.monotonic()
        while count < trials:
            piece = np.arange(count, min(count + PIECE, trials), dtype=np.int64)
            pieces.append(self.subject.degradations(self.space, self.make(piece), samples))
            count += len(piece)
            progress(count / trials, f"{self.name.replace('_', ' ')}: {count}/{trials}")
            if file is not None and (time.monotonic() - kept > KEEP_SECONDS or count == trials):
                pieces, kept = [np.concatenate(pieces)], time.monotonic()
                _write(file, pieces[0])
        return np.concatenate(pieces)


def trial_rng(seed: int, trial: int) -> np.random.Generator:
    """Return the generator of a trial, which no other trial and no other seed has."""
    return np.random.default_rng(np.random.SeedSequence([seed, trial]))


def new_seed(rng: np.random.Generator) -> int:
    """Draw the seed of a campaign."""
    return int(rng.integers(2**63))


def _read(file: Path | None, samples: int) -> Values:
    nothing = np.zeros((0, samples))
    if file is None or not file.is_file():
        return nothing
    try:
        found: NDArray[np.float64] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # of a disk that was full; it is computed again
        return nothing
    return found if found.ndim == 2 and found.shape[1] == samples and found.dtype == np.float64 else nothing


def _write(file: Path, values: Values) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, values)
    part.replace(file)
