"""Does a flat minimum mean a robust network? Rank correlations over the points of a study, and given weight bits and clean score."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flow.core.metric import Metric
from flow.reporting.catalog import landscape_scores, main_landscape_scores, task_score, title
from flow.reporting.claims.bootstrap import Matrix, Vector, correlate, interval, remainders, unit, with_study
from flow.reporting.claims.frame import column, configuration
from flow.reporting.correlation import FEWEST, Correlation, holm
from flow.reporting.perturbation import levels, main_kinds, main_levels, middle
from flow.reporting.result import PointResult

KINDS = {"plain": "plain", "given_bits": "given the weight bits", "given_both": "given weight bits and clean score"}


@dataclass(frozen=True)
class Pair:
    """One landscape score with one degradation.

    Attributes:
        landscape: id of the landscape score.
        worse: id of the degradation.
        n: points that have both.
        configurations: that these points belong to.
        found: correlation by kind: ``plain``, ``given_bits`` and ``given_both``; None if it cannot be computed.
        stands: kinds that stand at 5 % when all pairs of the table are tested at once (Holm).
    """

    landscape: str
    worse: str
    n: int
    configurations: int
    found: dict[str, Correlation | None]
    stands: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """Correlations of landscape scores with degradations.

    Attributes:
        rows: id and title of each landscape score.
        columns: id and title of each degradation.
        pairs: by (landscape score, degradation).
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)
    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)

    @property
    def same_n(self) -> bool:
        """All correlations are over the same number of points."""
        return len({pair.n for pair in self.pairs.values()}) < 2


@dataclass(frozen=True)
class Claim:
    """The correlations and what they mean in words.

    Attributes:
        main: one landscape score for each plug-in with one level for each perturbation.
        more: by words, further scores with these levels, and these scores with further levels.
        words: sentences for a reader, about `main`.
        shown: there are enough points.
    """

    main: Table
    more: dict[str, Table]
    words: list[str]
    shown: bool


def _correlations(points: list[PointResult], task: str, rows: Sequence[str], columns: Sequence[str]) -> list[Pair]:
    """Correlate over points that have all of `rows` and `columns`; the ranks of each are made once."""
    labels = [configuration(point) for point in points]
    w, count = with_study(labels), len(set(labels))
    bits = np.array([float(point.weight_bits or 0) for point in points])
    clean = [column(points, task)] if task and all(task in point.metrics for point in points) else []
    found: dict[tuple[str, str], dict[str, Correlation | None]] = {(r, c): dict.fromkeys(KINDS) for r in rows for c in columns}
    several = len(set(bits)) > 1
    kinds: dict[str, list[Vector]] = {
        "plain": [],
        **({"given_bits": [bits]} if several else {}),
        **({"given_both": [bits, *clean]} if several and clean else {}),
    }
    for kind, given in kinds.items():

        def left_over(name: str, given: list[Vector] = given) -> Matrix:
            return unit(remainders([column(points, name)], given, w)[0], w)

        right = {c: left_over(c) for c in columns}
        for r in rows:
            left = left_over(r)
            for c, other in right.items():
                found[r, c][kind] = Correlation.of(interval(correlate(left, other), len(points), count, "rho"))
    return [Pair(r, c, len(points), count, by_kind) for (r, c), by_kind in found.items()]


def _pairs(ranked: list[PointResult], rows: Sequence[str], columns: Sequence[str]) -> list[Pair]:
    """Correlate all rows with all columns, those together that the same points have."""
    task = task_score(ranked) or ""
    known = [point for point in ranked if point.weight_bits is not None]
    groups: dict[tuple[int, ...], dict[str, list[str]]] = {}
    for c in columns:
        for r in rows:
            have = tuple(i for i, point in enumerate(known) if r in point.metrics and c in point.metrics)
            groups.setdefault(have, {}).setdefault(c, []).append(r)
    pairs = []
    for have, by_column in groups.items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for c, some in by_column.items():
            alike.setdefault(tuple(some), []).append(c)
        for of, those in alike.items():
            pairs += _correlations([known[i] for i in have], task, of, those) if len(have) >= FEWEST else []
    return pairs


