"""Read trigger-cell charges from CSV files: fast with pandas, and word for word when something is wrong with them."""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from flow.core.errors import InvalidInput, MissingInput

from .geometry import CELLS, Floats

COLUMNS = [f"CALQ_{i}" for i in range(CELLS)]
MOST_CHARGE = 1e12
"""No charge is this large; it also keeps sums finite."""

_CHUNK_ROWS = 100_000
_CHUNK_BYTES = 1 << 24


def find_files(path: Path) -> list[Path]:
    """Return the file, or the ``*.csv`` of the folder in the order of their names.

    Raises:
        MissingInput: there is no such path, or no CSV file in the folder.
    """
    if path.is_dir():
        files = sorted(f for f in path.glob("*.csv") if f.is_file())
        if not files:
            raise MissingInput(f"data.path = '{path}': the folder has no *.csv file. Give a CSV file, or a folder that has some.")
        return files
    if not path.is_file():
        raise MissingInput(f"data.path = '{path}': there is no such file or folder. Leave data.path out to use the built-in generator.")
    return [path]


def read_rows(file: Path) -> Iterator[Floats]:
    """Yield the charges of a detector CSV file in pieces (n, 48), in the order of ``CALQ_0`` to ``CALQ_47``.

    The first line names the columns; the 48 may stand in any order among others, whose values are not looked at.

    Raises:
        InvalidInput: naming file, line and column, when the file is empty or not UTF-8 text, a column is not there or there twice,
            a line has too few or too many values, or a charge is missing, not a number, negative or not finite.
    """
    try:
        separators, lines = _count(file)
        names = _header(file)
        if separators != (len(names) - 1) * lines:
            _check_each(file, names)
        if lines < 2:
            raise InvalidInput(f"{file}, line 1: there is a header and no wafer after it.")
        yield from _read_fast(file, names)
    except OSError as error:
        raise InvalidInput(f"{file}: the file cannot be read: {error.strerror}.") from None


def _read_fast(file: Path, names: list[str]) -> Iterator[Floats]:
    wanted = [names.index(c) for c in COLUMNS]
    try:
        with pd.read_csv(
            file, header=None, skiprows=1, names=range(len(names)), usecols=wanted, index_col=False,
            dtype=dict.fromkeys(wanted, np.float64), chunksize=_CHUNK_ROWS, encoding="utf-8",
            skipinitialspace=True, na_values=[""], keep_default_na=False,
        ) as reader:  # fmt: skip
            for chunk in reader:
                values: Floats = chunk[wanted].to_numpy(np.float64)
                if not ((values >= 0) & (values <= MOST_CHARGE)).all():
                    raise ValueError("a charge is missing, negative or not finite")
                yield values
    except ValueError as error:  # pandas names neither line nor column
        _check_each(file, names)
        raise InvalidInput(f"{file}: this is not a table of charges: {error}.") from None


def _count(file: Path) -> tuple[int, int]:
    """Count commas and lines that are not blank.

    Raises:
        InvalidInput: the file is empty or not UTF-8 text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    commas, ends, blank, last = 0, 0, 0, b""
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                line = ends + error.object[: error.start].count(b"\n") + 1
                raise InvalidInput(f"{file}, line {line}: this is not UTF-8 text, so not a CSV file ({error.reason}).") from None
            commas += piece.count(b",")
            ends += piece.count(b"\n")
            blank += piece.count(b"\n\n") + piece.count(b"\n\r\n")
            last = piece
    if not last.strip():
        raise InvalidInput(f"{file}: the file is empty. The first line must name the columns CALQ_0 to CALQ_{CELLS - 1}.")
    return commas, ends - blank + (not last.endswith(b"\n"))


def _header(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        names = [name.strip() for name in next(csv.reader([stream.readline(_CHUNK_BYTES)]), [])]
    for column in COLUMNS:
        if names.count(column) != 1:
            problem = "there is no column" if column not in names else "there is more than one column"
            raise InvalidInput(f"{file}, line 1: {problem} {column}. The first line must name CALQ_0 to CALQ_{CELLS - 1}, once each.")
    return names


def _check_each(file: Path, names: list[str]) -> None:
    """Raise InvalidInput for the first thing that is wrong; return when nothing is."""
    columns = [(names.index(c), c) for c in COLUMNS]
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        try:
            next(reader)
            for row in reader:
                if not row:
                    continue
                where = f"{file}, line {reader.line_num}"
                if len(row) != len(names):
                    raise InvalidInput(f"{where}: {len(row)} values, where line 1 names {len(names)} columns.")
                for index, column in columns:
                    if problem := _problem(row[index].strip()):
                        raise InvalidInput(f"{where}, column {column}: {problem}. A charge is a number that is not negative.")
        except csv.Error as error:
            raise InvalidInput(f"{file}, line {reader.line_num}: {error}.") from None


def _problem(text: str) -> str | None:
    if not text:
        return "the value is missing"
    try:
        value = float(text.replace("_", "?"))  # Python would accept 1_000
    except ValueError:
        return f"'{text[:40]}' is not a number"
    if not np.isfinite(value):
        return f"'{text[:40]}' is not finite"
    if value < 0:
        return f"{text[:40]} is negative"
    return f"{text[:40]} is too large for a charge" if value > MOST_CHARGE else None
