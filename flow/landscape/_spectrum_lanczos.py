"""The Lanczos process with full reorthogonalisation: an orthonormal basis of a Krylov space, and the matrix in it.

Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and integral operators" (1950); Paige
(1972) for the loss of orthogonality, which two passes of Gram-Schmidt over all earlier vectors prevent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flow.landscape._problem import Floats

NEGLIGIBLE = 1e-7  # products come from float32, so a rest this small relative to the matrix is rounding


class Symmetric(Protocol):
    """A symmetric matrix of which only products with a vector (size,) are known."""

    @property
    def size(self) -> int:
        """Rows and columns."""
        ...

    def __matmul__(self, vector: Floats, /) -> Floats:
        """Return the product."""
        ...


@dataclass(frozen=True)
class Krylov:
    """H Q = Q T + b q e^T with orthonormal rows of Q^T and of q, tridiagonal T, and the last unit vector e.

    Attributes:
        basis: Q^T (k, size).
        diagonal: of T, (k,).
        side: off the diagonal of T, (k - 1,).
        rest: b >= 0; 0 if the space is invariant.
        following: q (size,); zeros if `rest` is 0.
    """

    basis: Floats
    diagonal: Floats
    side: Floats
    rest: float
    following: Floats

    @property
    def matrix(self) -> Floats:
        """T (k, k)."""
        return np.asarray(np.diag(self.diagonal) + np.diag(self.side, 1) + np.diag(self.side, -1))

    def ritz(self) -> tuple[Floats, Floats, Floats]:
        """Return eigenvalues of T ascending (k,), the squares of the first entries of their vectors (k,), and residuals (k,).

        Within the residual of each value there is an eigenvalue of the matrix. Values and squares are the nodes and weights of the Gauss
        quadrature of v^T f(H) v, v the first vector of the basis (Golub and Welsch, 1969).
        """
        values, vectors = np.linalg.eigh(self.matrix)
        return values, np.square(vectors[0]), self.rest * np.abs(vectors[-1])


def krylov_space(matrix: Symmetric, start: Floats, most: int, enough: Callable[[Krylov], bool] = lambda space: False) -> Krylov:
    """Build a Krylov space.

    Args:
        matrix: symmetric.
        start: any vector (size,) but zero.
        most: largest number of products.
        enough: asked after each product whether to stop.
    """
    basis = np.empty((min(most, len(start)), len(start)))
    diagonal: list[float] = []
    side: list[float] = []
    vector = start / np.linalg.norm(start)
    for k in range(len(basis)):
        basis[k] = vector
        vector = matrix @ vector
        diagonal.append(float(vector @ basis[k]))
        scale = max(float(np.linalg.norm(vector)), *map(abs, diagonal), *side)
        for _ in range(2):
            vector = vector - basis[: k + 1].T @ (basis[: k + 1] @ vector)
        rest = float(np.linalg.norm(vector))
        ended = rest <= NEGLIGIBLE * scale or k + 1 == len(start)
        vector, rest = (np.zeros_like(vector), 0.0) if ended else (vector / rest, rest)
        space = Krylov(basis[: k + 1], np.array(diagonal), np.array(side), rest, vector)
        if ended or enough(space):
            break
        side.append(rest)
    return space
