"""Recorded noise as CSV: numbers separated by commas, with or without a line of names, and comments that begin with ``#`` before them."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput

MOST_BYTES = 2**26
MOST_LINE = 2**21
MOST_COLUMNS = 2**16
MOST_COMMENTS = 1000
NEEDED = "A CSV file has one record a line, its numbers separated by commas, with a point before decimals"
_BYTES_EACH = 4  # of text for a number, at the least that is usual
_UNIT = re.compile(r"^#.*?\bunits?\s*[:=]\s*([^,;]+)", re.IGNORECASE)


@dataclass(frozen=True)
class TextRecords:
    """Lines of numbers; see `flow.robustness._noise_file.Records`. Places are bytes, counted from the first line with numbers.

    Attributes:
        path: of the file.
        start: byte at which that line begins.
        columns: numbers of it.
        extent: bytes from there on.
        unit: what a comment says the numbers are.
    """

    path: Path
    start: int
    columns: int
    extent: int
    unit: str

    @property
    def count(self) -> int | None:
        """Number of records: not known without reading all of it."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a record."""
        return (self.columns,)

    def places(self, numbers: int) -> int:
        """Return how many bytes are about so many numbers."""
        return min(MOST_BYTES, numbers * _BYTES_EACH)

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Return the records of the lines that begin at bytes ``first`` to ``last - 1``, (k, n).

        Raises:
            InvalidInput: naming line and column, when a line has too few or too many values, or one is no number.
        """
        import pandas as pd

        begin, text = self._lines(first, last)
        if not text.strip():
            return np.zeros((0, self.columns))
        try:
            if b"\0" in text:
                raise ValueError("it has zero bytes")
            frame = pd.read_csv(
                io.BytesIO(text), header=None, dtype=np.float64, skipinitialspace=True, na_values=[""], keep_default_na=False
            )  # fmt: skip
            values: NDArray[np.float64] = frame.to_numpy(np.float64)
            if values.shape[1] != self.columns or not np.isfinite(values).all():
                raise ValueError("a value is missing or not finite")
        except (ValueError, OverflowError) as error:  # pandas names neither line nor column
            self._check_each(begin, text)
            raise InvalidInput(f"{self.path}: this is no table of numbers: {' '.join(str(error).split())[:120]}. {NEEDED}.") from None
        return values

    def name(self, place: int, row: int) -> str:
        """Say in which line a record stands."""
        begin, text = self._lines(place, min(self.extent, place + MOST_LINE))
        lines = [i for i, line in enumerate(text.split(b"\n")) if line.strip()]
        return f"line {self._line_number(begin) + (lines[row] if row < len(lines) else row)}"

    def _lines(self, first: int, last: int) -> tuple[int, bytes]:
        """Return the byte of the file at which the first of the lines begins, and their text."""
        with self.path.open("rb") as stream:
            stream.seek(self.start + max(0, first - 1))
            if first > 0:
                _line(self.path, stream)  # the rest of a line that began before, or the end of it alone
            begin = stream.tell()
            text = stream.read(max(0, self.start + last - begin))
            return begin, text if not text or text.endswith(b"\n") else text + _line(self.path, stream)

    def _line_number(self, byte: int) -> int:
        """Return the number of the line that begins at a byte of the file; the first is 1."""
        number = 1
        with self.path.open("rb") as stream:
            while byte > 0 and (piece := stream.read(min(byte, 1 << 24))):
                number += piece.count(b"\n")
                byte -= len(piece)
        return number

    def _check_each(self, begin: int, text: bytes) -> None:
        """Raise InvalidInput for the first thing that is wrong; return when nothing is."""
        for i, line in enumerate(text.split(b"\n")):
            if not line.strip(b"\r"):
                continue
            values = _fields(line)
            wrong = [(k, problem) for k, value in enumerate(values) if (problem := _problem(value))]
            if not wrong and len(values) == self.columns:
                continue
            where = f"{self.path}, line {self._line_number(begin) + i}"
            if len(values) != self.columns:
                raise InvalidInput(f"{where}: {len(values)} values, where the first record has {self.columns}. Remove or repair this line.")
            raise InvalidInput(f"{where}, column {wrong[0][0] + 1}: {wrong[0][1]}.")


def text_records(path: Path) -> TextRecords:
    """Open a CSV file and look at its first lines.

    Raises:
        InvalidInput: it is empty, no text, or its first record is none.
    """
    unit, names = "", 0
    with path.open("rb") as stream:
        start = 3 if stream.read(3) == b"\xef\xbb\xbf" else 0
        stream.seek(start)
        for number in range(1, MOST_COMMENTS + 1):
            start, line = stream.tell(), _line(path, stream)
            text = _decoded(path, number, line)
            if "\r" in text.rstrip("\r\n"):
                raise InvalidInput(f"{path}: its lines end with carriage returns alone. End them with line feeds. {NEEDED}.")
            if not line:
                raise InvalidInput(f"{path}: there is no record in this file. {NEEDED}.")
            if text.lstrip().startswith("#") or not text.strip():
                found = _UNIT.match(text.strip())
                unit = found.group(1).strip() if found and not unit else unit
                continue
            values = _fields(line)
            if not names and not any(_is_number(value) for value in values):
                names = len(values)
                continue
            _check_first(path, number, values, names)
            return TextRecords(path, start, len(values), stream.seek(0, io.SEEK_END) - start, unit)
    raise InvalidInput(f"{path}: there is no record in the first {MOST_COMMENTS} lines. {NEEDED}.")


def _check_first(path: Path, number: int, values: list[str], names: int) -> None:
    where = f"{path}, line {number}"
    if len(values) > MOST_COLUMNS:
        raise InvalidInput(f"{where}: {len(values)} columns; at most {MOST_COLUMNS} can be read from text. Write an NPY file.")
    for column, value in enumerate(values):
        if problem := _problem(value):
            raise InvalidInput(f"{where}, column {column + 1}: {problem}.")
    if names and names != len(values):
        raise InvalidInput(f"{where}: {len(values)} values under a line of {names} names. {NEEDED}.")


def _line(path: Path, stream: io.BufferedReader) -> bytes:
    line = stream.readline(MOST_LINE + 1)
    if len(line) > MOST_LINE:
        raise InvalidInput(f"{path}: there is a line of more than {MOST_LINE >> 20} MiB, so this is no CSV file. {NEEDED}.")
    return line


def _decoded(path: Path, number: int, line: bytes) -> str:
    problem = "it has zero bytes" if b"\0" in line else ""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = error.reason
    if problem:
        raise InvalidInput(f"{path}, line {number}: this is not UTF-8 text ({problem}), so no CSV file, and no NPY or HDF5 file either.")
    return text


def _fields(line: bytes) -> list[str]:
    try:
        return [value.strip() for value in next(csv.reader([line.decode("utf-8", "replace").strip("\r\n")], skipinitialspace=True), [])]
    except csv.Error:
        return [line.decode("utf-8", "replace")]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _problem(text: str) -> str | None:
    if not text:
        return f"the value is missing. {NEEDED}"
    if not _is_number(text.replace("_", "?")):  # Python would accept 1_000
        return f"{text[:40]!r} is not a number. {NEEDED}"
    return None if np.isfinite(float(text)) else f"'{text[:40]}' is not finite. Remove or repair this line"
