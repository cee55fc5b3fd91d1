"""All eigenvalues of the Hessian of the loss where there are few, and the density of its spectrum where there are many.

Figures, of the eigenvalues l_1 >= ... >= l_D with straight-through gradients of the quantizers:

- ``spectrum_effective_rank``: (tr H)^2 / ||H||_F^2 = (sum l)^2 / sum l^2, the number of equal eigenvalues with the same sum and sum of
  squares: 1 for rank one, D for a multiple of the identity (R_0 of Bartlett et al., "Benign overfitting in linear regression",
  arXiv:1906.11300; also called participation ratio). Eigenvalues count with their sign, so it never exceeds the rank.
- ``spectrum_condition``: l_1 / sqrt(sum l^2 / D), the largest eigenvalue relative to the root mean square of all; 1 to sqrt(D). Unlike the
  condition number it exists for a singular matrix, as that of a network is.
- ``spectrum_smallest``: l_D, in units of the loss; ``spectrum_convexity``: l_D / l_1, below 0 where the loss is not convex (the ratio of Li
  et al., arXiv:1712.09913).
- ``spectrum_negative``: share of negative curvature, sum |l < 0| / sum |l|; only with all eigenvalues, because no quadrature resolves the
  sign of the many eigenvalues near 0.

Cost: one product with the Hessian for each parameter if all eigenvalues are found, which is done up to `MOST_DENSE` of them.
Sampled: `KRYLOV` products for the ends of the spectrum at most, `STEPS` for each of the few probes that the density is from, and one for
each further probe; see `flow.landscape._spectrum_density`.
Records: ``spectrum_eigenvalues``, or the quadrature ``spectrum_nodes`` and ``spectrum_weights``; ``spectrum_grid`` and
``spectrum_density``, which integrates to 1; with ``_chip`` for the parameters on chip.
"""

from collections.abc import Callable

import numpy as np

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import Floats, Problem
from flow.landscape._products import HessianProduct
from flow.landscape._spectrum_density import Quadrature, Sums, effective_rank, probe_rest, smooth
from flow.landscape._spectrum_lanczos import Krylov, Symmetric, krylov_space

TITLE = "Hessian spectrum"
KRYLOV = 60
STEPS = 10
MOST_DENSE = 300  # products; some seconds for the networks here, and about twice what sampling takes
TOLERANCE = 1e-4
ROUGH = 0.02
RECORDS = tuple(f"spectrum_{name}" for name in ("eigenvalues", "nodes", "weights", "grid", "density"))


def is_dense(size: int, memory: int) -> bool:
    """Tell whether all eigenvalues are found: no more than `MOST_DENSE`, and three matrices fit the memory."""
    return size <= MOST_DENSE and 3 * 8 * size**2 <= memory


def dense_eigenvalues(matrix: Symmetric, tick: Callable[[float], None] = lambda done: None) -> Floats:
    """Return all eigenvalues (size,), ascending, from the products with all unit vectors."""
    rows = np.empty((matrix.size, matrix.size))
    for i in range(matrix.size):
        unit = np.zeros(matrix.size)
        unit[i] = 1.0
        rows[i] = matrix @ unit
        tick((i + 1) / matrix.size)
    return np.asarray(np.linalg.eigvalsh((rows + rows.T) / 2))


def ends_known(space: Krylov) -> bool:
    """Tell whether the largest eigenvalue is converged to `TOLERANCE`, and the smallest to `ROUGH`, relative to themselves."""
    values, _, residuals = space.ritz()
    return bool(residuals[-1] <= TOLERANCE * abs(values[-1]) and residuals[0] <= ROUGH * abs(values[0]))


def _ends(low: float, high: float, source: str, suffix: str, words: str) -> dict[str, Metric]:
    """Return the figures of the two ends of the spectrum."""
    title = f"Smallest Hessian eigenvalue{words}"
    metrics = {f"spectrum_smallest{suffix}": Metric(low, direction="higher", source=source, title=title)}
    if high > 0:
        title = f"Smallest over largest Hessian eigenvalue{words}"
        metrics[f"spectrum_convexity{suffix}"] = Metric(low / high, direction="higher", source=source, title=title)
    return metrics


