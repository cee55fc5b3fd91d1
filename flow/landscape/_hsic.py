"""Debiased HSIC of two sets of features, summed up over chunks of samples, in memory that does not depend on their number.

For the centred linear kernels K = X X^T and L = Y Y^T of features X (n, p) and Y (n, q), with their diagonals set to zero,

    HSIC = [tr(K L) + (1^T K 1)(1^T L 1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1^T K L 1] / (n (n - 3))

is unbiased (Song et al., "Feature selection via dependence maximization", JMLR 13, 2012). `Sums` has it without an (n, n) matrix: the four
terms follow from X^T Y, the sums of x, y, x |y|^2 and y |x|^2, and three numbers. That takes p q numbers; for features wider than
`WIDEST` `Blocks` averages it over blocks of samples, each with its own small matrix, which has the same expectation (Nguyen et al.,
arXiv:2010.15327). Both are exact to rounding when all features are shifted, so the first sample is subtracted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Features = Sequence[Mapping[str, Floats]]
"""For each of several networks, or inputs of one network: features (n, p) by layer."""
Task = tuple[str, int, int]
"""A layer, and two of them."""

CHUNK, FOLDS, WIDEST, FEWEST = 128, 8, 512, 8


def fold_count(samples: int) -> int:
    """Return the number of parts of the samples, each of which is left out once for the interval."""
    return max(2, min(FOLDS, samples // 4))


class Accumulator(Protocol):
    """Takes the features of chunk after chunk."""

    def add(self, x: Floats, y: Floats) -> None:
        """Take the next samples, (n, p) and (n, q)."""
        ...

    def values(self) -> Floats:
        """Return the HSIC of all samples, followed by those without one part of them each."""
        ...


class Sums:
    """HSIC of narrow features, from sums for each fold; sample i belongs to fold i modulo their number."""

    def __init__(self, p: int, q: int, folds: int) -> None:
        self._cross = np.zeros((folds, p, q))
        self._x, self._y, self._xb, self._ya = (np.zeros((folds, width)) for width in (p, q, p, q))
        self._numbers = np.zeros((folds, 4))  # samples, |x|^2, |y|^2, |x|^2 |y|^2
        self._folds, self._seen = folds, 0

    def add(self, x: Floats, y: Floats) -> None:
        """Take the next samples, (n, p) and (n, q)."""
        before, size = self._seen % self._folds, len(x)
        after = -(before + size) % self._folds
        a, b = np.square(x).sum(1), np.square(y).sum(1)
        numbers = np.stack([np.ones(size), a, b, a * b], axis=1)
        # Samples of zeros, which add nothing, so that the folds are an axis.
        x, y, xb, ya, numbers = (
            np.pad(part, ((before, after), (0, 0))).reshape(-1, self._folds, part.shape[1])
            for part in (x, y, x * b[:, None], y * a[:, None], numbers)
        )
        self._cross += x.transpose(1, 2, 0) @ y.transpose(1, 0, 2)
        self._x += x.sum(0)
        self._y += y.sum(0)
        self._xb += xb.sum(0)
        self._ya += ya.sum(0)
        self._numbers += numbers.sum(0)
        self._seen += size

    def values(self) -> Floats:
        """Return the HSIC of all samples, followed by those without one fold each."""
        parts = (self._cross, self._x, self._y, self._xb, self._ya, self._numbers)
        totals = [part.sum(0) for part in parts]
        without = [_from_sums(*(total - part[f] for total, part in zip(totals, parts, strict=True))) for f in range(self._folds)]
        return np.array([_from_sums(*totals), *without])


def _from_sums(cross: Floats, x: Floats, y: Floats, xb: Floats, ya: Floats, numbers: Floats) -> float:
    n, a, b, ab = numbers
    trace = np.square(cross).sum() - ab
    ends = (x @ x - a) * (y @ y - b)
    middle = x @ cross @ y - x @ xb - y @ ya + ab
    return float((trace + ends / ((n - 1) * (n - 2)) - 2 * middle / (n - 2)) / (n * (n - 3)))


class Blocks:
    """Mean HSIC over blocks of samples, for wide features; samples of an incomplete last block are left out."""

    def __init__(self, length: int) -> None:
        self._length, self._values = length, list[float]()
        self._x, self._y = list[Floats](), list[Floats]()

    def add(self, x: Floats, y: Floats) -> None:
        """Take the next samples, (n, p) and (n, q)."""
        x, y = np.concatenate([*self._x, x]), np.concatenate([*self._y, y])
        full = len(x) - len(x) % self._length
        for start in range(0, full, self._length):
            part = slice(start, start + self._length)
            k, q = x[part] @ x[part].T, y[part] @ y[part].T
            np.fill_diagonal(k, 0)
            np.fill_diagonal(q, 0)
            self._values.append(_from_matrices(k, q))
        self._x, self._y = [x[full:]], [y[full:]]

    def values(self) -> Floats:
        """Return the mean of all blocks, followed by those without one block each."""
        values = np.array(self._values)
        return np.concatenate([[values.mean()], (values.sum() - values) / (len(values) - 1)])


def _from_matrices(k: Floats, q: Floats) -> float:
    n = len(k)
    rows, columns = k.sum(0), q.sum(0)
    ends = rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return float(((k * q).sum() + ends - 2 * (rows @ columns) / (n - 2)) / (n * (n - 3)))


def hsics(
    features: Callable[[slice], Features], samples: int, tasks: Sequence[Task], chunks: Callable[[int, int], Iterable[slice]],
    tick: Callable[[float], None],
) -> dict[Task, Floats]:  # fmt: skip
    """Return the HSIC of each task for all samples, followed by those without a part of the samples each.

    Args:
        features: of the samples of a slice; called again for every part of the tasks.
        samples: their number, at least `FEWEST`.
        tasks: what to compare.
        chunks: ``(count, bytes_each)`` -> the tasks that fit the memory at the same time.
        tick: called with the fraction that is done.
    """
    first = [{name: values[:1].copy() for name, values in one.items()} for one in features(slice(0, 1))]
    widths = {(name, i): values.shape[1] for i, one in enumerate(first) for name, values in one.items()}
    folds = fold_count(samples)
    found: dict[Task, Floats] = {}
    parts = list(chunks(len(tasks), 8 * max(_size(widths[name, i], widths[name, j], folds) for name, i, j in tasks)))
    for number, part in enumerate(parts):
        sums = {task: _accumulator(widths[task[0], task[1]], widths[task[0], task[2]], samples) for task in tasks[part]}
        for start in range(0, samples, CHUNK):
            found_here = features(slice(start, min(samples, start + CHUNK)))
            moved = [{name: v - first[i][name] for name, v in one.items()} for i, one in enumerate(found_here)]
            for (name, i, j), total in sums.items():
                total.add(moved[i][name], moved[j][name])
            tick((number + min(1.0, (start + CHUNK) / samples)) / len(parts))
        found |= {task: total.values() for task, total in sums.items()}
    return found


def _accumulator(p: int, q: int, samples: int) -> Accumulator:
    return Sums(p, q, fold_count(samples)) if max(p, q) <= WIDEST else Blocks(min(CHUNK, samples // fold_count(samples)))


def _size(p: int, q: int, folds: int) -> int:
    return folds * p * q if max(p, q) <= WIDEST else CHUNK * (p + q)
