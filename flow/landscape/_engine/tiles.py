"""Convolutions with one filter: each number of the image is loaded once for all results of a tile that it is in.

Blocks of `flow.landscape._engine.emit` load data once for several filters. With one filter there is a load for each multiplication, and the
memory, not the arithmetic, decides. Here the weights and the sums of a tile stay in registers instead. Terms are taken in groups, such as
the channels of an image, in which the same pattern recurs at another place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.landscape._engine.values import ONE, ZERO, Dots, Ids

TILE = 16  # sums of a tile; 32 registers less those for weights and data
PATTERN = 12  # weights of a group
REUSED = 2.0  # times that a number is used in a tile, on average: below, blocks are as good


@dataclass(frozen=True)
class Tile:
    """Results that are computed together.

    Attributes:
        rows: which rows of the products (R,).
        shifts: how far the data of each group lie from those of the first one (G,).
        uses: for each number of the first group: its place, and the pairs of a row of the tile and a weight of the group.
    """

    rows: NDArray[np.intp]
    shifts: NDArray[np.int64]
    uses: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


def _grouped(place: Ids) -> Iterator[tuple[Ids, Ids]]:
    """Yield ways to take the terms of places (R, K), -1 for none, in groups: terms (G, T) and places (R, G, T)."""
    terms = np.arange(place.shape[1])
    for count in range(2, place.shape[1] // 2 + 1):
        if place.shape[1] % count == 0 and place.shape[1] // count <= PATTERN:
            for order in (terms.reshape(count, -1), terms.reshape(-1, count).T):
                yield order, place[:, order]


def _shifts(place: Ids) -> Ids | None:
    """Return how far each group of places (R, G, T) is from the first one, or None if it is not the same pattern."""
    there = place >= 0
    if not there[:, 0].any() or (there != there[:, :1]).any():
        return None
    apart = np.where(there, place - place[:, :1], 0)
    shifts: Ids = apart.min(axis=(0, 2)) + apart.max(axis=(0, 2))
    return shifts if (apart[there] == np.broadcast_to(shifts[None, :, None], apart.shape)[there]).all() else None


def find_tiles(op: Dots, place: Ids) -> tuple[Ids, int | None, list[Tile]] | None:
    """Cut the results of one filter into tiles.

    Args:
        op: sums of products.
        place: where each id lies.

    Returns:
        Terms in groups (G, T); the term that is the bias, or None; the tiles. None if there is no such pattern.
    """
    rows = np.flatnonzero(op.out >= 0)
    if len(op.weights) != 1 or len(rows) < TILE // 2 or (op.weights == ZERO).any():
        return None
    data = op.data[rows]
    bias = np.flatnonzero((data == ONE).all(axis=0))
    rest = np.flatnonzero(~(data == ONE).all(axis=0))
    if len(bias) > 1:
        return None
    where = np.where(data == ZERO, -1, place[data])[:, rest]
    for order, grouped in _grouped(where):
        shifts = _shifts(grouped)
        if shifts is not None:
            tiles = [_tile(rows, grouped[:, 0], shifts, start) for start in range(0, len(rows), TILE)]
            pairs = sum(len(pairs) for tile in tiles for _, pairs in tile.uses)
            enough = pairs >= REUSED * sum(len(tile.uses) for tile in tiles)
            return (rest[order], int(bias[0]) if len(bias) else None, tiles) if enough else None
    return None


def _tile(rows: NDArray[np.intp], place: Ids, shifts: Ids, start: int) -> Tile:
    part = place[start : start + TILE]
    uses = tuple((int(p), tuple((int(r), int(t)) for r, t in np.argwhere(part == p))) for p in np.unique(part[part >= 0]))
    return Tile(rows[start : start + TILE], shifts - shifts[0], uses)


def tile_text(tile: Tile, source: str, groups: str, weights: str, bias: str, out: list[str]) -> str:
    """Return the C++ of a tile.

    Args:
        tile: what is computed.
        source: memory of the data.
        groups: table with the shift and the place of the weights of each group.
        weights: memory of the weights.
        bias: what each sum begins with.
        out: where each result goes; the sums go through ``finish``.
    """
    size = 1 + max(t for _, pairs in tile.uses for _, t in pairs)
    lines = [f"V s{r} = V{{}} + {bias};" for r in range(len(tile.rows))]
    lines.append(f"for (int g = 0; g < {len(tile.shifts)}; g++) {{")
    lines.append(f"const V *const from = {source} + ({groups})[2 * g]; const auto *const w = {weights} + ({groups})[2 * g + 1];")
    lines += [f"const V w{t} = V{{}} + w[{t}];" for t in range(size)]
    lines += [f"{{ const V v = from[{place}]; {' '.join(f's{r} += v * w{t};' for r, t in pairs)} }}" for place, pairs in tile.uses]
    lines.append("}")
    lines += [f"{to} = finish(s{r});" for r, to in enumerate(out)]
    return "{\n" + "\n".join(lines) + "\n}"
