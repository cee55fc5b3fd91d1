"""The data file of an imported network: arrays in NumPy's formats, checked before they are read."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.imported.tasks import Targets
from flow.model import Array

FEWEST = 200
MOST_BYTES = 2**32
HELP = "Write it with numpy.savez(file, x=inputs, y=targets), or with numpy.save(file, inputs) if there are no targets."
Numbers = NDArray[Any]


def _read_array(stream: IO[bytes], label: str) -> Numbers:
    """Read one array of numbers; its type and size are checked before anything is allocated."""
    try:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(stream)
        if version not in headers:
            raise InvalidInput(f"{label}: it has version {version} of NumPy's format, which is for tables with named columns. {HELP}")
        shape, _, dtype = headers[version](stream)
        if dtype.hasobject:
            raise InvalidInput(f"{label}: it holds pickled Python objects, which are never loaded. Convert it to numbers. {HELP}")
        if dtype.kind not in "biuf":
            raise InvalidInput(f"{label}: it holds {dtype}, not real numbers. {HELP}")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > MOST_BYTES:
            raise InvalidInput(f"{label}: its shape {list(shape)} takes more than {MOST_BYTES >> 30} GiB. Take fewer samples.")
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise InvalidInput(f"{label}: this is no array of NumPy, or it was cut off ({str(error)[:120]}). {HELP}") from None
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InvalidInput(f"{label}: the value at {where} (sample first) is not finite. Remove or repair this sample.")
    return array


def read_arrays(path: Path) -> tuple[Numbers, Numbers | None]:
    """Read inputs and, if there are any, targets.

    Args:
        path: ``.npz`` with ``x`` (N, ...) and optionally ``y`` (N, ...), or ``.npy`` with inputs only.

    Raises:
        InvalidInput: it is no such file, holds something else, or too few samples.
    """
    if path.suffix == ".npy":
        with path.open("rb") as stream:
            arrays = {"x": _read_array(stream, str(path))}
    elif path.suffix == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                if sorted(names) not in (["x"], ["x", "y"]):
                    raise InvalidInput(f"{path}: it has the arrays {', '.join(names) or '(none)'}; x and y are read. {HELP}")
                arrays = {}
                for name in names:
                    with archive.open(f"{name}.npy") as stream:
                        arrays[name] = _read_array(stream, f"{path}, array {name}")
        except zipfile.BadZipFile as error:
            raise InvalidInput(f"{path}: this is no .npz file, or it was cut off ({error}). {HELP}") from None
    else:
        raise InvalidInput(f"{path}: a data file for an imported network ends in .npz or .npy. {HELP}")
    counts = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
    if len(set(counts.values())) > 1:
        raise InvalidInput(f"{path}: x has {counts['x']} samples and y has {counts['y']}. Each sample needs one target.")
    if counts["x"] < FEWEST:
        raise InvalidInput(f"{path}: it has {counts['x']} samples; at least {FEWEST} are needed for figures with an interval.")
    return arrays["x"], arrays.get("y")


def read_inputs(path: Path, x: Numbers, shape: tuple[int, ...]) -> Array:
    """Return inputs as float32.

    Raises:
        InvalidInput: they do not have the shape of the network's input.
    """
    if x.shape[1:] != shape:
        raise InvalidInput(
            f"{path}: a sample of x has the shape {list(x.shape[1:])}, but the network's input has {list(shape)} (channels first). "
            "Reshape or transpose x."
        )
    return x.astype(np.float32)


def read_targets(path: Path, y: Numbers | None, shape: tuple[int, ...]) -> tuple[Targets, Array | None]:
    """Tell what the targets are, and return them as float32 of the output's shape, classes one-hot.

    Args:
        path: data file, for messages.
        y: class numbers (N,) or one-hot (N, classes) for a network with several outputs, else real values (N, *shape).
        shape: of the network's output, without the sample axis.

    Raises:
        InvalidInput: they do not fit the output.
    """
    if y is None:
        return "none", None
    classes = shape[0] if len(shape) == 1 else 0
    if classes > 1 and y.ndim == 1 and y.dtype.kind in "biu":
        if not 0 <= y.min() <= y.max() < classes:
            raise InvalidInput(f"{path}: y has classes from {y.min()} to {y.max()}; the outputs are 0 to {classes - 1}.")
        return "classes", np.eye(classes, dtype=np.float32)[y.astype(np.int64)]
    if y.size != len(y) * int(np.prod(shape)) or (y.ndim > 1 and y.shape[1:] != shape):
        wanted = f"(N,) with integer class numbers, (N, {classes}) one-hot, or real values of" if classes > 1 else "real values of"
        raise InvalidInput(f"{path}: y has the shape {list(y.shape)} and type {y.dtype}; needed: {wanted} shape (N, {str(shape)[1:-1]}).")
    if classes > 1 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        return "classes", y.astype(np.float32)
    return "values", y.reshape(len(y), *shape).astype(np.float32)
