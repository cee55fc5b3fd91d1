"""Wafers for the ECON-T autoencoder: from detector CSV files, or from the built-in generator."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.core.stage import Progress
from flow.model import Array, Dataset

from .csv_files import find_files, read_rows
from .generator import wafers
from .geometry import CELLS, Floats, to_image

LEAST_ROWS = 200
_BELOW_TWO = np.nextafter(np.float32(2), np.float32(0))


def load(config: DataConfig, progress: Progress, scratch: Path) -> Dataset:
    """Load or generate wafers, normalise them and split them.

    Without `config.path` they come from the built-in generator, `config.samples` of them. Otherwise `config.path` is a CSV file, or
    a folder of them, with columns ``CALQ_0`` to ``CALQ_47``; at most `config.samples` of its rows are drawn. Wafers without charge
    are dropped, and so are wafers that are the same as an earlier one once normalised: one in the training set and one in the test
    set would make the test look better than it is.

    Returns:
        Images (N, 1, 8, 8), each divided by the power of two that brings its sum into [1, 2), as x and y. The detector's unit is the
        count, which is another number in each image (N, 1, 1, 1).

    Raises:
        MissingInput: there is no such path, or the folder has no CSV file.
        InvalidInput: a file cannot be used, or fewer than 200 different wafers are left.
        ConfigError: the fractions of the split leave one part empty.
    """
    generate, draw, split = (np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(3))
    if config.path is None:
        kept = _generated(config.samples, generate)
        source = "built-in shower and pile-up generator"
    else:
        path = Path(config.path)
        kept = _read(path)
        source = path.name
    drawn = np.arange(len(kept.rows))
    if len(drawn) > config.samples:
        drawn = np.sort(draw.permutation(len(drawn))[: config.samples])
    rows = kept.rows[drawn]
    parts, counts = _split((to_image(rows), kept.counts[drawn].reshape(-1, 1, 1, 1)), config.split, split)
    notes: dict[str, int | float | str] = {
        "source": source,
        "rows_read": kept.read,
        "empty_dropped": kept.empty,
        "duplicates_dropped": kept.duplicates,
        "not_drawn": len(kept.rows) - len(rows),
        "kept": len(rows),
        "mean_occupancy": round(float((rows > 0).sum(axis=1).mean()), 3),
        "detector_unit": "counts",
    }
    return Dataset(x=parts, y=parts, notes=notes, unit=counts)


@dataclass
class _Kept:
    """Different, normalised wafers (N, 48), what one count is in each of them (N,), and what was dropped on the way."""

    rows: Array = field(default_factory=lambda: np.zeros((0, CELLS), dtype=np.float32))
    counts: Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    read: int = 0
    empty: int = 0
    duplicates: int = 0

    def add(self, pieces: Iterable[Floats]) -> None:
        """Normalise and add wafers in counts, each piece (n, 48)."""
        normal, counts = [self.rows], [self.counts]
        for piece in pieces:
            charged = piece[piece.sum(axis=1) > 0]
            normal.append(normalise(charged))
            counts.append(np.ldexp(np.float32(1), -exponents(charged)))
            self.read += len(piece)
            self.empty += len(piece) - len(charged)
        rows = np.concatenate(normal)
        first = _different(rows)
        self.rows, self.counts = rows[first], np.concatenate(counts)[first]
        self.duplicates += len(rows) - len(first)


def normalise(rows: Floats) -> Array:
    """Drop rows without charge and divide the others (N, 48) by 2^floor(log2(sum)), which the front end does with a shift."""
    rows = rows[rows.sum(axis=1) > 0]
    exponent = exponents(rows)
    # Adding 0 turns a negative zero into a positive one, so that equal rows have equal bytes.
    scaled: Array = np.ldexp(rows, -exponent[:, None]).astype(np.float32) + np.float32(0)
    return np.minimum(scaled, _BELOW_TWO, out=scaled)


def exponents(rows: Floats) -> NDArray[np.intp]:
    """Return floor(log2(sum)) of rows with charge (N, 48), (N,)."""
    found: NDArray[np.intp] = np.frexp(rows.sum(axis=1))[1] - 1
    return found


def _different(rows: Array) -> NDArray[np.int64]:
    """Return which rows are not equal to an earlier one, in order."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
    first: NDArray[np.int64] = np.unique(whole, return_index=True)[1]
    return np.sort(first)


def _read(path: Path) -> _Kept:
    kept = _Kept()
    kept.add(piece for file in find_files(path) for piece in read_rows(file))
    if len(kept.rows) < LEAST_ROWS:
        raise InvalidInput(
            f"{path}: {kept.read} wafers, of which {kept.empty} are empty and {kept.duplicates} the same as another one; "
            f"{len(kept.rows)} are left and at least {LEAST_ROWS} are needed."
        )
    return kept


def _generated(count: int, rng: np.random.Generator, make: Callable[[int, np.random.Generator], Floats] = wafers) -> _Kept:
    kept = _Kept()
    while len(kept.rows) < count:
        kept.add([make(1000 + (count - len(kept.rows)) * 5 // 4, rng)])
    return kept


def _split(arrays: tuple[Array, ...], fractions: tuple[float, float, float], rng: np.random.Generator) -> list[dict[str, Array]]:
    """Return the parts of each of the arrays, which have a wafer in each row, all in the same way."""
    count = len(arrays[0])
    parts = np.split(rng.permutation(count), np.rint(np.cumsum(fractions)[:2] * count).astype(int))
    named = dict(zip(("train", "validation", "test"), parts, strict=True))
    if empty := [name for name, part in named.items() if len(part) == 0]:
        raise ConfigError(f"data.split = {list(fractions)}: of {count} wafers nothing is left for {empty[0]}. Give it a larger part.")
    return [{name: array[part] for name, part in named.items()} for array in arrays]
