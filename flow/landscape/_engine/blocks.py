"""Cut sums of products into blocks whose accumulators fit the registers."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.landscape._engine.values import ONE, ZERO, Dots, Ids

REGISTERS = 24  # accumulators of a block; 32 registers less those for data and weights
WIDEST = 16  # results that share their data


@dataclass(frozen=True)
class Block:
    """Sums of products that are computed together: `out` (R, M) = sum over terms of `data` (J, R) and `weights` (J, M)."""

    out: Ids
    data: Ids
    weights: Ids


def _chunks(count: int, most: int) -> Iterator[slice]:
    """Cut `count` things into pieces of nearly equal size, `most` at most."""
    ends = np.linspace(0, count, -(-count // most) + 1).round().astype(int).tolist()
    for start, end in itertools.pairwise(ends):
        yield slice(start, end)


def _groups(keys: Sequence[bytes]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return list(found.values())


def _dense(op: Dots, out: Ids) -> Iterator[Block]:
    """Cut products with parameters: rows that lack the same data, such as the edge of an image, have their weights in common."""
    present = op.data != ZERO
    for rows in _groups([a.tobytes() + b.tobytes() for a, b in zip(present, out >= 0, strict=True)]):
        terms, columns = np.flatnonzero(present[rows[0]]), np.flatnonzero(out[rows[0]] >= 0)
        if not columns.size:
            continue
        for part in _chunks(len(columns), WIDEST):
            some = columns[part]
            for piece in _chunks(len(rows), max(1, REGISTERS // len(some))):
                few = np.array(rows[piece])
                yield Block(out[np.ix_(few, some)], op.data[np.ix_(few, terms)].T, op.weights[np.ix_(some, terms)].T)


def _sparse(op: Dots, out: Ids) -> Iterator[Block]:
    """Cut products with weights that are zero in places: results with the same weights, in any order, are computed together."""
    rows, columns = np.nonzero(out >= 0)
    terms = []
    for r, m in zip(rows.tolist(), columns.tolist(), strict=True):
        live = np.flatnonzero((op.weights[m] != ZERO) & (op.data[r] != ZERO))
        terms.append(live[np.argsort(op.weights[m, live], kind="stable")])
    for group in _groups([op.weights[m, k].tobytes() for m, k in zip(columns.tolist(), terms, strict=True)]):
        for piece in _chunks(len(group), WIDEST):
            some = group[piece]
            data = np.stack([op.data[rows[i], terms[i]] for i in some], axis=1)
            yield Block(out[rows[some], columns[some]][:, None], data, op.weights[columns[some[0]], terms[some[0]]][:, None])


def blocks(op: Dots) -> list[Block]:
    """Cut sums of products into blocks whose accumulators fit the registers."""
    out = op.out.reshape(len(op.data), len(op.weights))
    return list(_sparse(op, out) if (op.weights == ZERO).any() else _dense(op, out))


def is_bias(block: Block) -> NDArray[np.bool_]:
    """Tell which terms of a block are products with 1, (J,)."""
    one: NDArray[np.bool_] = (block.data == ONE).all(axis=1)
    return one
