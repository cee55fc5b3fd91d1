"""Read recordings in the layout of the published code: one HDF5 file of frames and labels.

- ``metadata``: a pandas frame with the columns ``shotno``, ``shot_style`` and ``group``; shots of style 1 and group 0 are used.
- ``<shot>-26730-tiff``: an array (frames, side, side) of 12-bit codes.
- ``<shot>-info``: a pandas frame with ``n1_ampl_10k`` (G) and ``n1_phase_raw`` (rad), a row for each frame.

`pandas_frames` says in which formats of pandas the frames may be.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn.functional import interpolate

from flow.core.errors import InvalidInput, MissingInput
from flow.model import Array

from .geometry import PIXELS, Ints
from .pandas_frames import MOST_ROWS, member, read_columns
from .simulator import CODES, Mode

SELECTED = {"shot_style": 1, "group": 0}
AMPLITUDE, PHASE = "n1_ampl_10k", "n1_phase_raw"
TEST_SHOTS = (114464, 114467, 114468, 114472, 114473)
"""Shots that the published code tests with."""
MOST_SIDE = 2048
MOST_GAUSS = 1e4
"""No amplitude of a mode is this large."""
_PIXELS_AT_ONCE = 1 << 24


@contextmanager
def open_recording(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, in a ``with``.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it is no HDF5 file, or a part of it cannot be read.
    """
    if not path.is_file():
        raise MissingInput(f"data.path = '{path}': there is no such file. Leave data.path out to use the built-in simulator.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InvalidInput(f"{path}: this is no HDF5 file that can be read: {error}.") from None
    with file:
        try:
            yield file
        except OSError as error:
            if error.errno is not None:  # not of HDF5
                raise
            raise InvalidInput(f"{path}: the file is damaged or compressed in a way that needs a plug-in: {error}.") from None


def selected_shots(file: h5py.File) -> list[int]:
    """Return the numbers of the shots to use, in the order of the file.

    Raises:
        InvalidInput: the metadata cannot be used, name a shot twice or select none.
    """
    columns = read_columns(file, "metadata", ["shotno", *SELECTED])
    keep = np.logical_and.reduce([columns[name] == value for name, value in SELECTED.items()])
    shots = [int(number) for number in columns["shotno"][keep]]
    if not shots or len(set(shots)) != len(shots):
        problem = "no shot has" if not shots else "a shot is there twice among those with"
        raise InvalidInput(f"{file.filename}, frame 'metadata': {problem} {' and '.join(f'{k} = {v}' for k, v in SELECTED.items())}.")
    return shots


def _images(file: h5py.File, shot: int) -> h5py.Dataset:
    images = member(file, f"{shot}-26730-tiff", h5py.Dataset)
    small = images.ndim == 3 and 0 < images.shape[0] <= MOST_ROWS and all(PIXELS <= side <= MOST_SIDE for side in images.shape[1:])
    if not small or images.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{file.filename}, '{images.name}': an array (frames, side, side) of numbers with sides of {PIXELS} to {MOST_SIDE} pixels is "
            f"needed, and this has the shape {images.shape} and type {images.dtype}."
        )
    return images


def count_frames(file: h5py.File, shot: int) -> int:
    """Return how many frames a shot has, without reading them.

    Raises:
        InvalidInput: its array is missing or cannot be used.
    """
    return int(_images(file, shot).shape[0])


def read_shot(file: h5py.File, shot: int, keep: Ints) -> tuple[Array, Mode]:
    """Read frames of a shot, a piece at a time, and resize them.

    Args:
        file: open file.
        shot: its number.
        keep: which of its frames, (N,), rising.

    Returns:
        Codes from 0 to 4095 after antialiased bilinear resizing, (N, 32, 32), and the mode.

    Raises:
        InvalidInput: frames or labels cannot be used; names the shot.
    """
    images, where = _images(file, shot), f"{file.filename}, shot {shot}"
    labels = read_columns(file, f"{shot}-info", [AMPLITUDE, PHASE])
    amplitude, phase = labels[AMPLITUDE], labels[PHASE]
    if len(amplitude) != len(images):
        raise InvalidInput(f"{where}: {len(images)} frames and {len(amplitude)} rows of labels.")
    if amplitude.min() < 0 or amplitude.max() > MOST_GAUSS:
        raise InvalidInput(f"{where}, column '{AMPLITUDE}': an amplitude is negative or larger than {MOST_GAUSS:g} G.")
    at_once = max(_PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]), 1)
    pieces = [np.zeros((0, PIXELS, PIXELS), dtype=np.float32)]
    for first in range(0, len(images), at_once):
        chosen = keep[(keep >= first) & (keep < first + at_once)] - first
        if len(chosen):
            piece = images[first : first + at_once][chosen].astype(np.float32)
            if not ((piece >= 0) & (piece < CODES)).all():
                raise InvalidInput(f"{where}: a pixel is not a 12-bit code from 0 to {CODES - 1}.")
            pieces.append(_resize(piece))
    return np.concatenate(pieces), Mode(amplitude[keep], phase[keep])


def _resize(images: Array) -> Array:
    """Resize (N, side, side) to (N, 32, 32)."""
    if images.shape[1:] == (PIXELS, PIXELS):
        return images
    resized = interpolate(torch.from_numpy(images)[:, None], size=(PIXELS, PIXELS), mode="bilinear", antialias=True)[:, 0]
    return np.asarray(resized.numpy(), dtype=np.float32)
