"""Claims on perturbations: precision (Q3), where noise breaks a network (Q9), ranked flips (Q10)."""

import json
import re

import numpy as np

from flow.reporting.claims.bootstrap import effect, mean, weights
from flow.reporting.claims.curvature import labels
from flow.reporting.claims.frame import HARDWARE, Frame, Vector, column
from flow.reporting.claims.judge import Judgement, Part
from flow.reporting.numbers import significant
from flow.reporting.perturbation import RANKED
from flow.reporting.result import PointResult

MILD = 20.0
"""Percent of noise up to which degradation is said to be mild."""
FAR_MORE = 2.0


def _series(frame: Frame, worse: str) -> tuple[list[int], Vector, list[str]]:
    """Return the widths, perturbed scores (series, widths), larger is worse, and a label of each series: all but the width the same."""
    by_series: dict[str, dict[int, PointResult]] = {}
    for point in frame.having(frame.task, worse, bits=True):
        network = {k: v for k, v in point.config.get("network", {}).items() if k != "weight_bits"}
        others = {k: v for k, v in point.config.items() if k not in ("name", "network", *HARDWARE)}
        by_series.setdefault(json.dumps([others, network], sort_keys=True), {})[point.weight_bits or 0] = point
    widths = sorted({bits for found in by_series.values() for bits in found})
    whole = {label: found for label, found in sorted(by_series.items()) if len(found) == len(widths)}
    values = [[frame.sign * found[b].metrics[frame.task].value + found[b].metrics[worse].value for b in widths] for found in whole.values()]
    return widths, np.array(values).reshape(len(whole), len(widths)), list(whole)


def _precision(frame: Frame, worse: str) -> tuple[Part, str]:
    widths, scores, series = _series(frame, worse)
    words = f"{frame.short(worse)}: {widths[-1] if widths else '?'} bits are worse than the best narrower width by"
    if len(widths) < 3:
        return Part(words, None, note="it needs three weight widths or more"), ""
    if len(series) < 2:
        return Part(words, None, note="too few series of points that differ in the weight bits only"), ""
    # The best narrower width is chosen on the other series: chosen on the same ones, chance alone would make it look better.
    others = (scores.sum(axis=0) - scores) / (len(scores) - 1)
    best = others[:, :-1].argmin(axis=1)
    excess = scores[:, -1] - scores[np.arange(len(scores)), best]
    draws = (weights(series) @ scores).argmin(axis=1)
    inside = float(np.mean((draws > 0) & (draws < len(widths) - 1)))
    least = widths[int(scores.mean(axis=0).argmin())]
    found = effect(mean(excess), series)
    fact = f"under {frame.short(worse)} the mean score is best at {least} bits (an inner width in {100 * inside:.0f} % of draws)"
    return Part(words, found, unit=frame.unit(worse), note="fewer than three such series"), fact


def q3(frame: Frame) -> Judgement:
    """Judge that more precision is not always more robust."""
    found = [_precision(frame, worse) for worse in (*frame.noise.values(), *frame.flips.values())]
    parts = [part for part, _ in found] or [Part("perturbed score", None, note="no point has a degradation")]
    check = (
        "Score under each perturbation at its middle level, by weight bits, averaged over series that differ in the bits only (these are "
        "what is counted): the widest against the best narrower width, which is chosen on the other series."
    )  # fmt: skip
    facts = "; ".join(fact for _, fact in found if fact)
    return Judgement("Q3", "More precision is not always more robust.", check, parts, "any", facts)


def _ends(frame: Frame, ids: list[str]) -> tuple[str, str] | None:
    below = [i for i in ids if frame.level(i) <= MILD]
    above = [i for i in ids if frame.level(i) > MILD]
    return (below[-1], above[0]) if below and above and frame.level(below[-1]) >= 0.75 * MILD else None


