"""The rules that say of an effect, and of a claim made of effects, whether it holds. They are fixed before any study is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flow.reporting.claims.bootstrap import Effect
from flow.reporting.correlation import holm
from flow.reporting.numbers import listing, significant

Verdict = Literal["holds", "does not hold", "undecided", "not judged"]
EQUIVALENT = "as good as none"
RULES = (
    "An effect holds when its 95 % interval lies wholly on the claimed side of the threshold (zero, unless another is stated). It does "
    "not hold when the interval lies wholly on the other side, or wholly within a stated margin around the threshold, where it is as good "
    "as none whatever its sign. Otherwise it is undecided.",
    "A claim holds when all its deciding effects hold, and does not hold when one of them does not. A claim that something can happen "
    "needs one effect that holds, and does not hold when none does. A part that was not measured leaves a claim undecided that would "
    "hold otherwise.",
    "The verdicts of all claims together must stand at 5 % (Holm). The p-value of a claim is the largest of its effects where all are "
    "needed, else the smallest times their number; verdicts by a margin are no such test.",
    "Points that differ in the seed or the hardware only are one configuration and not independent: an interval is that of Student's t "
    "with one degree of freedom less than there are configurations, and its standard error is from 2000 draws of whole configurations "
    "with a fixed seed. "
    "A regularizer is compared with none at the same settings and seed, pair by pair. A correlation needs six configurations, a mean "
    "three.",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """An effect that a claim speaks of.

    Attributes:
        words: what it is.
        effect: None: it cannot be computed; `note` says why.
        claimed: side of the threshold on which the claim wants it.
        threshold: where the sides meet.
        margin: interval around the threshold in which the effect is as good as none; None: no such interval.
        unit: of the effect.
        decides: the verdict rests on it; otherwise it is shown for context.
        note: what a reader must know.
        verdict: filled in by `judge`.
        why: reason of a verdict that is undecided or not judged.
    """

    words: str
    effect: Effect | None
    claimed: Literal["above", "below"] = "above"
    threshold: float = 0.0
    margin: tuple[float, float] | None = None
    unit: str = ""
    decides: bool = True
    note: str = ""
    verdict: Verdict = "not judged"
    why: str = ""


@dataclass(frozen=True)
class Judgement:
    """A claim and what the study says of it.

    Attributes:
        id: ``Q1`` to ``Q12``.
        claim: one sentence.
        check: what is done on the study.
        parts: effects.
        needs: ``all`` deciding effects must hold, or ``any``.
        words: facts beside the effects, then the reason of the verdict.
        verdict: of the claim.
        open: why the claim cannot hold on this study, whatever its numbers are; empty: it can.
    """

    id: str
    claim: str
    check: str
    parts: list[Part]
    needs: Literal["all", "any"] = "all"
    words: str = ""
    verdict: Verdict = "not judged"
    open: str = ""

    @property
    def shown(self) -> list[Part]:
        """The parts that decide, or else all."""
        return [part for part in self.parts if part.decides and part.effect] or [part for part in self.parts if part.effect]

    @property
    def _effects(self) -> list[Effect]:
        return [part.effect for part in self.shown if part.effect is not None]

    @property
    def points(self) -> int:
        """Most points, or pairs of points, of an effect that is shown."""
        return max((e.points for e in self._effects), default=0)

    @property
    def clusters(self) -> int:
        """Configurations of that effect."""
        return max((e.clusters for e in self._effects), default=0)


def _judge_part(part: Part) -> Part:
    if part.effect is None:
        return replace(part, verdict="not judged", why=part.note)
    low, high = part.effect.low, part.effect.high
    above, below = low > part.threshold, high < part.threshold
    if part.margin is not None and part.margin[0] < low and high < part.margin[1]:
        ends = " to ".join(significant(v, 3).replace("-", "−") for v in part.margin)
        return replace(part, verdict="does not hold", why=f"{EQUIVALENT}: the interval lies within {ends}")
    if above or below:
        return replace(part, verdict="holds" if above == (part.claimed == "above") else "does not hold")
    return replace(part, verdict="undecided", why=f"the interval contains {significant(part.threshold, 3).replace('-', '−')}")


def _strength(claim: Judgement, verdict: Verdict) -> float:
    """Return the p-value of a verdict: the largest of its effects if all are needed, else the smallest times their number (Bonferroni)."""
    p = [(part.effect.p, part) for part in claim.parts if part.decides and part.effect is not None]
    mine = [value for value, part in p if part.verdict == verdict and EQUIVALENT not in part.why]
    if not mine:
        return 0.0  # all of them by equivalence, which is no test of a side
    needs_all = (claim.needs == "all") == (verdict == "holds")
    return max(mine) if needs_all else min(1.0, len(p) * min(mine))


def _because(parts: list[Part]) -> str:
    """Return the reasons of parts, those with the same one together."""
    by_reason: dict[str, list[str]] = {}
    for part in parts:
        by_reason.setdefault(part.why, []).append(part.words)
    return "; ".join(f"{listing(words)}: {why}" for why, words in by_reason.items())


def _combine(claim: Judgement) -> tuple[Verdict, str]:
    """Return the verdict of a claim by its intervals, and the reason in words."""
    known = [part for part in claim.parts if part.decides and part.effect is not None]
    missing = "; ".join(dict.fromkeys(part.note for part in claim.parts if part.decides and part.effect is None))
    if not known:
        return ("undecided", claim.open) if claim.open and claim.shown else ("not judged", missing)
    decisive: Verdict = "does not hold" if claim.needs == "all" else "holds"
    mine = [part for part in known if part.verdict == decisive]
    if mine:
        return decisive, f"{'against' if claim.needs == 'all' else 'for'} it: {listing(p.words for p in mine)}"
    if missing:
        return "undecided", f"not all of it could be checked: {missing}"
    verdicts = {part.verdict for part in known}
    if verdicts == {"holds"} and claim.open:
        return "undecided", claim.open
    if len(verdicts) == 1 and "undecided" not in verdicts:
        return verdicts.pop(), ""
    return "undecided", _because([part for part in known if part.verdict == "undecided"])


def _sentences(*texts: str) -> str:
    return " ".join((text[0].upper() if text[0].isascii() else text[0]) + text[1:].rstrip(".") + "." for text in texts if text)


def judge(claims: Sequence[Judgement]) -> list[Judgement]:
    """Fill in the verdicts of all claims together."""
    judged = [replace(claim, parts=[_judge_part(part) for part in claim.parts]) for claim in claims]
    found = [_combine(claim) for claim in judged]
    tested = [k for k, claim in enumerate(judged) if any(part.decides and part.effect for part in claim.parts)]
    strengths = [_strength(judged[k], found[k][0]) if found[k][0] != "undecided" else 1.0 for k in tested]
    stands = dict(zip(tested, holm(strengths), strict=True))
    done = []
    for k, (claim, (verdict, reason)) in enumerate(zip(judged, found, strict=True)):
        fails = k in stands and not stands[k] and verdict != "undecided"
        weak = f"by its intervals it {verdict}, which does not stand when {len(tested)} claims are tested at once (Holm)"
        done.append(replace(claim, verdict="undecided" if fails else verdict, words=_sentences(claim.words, weak if fails else reason)))
    return done
