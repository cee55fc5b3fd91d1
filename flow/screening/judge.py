"""The figures of one target: predictions, how good they are, and what single scores say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from flow.core.metric import Metric
from flow.screening import figures
from flow.screening.features import Features
from flow.screening.regression import Floats, LeftOut, Samples, fit

SEED = 20_250_212
SCORED = slice(1, 1 + figures.SHUFFLES)
KEPT = slice(1 + figures.SHUFFLES, None)
"""Columns of the targets: first the measured one, then shuffles of it, then shuffles of what the baseline does not explain."""


@dataclass(frozen=True)
class Known:
    """The points that were measured.

    Attributes:
        rows: of the features, (n,).
        samples: with the measured target and its shuffles.
        metric: one of the measured ones, for its words.
    """

    rows: figures.Rows
    samples: Samples
    metric: Metric


def _known(features: Features, target: str, rng: np.random.Generator) -> Known:
    found: Mapping[int, Metric] = {
        i: c.full.metrics[target] for i, c in enumerate(features.candidates) if c.full is not None and target in c.full.metrics
    }
    rows = np.array(list(found), np.intp)
    base, scores, groups = features.base[rows], features.scores[rows], features.groups[rows]
    y = np.array([metric.value for metric in found.values()])
    explained = fit(Samples(base, scores, y[:, None], groups), (0.0,)).predict(base, scores)[:, 0]
    free, kept = (figures.shuffles(groups, rng) for _ in range(2))
    columns = np.concatenate([y[:, None], y[free], explained[:, None] + (y - explained)[kept]], axis=1)
    return Known(rows, Samples(base, scores, columns, groups), next(iter(found.values())))


def _number(value: float) -> float | None:
    """Return a number, or None for one that JSON has no word for."""
    return float(value) if math.isfinite(value) else None


def _gain(ours: Floats, base: Floats) -> Floats:
    """Return by how much a rank correlation beats that of the baseline; one below 0, and one that does not exist, counts as 0."""
    return np.asarray(np.nan_to_num(ours) - np.maximum(np.nan_to_num(base), 0))


def _quality(known: Known, ours: Floats, base: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Return the figures of the ranks (n, t) by the regression and by the baseline."""
    y, groups = known.samples.y, known.samples.groups

    def compute(rows: figures.Rows) -> Floats:
        pair = figures.spearman(np.stack([ours[rows, 0], base[rows, 0]], axis=1), y[rows, :1])
        recalls = [figures.recall(ranks[rows, 0], y[rows, 0]) for ranks in (ours, base)]
        return np.array([*pair, _gain(pair[0], pair[1]), *recalls])

    values, draws = compute(np.arange(len(y))), figures.bootstrap(compute, groups, rng)
    null, null_base = figures.spearman(ours, y), figures.spearman(base, y)
    gains = np.asarray(_gain(null, null_base))
    intervals = figures.percentiles(draws)
    return {
        "measured": len(y),
        "spearman": _number(values[0]),
        "spearman_ci": figures.widened(values[0], intervals[0], null[SCORED], correlation=True),
        "gain": _number(values[2]),
        "gain_ci": figures.widened(values[2], intervals[2], gains[KEPT]),
        "recall": float(values[3]),
        "recall_ci": intervals[3],
        "recall_random": figures.quarter(len(y)) / len(y),
        "baseline": {
            "spearman": _number(values[1]),
            "spearman_ci": figures.widened(values[1], intervals[1], null_base[SCORED], correlation=True),
            "recall": float(values[4]),
            "recall_ci": intervals[4],
        },
    }


def _metrics(features: Features, known: Known, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return what each landscape score says by itself, the strongest first."""
    y, samples = known.samples.y[:, 0], known.samples
    every = np.arange(len(y))

    def compute(rows: figures.Rows) -> Floats:
        return figures.partial(samples.scores[rows], y[rows], samples.base[rows])

    values, intervals = compute(every), figures.percentiles(figures.bootstrap(compute, samples.groups, rng))
    plain = figures.spearman(samples.scores, y[:, None])
    centred = rankdata(samples.base, axis=0) - (len(y) + 1) / 2
    freedom = len(y) - int(np.linalg.matrix_rank(centred))
    order = np.argsort(-np.nan_to_num(np.abs(values)), kind="stable")
    return [
        {
            "id": features.score_ids[i],
            "title": features.titles[features.score_ids[i]],
            "partial": _number(values[i]),
            "ci": figures.partial_interval(values[i], intervals[i], freedom),
            "plain": _number(plain[i]),
        }
        for i in order
    ]


def _points(features: Features, known: Known, regressions: LeftOut, predicted: Floats) -> tuple[list[dict[str, Any]], float | None]:
    """Predict all points, those that were measured by regressions that did not see their configuration; return the coverage as well."""
    middle, ends = np.empty(len(features.groups)), np.empty((len(features.groups), 2))
    measured = dict(zip(known.rows.tolist(), known.samples.y[:, 0].tolist(), strict=True))
    middle[known.rows] = predicted
    for group in np.unique(features.groups):
        rows = np.flatnonzero(features.groups == group)
        new = np.array([row for row in rows if row not in measured], np.intp)
        seen = (int(group),) if group in known.samples.groups else ()
        if len(new):
            middle[new] = regressions.model(*seen).predict(features.base[new], features.scores[new])[:, 0]
        ends[rows] = regressions.intervals(features.base[rows], features.scores[rows], *seen)
    rows = known.rows
    inside = (ends[rows, 0] <= known.samples.y[:, 0]) & (known.samples.y[:, 0] <= ends[rows, 1])
    points = [
        {
            "name": features.candidates[i].point.name,
            "configuration": int(features.groups[i]),
            "predicted": float(middle[i]),
            "low": _number(ends[i, 0]),
            "high": _number(ends[i, 1]),
            "measured": measured.get(int(i)),
        }
        for i in np.argsort(middle, kind="stable")
    ]
    return points, float(inside.mean()) if np.isfinite(ends[rows]).all() else None


def judge(features: Features, target: str) -> dict[str, Any]:
    """Return the document of a target; see `flow.screening`."""
    rng = np.random.default_rng([SEED, len(features.groups)])
    known = _known(features, target, rng)
    ours, base = LeftOut(known.samples), LeftOut(known.samples, (0.0,))
    quality = _quality(known, ours.standings(), base.standings(), rng)
    predicted, plain = (regressions.predictions()[:, 0] for regressions in (ours, base))
    points, coverage = _points(features, known, ours, predicted)
    y = known.samples.y[:, 0]
    rmse, plain_rmse = (float(np.square(p - y).mean() ** 0.5) for p in (predicted, plain))
    return {
        "title": known.metric.title or target,
        "unit": known.metric.unit,
        **quality,
        "baseline": {**quality["baseline"], "rmse": plain_rmse},
        "rmse": rmse,
        "coverage": coverage,
        "points": points,
        "metrics": _metrics(features, known, rng),
    }