def _share_lost(frame: Frame, worse: str) -> str:
    points = frame.having(worse, frame.task, f"{frame.task}_trivial")
    gain = np.array([abs(p.metrics[f"{frame.task}_trivial"].value - p.metrics[frame.task].value) for p in points])
    if not len(points) or not (gain > 0).all():
        return ""
    lost = 100 * float(np.mean(column(points, worse) / gain))
    return f"{frame.short(worse)} costs {lost:.0f} % of the advantage over the trivial predictor"


def _bend(frame: Frame, kind: str) -> tuple[Part, list[str]]:
    ends = _ends(frame, frame.kinds[kind])
    if ends is None:
        return Part(kind, None, note=f"{kind}: no level near {MILD:g} % and one beyond it"), []
    low, high = ends
    points, at, beyond = frame.having(low, high), frame.level(low), frame.level(high)
    noise = re.sub(r" [\d.]+ %$", "", frame.short(low))
    before = column(points, low) / at
    after = (column(points, high) - column(points, low)) / (beyond - at)
    size = 0.1 * abs(float(before.mean()))
    words = f"{noise}: degradation per % of noise, from {at:g} to {beyond:g} % less that up to {at:g} %"
    found = effect(mean(after - before), labels(points))
    steep = [f"{noise}: {significant(float(after.mean() / before.mean()), 3)} times as steep beyond {at:g} %"] if before.mean() > 0 else []
    facts = [*steep, *(text for text in (_share_lost(frame, low), _share_lost(frame, high)) if text)]
    return Part(words, found, margin=(-size, size), unit=f"{frame.unit(low)} per %".strip(), note="too few configurations"), facts


def q9(frame: Frame) -> Judgement:
    """Judge that degradation is mild below 20 % of noise and severe beyond."""
    found = [_bend(frame, kind) for kind in frame.noise]
    parts = [part for part, _ in found] or [Part("input noise", None, note="no point has a degradation by input noise")]
    check = (
        f"Mean degradation per percent of noise between {MILD:g} % and the next level, less that from 0 to {MILD:g} %: positive where the "
        "curve bends upwards. A tenth of the latter is as good as none."
    )
    claim = f"Below about {MILD:g} % of noise degradation is mild; beyond it the model breaks."
    return Judgement("Q9", claim, check, parts, words="; ".join(fact for _, facts in found for fact in facts))


def _ranked(frame: Frame, kind: str, ranking: str) -> tuple[list[Part], list[str]]:
    parts, facts = [], []
    pairs = [(i, f"{frame.task}_flip_{significant(frame.level(i))}") for i in frame.kinds[kind]]
    pairs = [(ranked, random) for ranked, random in pairs if frame.having(ranked, random)]
    for place, (ranked, random) in enumerate(pairs):
        points = frame.having(ranked, random)
        a, b = column(points, ranked), column(points, random)
        count, decides = significant(frame.level(ranked)), place == len(pairs) // 2
        words = f"{count} flip{'s' * (count != '1')} ranked by {ranking}, less {FAR_MORE:g} times as many random ones"
        found = effect(mean(a - FAR_MORE * b), labels(points))
        parts.append(Part(words, found, unit=frame.unit(ranked), decides=decides, note="too few configurations"))
        if decides and b.mean() > 0:
            times = significant(float(a.mean() / b.mean()), 3)
            facts.append(f"{count} flips ranked by {ranking} do {times} times as much as random ones on average")
    return parts, facts


def q10(frame: Frame) -> Judgement:
    """Judge that ranked flips hurt far more than random ones."""
    check = (
        f"Degradation by the first n bits of a ranking, less {FAR_MORE:g} times that by n random bits, point by point: far more is more "
        f"than {FAR_MORE:g} times as much. The middle n decides for every ranking; the others are shown."
    )
    start = f"{RANKED}flip_"
    found = [_ranked(frame, kind, kind.removeprefix(start)) for kind in frame.kinds if kind.startswith(start)]
    parts = [part for some, _ in found for part in some]
    parts = parts or [Part("ranked flips", None, note="no point has ranked flips beside as many random ones (perturbation ranked_flip)")]
    facts = "; ".join(fact for _, some in found for fact in some)
    return Judgement("Q10", "Ranked bit flips hurt far more than random ones.", check, parts, words=facts)
