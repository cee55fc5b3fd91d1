"""Pareto fronts that refuse to compare what cannot be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flow.core.errors import ConfigError
from flow.core.metric import Metric

Points = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class Partition:
    """Points sorted into groups that may stand on one set of axes.

    Attributes:
        groups: names of the points of each group, the largest group first.
        missing: for every other point, the objectives that it has no number for.
    """

    groups: list[list[str]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)


def axis(metric: Metric) -> str:
    """Describe what a metric may be compared with: class, unit, part and tool."""
    return ", ".join(text for text in (metric.kind, metric.unit, metric.part, metric.tool) if text)


def partition(points: Points, objectives: Sequence[str]) -> Partition:
    """Sort points into groups of one unit, provenance class, part and tool per objective."""
    groups: dict[tuple[tuple[str, str, str, str], ...], list[str]] = {}
    missing: dict[str, list[str]] = {}
    for name, metrics in points.items():
        absent = [objective for objective in objectives if objective not in metrics]
        if absent:
            missing[name] = absent
            continue
        found = [metrics[objective] for objective in objectives]
        groups.setdefault(tuple(m.axis for m in found), []).append(name)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return Partition([names for _, names in ordered], missing)


def front(points: Points, objectives: Sequence[str]) -> frozenset[str]:
    """Return the names of the points that no other point dominates.

    A point dominates another one if it is at least as good in every objective and better in one, so points that tie in all
    objectives are on the front together. A point without a number for some objective takes no part. Points are visited in
    lexicographic order, in which a later point cannot dominate an earlier one (Kung, Luccio and Preparata, J. ACM 22, 1975),
    and are compared with the front only.

    Args:
        points: metrics by id, by name of the point.
        objectives: ids of one metric or more.

    Raises:
        ConfigError: there is no objective, an objective has no better direction, or the points differ in unit, provenance
            class, part, tool or direction.
    """
    if not objectives:
        raise ConfigError("a Pareto front needs one objective or more.")
    complete = {name: metrics for name, metrics in points.items() if all(objective in metrics for objective in objectives)}
    for objective in objectives:
        _check_axis(objective, {name: metrics[objective] for name, metrics in complete.items()})
    costs = {name: tuple(_cost(metrics[objective]) for objective in objectives) for name, metrics in complete.items()}
    kept: list[tuple[float, ...]] = []
    for cost in sorted(set(costs.values())):
        if not any(all(a <= b for a, b in zip(other, cost, strict=True)) for other in kept):
            kept.append(cost)
    best = set(kept)
    return frozenset(name for name, cost in costs.items() if cost in best)


def _cost(metric: Metric) -> float:
    return -metric.value if metric.direction == "higher" else metric.value


def _check_axis(objective: str, metrics: Mapping[str, Metric]) -> None:
    first = next(iter(metrics.items()), None)
    if first is None:
        return
    for name, metric in metrics.items():
        if metric.direction == "none":
            raise ConfigError(f"{objective} of {name} says of no direction that it is better, so it cannot be ranked. Leave it out.")
        if not metric.comparable(first[1]) or metric.direction != first[1].direction:
            raise ConfigError(
                f"{objective} of {first[0]} is ({axis(first[1])}) and of {name} is ({axis(metric)}): these are not compared with each "
                "other. Rank the points of one unit, provenance class, part and tool at a time (`partition` sorts them)."
            )


def knee(points: Points, names: frozenset[str], objectives: tuple[str, str]) -> str | None:
    """Return the knee of a front of two objectives.

    The point of the front that is farthest from the line through its two ends, on the good side, both objectives scaled to
    [0, 1] (Das, Structural Optimization 18, 1999).

    Args:
        points: metrics by id, by name of the point.
        names: the front, as `front` returned it.
        objectives: the same two objectives.

    Returns:
        None for a front of fewer than three different points, or one that bulges to the bad side only.
    """
    costs = {name: tuple(_cost(points[name][objective]) for objective in objectives) for name in sorted(names)}
    if len(set(costs.values())) < 3:
        return None
    low = [min(cost[k] for cost in costs.values()) for k in (0, 1)]
    span = [max(cost[k] for cost in costs.values()) - low[k] for k in (0, 1)]
    gain = {name: 1 - sum((cost[k] - low[k]) / span[k] for k in (0, 1)) for name, cost in costs.items()}
    best = max(gain, key=lambda name: gain[name])
    return best if gain[best] > 0 else None
