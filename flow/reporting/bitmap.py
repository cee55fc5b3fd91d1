"""Small images of a grid of numbers: an indexed PNG that a page embeds, and contour lines."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from flow.reporting.svg import blend

Grid = NDArray[np.float64]
COLOURS = 256
LEVELS = 9
"""Contour lines of a grid."""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def palette() -> list[str]:
    """Return the colours from low to high; the same map as that of the plots."""
    return blend(COLOURS, 0.0, 1.0)


def png(places: Grid) -> bytes:
    """Return an image with a pixel a number.

    Args:
        places: (rows, columns) in [0, 1], the upper row first; NaN is transparent.
    """
    height, width = places.shape
    hole = np.isnan(places)
    index = np.clip(np.where(hole, 0, places) * (COLOURS - 1) + 0.5, int(hole.any()), COLOURS - 1).astype(np.uint8)
    index[hole] = 0  # the lowest colour but one then stands for the lowest, too
    rows = np.concatenate([np.zeros((height, 1), np.uint8), index], axis=1)  # each row begins with the number of its filter: none
    colours = bytes.fromhex("".join(colour[1:] for colour in palette()))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, body)
        for kind, body in ((b"IHDR", header), (b"PLTE", colours), (b"tRNS", b"\0" if hole.any() else b""), (b"IDAT", data), (b"IEND", b""))
        if body or kind == b"IEND"
    )


def data_uri(places: Grid) -> str:
    """Return the image of `png` as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png(places)).decode()


def contours(places: Grid) -> list[NDArray[np.float64]]:
    """Return contour lines at `LEVELS` places between 0 and 1, each (k, 2): column and row, from 0, of its points.

    Args:
        places: (rows, columns).
    """
    from contourpy import contour_generator

    generator = contour_generator(z=places, name="serial")
    levels = np.linspace(0, 1, LEVELS + 2)[1:-1]
    return [np.asarray(line) for level in levels for line in generator.lines(float(level)) if len(line) > 2]
