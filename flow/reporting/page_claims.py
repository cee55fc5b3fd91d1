"""The judged claims as texts for the template."""

from collections.abc import Sequence
from dataclasses import dataclass

from flow.reporting.claims.judge import Judgement, Part, Verdict
from flow.reporting.numbers import p_value, significant

CHIPS: dict[Verdict, str] = {"holds": "good", "does not hold": "bad", "undecided": "off", "not judged": "off"}
WORDS: dict[Verdict, str] = {"holds": "hold", "does not hold": "do not hold", "undecided": "undecided", "not judged": "not judged"}


@dataclass(frozen=True)
class EffectView:
    """An effect in words: what, value, interval, p-value, counts, and how it was judged."""

    words: str
    value: str
    interval: str
    p: str
    points: str
    side: str
    verdict: str
    css: str
    why: str


@dataclass(frozen=True)
class ClaimView:
    """A claim in words; `shown` are the effects that the verdict rests on, `all` has those for context too."""

    id: str
    claim: str
    verdict: str
    css: str
    words: str
    check: str
    needs: str
    counts: str
    shown: list[EffectView]
    all: list[EffectView]


def _number(value: float) -> str:
    return significant(value, 3).replace("-", "−")


def _effect(part: Part) -> EffectView:
    side = f"{'>' if part.claimed == 'above' else '<'} {_number(part.threshold)}"
    verdict, css = (part.verdict, CHIPS[part.verdict]) if part.decides else ("for context", "off")
    found = part.effect
    if found is None:
        return EffectView(part.words, "–", "", "", "", side, verdict, css, part.why)
    unit = f" {part.unit}" if part.unit else ""
    interval = f"{_number(found.low)} to {_number(found.high)}"
    points = f"{found.points} / {found.clusters}"
    return EffectView(part.words, _number(found.value) + unit, interval, p_value(found.p), points, side, verdict, css, part.why)


def _claim(judged: Judgement) -> ClaimView:
    needs = "all deciding effects must hold" if judged.needs == "all" else "one deciding effect must hold"
    counts = f"{judged.points} / {judged.clusters}" if judged.points else "–"
    shown = [_effect(part) for part in judged.shown]
    return ClaimView(
        judged.id, judged.claim, judged.verdict, CHIPS[judged.verdict], judged.words, judged.check, needs, counts, shown,
        [_effect(part) for part in judged.parts],
    )  # fmt: skip


def claim_views(judged: Sequence[Judgement]) -> list[ClaimView]:
    """Return the claims for the page; none if not a single one could be judged."""
    return [_claim(one) for one in judged] if any(one.verdict != "not judged" for one in judged) else []


def summary(judged: Sequence[Judgement]) -> str:
    """Say in a sentence which claims hold; empty if none could be judged.

    Args:
        judged: all of them.
    """
    by_verdict = {verdict: [one.id for one in judged if one.verdict == verdict] for verdict in CHIPS}
    if len(by_verdict["not judged"]) == len(judged):
        return ""
    return "; ".join(f"{WORDS[verdict]}: {', '.join(ids)}" for verdict, ids in by_verdict.items() if ids)
