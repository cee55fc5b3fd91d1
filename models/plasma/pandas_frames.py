"""Read columns of numbers from the frames that pandas keeps in HDF5 files, without unpickling anything.

Of pandas' layouts those are read whose numbers and column names can be had without a pickle:

- ``format="fixed"``: a group with ``nblocks``, ``block<i>_items`` (names, fixed-size text) and ``block<i>_values`` (numbers). Blocks of
  other columns may hold anything; they are not opened.
- ``format="table"`` with the columns in ``data_columns``: a group with ``table``, an array with a field of numbers by each name.
"""

from collections.abc import Sequence

import h5py
import numpy as np

from flow.core.errors import InvalidInput

from .geometry import Floats

MOST_ROWS = 1_000_000
_MOST_BLOCKS, _MOST_COLUMNS = 1000, 10_000


def member(group: h5py.Group, name: str, kind: type[h5py.Group] | type[h5py.Dataset]) -> h5py.Group | h5py.Dataset:
    """Return a dataset or group that lies in this very file.

    Raises:
        InvalidInput: it is missing, of the other kind, or in another file.
    """
    where = f"{group.file.filename}, '{group.name.rstrip('/')}/{name}'"
    link = group.get(name, getlink=True)
    if link is None:
        raise InvalidInput(f"{where}: it is missing.")
    if not isinstance(link, h5py.HardLink):
        raise InvalidInput(f"{where}: links are not followed. Copy the data to this place.")
    found = group[name]
    if not isinstance(found, kind):
        raise InvalidInput(f"{where}: a {kind.__name__.lower()} is needed, and this is none.")
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise InvalidInput(f"{where}: its data lie in another file. Copy them into this one.")
    return found


def read_columns(file: h5py.File, key: str, names: Sequence[str]) -> dict[str, Floats]:
    """Read columns of numbers of a pandas frame.

    Args:
        file: open file.
        key: the frame's key.
        names: columns.

    Returns:
        Name -> values (N,), finite.

    Raises:
        InvalidInput: the frame or a column is missing, is no number, is pickled or in a layout that needs a pickle to be understood,
            is too long, or a value is missing.
    """
    frame = member(file, key, h5py.Group)
    where = f"{file.filename}, frame '{key}'"
    again = f" Save it again so that it can be read: frame.to_hdf(file, key='{key}', format='table', data_columns={list(names)})."
    if "table" in frame:
        columns = _table(frame, names, where, again)
    elif "nblocks" in frame.attrs:
        columns = _fixed(frame, names, where, again)
    else:
        raise InvalidInput(f"{where}: this is no pandas frame in 'fixed' or 'table' format.{again}")
    for name, values in columns.items():
        if len(missing := np.flatnonzero(~np.isfinite(values))):
            raise InvalidInput(f"{where}, column '{name}', row {missing[0]}: the value is missing or not finite. Leave such rows out.")
    return columns


def _table(frame: h5py.Group, names: Sequence[str], where: str, again: str) -> dict[str, Floats]:
    table = member(frame, "table", h5py.Dataset)
    fields = table.dtype.fields or {}
    if len(table.shape) != 1 or table.shape[0] > MOST_ROWS:
        raise InvalidInput(f"{where}: at most {MOST_ROWS} rows are read, and its table has the shape {table.shape}.")
    for name in names:
        if name not in fields:
            raise InvalidInput(f"{where}: no column '{name}' that can be found without unpickling, only {', '.join(fields)}.{again}")
        if fields[name][0].kind not in "iuf":
            raise InvalidInput(f"{where}, column '{name}': numbers are needed, and this is {fields[name][0]}.")
    return {name: table.fields(name)[:].astype(np.float64) for name in names}


def _fixed(frame: h5py.Group, names: Sequence[str], where: str, again: str) -> dict[str, Floats]:
    places: dict[str, tuple[str, int]] = {}
    for block in range(min(int(frame.attrs["nblocks"]), _MOST_BLOCKS)):
        items = member(frame, f"block{block}_items", h5py.Dataset)
        if items.dtype.kind != "S" or items.ndim != 1 or items.size > _MOST_COLUMNS:
            raise InvalidInput(f"{where}: the names of its columns are pickled or no text, and are not opened.{again}")
        places |= {label.decode("utf-8", "replace"): (f"block{block}_values", column) for column, label in enumerate(items[:])}
    columns: dict[str, Floats] = {}
    for name in names:
        if name not in places:
            raise InvalidInput(f"{where}: there is no column '{name}', only {', '.join(places)}.")
        holder, column = places[name]
        values = member(frame, holder, h5py.Dataset)
        if values.dtype.kind not in "iuf":
            raise InvalidInput(f"{where}, column '{name}': the values are pickled or no numbers, and are not opened.{again}")
        rows_first = bool(values.attrs.get("transposed", False))
        if values.ndim != 2 or values.shape[1 - rows_first] > MOST_ROWS or column >= values.shape[rows_first]:
            raise InvalidInput(f"{where}, column '{name}': its block has the shape {values.shape}, which does not fit.")
        columns[name] = (values[:, column] if rows_first else values[column]).astype(np.float64)
    return columns
