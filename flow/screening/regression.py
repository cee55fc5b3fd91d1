"""Ridge regression with everything chosen inside the training data, and prediction intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]
Rows = NDArray[np.bool_]

LEVEL = 0.8
"""Of prediction intervals: with few configurations no regression can vouch for more."""
PENALTIES = 10.0 ** np.arange(2, -4, -1)
"""Of the squared coefficients of standardised features, relative to the number of samples; the strongest first."""
SHARES = (0.0, 0.01, 0.1, 1.0)
"""The penalty of a baseline feature over that of a landscape score; 0 leaves the scores out."""
FARTHEST = 4.0


@dataclass(frozen=True)
class Samples:
    """What is known about n points.

    Attributes:
        base: bit widths and task score, (n, b).
        scores: landscape scores, (n, m).
        y: what is predicted, (n, t): t targets, each by a regression of its own.
        groups: the configuration of each point, (n,).
    """

    base: Floats
    scores: Floats
    y: Floats
    groups: Groups

    def subset(self, rows: Rows) -> "Samples":
        """Return some of the points."""
        return Samples(self.base[rows], self.scores[rows], self.y[rows], self.groups[rows])


@dataclass(frozen=True)
class Scaling:
    """``asinh(x / unit)``, which is a logarithm with a sign for all but the smallest values, then standardised.

    Attributes:
        unit: the 10 % quantile of the sizes in the training data, (p,).
        mean: after asinh, (p,).
        width: standard deviation after asinh, (p,); infinite for a constant feature.
    """

    unit: Floats
    mean: Floats
    width: Floats

    @classmethod
    def of(cls, x: Floats) -> "Scaling":
        """Choose it for features (n, p)."""
        sizes = np.where((x == 0).all(axis=0), 1.0, np.where(x == 0, np.nan, np.abs(x)))
        unit = np.nanquantile(sizes, 0.1, axis=0) if x.size else np.ones(x.shape[1])
        z = np.arcsinh(x / unit)
        width = z.std(axis=0)
        return cls(unit, z.mean(axis=0), np.where(width > 1e-9 * (1 + np.abs(z).max(axis=0, initial=0.0)), width, np.inf))

    def __call__(self, x: Floats) -> Floats:
        """Scale features (k, p); one that is farther out than any sensible one is taken back, so that it cannot decide alone."""
        return np.asarray(np.clip((np.arcsinh(x / self.unit) - self.mean) / self.width, -FARTHEST, FARTHEST))


@dataclass(frozen=True)
class Model:
    """Fitted regressions for t targets.

    Attributes:
        scalings: of the two kinds of features.
        coefficients: of the scaled features, (b + m, t).
        mean: of the targets it saw, (t,).
        shares: of `SHARES`, (t,); 0: it does not look at the landscape.
    """

    scalings: tuple[Scaling, Scaling]
    coefficients: Floats
    mean: Floats
    shares: Floats

    def predict(self, base: Floats, scores: Floats) -> Floats:
        """Predict targets (k, t) from features (k, b) and (k, m)."""
        x = np.concatenate([scale(part) for scale, part in zip(self.scalings, (base, scores), strict=True)], axis=1)
        return np.asarray(self.mean + x @ self.coefficients)


def left_out_errors(u: Floats, shrink: Floats, y: Floats, groups: Groups) -> Floats:
    """Return the errors of ridge regressions, each sample predicted without any of its group, without fitting them anew.

    With the hat matrix H of a regression and its residuals r, those of the samples of a group that is left out are
    ``(I - H_gg)^-1 r_g`` (Cook and Weisberg, Residuals and Influence in Regression, 1982; ridge is least squares with rows added).

    Args:
        u: left singular vectors (n, k) of the centred features.
        shrink: ``d^2 / (d^2 + penalty)`` of each singular value for each of a penalties, (a, k).
        y: targets (n, t).
        groups: (n,).

    Returns:
        (a, n, t).
    """
    centred, weighted = y - y.mean(axis=0), u * shrink[:, None]
    errors: Floats = centred - weighted @ (u.T @ centred)
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for size in {len(mine) for mine in rows}:  # all groups of one size at once
        same = np.stack([mine for mine in rows if len(mine) == size])
        hat = 1 / len(y) + weighted[:, same] @ u[same].swapaxes(1, 2)
        errors[:, same] = np.linalg.solve(np.eye(size) - hat, errors[:, same])
    return errors


def fit(samples: Samples, shares: tuple[float, ...] = SHARES) -> Model:
    """Fit ridge regressions whose two penalties make the smallest leave-one-configuration-out error on the samples themselves.

    Args:
        samples: at least two configurations.
        shares: `SHARES`, or ``(0.0,)`` for the baseline.
    """
    scalings = Scaling.of(samples.base), Scaling.of(samples.scores)
    parts = [scale(part) for scale, part in zip(scalings, (samples.base, samples.scores), strict=True)]
    counts, mean, penalties = [part.shape[1] for part in parts], samples.y.mean(axis=0), len(samples.y) * PENALTIES
    best, chosen, coefficients = np.full(len(mean), np.inf), np.zeros(len(mean)), np.zeros((sum(counts), len(mean)))
    for share in shares:
        weights = np.repeat([1.0, share**0.5], counts)
        x = np.concatenate(parts, axis=1) * weights
        u, d, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        errors = left_out_errors(u, d**2 / (d**2 + penalties[:, None]), samples.y, samples.groups)
        squares = np.square(errors).mean(axis=1)
        least = squares.argmin(axis=0)
        better = squares.min(axis=0) < best * (1 - 1e-9)
        inner = (d[:, None] / (d[:, None] ** 2 + penalties[least])) * (u.T @ (samples.y - mean))
        coefficients = np.where(better, weights[:, None] * (vt.T @ inner), coefficients)
        best, chosen = np.where(better, squares.min(axis=0), best), np.where(better, share, chosen)
    return Model(scalings, coefficients, mean, chosen)


def _upper(values: Floats, weights: Floats, level: float) -> float:
    """Return the smallest value with at least `level` of the weight at or below it; infinity if there is not so much weight."""
    order = np.argsort(values)
    reached = np.flatnonzero(np.cumsum(weights[order]) >= level - 1e-12)
    return float(values[order[reached[0]]]) if len(reached) else np.inf


class LeftOut:
    """Regressions on samples without some of their configurations; each is fitted once."""

    def __init__(self, samples: Samples, shares: tuple[float, ...] = SHARES) -> None:
        """Take samples of at least four configurations."""
        self.samples, self.shares = samples, shares
        self.groups = [int(group) for group in np.unique(samples.groups)]
        self._models: dict[frozenset[int], Model] = {}

    def model(self, *without: int) -> Model:
        """Return the regressions that saw no point of some configurations."""
        key = frozenset(without)
        if key not in self._models:
            self._models[key] = fit(self.samples.subset(~np.isin(self.samples.groups, without)), self.shares)
        return self._models[key]

    def _predict(self, rows: Rows, *without: int) -> Floats:
        return self.model(*without).predict(self.samples.base[rows], self.samples.scores[rows])

    def predictions(self) -> Floats:
        """Predict every point (n, t) by the regression that saw no point of its configuration."""
        found = np.empty_like(self.samples.y)
        for group in self.groups:
            mine = self.samples.groups == group
            found[mine] = self._predict(mine, group)
        return found

    def standings(self) -> Floats:
        """Rank the points among each other: the share of points (n, t) that each is predicted to be above, ties half.

        A tournament: two points are compared by the regression that saw neither's configuration (Montoya Perez et al., Stat. Methods
        Med. Res. 28, 2019). Ranks of `predictions` would be biased: each of these contains the mean of all but one configuration, which
        is the lower the higher that one is, so noise would get a strong negative rank correlation.
        """
        wins = np.zeros_like(self.samples.y)
        for i, first in enumerate(self.groups):
            for second in self.groups[i:]:
                a, b = (self.samples.groups == group for group in (first, second))
                above = (np.sign(self._predict(a, first, second)[:, None] - self._predict(b, first, second)) + 1) / 2
                wins[a] += above.sum(axis=1)
                if first != second:
                    wins[b] += (1 - above).sum(axis=0)
        return (wins - 0.5) / max(1, len(wins) - 1)

    def intervals(self, base: Floats, scores: Floats, *without: int, level: float = LEVEL) -> Floats:
        """Return prediction intervals (k, 2) of the first target for points (k, b), (k, m).

        CV+ (Barber, Candes, Ramdas, Tibshirani, Ann. Stat. 49, 2021), the folds being the configurations, each of which counts once
        however many seeds it has (Lee, Barber, Willett, arXiv:2306.06342). Its coverage is about `level` for a new configuration of the
        same kind, and at least ``2 level - 1``. Infinite when there are fewer than ``level / (1 - level)`` configurations.

        Args:
            base: bit widths and task score.
            scores: landscape scores.
            without: the configuration of the points, if it is one of the samples'.
            level: of the interval.
        """
        low, high, weights = [], [], []
        others = [group for group in self.groups if group not in without]
        for group in others:
            mine = self.samples.groups == group
            errors = np.abs(self.samples.y[mine, 0] - self._predict(mine, group, *without)[:, 0])
            middle = self.model(group, *without).predict(base, scores)[:, 0]
            low.append(errors[:, None] - middle)
            high.append(errors[:, None] + middle)
            weights.append(np.full(len(errors), 1 / len(errors) / (len(others) + 1)))
        weight = np.concatenate(weights)
        ends = [[_upper(column, weight, level) for column in np.concatenate(side).T] for side in (low, high)]
        return np.stack([-np.array(ends[0]), np.array(ends[1])], axis=1)
