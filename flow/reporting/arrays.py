"""Arrays that a point has left for the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Floats = NDArray[np.float64]


def read(files: Sequence[Path], start: str | tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays of several .npz files whose names begin with one of these words."""
    found: dict[str, Array] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            found |= {name: arrays[name] for name in arrays.files if name.startswith(start)}
    return found
