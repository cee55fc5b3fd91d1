"""The numbers that a recorded program computes with, one id for each element of a tensor, and what is done with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ids = NDArray[np.int64]
CONST, PARAM, INPUT, TARGET, MADE = range(5)
ZERO, ONE = 0, 1  # ids of the numbers that padding and biases need


class Unsupported(Exception):
    """The network has something that no code can be generated for."""


@dataclass(frozen=True)
class Step:
    """An element-wise operation.

    Attributes:
        code: C++ in terms of ``a``, ``b`` and ``c``.
        args: ids of each of them (n,); None is the result of the step before.
    """

    code: str
    args: tuple[Ids | None, ...]


@dataclass(frozen=True)
class Make:
    """Compute the elements `out`, then send each through `steps`.

    Attributes:
        out: ids of the results (n,).
        double: computed in double precision, else in single.
        steps: element-wise operations, one after the other.
    """

    out: Ids
    double: bool
    steps: tuple[Step, ...] = ()

    @property
    def operands(self) -> tuple[Ids, ...]:
        """The ids that it reads, of its steps only."""
        return tuple(a for step in self.steps for a in step.args if a is not None)

    def take(self, keep: NDArray[np.bool_]) -> "Make":
        """Return it for some of its results."""
        cut = tuple(replace(s, args=tuple(None if a is None else a[keep] for a in s.args)) for s in self.steps)
        return replace(self, out=self.out[keep], steps=cut)


@dataclass(frozen=True)
class Dots(Make):
    """Sums of products ``out[i] = sum_k data[i, k] weights[i, k]``, held as products of two matrices.

    Attributes:
        data: (R, K).
        weights: (M, K); `out` is (R, M), flat, -1 where nothing needs it.
    """

    data: Ids = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    weights: Ids = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    @property
    def operands(self) -> tuple[Ids, ...]:
        """The ids that it reads."""
        needed = self.out.reshape(len(self.data), len(self.weights)) >= 0
        weights = self.weights[needed.any(axis=0)]
        live = (weights != ZERO).any(axis=0)
        return (*super().operands, self.data[needed.any(axis=1)][:, live], weights[:, live])

    def take(self, keep: NDArray[np.bool_]) -> "Dots":
        """Return it for some of its results; the others stay as holes."""
        return replace(self, out=np.where(keep, self.out, -1))


@dataclass(frozen=True)
class Peaks(Make):
    """The largest of each row of `data` (n, K)."""

    data: Ids = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    @property
    def operands(self) -> tuple[Ids, ...]:
        """The ids that it reads."""
        return (*super().operands, self.data)

    def take(self, keep: NDArray[np.bool_]) -> "Peaks":
        """Return it for some of its results."""
        made = super().take(keep)
        return Peaks(made.out, made.double, made.steps, self.data[keep])


class Pool:
    """Hands out ids.

    Attributes:
        made: the operations in the order in which they were recorded.
    """

    def __init__(self) -> None:
        self.made: list[Make] = []
        self._kinds: list[NDArray[np.int8]] = []
        self._doubles: list[NDArray[np.bool_]] = []
        self._values: list[NDArray[np.float64]] = []
        self._constants: dict[float, int] = {}
        self.count = 0
        self.constants(np.array([0.0, 1.0]))

    def fresh(self, kind: int, count: int, double: bool, values: NDArray[np.float64] | None = None) -> Ids:
        """Return new ids (count,); `values` is the number of a constant, or where a parameter or an input lies in its vector."""
        self._kinds.append(np.full(count, kind, np.int8))
        self._doubles.append(np.full(count, double))
        self._values.append(np.arange(count, dtype=np.float64) if values is None else values)
        self.count += count
        return np.arange(self.count - count, self.count)

    def constants(self, values: NDArray[np.float64]) -> Ids:
        """Return the ids of constants, in the shape of `values`."""
        unique, inverse = np.unique(values, return_inverse=True)
        new = np.array([v for v in unique.tolist() if v not in self._constants], np.float64)
        self._constants.update(zip(new.tolist(), self.fresh(CONST, len(new), False, new).tolist(), strict=True))
        return np.array([self._constants[v] for v in unique.tolist()], np.int64)[inverse].reshape(values.shape)

    @property
    def kinds(self) -> NDArray[np.int8]:
        """What each id is, (count,)."""
        return np.concatenate(self._kinds)

    @property
    def doubles(self) -> NDArray[np.bool_]:
        """Which ids are of double precision, (count,); constants take the type of their use."""
        return np.concatenate(self._doubles)

    @property
    def values(self) -> NDArray[np.float64]:
        """The number of each constant, and where the others lie in their vectors, (count,)."""
        return np.concatenate(self._values)

    def all_constant(self, ids: Ids) -> bool:
        """Tell whether all ids are constants."""
        return bool((self.kinds[ids] == CONST).all())

    def map(self, code: str, args: Sequence[Ids], shape: Sequence[int], double: bool) -> Ids:
        """Record an element-wise operation; the arguments broadcast to `shape`."""
        full = tuple(np.broadcast_to(a, shape).reshape(-1) for a in args)
        out = self.fresh(MADE, full[0].size, double)
        self.made.append(Make(out, double, (Step(code, full),)))
        return out.reshape(shape)

    def dots(self, data: Ids, weights: Ids, double: bool) -> Ids:
        """Record products (R, K) with (M, K), and return the sums (R, M)."""
        if weights.size * len(data) > MOST_PRODUCTS:
            raise Unsupported(f"a product of {len(data)} x {weights.shape[0]} x {weights.shape[1]}")
        kinds = self.kinds
        if not _scalar(kinds, weights):
            if _scalar(kinds, data):
                return self.dots(weights, data, double).T
            products = self.map("a * b", [data[:, None], weights[None]], (len(data), *weights.shape), double)
            return self.dots(products.reshape(-1, products.shape[-1]), np.full((1, products.shape[-1]), ONE), double).reshape(
                len(data), len(weights)
            )
        out = self.fresh(MADE, len(data) * len(weights), double).reshape(len(data), len(weights))
        same = _copies(kinds, weights)
        out[:, same >= 0] = data[:, same[same >= 0]]
        rest = np.flatnonzero(same < 0)
        if rest.size:
            self.made.append(Dots(out[:, rest].reshape(-1), double, (), data, weights[rest]))
        return out

    def peaks(self, data: Ids, double: bool) -> Ids:
        """Record the largest of each row (n, K) -> (n,)."""
        out = self.fresh(MADE, len(data), double)
        self.made.append(Peaks(out, double, (), data))
        return out


MOST_PRODUCTS = 20_000_000


def _scalar(kinds: NDArray[np.int8], ids: Ids) -> bool:
    """Tell whether numbers are the same for every sample and known before the program starts."""
    return bool(np.isin(kinds[ids], (CONST, PARAM)).all())


def _copies(kinds: NDArray[np.int8], weights: Ids) -> Ids:
    """Return for each row of weights (M, K) the place of its one 1 among zeros, or -1 where it is no such row, (M,)."""
    single = ((weights != ZERO).sum(axis=1) == 1) & ((weights == ONE).sum(axis=1) == 1)
    return np.where(single, (weights == ONE).argmax(axis=1), -1)


def carry(ids: Ids) -> Tensor:
    """Return ids as a tensor that every operation that only moves elements can be applied to; exact below 2**53."""
    return torch.from_numpy(np.ascontiguousarray(ids, dtype=np.float64))


def uncarry(tensor: Tensor) -> Ids:
    """Return the ids that a tensor carries."""
    return tensor.detach().contiguous().numpy().astype(np.int64)
