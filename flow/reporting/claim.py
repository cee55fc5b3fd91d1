"""Does a flat minimum mean a robust network? Rank correlations over the points of a study, and given the weight bits."""

from dataclasses import dataclass

import numpy as np

from flow.core.metric import Metric
from flow.reporting.catalog import landscape_scores, levels, title
from flow.reporting.correlation import FEWEST, Correlation, holm, partial, spearman
from flow.reporting.panels import Scores, ranked_scores
from flow.reporting.pareto import partition
from flow.reporting.result import PointResult


@dataclass(frozen=True)
class Pair:
    """One landscape score with one degradation.

    Attributes:
        landscape: id of the landscape score.
        worse: id of the degradation.
        n: points that have both.
        plain: None if it cannot be computed.
        given_bits: with the weight bits held fixed.
        stands: `plain` stands when all pairs are tested at once (Holm, 5 %).
        given_bits_stands: the same for `given_bits`.
    """

    landscape: str
    worse: str
    n: int
    plain: Correlation | None
    given_bits: Correlation | None
    stands: bool = False
    given_bits_stands: bool = False


@dataclass(frozen=True)
class Claim:
    """The correlations and what they mean in words.

    Attributes:
        rows: id and title of each landscape score.
        columns: id and title of each degradation.
        pairs: by (landscape score, degradation).
        words: sentences for a reader.
        shown: there are enough points.
    """

    rows: list[tuple[str, str]]
    columns: list[tuple[str, str]]
    pairs: dict[tuple[str, str], Pair]
    words: list[str]
    shown: bool

    @property
    def same_n(self) -> bool:
        """All correlations are over the same number of points."""
        return len({pair.n for pair in self.pairs.values()}) < 2


def _pair(scores: Scores, bits: dict[str, int | None], landscape: str, worse: str) -> Pair:
    groups = partition(scores, (landscape, worse)).groups
    names = [name for name in (groups[0] if groups else []) if bits[name] is not None]
    if len(names) < FEWEST:
        return Pair(landscape, worse, len(names), None, None)
    x, y = (np.array([scores[name][key].value for name in names]) for key in (landscape, worse))
    z = np.array([float(bits[name] or 0) for name in names])
    return Pair(landscape, worse, len(names), spearman(x, y), partial(x, y, z))


def _judge(pairs: list[Pair]) -> list[Pair]:
    plain = holm([pair.plain.p if pair.plain else 1.0 for pair in pairs])
    given = holm([pair.given_bits.p if pair.given_bits else 1.0 for pair in pairs])
    return [
        Pair(p.landscape, p.worse, p.n, p.plain, p.given_bits, a, b) for p, a, b in zip(pairs, plain, given, strict=True)
    ]  # fmt: skip


def _count(correlations: list[tuple[Correlation | None, bool]]) -> str:
    known = [(c, stands) for c, stands in correlations if c is not None]
    positive = sum(c.rho > 0 for c, _ in known)
    stands_up = sum(stands and c.rho > 0 for c, stands in known)
    stands_down = sum(stands and c.rho < 0 for c, stands in known)
    return (
        f"{positive} of {len(known)} correlations are positive; {stands_up} of these stand at 5 % when all are tested together (Holm)"
        + (f", and {stands_down} negative ones do" if stands_down else "")
    )


def _words(pairs: list[Pair]) -> list[str]:
    n = [pair.n for pair in pairs]
    count = f"{n[0]}" if min(n) == max(n) else f"{min(n)} to {max(n)}"
    words = [
        f"Over {count} points: {_count([(p.plain, p.stands) for p in pairs])}. "
        "A positive one means: the sharper the minimum, the more the score degrades."
    ]
    given = [(p.given_bits, p.given_bits_stands) for p in pairs]
    if any(c is not None for c, _ in given):
        words.append(
            f"Given the weight bits: {_count(given)}. More bits mean both a sharper minimum and more room to degrade, so only what is "
            "left here speaks for the landscape itself."
        )
    else:
        words.append("All points have the same weight bits, so there is nothing to hold fixed.")
    if max(n) < 20:
        words.append(f"With {max(n)} points only strong correlations can be told from chance; a missing star is no proof of no relation.")
    return words


def claim(results: list[PointResult]) -> Claim:
    """Correlate each landscape score with each degradation over the points that are ranked."""
    ranked = [result for result in results if result.ranked]
    scores = ranked_scores(results)
    bits = {result.name: result.weight_bits for result in ranked}
    rows, columns = landscape_scores(ranked), [name for ids in levels(ranked).values() for name in ids]
    pairs = [_pair(scores, bits, row, column) for row in rows for column in columns]
    most = max((pair.n for pair in pairs), default=0)
    if most < FEWEST:
        words = [
            f"Not shown: {most} points have a landscape score, a degradation and weight bits, "
            f"and a rank correlation of fewer than {FEWEST} says nothing."
        ]
        return Claim([], [], {}, words, False)
    pairs = _judge([pair for pair in pairs if pair.n >= FEWEST])
    found: dict[str, Metric] = {}
    for metrics in scores.values():
        found = {**metrics, **found}
    keep_rows, keep_columns = {pair.landscape for pair in pairs}, {pair.worse for pair in pairs}
    return Claim(
        [(row, title(row, found[row])) for row in rows if row in keep_rows],
        [(column, title(column, found[column])) for column in columns if column in keep_columns],
        {(pair.landscape, pair.worse): pair for pair in pairs},
        _words(pairs),
        True,
    )