def _judge(pairs: list[Pair]) -> list[Pair]:
    standing: list[set[str]] = [set() for _ in pairs]
    for kind in KINDS:
        known = [(k, c) for k, pair in enumerate(pairs) if (c := pair.found[kind]) is not None]
        for (k, _), stands in zip(known, holm([c.p for _, c in known]), strict=True):
            standing[k] |= {kind} if stands else set()
    return [replace(pair, stands=frozenset(found)) for pair, found in zip(pairs, standing, strict=True)]


def _count(pairs: list[Pair], kind: str) -> str:
    known = [(c, kind in pair.stands) for pair in pairs if (c := pair.found[kind]) is not None]
    positive = sum(c.rho > 0 for c, _ in known)
    stands_up = sum(stands and c.rho > 0 for c, stands in known)
    stands_down = sum(stands and c.rho < 0 for c, stands in known)
    return (
        f"{positive} of {len(known)} correlations are positive; {stands_up} of these stand at 5 % when all are tested together (Holm)"
        + (f", and {stands_down} negative ones do" if stands_down else "")
    )


def _range(counts: list[int]) -> str:
    return f"{counts[0]}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _words(pairs: list[Pair]) -> list[str]:
    n, groups = [pair.n for pair in pairs], [pair.configurations for pair in pairs]
    words = [
        f"Over {_range(n)} points of {_range(groups)} configurations: {_count(pairs, 'plain')}. "
        "A positive one means: the sharper the minimum, or the larger the landscape score, the more the task score degrades."
    ]
    if any(pair.found["given_bits"] for pair in pairs):
        words.append(
            f"Given the weight bits: {_count(pairs, 'given_bits')}. More bits mean both a sharper minimum and more room to degrade, so "
            "only what is left here speaks for the landscape itself."
        )
        words.append(
            f"Given weight bits and clean score: {_count(pairs, 'given_both')}. What is left here is what the landscape adds to two "
            "figures that everybody has."
        )
    else:
        words.append("All points have the same weight bits, so there is nothing to hold fixed.")
    if max(groups) < 20:
        words.append(
            f"With {max(groups)} configurations only strong correlations can be told from chance; "
            "a missing star is no proof of no relation."
        )
    return words


def _table(ranked: list[PointResult], pairs: list[Pair], rows: Sequence[str], columns: Sequence[str]) -> Table:
    found: dict[str, Metric] = {}
    for point in ranked:
        found = {**point.metrics, **found}
    task = task_score(ranked)
    known = f"{title(task, found[task])} degradation, " if task else ""
    keep_rows, keep_columns = {pair.landscape for pair in pairs}, {pair.worse for pair in pairs}
    return Table(
        [(row, title(row, found[row])) for row in rows if row in keep_rows],
        [(name, title(name, found[name]).removeprefix(known)) for name in columns if name in keep_columns],
        {(pair.landscape, pair.worse): pair for pair in pairs},
    )


def claim(results: list[PointResult]) -> Claim:
    """Correlate each landscape score with each degradation over the points that are ranked."""
    ranked = [result for result in results if result.ranked]
    by_kind, rows = levels(ranked), main_landscape_scores(ranked)
    kinds, columns = main_kinds(by_kind), main_levels(ranked)
    other_rows = [name for name in landscape_scores(ranked) if name not in rows]
    other_columns = [name for kind in kinds for name in by_kind[kind] if name not in columns]
    further = [middle(ids) for kind, ids in by_kind.items() if kind not in kinds]
    main = _judge(_pairs(ranked, rows, columns))
    if not main:
        known = [point for point in ranked if point.weight_bits is not None]
        most = max((sum(r in p.metrics and c in p.metrics for p in known) for r in rows for c in columns), default=0)
        words = (
            f"Not shown: {most} points have a landscape score, a degradation and weight bits, "
            f"and a rank correlation of fewer than {FEWEST} says nothing."
        )
        return Claim(Table(), {}, [words], False)
    more = {
        "other landscape scores": (other_rows, columns),
        "other levels": (rows, other_columns),
        "further perturbations": (rows, further),
    }
    tables = {words: _table(ranked, _judge(_pairs(ranked, r, c)), r, c) for words, (r, c) in more.items()}
    return Claim(_table(ranked, main, rows, columns), {w: t for w, t in tables.items() if t.pairs}, _words(main), True)
