"""What a report says of a study as a whole: correlations, claims, and the screening beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow.core.errors import StoreError
from flow.reporting.claim import Claim, claim
from flow.reporting.claims.all import judge_claims
from flow.reporting.claims.judge import Judgement
from flow.reporting.result import PointResult

SCREEN = "screen.json"


@dataclass(frozen=True)
class Findings:
    """What is found by looking at all points together.

    Attributes:
        claim: correlations of landscape and robustness.
        judged: the claims on the study.
        screen: the document of `hlscape screen`, or None.
    """

    claim: Claim
    judged: list[Judgement]
    screen: dict[str, Any] | None = None


def read_screen(folder: Path) -> dict[str, Any] | None:
    """Return the document that `hlscape screen` left in the folder of a report, or None.

    Raises:
        StoreError: it is something else.
    """
    file = folder / SCREEN
    if not file.is_file():
        return None
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        known = isinstance(document["targets"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: this is no document of hlscape screen ({error!r}). Run hlscape screen again, or remove it.") from None
    if not known:
        raise StoreError(f"{file}: it has no table of targets. Run hlscape screen again, or remove it.")
    return document


def findings(results: list[PointResult], screen: dict[str, Any] | None) -> Findings:
    """Correlate and judge the points of a study."""
    return Findings(claim(results), judge_claims(results, screen), screen)
