"""What a Pareto plot shows, in data coordinates: the same for SVG and PNG."""

from collections.abc import Mapping
from dataclasses import dataclass

from flow.core.metric import Metric
from flow.reporting.catalog import costs_of, title
from flow.reporting.numbers import half_width, listing, with_unit
from flow.reporting.pareto import axis, front, partition
from flow.reporting.result import PointResult

Scores = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class Dot:
    """One design point on a plot.

    Attributes:
        name: of the point.
        x: cost.
        y: score.
        bits: weight bits, the colour.
        regularizer: the marker.
        front: no other point of the panel is better.
    """

    name: str
    x: Metric
    y: Metric
    bits: int | None
    regularizer: str
    front: bool

    @property
    def words(self) -> str:
        """The text of a tooltip."""
        bits = "" if self.bits is None else f"{self.bits}-bit weights, "
        place = "on the front" if self.front else "dominated"
        return f"{self.name}\n{bits}regularizer {self.regularizer}\n{with_unit(self.y)}\n{with_unit(self.x)}\n{place}"


@dataclass(frozen=True)
class Panel:
    """One score against one cost, for points that may be compared.

    Attributes:
        score: id of the y axis.
        cost: id of the x axis.
        x_title: words and unit.
        y_title: words and unit.
        scope: provenance class, tool and part of both axes.
        dots: the points.
        ranked: both axes have a better direction, so there is a front.
        up_is_better: direction of the score.
        notes: what a reader must know, such as points that are not on the plot.
    """

    score: str
    cost: str
    x_title: str
    y_title: str
    scope: str
    dots: list[Dot]
    ranked: bool
    up_is_better: bool
    notes: list[str]

    @property
    def front(self) -> list[Dot]:
        """The dots of the front, from the best cost on; ties are there once."""
        unique = {(dot.x.value, dot.y.value): dot for dot in self.dots if dot.front}
        return [unique[key] for key in sorted(unique, reverse=self.right_is_better)]

    @property
    def right_is_better(self) -> bool:
        """Direction of what is on the x axis."""
        return any(dot.x.direction == "higher" for dot in self.dots)

    def within_error(self) -> list[str]:
        """Name the dominated points that no point of the front beats by more than both 95 % intervals at no more cost."""
        sign, side = -1.0 if self.up_is_better else 1.0, -1.0 if self.right_is_better else 1.0
        return [
            dot.name for dot in self.dots
            if not dot.front and half_width(dot.y) is not None and not any(
                sign * (dot.y.value - other.y.value) > (half_width(dot.y) or 0) + (half_width(other.y) or 0)
                for other in self.dots if other.front and side * other.x.value <= side * dot.x.value
            )
        ]  # fmt: skip


def ranked_scores(results: list[PointResult]) -> dict[str, dict[str, Metric]]:
    """Return the metrics of the points that may be ranked."""
    return {result.name: dict(result.metrics) for result in results if result.ranked}


def axis_title(name: str, metric: Metric) -> str:
    """Return words for an axis: title and unit."""
    words = title(name, metric)
    return words if metric.unit in ("", words) else f"{words} [{metric.unit}]"


def _scope(metrics: list[Metric]) -> str:
    parts = list(dict.fromkeys(", ".join(text for text in (m.kind, m.source, m.part) if text) for m in metrics))
    if len(parts) <= 2:
        return "; ".join(parts)
    return f"{parts[0]}; {len(parts) - 1} more sources, see the details of each point"


def _missing_notes(missing: Mapping[str, list[str]]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, ids in sorted(missing.items()):
        by_reason.setdefault(" and no ".join(ids), []).append(name)
    return [f"Not on this plot, because there is no {ids}: {listing(names)}." for ids, names in by_reason.items()]


def panels(results: list[PointResult], scores: Scores, score: str, cost: str) -> tuple[list[Panel], list[str]]:
    """Make the panels of a score against a cost: one for each group of points that may be compared.

    Returns:
        The panels, the largest group first, and notes for a reader; without any panel the notes say why.
    """
    sorted_points = partition(scores, (cost, score))
    by_name = {result.name: result for result in results}
    notes = _missing_notes(sorted_points.missing)
    if not sorted_points.groups:
        return [], [f"No point has both {cost} and {score}."]
    if len(sorted_points.groups) > 1:
        kinds = [
            f"{len(names)} with {cost} ({axis(scores[names[0]][cost])}) and {score} ({axis(scores[names[0]][score])})"
            for names in sorted_points.groups
        ]
        notes.append(
            "Different provenance classes, parts or units are not ranked together, so these are drawn apart: " + "; ".join(kinds) + "."
        )
    return [_panel(by_name, scores, score, cost, names) for names in sorted_points.groups], notes


def _panel(by_name: Mapping[str, PointResult], scores: Scores, score: str, cost: str, names: list[str]) -> Panel:
    group = {name: scores[name] for name in names}
    first = group[names[0]]
    ranked = all(len({m[key].direction for m in group.values()} | {"none"}) == 2 for key in (score, cost))
    best = front(group, (cost, score)) if ranked else frozenset()
    dots = [Dot(name, m[cost], m[score], by_name[name].weight_bits, by_name[name].regularizer, name in best) for name, m in group.items()]
    notes = [] if ranked else ["No front: one of the two has no better direction."]
    scope = _scope([m[key] for key in (cost, score) for m in group.values()])
    up = first[score].direction == "higher"
    return Panel(score, cost, axis_title(cost, first[cost]), axis_title(score, first[score]), scope, dots, ranked, up, notes)


def all_panels(results: list[PointResult], ids: list[str]) -> dict[str, dict[str, tuple[list[Panel], list[str]]]]:
    """Return, for each score, its panels and notes against each cost."""
    scores, costs = ranked_scores(results), costs_of(result for result in results if result.ranked)
    return {score: {cost: panels(results, scores, score, cost) for cost in costs} for score in ids}
