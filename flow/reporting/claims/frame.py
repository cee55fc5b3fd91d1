"""The ranked points of a study as arrays, their configurations, and pairs of points that differ in the regularizer only."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flow.reporting.catalog import task_score, title
from flow.reporting.perturbation import KNOWN_KINDS, RANKED, levels, main_kinds, middle, perturbed
from flow.reporting.result import PointResult

Vector = NDArray[np.float64]
IN_WEIGHTS = re.compile(r"flip|stuck|weight|fault")
HARDWARE = ("hardware", "gate", "vendor", "route")  # one network in other hardware is no other evidence
NOT_THE_NETWORK = ("name", "seed", *HARDWARE)


def _key(result: PointResult, without: Iterable[str]) -> str:
    return json.dumps({k: v for k, v in result.config.items() if k not in without}, sort_keys=True)


def configuration(result: PointResult) -> str:
    """Return all settings of a point but its name, its seed and its hardware."""
    return _key(result, NOT_THE_NETWORK)


def of_weights(kind: str) -> bool:
    """Tell whether a perturbation is one of the weights, and not of the inputs."""
    return IN_WEIGHTS.search(kind) is not None


@dataclass(frozen=True)
class Pairs:
    """Points with a regularizer, and for each the one without that has all other settings and the seed in common.

    Attributes:
        with_it: points with the regularizer.
        without: as many points without any.
    """

    with_it: list[PointResult] = field(default_factory=list)
    without: list[PointResult] = field(default_factory=list)

    def labels(self) -> list[str]:
        """Return the configuration of each pair."""
        return [configuration(result) for result in self.with_it]

    def having(self, *ids: str) -> "Pairs":
        """Return the pairs of which both points have these metrics."""
        both = [(a, b) for a, b in zip(self.with_it, self.without, strict=True) if all(i in a.metrics and i in b.metrics for i in ids)]
        return Pairs([a for a, _ in both], [b for _, b in both])

    def values(self, name: str) -> tuple[Vector, Vector]:
        """Return a metric with the regularizer and without, (n,) each."""
        return column(self.with_it, name), column(self.without, name)


def column(points: list[PointResult], name: str) -> Vector:
    """Return a metric of points that have it, (n,)."""
    return np.array([point.metrics[name].value for point in points])


@dataclass(frozen=True)
class Frame:
    """Ranked points of one model.

    Attributes:
        points: in the order of their names.
        task: id of the task score, empty without any.
        sign: +1 where a lower score is better, else -1, so that ``sign * score`` is worse when it is larger.
    """

    points: list[PointResult]
    task: str
    sign: float

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """Ids of the degradations of the task score by perturbation, by rising level."""
        own = {kind: [i for i in ids if self._of_task(i)] for kind, ids in levels(self.points).items()}
        return {kind: ids for kind, ids in own.items() if ids}

    def _of_task(self, name: str) -> bool:
        return any(parts.task == self.task for r in self.points if name in r.metrics and (parts := perturbed(name, r.metrics)) is not None)

    @cached_property
    def judged(self) -> dict[str, str]:
        """The middle level of each perturbation that claims are judged on: those of the paper, or else those that stand for all."""
        kinds = [kind for kind in self.kinds if kind in KNOWN_KINDS] or main_kinds(self.kinds)
        return {kind: middle(self.kinds[kind]) for kind in kinds if not kind.startswith(RANKED)}

    @cached_property
    def noise(self) -> dict[str, str]:
        """The middle level of each perturbation of the inputs that is judged."""
        return {kind: name for kind, name in self.judged.items() if not of_weights(kind)}

    @cached_property
    def flips(self) -> dict[str, str]:
        """The middle level of each random perturbation of the weights that is judged; ranked flips are no random ones."""
        return {kind: name for kind, name in self.judged.items() if of_weights(kind)}

    def having(self, *ids: str, bits: bool = False) -> list[PointResult]:
        """Return the points that have these metrics, and weight bits if asked for."""
        return [p for p in self.points if all(i in p.metrics for i in ids) and not (bits and p.weight_bits is None)]

    def level(self, name: str) -> float:
        """Return the strength in the id of a degradation."""
        parts = next(parts for p in self.having(name) if (parts := perturbed(name, p.metrics)) is not None)
        return parts.level

    def title(self, name: str) -> str:
        """Return words for a metric of some point."""
        return title(name, self.having(name)[0].metrics[name])

    def short(self, name: str) -> str:
        """Return words for a degradation without those for the task score."""
        task = next((title(self.task, p.metrics[self.task]) for p in self.having(self.task)), "")
        return self.title(name).removeprefix(f"{task} degradation, ")

    def unit(self, name: str) -> str:
        """Return the unit of a metric of some point."""
        return self.having(name)[0].metrics[name].unit

    @cached_property
    def regularizers(self) -> list[str]:
        """Regularizers that some points have alone."""
        return sorted({p.regularizer for p in self.points if len(p.config.get("regularizers", {})) == 1})

    def pairs(self, regularizer: str) -> Pairs:
        """Pair points with this regularizer alone, whatever its strength, with points without any."""
        plain = {_key(p, ("name", "regularizers")): p for p in self.points if p.regularizer == "none"}
        with_it = [p for p in self.points if p.regularizer == regularizer and _key(p, ("name", "regularizers")) in plain]
        return Pairs(with_it, [plain[_key(p, ("name", "regularizers"))] for p in with_it])


def frames(results: list[PointResult]) -> list[Frame]:
    """Return a frame for each model of the ranked points, the one with most points first."""
    by_model: dict[str, list[PointResult]] = {}
    for result in sorted(results, key=lambda r: r.name):
        if result.ranked:
            by_model.setdefault(str(result.config.get("model", "")), []).append(result)
    return [_frame(points) for _, points in sorted(by_model.items(), key=lambda item: (-len(item[1]), item[0]))]


def _frame(points: list[PointResult]) -> Frame:
    task = task_score(points) or ""
    direction = next((p.metrics[task].direction for p in points if task in p.metrics), "lower")
    return Frame(points, task, -1.0 if direction == "higher" else 1.0)
