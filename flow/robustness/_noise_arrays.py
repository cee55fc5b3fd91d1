"""Files of numbers as arrays, record by record: NPY and HDF5."""

import math
import os
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput

NPY = b"\x93NUMPY"
HDF5 = b"\x89HDF\r\n\x1a\n"
HELP = "Write it with numpy.save(file, noise), one record a row."
MOST_HEADER = 10_000
MOST_CHUNK = 2**28
MOST_DATASETS = 1000
MOST_AXES = 8
MOST_LENGTH = 2**48
MOST_UNIT = 4096
NAME = "noise"

_HEADER_ERRORS = (ValueError, TypeError, SyntaxError, KeyError, IndexError, OverflowError, MemoryError, RecursionError, tokenize.TokenError)
_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError, AttributeError)


@dataclass(frozen=True)
class ArrayRecords:
    """Records of an array that stays on disk.

    Attributes:
        path: of the file.
        array: its array, a record along the first axis.
        unit: what the file says its numbers are; empty: nothing.
    """

    path: Path
    array: Any
    unit: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a record; numbers alone are records of one."""
        return tuple(int(size) for size in self.array.shape[1:]) or (1,)

    @property
    def extent(self) -> int:
        """Number of records."""
        return int(self.array.shape[0])

    @property
    def count(self) -> int:
        """Number of records."""
        return self.extent

    def places(self, numbers: int) -> int:
        """Return how many records have so many numbers, at least 1."""
        return max(1, numbers // max(1, math.prod(self.shape)))

    def read(self, first: int, last: int) -> NDArray[np.float64]:
        """Return records ``first`` to ``last - 1`` as (k, n)."""
        with _damaged(self.path):
            return np.asarray(self.array[first:last], dtype=np.float64).reshape(last - first, -1)

    def name(self, place: int, row: int) -> str:
        """Say which record this is."""
        return f"record {place + row} (the first is 0)"


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Turn whatever a library says about a file into an InvalidInput."""
    try:
        yield
    except _HDF5_ERRORS as error:
        text = " ".join(str(error).split())[:200]
        raise InvalidInput(f"{path}: the file is damaged, was cut off or is packed in a way that needs a plug-in: {text}.") from None


def _check_numbers(label: str, kind: str, dtype: object) -> None:
    if kind in "iuf":
        return
    hint = "Write real and imaginary parts as columns of their own." if kind == "c" else HELP
    if kind == "O":
        raise InvalidInput(f"{label}: it holds Python objects or texts, which are never loaded. Convert it to numbers. {HELP}")
    raise InvalidInput(f"{label}: it holds {str(dtype)[:80]}, not real numbers. {hint}")


def npy_records(path: Path) -> ArrayRecords:
    """Open an NPY file without reading its numbers.

    Raises:
        InvalidInput: it is damaged, was cut off, or holds something else than real numbers.
    """
    headers = {(1, 0): (2, np.lib.format.read_array_header_1_0), (2, 0): (4, np.lib.format.read_array_header_2_0)}
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            width, header = headers[np.lib.format.read_magic(stream)]
            # NumPy itself first reads as much as is promised, and looks at the length then.
            if int.from_bytes(stream.read(width), "little") > min(MOST_HEADER, size):
                raise ValueError("the header is too long")
            stream.seek(-width, os.SEEK_CUR)
            shape, fortran, dtype = header(stream)
            data = stream.tell()
        except _HEADER_ERRORS as error:
            raise InvalidInput(f"{path}: this is no NPY file that can be read ({' '.join(str(error).split())[:120]}). {HELP}") from None
    _check_numbers(str(path), "O" if dtype.hasobject else dtype.kind, dtype)
    if not 1 <= len(shape) <= MOST_AXES or not all(0 <= int(length) < MOST_LENGTH for length in shape):
        raise InvalidInput(f"{path}: its array has {len(shape)} axes, or lengths that cannot be; one record a row is needed. {HELP}")
    promised = f"an array of shape {[int(length) for length in shape]} and type {dtype}"
    if not math.prod(shape):
        raise InvalidInput(f"{path}: it has {promised}, so no numbers. {HELP}")
    if data + math.prod(shape) * dtype.itemsize > size:
        raise InvalidInput(f"{path}: {promised} is promised, but the file was cut off. Copy it again.")
    with _damaged(path):
        return ArrayRecords(path, np.memmap(path, dtype, "r", data, shape, "F" if fortran else "C"))


@contextmanager
def hdf5_records(path: Path) -> Iterator[ArrayRecords]:
    """Open the only array of numbers of an HDF5 file, or the one that is called ``noise``, in a ``with``.

    Links to other files are not followed, and arrays with numbers in other files are refused: results are kept by the content of this one.

    Raises:
        InvalidInput: it is damaged, or has no such array.
    """
    import h5py

    with _damaged(path):
        file = h5py.File(path, "r")
    try:
        with _damaged(path):
            dataset = _dataset(path, file)
            unit = _unit(dataset) or _unit(file)
        yield ArrayRecords(path, dataset, unit)
    finally:
        file.close()


def _dataset(path: Path, file: Any) -> Any:  # noqa: ANN401 - h5py has no types
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found[name] = item
        return True if len(found) > MOST_DATASETS else None

    file.visititems(visit)  # of each hard link one; soft and external ones are left out
    named = [name for name in found if name.rpartition("/")[2] == NAME]
    chosen = NAME if NAME in found else named[0] if len(named) == 1 else next(iter(found)) if len(found) == 1 else None
    if chosen is None:
        if not found:
            links = "; links to other places are not followed" if len(file) else ""
            raise InvalidInput(f"{path}: there is no array in this file{links}. Write one called '{NAME}', one record a row.")
        names = ", ".join(f"'{name}'" for name in list(found)[:12]) + (", ..." if len(found) > 12 else "")
        raise InvalidInput(f"{path}: there are several arrays: {names}. Call the one with the noise '{NAME}', or leave only that one.")
    dataset, label = found[chosen], f"{path}, '{chosen}'"
    _check_numbers(label, dataset.dtype.kind, dataset.dtype)
    if dataset.is_virtual or dataset.external:
        raise InvalidInput(
            f"{label}: its numbers lie in other files, which are not read. Copy them into one file, for example with h5repack."
        )
    if not dataset.shape:
        raise InvalidInput(f"{label}: it has the shape {dataset.shape}; one record a row is needed. {HELP}")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MOST_CHUNK:
        raise InvalidInput(f"{label}: its chunks of shape {list(dataset.chunks)} are too large. Write smaller ones, such as 1,000 records.")
    return dataset


def _unit(item: Any) -> str:  # noqa: ANN401 - h5py has no types
    """Return the text of the attribute ``unit`` or ``units``, if there is one."""
    for key in ("unit", "units"):
        if key in item.attrs and item.attrs.get_id(key).get_storage_size() <= MOST_UNIT:
            value = item.attrs[key]
            value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""
