"""Find the features and the class of each jet in the columns of a table, and check them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.model import Array

from .features import CLASSES, FEATURES

Ints = NDArray[np.int64]
Jets = tuple[Array, Ints]
"""Features (N, 16) and the numbers (N,) of the classes in `CLASSES`."""

LABELS = ("class", "jet_type", "label", "target")
"""Names of a column of classes."""
MOST_JETS = 10_000_000
MOST_VALUE = 1e9
"""No feature is this large."""


def check_count(file: Path, jets: int) -> None:
    """Refuse a file without jets, or with more than can be handled, before they are read.

    Raises:
        InvalidInput: naming the file.
    """
    if not 0 < jets <= MOST_JETS:
        raise InvalidInput(f"{file}: {jets:,} jets, where 1 to {MOST_JETS:,} can be read.")


def find_columns(file: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find the columns of the features, and of the class: five of 0 and 1, or a single one.

    A feature may be called c1_b0, j_c1_b0, c1_b0_mmdt or j_c1_b0_mmdt. Where a set has it before and after grooming, the one with
    _mmdt is after.

    Raises:
        InvalidInput: naming what is not there.
    """
    features = []
    for feature in FEATURES:
        spellings = (f"j_{feature}_mmdt", f"{feature}_mmdt", f"j_{feature}", feature)
        found = [name for name in spellings if name in names]
        if not found:
            there = ", ".join(map(str, names))[:300]
            raise InvalidInput(f"{file}: there is no column {feature} (nor {', nor '.join(spellings[:3])}). Columns: {there}.")
        features.append(found[0])
    for hot in ([f"j_{kind}" for kind in CLASSES], list(CLASSES)):
        if set(hot) <= set(names):
            return features, hot
    label = [name for name in LABELS if name in names]
    if not label:
        wanted = f"{', '.join(LABELS)}, nor j_{', j_'.join(CLASSES)}"
        raise InvalidInput(f"{file}: there is no column with the classes of the jets: neither {wanted}.")
    return features, label[:1]


def from_table(file: Path, columns: Mapping[str, NDArray[Any]], features: list[str], label: list[str]) -> Jets:
    """Make jets of the columns that `find_columns` found.

    Raises:
        InvalidInput: a feature is not a finite number, or a class is none.
    """
    x = np.stack([np.asarray(columns[name], dtype=np.float32) for name in features], axis=1)
    check_count(file, len(x))
    if len(label) == 1:
        return check_values(file, x), from_words(file, columns[label[0]], CLASSES)
    return check_values(file, x), from_hot(file, np.stack([columns[name] for name in label], axis=1), CLASSES)


def check_values(file: Path, x: Array) -> Array:
    """Return features (N, 16) if all are finite.

    Raises:
        InvalidInput: naming the first that is not, or is too large for a feature.
    """
    wrong = ~(np.abs(x) < MOST_VALUE)
    if wrong.any():
        row, column = np.unravel_index(int(wrong.argmax()), x.shape)
        where = f"{file}: jet {row} (the first is 0) has {FEATURES[column]} = {x[row, column]:g}"
        raise InvalidInput(f"{where}. A feature is a finite number below {MOST_VALUE:g}.")
    return x


def from_hot(file: Path, rows: NDArray[Any], order: Sequence[str]) -> Ints:
    """Turn one-hot rows (N, 5), whose columns are the classes in `order`, into numbers (N,) in `CLASSES`.

    Raises:
        InvalidInput: naming the first row that is not one-hot.
    """
    wrong = (~np.isin(rows, (0, 1))).any(axis=1) | (rows.sum(axis=1) != 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(f"{file}: jet {row} (the first is 0) has the classes {rows[row].tolist()}; one must be 1 and all others 0.")
    numbers: Ints = np.array([CLASSES.index(kind) for kind in order])[rows.argmax(axis=1)]
    return numbers


def from_words(file: Path, words: NDArray[Any], order: Sequence[str]) -> Ints:
    """Turn names of classes, or their numbers in `order`, (N,), into numbers in `CLASSES`.

    Raises:
        InvalidInput: naming what is no class.
    """
    known = {str(number): CLASSES.index(kind) for number, kind in enumerate(order)} | {kind: n for n, kind in enumerate(CLASSES)}
    unique, inverse = np.unique(np.asarray(words).astype(str), return_inverse=True)
    plain = [str(word).removeprefix("b'").strip("'\" ").removesuffix(".0") for word in unique]
    if wrong := [word for word in plain if word not in known]:
        numbers = f"0 to {len(order) - 1} for {', '.join(order)}"
        raise InvalidInput(f"{file}: '{wrong[0][:40]}' is not a class of jets. Classes are {', '.join(CLASSES)}, or {numbers}.")
    found: Ints = np.array([known[word] for word in plain])[inverse]
    return found
