"""Many faulty networks, one after the other, in pieces that are kept: a campaign goes on where it was killed.

Trial ``t`` of a campaign is made by numbers that depend on its seed and on ``t`` alone, so it is the same in whatever order, batch or run.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._subject import Subject, Values

PIECE = 1024  # most trials between two looks at the clock
FIRST = 16  # trials of the first piece, from which the time of the others is known
PIECE_SECONDS = 5.0
KEEP_SECONDS = 20.0
DIGEST = 32  # bytes in front of what is kept

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
        subject, samples = self.subject, self.samples
        if subject.scratch is None:
            return None
        digest = hashlib.sha256(repr((self.name, self.seed, samples, self.space.names, subject.identity)).encode())
        outputs = subject.outputs[:samples].numpy()
        for array in (subject.x[:samples], subject.targets[:samples], outputs, subject.clean[:samples]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return subject.scratch / f"campaign_{self.name}_{digest.hexdigest()[:16]}.trials"

    def run(self, trials: int, progress: Progress, done: Values | None = None) -> Values:
        """Return the degradation of each sample in each of the first trials, (trials, samples).

        A kill loses the work of half a minute at most, or that of one trial: pieces are as large as a few seconds allow.

        Args:
            trials: how many.
            progress: shows life.
            done: what an earlier call returned, which is not computed again.
        """
        file, samples = self.file, min(self.samples, len(self.subject.x))
        found = _read(file, samples)
        found = (done if done is not None and len(done) > len(found) else found)[:trials]
        pieces, count, kept = [found], len(found), time.monotonic()
        most = max(1, min(PIECE, self.subject.memory // (64 * max(1, len(self.space.words)))))
        size = min(FIRST, most)
        while count < trials:
            piece, began = np.arange(count, min(count + size, trials), dtype=np.int64), time.monotonic()
            pieces.append(self.subject.degradations(self.space, self.make(piece), samples))
            count += len(piece)
            progress(count / trials, f"{self.name.replace('_', ' ')}: {count}/{trials}")
            now = time.monotonic()
            size = max(1, min(most, 4 * size, int(len(piece) * PIECE_SECONDS / max(now - began, 1e-9))))
            if file is not None and (now - kept > KEEP_SECONDS or count == trials):
                pieces, kept = [np.concatenate(pieces)], now
                _write(file, pieces[0])
        return np.concatenate(pieces)


def trial_rng(seed: int, trial: int) -> np.random.Generator:
    """Return the generator of a trial, which no other trial and no other seed has."""
    return np.random.default_rng(np.random.SeedSequence([seed, trial]))


def new_seed(rng: np.random.Generator) -> int:
    """Draw the seed of a campaign."""
    return int(rng.integers(2**63))


def _read(file: Path | None, samples: int) -> Values:
    """Return the trials that are kept, none if there is no whole file of them; they are then computed again."""
    nothing = np.zeros((0, samples))
    if file is None or not file.is_file():
        return nothing
    content = file.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return nothing
    found: NDArray[np.float64] = np.load(io.BytesIO(content[DIGEST:]), allow_pickle=False)
    return found if found.ndim == 2 and found.shape[1] == samples and found.dtype == np.float64 else nothing


def _write(file: Path, values: Values) -> None:
    """Keep trials: all of them or those of before, whatever happens, for no other process writes to this folder."""
    stream = io.BytesIO()
    np.save(stream, values)
    content, part = stream.getvalue(), file.with_suffix(".part")
    with part.open("wb") as out:
        out.write(hashlib.sha256(content).digest() + content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