def _shape(sums: Sums, high: float, size: int, source: str, suffix: str, words: str) -> dict[str, Metric]:
    """Return the figures that need all eigenvalues; none if all are 0."""
    if not sums.square + sums.squares.mean() > 0:
        return {}
    figures = {
        "effective_rank": (effective_rank, "Effective rank of the Hessian"),
        "condition": (lambda trace, square: high * (size / square) ** 0.5 + 0 * trace, "Largest over r.m.s. Hessian eigenvalue"),
    }
    metrics = {}
    for name, (figure, title) in figures.items():
        value, ci, _ = sums.interval(figure)
        exact = not sums.traces.any() and not sums.squares.any()
        interval = None if exact else ci
        metrics[f"spectrum_{name}{suffix}"] = Metric(value, direction="lower", ci=interval, source=source, title=title + words)
    return metrics


def _record(problem: Problem, quadrature: Quadrature, suffix: str, exact: bool) -> None:
    if exact:
        problem.records[f"spectrum_eigenvalues{suffix}"] = quadrature.nodes
    else:
        problem.records[f"spectrum_nodes{suffix}"] = quadrature.nodes
        problem.records[f"spectrum_weights{suffix}"] = quadrature.weights
    problem.records[f"spectrum_grid{suffix}"], problem.records[f"spectrum_density{suffix}"] = smooth(quadrature)


def _all(problem: Problem, matrix: Symmetric, suffix: str, words: str, tick: Callable[[float], None]) -> dict[str, Metric]:
    """Measure a block of which all eigenvalues are found."""
    values = dense_eigenvalues(matrix, tick)
    source = f"all {len(values)} eigenvalues, {len(problem.x)} samples"
    _record(problem, Quadrature(values, np.full(len(values), 1 / len(values))), suffix, exact=True)
    sums = Sums(float(values.sum()), float(np.square(values).sum()), np.zeros(2), np.zeros(2))
    metrics = _ends(float(values[0]), float(values[-1]), source, suffix, words)
    metrics |= _shape(sums, float(values[-1]), len(values), source, suffix, words)
    if values.any():
        share = float(-values[values < 0].sum() / np.abs(values).sum())
        title = f"Share of negative curvature{words}"
        metrics[f"spectrum_negative{suffix}"] = Metric(share, direction="lower", source=source, title=title)
    return metrics


def _sampled(
    problem: Problem, matrix: Symmetric, config: LandscapeConfig, rng: np.random.Generator, suffix: str, words: str,
    tick: Callable[[float], None],
) -> dict[str, Metric]:  # fmt: skip
    """Measure a block by a Krylov space and probes."""
    space = krylov_space(matrix, rng.standard_normal(matrix.size), KRYLOV, ends_known)
    values, _, residuals = space.ritz()
    source = f"Lanczos, {len(values)} products, residuals {residuals[0]:.1e} and {residuals[-1]:.1e}, {len(problem.x)} samples"
    metrics = _ends(float(values[0]), float(values[-1]), source, suffix, words)
    if space.rest == 0.0 and not values.any():
        return metrics

    def count(probes: int) -> None:
        tick(probes / config.probes)

    sums, quadrature = probe_rest(matrix, space, STEPS, config.probes, config.relative_error, rng, count)
    _record(problem, quadrature, suffix, exact=False)
    probes = "" if len(values) == matrix.size else f" {len(sums.traces)} Rademacher probes of up to {STEPS} products,"
    source = f"Lanczos space of {len(values)},{probes} {len(problem.x)} samples"
    return metrics | _shape(sums, float(values[-1]), matrix.size, source, suffix, words)


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure the ids above of all parameters, and with ``_chip`` of those on chip; intervals over probes (jackknife).

    Probes are drawn until the standard error of the effective rank is `config.relative_error` of it, or there are `config.probes`.
    """
    metrics: dict[str, Metric] = {}
    progress(0.0, TITLE)
    whole = HessianProduct(problem, tuple(problem.params))
    for i, (suffix, names) in enumerate(problem.blocks.items()):
        if suffix and len(names) == len(problem.params):
            metrics |= {name + suffix: metric for name, metric in metrics.items()}
            problem.records.update({k + suffix: v for k, v in problem.records.items() if k in RECORDS})
            continue

        def tick(done: float, at: float = i / 2) -> None:
            progress(at + done / 2, TITLE)

        matrix, words = whole.block(names), ", on chip" if suffix else ""
        if is_dense(matrix.size, problem.memory):
            metrics |= _all(problem, matrix, suffix, words, tick)
        else:
            metrics |= _sampled(problem, matrix, config, rng, suffix, words, tick)
    return metrics
