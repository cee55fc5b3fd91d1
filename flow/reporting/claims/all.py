"""All claims on one study, judged together."""

from collections.abc import Mapping, Sequence
from typing import Any

from flow.reporting.claims.bootstrap import DRAWS, Effect
from flow.reporting.claims.choice import q11, q12
from flow.reporting.claims.curvature import q1, q2, q7, q8
from flow.reporting.claims.frame import Frame, frames
from flow.reporting.claims.judge import RULES, Judgement, Part, judge
from flow.reporting.claims.regularizers import q4, q5, q6
from flow.reporting.claims.robustness import q3, q9, q10
from flow.reporting.result import PointResult


def judge_claims(results: list[PointResult], screen: Mapping[str, Any] | None = None) -> list[Judgement]:
    """Judge the claims Q1 to Q12 on the ranked points of a study.

    Args:
        results: points; of several models only that with most points is looked at.
        screen: the document that `hlscape screen` wrote for the study, or None.

    Returns:
        Twelve judgements; each says in words why it is undecided or not judged.
    """
    found = frames(results)
    frame = found[0] if found else Frame([], "", 1.0)
    of_frame = [ask(frame) for ask in (q1, q2, q3, q4, q5, q6, q7, q8, q9, q10)]
    return judge([*of_frame, q11(screen), q12(frame)])


def _effect(found: Effect) -> dict[str, Any]:
    ci, clusters = [found.low, found.high], found.clusters
    return {"value": found.value, "ci": ci, "p": found.p, "points": found.points, "configurations": clusters}


def _part(part: Part) -> dict[str, Any]:
    return {
        "words": part.words, "effect": None if part.effect is None else _effect(part.effect), "unit": part.unit, "claimed": part.claimed,
        "threshold": part.threshold, "margin": None if part.margin is None else list(part.margin), "decides": part.decides,
        "verdict": part.verdict, "why": part.why,
    }  # fmt: skip


def claims_json(claims: Sequence[Judgement]) -> dict[str, Any]:
    """Return the judgements as a JSON document, with the rules they were made by."""
    return {
        "rules": list(RULES),
        "draws": DRAWS,
        "judged": [
            {
                "id": c.id, "claim": c.claim, "check": c.check, "needs": c.needs, "verdict": c.verdict, "words": c.words,
                "points": c.points, "configurations": c.clusters, "parts": [_part(part) for part in c.parts],
            }
            for c in claims
        ],
    }  # fmt: skip
