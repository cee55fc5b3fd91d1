"""The largest eigenvalues of a symmetric matrix, with their vectors, by the Lanczos method.

Lanczos, "An iteration method for the solution of the eigenvalue problem" (1950), with full reorthogonalisation. Written out rather than
taken from ARPACK: it also has to be right for a matrix of zeros and of one or two rows, and the number of products is a result.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 5e-5
MOST_PRODUCTS = 200
SMALL = 1e-12
FLOOR = 0.01
OTHERS = 20.0
Vector = NDArray[np.float64]


class Symmetric(Protocol):
    """A symmetric matrix of which only products with a vector are known."""

    def __matmul__(self, vector: Vector, /) -> Vector:
        """Return the product."""
        ...


class Pairs(NamedTuple):
    """Eigenpairs, largest value first.

    Attributes:
        values: (k,), or fewer for a matrix of fewer rows.
        vectors: (k, n), of norm 1, their largest element positive.
        residuals: ``|H v - value v|`` of each, (k,): an eigenvalue of the matrix lies as near.
        products: how many were needed.
    """

    values: Vector
    vectors: NDArray[np.float64]
    residuals: Vector
    products: int


def errors(values: Vector, residuals: Vector) -> Vector:
    """Return how far each Ritz value is from an eigenvalue: |r|, or |r|^2 / gap where that is less, (n,).

    The second is the bound of Kato and Temple (Parlett, "The symmetric eigenvalue problem", 11.7), with the distance to the next Ritz
    value and its residual in the place of the unknown gap.
    """
    if len(values) == 1:
        return residuals
    gaps = np.full(len(values), np.inf)
    steps = np.abs(np.diff(values))
    gaps[:-1] = np.minimum(gaps[:-1], steps - residuals[1:])
    gaps[1:] = np.minimum(gaps[1:], steps - residuals[:-1])
    squared = np.divide(residuals**2, gaps, out=np.full(len(values), np.inf), where=gaps > 0)
    return np.asarray(np.minimum(residuals, squared))


def _next(w: Vector, known: NDArray[np.float64], scale: float) -> tuple[float, Vector | None]:
    """Return the norm of w and the next vector; where w is exhausted, 0 and another direction, or None behind the last."""
    norm = float(np.linalg.norm(w))
    if norm > SMALL * scale:
        return norm, w / norm
    outside = 1 - np.square(known).sum(axis=0)
    if len(known) == len(w):
        return 0.0, None
    other = np.zeros(len(w))
    other[outside.argmax()] = 1.0  # the axis that is the least in the span of the known vectors
    for _ in range(2):
        other = other - known.T @ (known @ other)
    return 0.0, other / np.linalg.norm(other)


def top_eigenpairs(operator: Symmetric, k: int, start: Vector, tolerance: float = TOLERANCE) -> Pairs:
    """Return the k largest (not: largest in magnitude) eigenvalues of a symmetric matrix and their vectors.

    Args:
        operator: the matrix, applied by ``@``.
        k: how many, at least one.
        start: any vector (n,) that is orthogonal to none of the eigenvectors.
        tolerance: stop when the error of the first eigenvalue, see `errors`, is this small relative to it, and those of the others are
            at most `OTHERS` times that relative to them (or to `FLOOR` of the largest magnitude); or after `MOST_PRODUCTS` products.
    """
    size, wanted = len(start), min(k, len(start))
    basis = np.empty((min(MOST_PRODUCTS, size), size))
    diagonal, side = np.zeros(len(basis)), np.zeros(len(basis))
    following: Vector | None = start / np.linalg.norm(start)
    wished = tolerance * np.where(np.arange(wanted) > 0, OTHERS, 1.0)
    count = 0
    while True:
        basis[count] = following
        w = operator @ basis[count]
        diagonal[count] = w @ basis[count]
        count += 1
        known = basis[:count]
        for _ in range(2):
            w = w - known.T @ (known @ w)
        off = np.diag(side[: count - 1], 1)
        values, vectors = np.linalg.eigh(np.diag(diagonal[:count]) + off + off.T)
        values, vectors = values[::-1], vectors[:, ::-1]
        scale = float(np.abs(values).max())
        side[count - 1], following = _next(w, known, scale)
        residuals = side[count - 1] * np.abs(vectors[-1])
        allowed = wished[:count] * np.maximum(np.abs(values[:wanted]), FLOOR * scale)
        good = errors(values, residuals)[:wanted] <= allowed
        if (count >= wanted and good.all()) or count == len(basis) or following is None:
            break
    found = vectors[:, :wanted].T @ known
    found *= np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])[:, None]
    return Pairs(values[:wanted].copy(), found, residuals[:wanted].copy(), count)
