"""Claims on regularizers: that they help or hurt (Q4), orthogonality (Q5), Jacobian regularization (Q6)."""

from dataclasses import replace

import numpy as np

from flow.reporting.claims.bootstrap import effect, mean, mean_ratio
from flow.reporting.claims.curvature import CURVATURES
from flow.reporting.claims.frame import Frame, Pairs
from flow.reporting.claims.judge import Judgement, Part
from flow.reporting.numbers import listing

SAME_RATIO = (0.9, 1 / 0.9)
SAME = 10.0
"""Percent of the degradation without a regularizer, in which a change is as good as none."""
BARRIERS = ("mode_connectivity_linear", "mode_connectivity_aligned", "mode_connectivity_curve")
FEW = "fewer than three configurations with {} have a partner without"


def _change(pairs: Pairs, name: str, words: str, threshold: float = 0.0) -> Part:
    """Return the change of a degradation or barrier by a regularizer, in percent of what it is without; the claim is that it falls.

    With a `threshold` the claim is that it does not fall below this.
    """
    few = FEW.format(words.partition(":")[0])
    both = pairs.having(name)
    if not both.with_it:
        return Part(words, None, note=f"no pair of points has {name}")
    after, before = (np.abs(v) if name in BARRIERS else v for v in both.values(name))
    base = abs(float(before.mean()))
    if base == 0:
        return Part(words, None, note=f"{name} is zero without the regularizer")
    found = effect(mean(100 * (after - before) / base), both.labels(), threshold=threshold)
    if threshold:
        return Part(words, found, "above", threshold, unit="%", note=few)
    return Part(words, found, "below", margin=(-SAME, SAME), unit="%", note=few)


def _ratio(pairs: Pairs, name: str, words: str) -> Part:
    both = pairs.having(name)
    after, before = both.values(name)
    if not len(after):
        return Part(words, None, threshold=1.0, note=f"no pair of points has {name}")
    if not ((after > 0).all() and (before > 0).all()):
        return Part(words, None, threshold=1.0, note=f"{name} is not positive everywhere, so it has no ratio")
    found = effect(mean_ratio(after, before), both.labels(), "ratio", 1.0)
    return Part(words, found, "below", 1.0, SAME_RATIO, unit="×", note=FEW.format(words.partition(":")[0]))


def _absent(frame: Frame, name: str) -> str:
    known = listing(frame.regularizers) or "none"
    return f"no point with {name} alone has a partner without at the same settings and seed (regularizers of the study: {known})"


def q4(frame: Frame) -> Judgement:
    """Tell the sign of what each regularizer does; one study cannot say whether it depends on the model."""
    parts: list[Part] = []
    for name in frame.regularizers:
        pairs = frame.pairs(name)
        for worse in (*frame.noise.values(), *frame.flips.values()) if pairs.with_it else ():
            parts.append(replace(_change(pairs, worse, f"{name}: {frame.short(worse)}"), decides=False))
    check = "Change of the degradation by each regularizer, in percent of that without; signs are those of 95 % intervals."
    claim = "A regularizer can help or hurt, depending on the model."
    if not any(part.effect for part in parts):
        note = parts[0].note if parts else _absent(frame, "one regularizer")
        return Judgement("Q4", claim, check, [*parts, Part("change by a regularizer", None, note=note)])
    words = "in this study " + "; ".join(_signs(parts, name) for name in frame.regularizers)
    reason = "the study has one model; whether a sign depends on the model takes two: compare this section with the report of another"
    return Judgement("Q4", claim, check, parts, words=words, open=reason)


def _signs(parts: list[Part], name: str) -> str:
    found = [p.effect for p in parts if p.effect is not None and p.words.startswith(f"{name}:")]
    helps, hurts = sum(e.high < 0 for e in found), sum(e.low > 0 for e in found)
    return f"{name} helps under {helps} and hurts under {hurts} of {len(found)} perturbations"


def _barrier(frame: Frame, pairs: Pairs, name: str) -> Part:
    known = next((b for b in BARRIERS if pairs.having(b).with_it), None)
    if known is None:
        return Part(f"{name}: loss barrier between seeds", None, note="no barrier between seeds was measured (stage compare)")
    return _change(pairs, known, f"{name}: {frame.title(known)}")


def q5(frame: Frame) -> Judgement:
    """Judge that orthogonality flattens the landscape and makes robust to noise."""
    name = "orthogonality"
    claim = "Orthogonality regularization lowers Hessian trace, top eigenvalue, the barrier between seeds and the degradation by noise."
    check = (
        "Ratio of each curvature with and without, geometric mean over pairs; change of the barrier and of the degradation by each "
        f"input noise at its middle level, in percent of that without. A ratio of {SAME_RATIO[0]:g} to {SAME_RATIO[1]:.2f}, or {SAME:g} %, "
        "is as good as none."
    )  # fmt: skip
    pairs = frame.pairs(name)
    if not pairs.with_it:
        return Judgement("Q5", claim, check, [Part(name, None, note=_absent(frame, name))])
    parts = [_ratio(pairs, c, f"{name}: {frame.title(c)}" if frame.having(c) else c) for c in CURVATURES]
    parts += [_barrier(frame, pairs, name)]
    parts += [_change(pairs, worse, f"{name}: {frame.short(worse)}") for worse in frame.noise.values()]
    if not frame.noise:
        parts.append(Part("noise", None, note="no point has a degradation by input noise"))
    return Judgement("Q5", claim, check, parts)


def q6(frame: Frame) -> Judgement:
    """Judge that Jacobian regularization makes robust to noise but not to flips of weights."""
    name = "jacobian"
    claim = "Jacobian regularization makes a network robust to input noise, not to flips of weight bits."
    check = (
        "Change of the degradation with it, in percent of that without. Noise: it must fall. Flips: it must not fall by more than "
        f"{SAME:g} %, so the threshold is −{SAME:g} % and the claimed side is above it. The Hessian trace is shown."
    )
    pairs = frame.pairs(name)
    if not pairs.with_it:
        return Judgement("Q6", claim, check, [Part(name, None, note=_absent(frame, name))])
    parts = [_change(pairs, worse, f"{name}: {frame.short(worse)}") for worse in frame.noise.values()]
    parts = parts or [Part("noise", None, note="no point has a degradation by input noise")]
    for worse in frame.flips.values():
        parts.append(_change(pairs, worse, f"{name}: {frame.short(worse)}", -SAME))
    if not frame.flips:
        parts.append(Part("flips", None, note="no point has a degradation by bit flips"))
    if pairs.having(CURVATURES[0]).with_it:
        parts.append(replace(_ratio(pairs, CURVATURES[0], f"{name}: {frame.title(CURVATURES[0])}"), decides=False))
    return Judgement("Q6", claim, check, parts)
