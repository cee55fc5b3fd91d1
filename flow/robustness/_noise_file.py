"""Recorded noise of a user: a CSV, NPY or HDF5 file with one record a row and one number for each input of the network.

The numbers of a record are in the flat order of an input (channels first), or have its shape; an input that is no channel of the detector,
such as the corners of a padded image, has 0 in all records. A file is told by its content. No file is
read whole that is larger than `MOST_NUMBERS` numbers or 64 MiB of text: pieces are then taken evenly from all of it. Sizes are looked at
before anything is allocated, nothing that is pickled is ever loaded, and nothing outside the file is read.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow.core.errors import ConfigError, InvalidInput, MissingInput
from flow.core.stage import Progress
from flow.model import Array
from flow.robustness._noise_arrays import HDF5, NPY, ArrayRecords, hdf5_records, npy_records
from flow.robustness._noise_text import TextRecords, text_records

MOST_NUMBERS = 2**24
MOST_RECORDS = 200_000
MOST_SIZE = 1e12
FEWEST = 2
PIECES = 64
HELP = "Write one record a row and one column for each input, for example with numpy.save(file, noise)."
ARCHIVES = {b"PK": "an archive (.npz or .zip)", b"\x1f\x8b": "compressed (gzip)", b"BZ": "compressed (bzip2)", b"\xfd7": "compressed (xz)"}
INPUT_NAMES = ("input", "normalised", "normalized", "normalised input", "normalized input", "dimensionless", "1")

Records = ArrayRecords | TextRecords
"""A file that is open. It has `extent` places to read from, records or bytes; `read(first, last)` returns the records that begin there."""


@dataclass(frozen=True)
class Recording:
    """Noise that was read.

    Attributes:
        records: (R, n), one record a row, in the unit of the file.
        taken: how many there are and, if not all were taken, how they were.
    """

    records: Array
    taken: str

    @property
    def rms(self) -> float:
        """Root mean square of all numbers."""
        return math.sqrt(float(np.mean(np.square(self.records, dtype=np.float64))))


@contextmanager
def open_noise(path: Path) -> Iterator[Records]:
    """Open a file for reading, in a ``with``.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it is none of the formats, was cut off, or holds something else than real numbers.
    """
    if not path.is_file():
        what = "this is a folder" if path.is_dir() else "there is no such file"
        raise MissingInput(f"robustness.noise_file = '{path}': {what}. Give a CSV, NPY or HDF5 file, or leave it out.")
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
        if start.startswith(NPY):
            yield npy_records(path)
        elif start == HDF5 or path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
            with hdf5_records(path) as records:
                yield records
        else:
            kind = next((words for magic, words in ARCHIVES.items() if start.startswith(magic)), None)
            if kind or path.suffix.lower() == ".npy":
                problem = f"this file is {kind}" if kind else "this is no NPY file: it does not begin like one"
                raise InvalidInput(f"{path}: {problem}. A CSV, NPY or HDF5 file is needed. {HELP}")
            yield text_records(path)
    except OSError as error:
        raise InvalidInput(f"{path}: the file cannot be read: {error.strerror or error}.") from None


def check_file(path: Path, unit: str) -> tuple[int, ...]:
    """Look at the beginning of a file, which takes milliseconds, and return the shape of a record.

    Args:
        path: of the file.
        unit: ``input`` or ``detector``: what its numbers are to be.

    Raises:
        FlowError: the file, its first records or its unit cannot be right, whatever the network.
    """
    with open_noise(path) as records:
        _check_unit(path, records.unit, unit, None)
        _check_size(path, records)
        _numbers(path, records, 0, min(records.extent, records.places(2**16)))
        return records.shape


def read_noise(path: Path, shape: Sequence[int], unit: str, detector: str | None, progress: Progress) -> Recording:
    """Read a file of noise for a network.

    Args:
        path: of the file.
        shape: of an input of the network.
        unit: ``input`` or ``detector``: what the numbers are.
        detector: name of the unit of the detector; None: the inputs have none.
        progress: shows life.

    Raises:
        ConfigError: the inputs have no detector unit, or the file says another one.
        MissingInput: there is no such file.
        InvalidInput: it cannot be used; says what is wrong, and in which record, line or column.
    """
    if unit == "detector" and detector is None:
        raise ConfigError(
            "robustness.noise_unit = 'detector': the inputs of this model have no detector unit. Convert the noise to what it is at the "
            "input of the network, and set robustness.noise_unit = 'input'."
        )
    with open_noise(path) as records:
        _check_unit(path, records.unit, unit, detector or "")
        _check_shape(path, records, tuple(shape))
        _check_size(path, records)
        pieces, whole = _pieces(records), records.extent
        parts = []
        for i, (first, last) in enumerate(pieces):
            parts.append(_numbers(path, records, first, last))
            progress(i / len(pieces), f"recorded noise, {100 * last // whole} %")
    found = np.concatenate(parts)
    kept = found[np.linspace(0, len(found) - 1, min(len(found), _most(found.shape[1]))).astype(np.intp)]
    all_read = sum(last - first for first, last in pieces) == whole
    total = len(found) if all_read else records.count
    if len(kept) < FEWEST:
        raise InvalidInput(f"{path}: {len(kept)} record; at least {FEWEST} are needed, and a few hundred to tell what the noise is like.")
    if not kept.any():
        raise InvalidInput(f"{path}: all numbers are 0, so this is no noise. {HELP}")
    if total == len(kept):
        return Recording(kept, f"all {total} records")
    return Recording(kept, f"{len(kept)} records, taken evenly from {'a longer file' if total is None else f'{total} of them'}")


def _most(columns: int) -> int:
    """Return how many records are kept."""
    return max(FEWEST, min(MOST_RECORDS, MOST_NUMBERS // columns))


def _pieces(records: Records) -> list[tuple[int, int]]:
    """Return from where to where to read: all of the file if that is little, else pieces evenly from all of it."""
    most = max(1, records.places(min(MOST_NUMBERS, MOST_RECORDS * math.prod(records.shape))))
    if records.extent <= most:
        size = max(1, min(most, records.places(2**20)))
        return [(first, min(first + size, records.extent)) for first in range(0, records.extent, size)]
    size = max(1, most // PIECES)
    count = min(PIECES, most)
    return [(first, first + size) for first in (i * (records.extent - size) // max(1, count - 1) for i in range(count))]


def _numbers(path: Path, records: Records, first: int, last: int) -> Array:
    """Read records (k, n) as float32.

    Raises:
        InvalidInput: one has a number that is not finite, or far too large for a noise.
    """
    values = records.read(first, last)
    wrong = ~(np.abs(values) <= MOST_SIZE)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        what = "too large for a noise" if np.isfinite(values[row, column]) else "not a finite number"
        raise InvalidInput(
            f"{path}, {records.name(first, row)}, input {column}: {values[row, column]:g} is {what}. Remove or repair this record."
        )
    return values.astype(np.float32)


def _check_size(path: Path, records: Records) -> None:
    if math.prod(records.shape) > MOST_NUMBERS:
        raise InvalidInput(f"{path}: a record has {math.prod(records.shape)} numbers; at most {MOST_NUMBERS} can be read. {HELP}")
    if not math.prod(records.shape) or not records.extent:
        raise InvalidInput(f"{path}: there is no record in it. {HELP}")


def _check_shape(path: Path, records: Records, shape: tuple[int, ...]) -> None:
    """Compare a record with the input of the network; axes of length 1 make no difference."""
    given, needed = math.prod(records.shape), math.prod(shape)
    if given == needed and (len(records.shape) <= 1 or _long(records.shape) in (_long(shape), (needed,))):
        return
    what = f"{given} number{'s' * (given != 1)}" + (f" of shape {list(records.shape)}" if len(records.shape) > 1 else "")
    hint = " Rows and columns seem to be exchanged: transpose it." if records.count == needed and len(records.shape) == 1 else ""
    raise InvalidInput(
        f"{path}: a record has {what}, but the network has {needed} inputs of shape {list(shape)} (channels first). Write one record a "
        f"row, its numbers in this shape or in flat order.{hint}"
    )


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _check_unit(path: Path, said: str, unit: str, detector: str | None) -> None:
    """Compare what a file says about its unit, if anything, with the settings; `detector` None: the name of its unit is not known yet."""
    if not said:
        return
    is_input = said.strip().casefold() in INPUT_NAMES
    is_detector = said.strip().casefold() == "detector" or not detector or _noun(said) == _noun(detector)
    if is_input if unit == "input" else is_detector and not is_input:
        return
    needed = "a number at the input of the network, which is normalised" if unit == "input" else f"in {detector or 'units of the detector'}"
    raise ConfigError(
        f"{path}: its numbers are in '{said[:60]}', says the file, but robustness.noise_unit = '{unit}' takes each as {needed}. Set "
        f"noise_unit = '{'detector' if unit == 'input' else 'input'}' if that is what they are, or else convert them."
    )


def _noun(unit: str) -> str:
    """Return the last word of a unit without a plural: ``ADC counts`` are ``count``."""
    return (unit.casefold().split() or [""])[-1].rstrip("s")
