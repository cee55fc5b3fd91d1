"""Read jets from the files in which the public sets come: tables (CSV, ARFF, Parquet, HDF5) and arrays (npy, npz).

Nothing of a file is ever run: arrays of Python objects are refused, and so are HDF5 datasets that lie in other files.
"""

import importlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MissingInput, ToolNotFound

from .columns import MOST_JETS, Jets, check_count, check_values, find_columns, from_hot, from_table, from_words
from .features import CLASSES, FEATURES

ALPHABETICAL = ("g", "q", "t", "w", "z")
"""Order in which the encoders of scikit-learn number the classes, and so the arrays that were made with them."""
MOST_BYTES = 4 << 30
TUTORIAL = (("X_train_val.npy", "y_train_val.npy"), ("X_test.npy", "y_test.npy"))


def read(path: Path) -> Jets:
    """Read all jets of a file or folder; a folder has the four arrays of the hls4ml tutorial, or files that are joined.

    Raises:
        MissingInput: there is no such path, or nothing in the folder can be read.
        InvalidInput: naming the file and what is wrong with it.
        ToolNotFound: a library for the format is not installed.
    """
    if not path.exists():
        raise MissingInput(f"data.path = '{path}': there is no such file or folder. Leave data.path out to use the built-in generator.")
    if path.is_dir() and all((path / name).is_file() for pair in TUTORIAL for name in pair):
        parts = [_explained(path / x, partial(_tutorial, path / y)) for x, y in TUTORIAL]
    elif path.is_dir():
        parts = [_read_file(file) for file in sorted(path.iterdir()) if file.is_file() and file.suffix.lower() in _READERS]
    else:
        parts = [_read_file(path)]
    if not parts:
        arrays = ", ".join(name for pair in TUTORIAL for name in pair)
        raise MissingInput(f"data.path = '{path}': the folder has neither {arrays} nor files that end in {', '.join(_READERS)}.")
    return np.concatenate([x for x, _ in parts]), np.concatenate([labels for _, labels in parts])


def _read_file(file: Path) -> Jets:
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{file}: a file of jets ends in {', '.join(_READERS)}; models/jets/README.md says what must be in it.")
    return _explained(file, reader)


def _explained(file: Path, reader: Callable[[Path], Jets]) -> Jets:
    """Read a file, and turn what the libraries raise into an error that names it."""
    try:
        return reader(file)
    except OSError as error:
        raise InvalidInput(f"{file}: the file cannot be read: {error.strerror or error}.") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidInput(f"{file}: this is not a file of jets: {str(error).rstrip('.')}.") from None


def _library(file: Path, name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a library that one format needs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".", maxsplit=1)[0]
        raise ToolNotFound(f"{file}: {file.suffix} files need {package}: pip install {package}. Or convert the file to CSV.") from None


def _arff_header(file: Path) -> tuple[list[str], int]:
    """Return the names of an ARFF file's columns, and the number of lines before its data."""
    names: list[str] = []
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            words = line.strip().split(None, 1)
            if words and words[0].lower() == "@data":
                return names, number
            if words[1:] and words[0].lower() == "@attribute":
                quoted = words[1][0] in "'\""
                names.append(words[1][1:].split(words[1][0])[0] if quoted else words[1].split()[0])
    raise InvalidInput(f"{file}: there is no line '@data', so this is not an ARFF file.")


def _text(file: Path) -> Jets:
    """Read CSV or ARFF: fast, and once more as text to find what is wrong."""
    options: dict[str, Any] = {"skipinitialspace": True, "index_col": False, "nrows": MOST_JETS + 1}
    if file.suffix.lower() == ".arff":
        names, skipped = _arff_header(file)
        options |= {"header": None, "names": names, "skiprows": skipped, "comment": "%", "quotechar": "'"}
    else:
        names = [str(name) for name in pd.read_csv(file, nrows=0, skipinitialspace=True).columns]
    features, label = find_columns(file, names)
    options["usecols"] = [*features, *label]
    numbers = features if len(label) == 1 else [*features, *label]
    try:
        frame = pd.read_csv(file, dtype=dict.fromkeys(numbers, np.float64) | dict.fromkeys(set(label) - set(numbers), str), **options)
    except ValueError:
        frame = pd.read_csv(file, dtype=str, **options)
        for name in numbers:
            wrong = frame[name][pd.to_numeric(frame[name], errors="coerce").isna()]
            if len(wrong):
                where = f"{file}: jet {wrong.index[0]} (the first is 0), column {name}"
                raise InvalidInput(f"{where}: '{str(wrong.iloc[0])[:40]}' is not a number.") from None
        raise
    return from_table(file, {name: frame[name].to_numpy() for name in frame.columns}, features, label)


