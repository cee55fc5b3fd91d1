"""Claims on choosing designs: a-priori ranking (Q11), and robustness as an objective (Q12)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from flow.reporting.catalog import COSTS
from flow.reporting.claims.bootstrap import Effect, Matrix, effect, rounded
from flow.reporting.claims.curvature import labels
from flow.reporting.claims.frame import Frame, column
from flow.reporting.claims.judge import Judgement, Part
from flow.reporting.numbers import half_width, significant
from flow.reporting.pareto import partition
from flow.reporting.result import PointResult

BUDGET = 0.1
LOST = 0.1
"""Share of the Pareto front that must be lost without robustness as an objective."""


def _read(value: float | None, ci: list[float] | None, points: int, clusters: int, rho: bool) -> Effect | None:
    """Return an effect that was computed elsewhere; the p-value is that of a normal distribution with the width of the interval."""
    if value is None or ci is None:
        return None
    scale = np.arctanh if rho else np.asarray
    low, middle, high = (float(scale(np.clip(v, -0.9999, 0.9999) if rho else v)) for v in (ci[0], value, ci[1]))
    error = (high - low) / (2 * stats.norm.ppf(0.975))
    p = float(2 * stats.norm.sf(abs(middle) / error)) if error > 0 else float(middle == 0)
    return Effect(rounded(value), rounded(ci[0]), rounded(ci[1]), rounded(p), points, clusters)


def q11(screen: Mapping[str, Any] | None) -> Judgement:
    """Judge that the landscape after a short training ranks designs by their robustness after the full one."""
    claim = "Landscape analysis is a priori: it ranks designs by robustness without the full training of each."
    check = (
        "hlscape screen: degradations after the full training, predicted from landscape scores after a short one for configurations "
        "that the regression did not see. Rank correlation of predicted with measured (±0.2 is as good as none), and its gain over bit "
        f"widths and clean score alone (±0.1), for each degradation, at no more than {100 * BUDGET:g} % of the cost of training."
    )  # fmt: skip
    if screen is None:
        return Judgement("Q11", claim, check, [Part("screening", None, note="there is no screening: run hlscape screen on the study")])
    parts, facts = [], []
    shares = [target.get("cost_share") for target in screen["targets"].values()]
    for name, target in sorted(screen["targets"].items()):
        title, n, groups = target.get("title") or name, int(target["measured"]), int(screen["configurations"])
        none = f"{title}: no correlation, the prediction or the degradation is constant, or there are too few points"
        found = _read(target["spearman"], target["spearman_ci"], n, groups, True)
        gain = _read(target["gain"], target["gain_ci"], n, groups, False)
        parts.append(Part(f"ρ of predicted with measured, {title}", found, margin=(-0.2, 0.2), note=none))
        parts.append(Part(f"gain of ρ over widths and clean score, {title}", gain, margin=(-0.1, 0.1), note=none))
        if target.get("recall") is not None:
            by_chance = target.get("recall_random")
            chance = "" if by_chance is None else f" ({100 * by_chance:.0f} % by chance)"
            facts.append(f"{title}: {100 * target['recall']:.0f} % of the most robust quarter found{chance}")
    known = [share for share in shares if share is not None]
    if known:
        facts.append(f"the short trainings cost {significant(100 * max(known), 3)} % of the full ones")
    costly = f"the short trainings cost more than {100 * BUDGET:g} % of the full ones" if known and max(known) > BUDGET else ""
    parts = parts or [Part("screening", None, note="screen.json has no target")]
    return Judgement("Q11", claim, check, parts, words="; ".join(facts), open=costly)


def _lost_share(frame: Frame, points: list[PointResult], cost: str, worse: str) -> Effect | None:
    score, price, fragile = frame.sign * column(points, frame.task), column(points, cost), column(points, worse)
    error = np.array([half_width(p.metrics[worse]) or 0.0 for p in points])
    no_worse = (score[:, None] <= score) & (price[:, None] <= price)
    beats = no_worse & ((score[:, None] < score) | (price[:, None] < price))
    # The dominated point is more robust beyond both intervals.
    sturdier = fragile[:, None] - fragile > np.hypot(error[:, None], error)
    certain = beats & ~sturdier

    def statistic(w: Matrix) -> Matrix:
        there = (w > 0).astype(np.float64)
        plain, with_robustness = (there * (there @ matrix.astype(np.float64) == 0) for matrix in (beats, certain))
        share: Matrix = 1 - plain.sum(axis=1) / with_robustness.sum(axis=1)
        return share

    found = effect(statistic, labels(points), threshold=LOST)
    return None if found is None else replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def q12(frame: Frame) -> Judgement:
    """Judge that a Pareto front without robustness misses designs."""
    claim = "Robustness belongs in the Pareto optimisation."
    check = (
        "Share of the Pareto-optimal points over (clean score, robustness, cost) that are not optimal over (clean score, cost), for each "
        "perturbation at its middle level. A point counts only if it is more robust, beyond both 95 % intervals, than every point that "
        f"beats it otherwise. Threshold: {LOST:g}."
    )  # fmt: skip
    parts: list[Part] = []
    words = ""
    for cost in COSTS:
        groups = partition({p.name: p.metrics for p in frame.points}, (cost, frame.task)).groups
        if groups and not parts:
            names, words = set(groups[0]), f"the cost is {frame.title(cost)}"
            for worse in (*frame.noise.values(), *frame.flips.values()):
                points = [p for p in frame.having(worse) if p.name in names]
                found = _lost_share(frame, points, cost, worse) if points else None
                parts.append(Part(f"share lost, {frame.short(worse)}", found, threshold=LOST, note="too few configurations"))
    if not parts:
        missing = "no point has a hardware cost" if not words else "no point has a degradation"
        parts, words = [Part("share lost", None, note=missing)], ""
    return Judgement("Q12", claim, check, parts, "any", words)
