"""Claims on the shape of the landscape: flatness and robustness (Q1), precision (Q2), similarity (Q7), connected minima (Q8)."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from flow.reporting.claims.bootstrap import Effect, Matrix, effect, mean, rank_correlation
from flow.reporting.claims.frame import Frame, column, configuration
from flow.reporting.claims.judge import Judgement, Part
from flow.reporting.numbers import listing, significant
from flow.reporting.result import PointResult

CURVATURES = ("hessian_trace", "top_eigenvalue")
WEAK = 0.2
"""A rank correlation that is smaller than this is as good as none."""
NOISE = re.compile(r"cka_noise_(\d+(?:\.\d+)?)")
LINE, ALIGNED, CURVE = (f"mode_connectivity_{path}" for path in ("linear", "aligned", "curve"))
TRAINED = re.compile(rf"{CURVE}_(\d+)")
EPOCHS = 30
SMALL = 5.0
"""Percent of the barrier of the straight line that are as good as none."""


def curvatures(frame: Frame) -> list[str]:
    """Return the main curvatures that some point has."""
    return [name for name in CURVATURES if frame.having(name)]


def labels(points: Sequence[PointResult]) -> list[str]:
    """Return the configuration of each point."""
    return [configuration(point) for point in points]


def mean_correlation(points: list[PointResult], scores: Sequence[str], worse: Sequence[str], given: Sequence[np.ndarray]) -> Effect | None:
    """Return the mean, over all pairs of a score and a degradation, of their rank correlation given other variables."""
    found = [rank_correlation(column(points, s), column(points, w), *given) for s in scores for w in worse]

    def statistic(w: Matrix) -> Matrix:
        average: Matrix = np.mean([one(w) for one in found], axis=0)
        return average

    return effect(statistic, labels(points), "rho")


def _flat(frame: Frame, where: str, ids: list[str]) -> list[Part]:
    scores = curvatures(frame)
    words = f"mean ρ with degradations by {where}"
    absent = "curvature (hessian_trace or top_eigenvalue)" if not scores else f"degradation by {where}" if not ids else ""
    if absent:
        return [Part(words, None, note=f"no point has a {absent}")]
    points = frame.having(*scores, *ids, frame.task, bits=True)
    bits = np.array([float(p.weight_bits or 0) for p in points])
    given = [bits, column(points, frame.task)]
    plain = mean_correlation(points, scores, ids, [])
    partial = mean_correlation(points, scores, ids, given)
    few = f"too few configurations have curvatures and degradations by {where} for a correlation"
    margin = (-WEAK, WEAK)
    return [
        Part(f"{words}, given weight bits and clean score", partial, margin=margin, note=few),
        Part(f"{words}, plain", plain, margin=margin, note=few, decides=False),
    ]


def q1(frame: Frame) -> Judgement:
    """Judge that flat landscapes go with robustness."""
    parts = [*_flat(frame, "input noise", list(frame.noise.values())), *_flat(frame, "bit flips", list(frame.flips.values()))]
    check = (
        "Spearman's ρ of each curvature (Hessian trace, top eigenvalue) with the degradation by each perturbation at its middle level, "
        f"averaged; what decides is what is left of it given weight bits and clean score. |ρ| below {WEAK:g} is as good as none."
    )  # fmt: skip
    return Judgement("Q1", "Flat landscapes go with robustness to input noise and to bit flips.", check, parts)


def q2(frame: Frame) -> Judgement:
    """Judge that curvature grows with precision."""
    parts = []
    for name in CURVATURES:
        points = frame.having(name, bits=True)
        widths = sorted({p.weight_bits or 0 for p in points})
        if len(widths) < 3:
            words = f"no point has {name}" if not points else "a trend needs three weight widths or more"
            parts.append(Part(name, None, note=words))
            continue
        statistic = rank_correlation(np.array([float(p.weight_bits or 0) for p in points]), column(points, name))
        title = f"ρ of weight bits with {frame.title(name)}"
        note = f"{name}: too few configurations for a correlation"
        parts.append(Part(title, effect(statistic, labels(points), "rho"), margin=(-WEAK, WEAK), note=note))
    check = f"Spearman's ρ of the weight bits with each curvature, over all regularizers; |ρ| below {WEAK:g} is as good as none."
    return Judgement("Q2", "Curvature grows with precision.", check, parts)


def q7(frame: Frame) -> Judgement:
    """Judge that the similarity of clean and noisy activations falls with the noise."""
    found = {float(m[1]): name for p in frame.points for name in p.metrics if (m := NOISE.fullmatch(name))}
    levels = [found[level] for level in sorted(found)]
    parts, words = [], ""
    if len(levels) < 2:
        parts = [Part("CKA", None, note="no CKA under two levels of input noise (cka_noise_<percent>)")]
    for lower, higher in pairwise(levels):
        points = frame.having(lower, higher)
        fall = effect(mean(column(points, lower) - column(points, higher)), labels(points)) if points else None
        percent = [lower.rpartition("_")[2], higher.rpartition("_")[2]]
        parts.append(Part(f"fall of CKA from {percent[0]} % to {percent[1]} % noise", fall, margin=(-0.01, 0.01), note="too few points"))
    if levels and (between := frame.having("cka_seeds")):
        words = f"between seeds without noise the mean CKA is {significant(float(column(between, 'cka_seeds').mean()), 3)}"
    check = (
        "Mean fall of the CKA of a network on clean and noisy inputs between neighbouring levels of noise; below 0.01 is as good as none."
    )
    return Judgement("Q7", "The similarity (CKA) of what a network computes falls as input noise grows.", check, parts, words=words)


def _by_epochs(frame: Frame) -> dict[int, str]:
    """Return the ids of the barrier on the curve by the epochs of its training."""
    found = {int(m[1]): name for p in frame.points for name in p.metrics if (m := TRAINED.fullmatch(name))}
    full = {p.config.get("landscape", {}).get("connectivity_epochs") for p in frame.having(CURVE)}
    return {**found, **({int(full.pop()): CURVE} if len(full) == 1 and None not in full else {})}


def _gain(frame: Frame, before: str, after: str, words: str, decides: bool = False, share: float = 1.0) -> Part:
    """Return ``share`` times one barrier less another, in percent of the barrier of the straight line."""
    points = frame.having(LINE, before, after)
    if not points:
        return Part(words, None, decides=decides, note=f"no point has {before} and {after}")
    whole = float(column(points, LINE).mean())
    if whole <= 0:
        return Part(words, None, decides=decides, note="the straight line has no barrier, so nothing is to be connected")
    found = effect(mean(100 * (share * column(points, before) - column(points, after)) / whole), labels(points))
    margin = (-SMALL, SMALL) if share == 1.0 else None  # what is left against a tenth has no "as good as none"
    return Part(words, found, margin=margin, unit="%", decides=decides, note="fewer than three configurations with two seeds")


def q8(frame: Frame) -> Judgement:
    """Judge that a connecting curve needs about 30 epochs of training, and that these are enough."""
    claim = f"Mode connectivity needs about {EPOCHS} epochs of training of the curve."
    check = (
        "Loss barriers between seeds, in percent of that of the straight line. Fewer epochs are not enough: the barrier falls from the "
        f"largest number of epochs below {EPOCHS} to {EPOCHS} (less than {SMALL:g} % is as good as none). And {EPOCHS} are enough: less "
        "than a tenth of the barrier of the straight line is left."
    )
    steps = _by_epochs(frame)
    context = (
        [_gain(frame, LINE, ALIGNED, "barrier of the straight line that aligned channels remove")] if frame.having(LINE, ALIGNED) else []
    )
    shorter = [n for n in steps if n < EPOCHS]
    if EPOCHS not in steps or not shorter:
        known = f"the barrier after {listing(map(str, sorted(steps)))} epochs only" if steps else "no barrier on a curve between seeds"
        return Judgement("Q8", claim, check, [*context, Part("barrier by epochs", None, note=f"the study has {known}")])
    context += [_gain(frame, steps[a], steps[b], f"barrier that falls from {a} to {b} epochs") for a, b in pairwise(sorted(shorter))]
    last = max(shorter)
    falls = _gain(frame, steps[last], steps[EPOCHS], f"barrier that falls from {last} to {EPOCHS} epochs", decides=True)
    enough = _gain(frame, LINE, steps[EPOCHS], f"a tenth of the straight line, less what is left after {EPOCHS} epochs", True, 0.1)
    return Judgement("Q8", claim, check, [*context, falls, enough])
