"""Sums over all eigenvalues of a symmetric matrix of which only products are known, and their density.

With an orthonormal basis Q of a Krylov space, T = Q^T H Q, and P = I - Q Q^T (Meyer et al., "Hutch++", arXiv:2010.09649):

    tr H = tr T + tr P H P,      ||H||_F^2 = ||H Q||_F^2 + E |H P z|^2,      z random signs.

Both are unbiased whatever Q is. A Krylov space takes the few large eigenvalues of a loss out exactly, which without it make almost all of
the variance; its products with H come from the Lanczos process anyway. The density is that of the Ritz values of T, one each, and of the
rest by stochastic Lanczos quadrature (Golub and Welsch, 1969; Ubaru, Chen and Saad, 2017; for Hessians of networks: Ghorbani et al.,
arXiv:1901.10159) of P H P, which is H up to a coupling of rank two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from flow.landscape._problem import Floats
from flow.landscape._spectrum_lanczos import Krylov, Symmetric, krylov_space
from flow.statistics import LEVEL

FEWEST = 6
KERNEL = 0.01  # width of a line of the density, relative to the range of the eigenvalues
GRID = 1001


@dataclass(frozen=True)
class Sums:
    """Trace and squared Frobenius norm: what is known exactly, and what each probe adds to it.

    Attributes:
        trace: tr T.
        square: ||H Q||_F^2.
        traces: z^T P H P z of each probe, (n,).
        squares: |H P z|^2 of each probe, (n,).
    """

    trace: float
    square: float
    traces: Floats
    squares: Floats

    def interval(self, figure: Callable[[Any, Any], Any]) -> tuple[float, tuple[float, float], float]:
        """Return a function of (trace, square), its 95 % interval over probes, and its standard error, by the jackknife.

        Efron, "The jackknife, the bootstrap and other resampling plans" (1982); Student's t with n - 1 degrees of freedom.
        """
        n = len(self.traces)
        value = float(figure(self.trace + self.traces.mean(), self.square + self.squares.mean()))
        without = [(row.sum() - row) / (n - 1) for row in (self.traces, self.squares)]
        left = np.asarray(figure(self.trace + without[0], self.square + without[1]))
        error = float(np.sqrt((n - 1) * np.square(left - left.mean()).mean()))
        half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * error
        return value, (value - half, value + half), error


@dataclass(frozen=True)
class Quadrature:
    """Points and weights: sum_i w_i f(x_i) is the mean of f over all eigenvalues; the weights add up to 1.

    Attributes:
        nodes: (M,), ascending.
        weights: (M,).
    """

    nodes: Floats
    weights: Floats


class Rest:
    """P H P: a matrix on what a Krylov space leaves.

    Attributes:
        size: rows and columns.
    """

    def __init__(self, matrix: Symmetric, space: Krylov) -> None:
        self._matrix, self._basis, self.size = matrix, space.basis, matrix.size

    def project(self, vector: Floats) -> Floats:
        """Return P v; twice, against rounding."""
        for _ in range(2):
            vector = vector - self._basis.T @ (self._basis @ vector)
        return vector

    def __matmul__(self, vector: Floats) -> Floats:
        """Return the product with a vector that P leaves as it is."""
        return self.project(self._matrix @ vector)


def effective_rank(trace: Any, square: Any) -> Any:  # noqa: ANN401 - numbers or arrays
    """Return (tr H)^2 / ||H||_F^2 = (sum of eigenvalues)^2 / (sum of their squares); see `flow.landscape.spectrum`."""
    return trace**2 / square


def probe_rest(
    matrix: Symmetric, space: Krylov, steps: int, most: int, relative_error: float, rng: np.random.Generator, tick: Callable[[int], None]
) -> tuple[Sums, Quadrature]:
    """Draw probes until the effective rank has the relative error, but at least `FEWEST` and at most `most`.

    Args:
        matrix: symmetric; not zero.
        space: a Krylov space of it.
        steps: products for each of the first `FEWEST` probes, from which the density is; the others need one.
        most: number of probes.
        relative_error: of the effective rank.
        rng: source of the signs.
        tick: called with the number of probes after each.
    """
    square, known = float(np.square(space.matrix).sum() + space.rest**2), len(space.basis)
    if known == matrix.size:  # nothing is left
        none = np.zeros(2)
        return Sums(float(space.diagonal.sum()), square, none, none), Quadrature(space.ritz()[0], np.full(known, 1 / known))
    rest, traces, squares = Rest(matrix, space), np.empty(most), np.empty(most)
    nodes, weights = [], []
    for i in range(most):
        start = rest.project(rng.choice(np.array([-1.0, 1.0]), matrix.size))
        norm = float(start @ start)
        inner = krylov_space(rest, start, steps if i < FEWEST else 1)
        values, mass, _ = inner.ritz()
        if i < FEWEST:
            nodes.append(values)
            weights.append(norm * mass)
        traces[i] = norm * (mass @ values)
        # H P z leaves the rest along the last vector of the space only, by its coupling to the following one
        outside = (space.rest * (space.following @ start)) ** 2
        squares[i] = norm * (mass @ values**2 + (inner.rest**2 if len(values) == 1 else 0.0)) + outside
        tick(i + 1)
        sums = Sums(float(space.diagonal.sum()), square, traces[: i + 1], squares[: i + 1])
        if i + 1 >= min(FEWEST, most):
            value, _, error = sums.interval(effective_rank)
            if error <= relative_error * abs(value):
                break
    others = np.concatenate(weights)
    points = np.concatenate([space.ritz()[0], *nodes])
    mass = np.concatenate([np.ones(known), others * (matrix.size - known) / others.sum()]) / matrix.size
    order = np.argsort(points)
    return sums, Quadrature(points[order], mass[order])


def smooth(quadrature: Quadrature) -> tuple[Floats, Floats]:
    """Return a grid (G,) and the density of the eigenvalues on it, (G,), whose integral is 1.

    Lines are Gaussians with a standard deviation of `KERNEL` times the range of the eigenvalues, or of their size if that is larger.
    """
    nodes, weights = quadrature.nodes, quadrature.weights
    width = KERNEL * (max(float(nodes[-1] - nodes[0]), float(np.abs(nodes).max())) or 1.0)
    grid = np.linspace(nodes[0] - 5 * width, nodes[-1] + 5 * width, GRID)
    # cells of the grid get what lies between their edges: nothing is lost if a line is narrower than a cell
    edges = np.concatenate([[-np.inf], (grid[1:] + grid[:-1]) / 2, [np.inf]])
    density = np.zeros(GRID)
    for part in np.array_split(np.arange(len(nodes)), max(1, len(nodes) // 1000)):
        below = stats.norm.cdf((edges[:, None] - nodes[part]) / width) @ weights[part]
        density += np.array([b - a for a, b in pairwise(below)])
    return grid, density / (grid[1] - grid[0])