def _parquet(file: Path) -> Jets:
    source = _library(file, "pyarrow.parquet").ParquetFile(file)
    check_count(file, source.metadata.num_rows)
    features, label = find_columns(file, source.schema_arrow.names)
    table = source.read([*features, *label])
    return from_table(file, {name: table[name].to_numpy() for name in [*features, *label]}, features, label)


def _hdf5(file: Path) -> Jets:
    """Read a table of compound rows, or the matrix `jets` whose columns `jetFeatureNames` names."""
    h5py = _library(file, "h5py")
    with h5py.File(file, "r") as source:
        own = {k: source[k] for k in source if isinstance(source.get(k, getlink=True), h5py.HardLink)}
        data = {k: v for k, v in own.items() if isinstance(v, h5py.Dataset) and not v.is_virtual and not v.external and v.ndim}
        tables = [v for v in data.values() if v.dtype.names and v.ndim == 1]
        if tables:
            check_count(file, len(tables[0]))
            features, label = find_columns(file, tables[0].dtype.names)
            rows = tables[0].fields([*features, *label])[:]
            return from_table(file, {name: rows[name] for name in [*features, *label]}, features, label)
        matrix, heads = data.get("jets"), data.get("jetFeatureNames")
        if matrix is None or heads is None or heads.ndim != 1 or matrix.shape[1:] != heads.shape:
            there = ", ".join(source)[:300]
            raise InvalidInput(f"{file}: there is neither a table (t_allpar_new) nor jets and jetFeatureNames. Found: {there}.")
        check_count(file, len(matrix))
        names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in heads[:]]
        features, label = find_columns(file, names)
        return from_table(file, {name: matrix[:, names.index(name)] for name in [*features, *label]}, features, label)


def _npy(file: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _tutorial(labels: Path, file: Path) -> Jets:
    return _arrays(file, _npy(file), _npy(labels), ALPHABETICAL)


def _arrays(file: Path, x: NDArray[Any], y: NDArray[Any], order: Sequence[str]) -> Jets:
    """Make jets of features (N, 16) and classes, one-hot (N, 5) or one for each jet (N,)."""
    if x.ndim != 2 or x.shape[1] != len(FEATURES) or x.dtype.kind not in "fiu":
        raise InvalidInput(f"{file}: an array {x.shape} of {x.dtype}, where {len(FEATURES)} numbers for each jet are needed.")
    if y.shape not in ((len(x),), (len(x), len(CLASSES))):
        raise InvalidInput(f"{file}: classes {y.shape} for {len(x)} jets, where ({len(x)},) or ({len(x)}, {len(CLASSES)}) is needed.")
    check_count(file, len(x))
    labels = from_words(file, y, order) if y.ndim == 1 else from_hot(file, y, order)
    return check_values(file, np.asarray(x, dtype=np.float32)), labels


def _npz(file: Path) -> Jets:
    if not zipfile.is_zipfile(file):
        raise InvalidInput(f"{file}: this is not an npz archive.")
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_BYTES:
        raise InvalidInput(f"{file}: {size:,} bytes once unpacked, where at most {MOST_BYTES:,} are read.")
    with np.load(file, allow_pickle=False) as source:
        if not {"X", "y"} <= set(source):
            raise InvalidInput(f"{file}: there are no arrays X and y in it. Found: {', '.join(source)}.")
        if "features" in source and source["features"].tolist() != list(FEATURES):
            raise InvalidInput(f"{file}: its features are not {', '.join(FEATURES)}, in this order.")
        order = source["classes"].tolist() if "classes" in source else ALPHABETICAL
        if sorted(map(str, order)) != sorted(CLASSES):
            raise InvalidInput(f"{file}: its classes are {str(order)[:100]}, not {', '.join(CLASSES)}.")
        return _arrays(file, source["X"], source["y"], order)


_READERS: dict[str, Callable[[Path], Jets]] = {
    ".csv": _text, ".arff": _text, ".parquet": _parquet, ".h5": _hdf5, ".hdf5": _hdf5, ".z": _hdf5, ".npz": _npz,
}  # fmt: skip
"""By the end of the name; the public HDF5 table ends in ``.z``."""
