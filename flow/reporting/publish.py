"""From results to what may be published: no absolute paths, no cost of an inexact point, a fixed order."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar, cast

from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.reporting.catalog import group_of
from flow.reporting.result import PointResult

T = TypeVar("T")
TOLD = ("config", "gate", "failures", "stages", "versions", "reproduce", "notes", "curves", "published", "layers")
ABSOLUTE = re.compile(r"(?:file://|(?<![\w.:/~…]))(?:/[\w.+@%=~-]+){2,}/?|\b[A-Za-z]:\\(?:[^\s\\\"']+\\)*[^\s\\\"']+")


def scrub(value: T) -> T:
    """Shorten absolute paths to their last part, in every text of a JSON document.

    >>> scrub({"path": "/data/run7/cells.csv", "unit": "TC pitch / 2"})
    {'path': '…/cells.csv', 'unit': 'TC pitch / 2'}
    """
    return cast("T", _scrub(value))


def _scrub(value: object) -> object:
    if isinstance(value, str):
        return ABSOLUTE.sub(lambda match: "…/" + re.split(r"[/\\]", match[0].rstrip("/"))[-1], value)
    if isinstance(value, Mapping):
        return {scrub(str(key)): _scrub(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scrub(inner) for inner in value]
    return value


def withheld(result: PointResult) -> list[str]:
    """List the hardware figures that are not published because the gate saw a mismatch."""
    return sorted(name for name in result.metrics if result.inexact and group_of(name, result.metrics) == "hardware")


def _clean(metric: Metric) -> Metric:
    ci = None if metric.ci is None else (float(metric.ci[0]), float(metric.ci[1]))
    return replace(metric, value=float(metric.value), ci=ci, source=scrub(metric.source))


def published(results: Iterable[PointResult]) -> tuple[list[PointResult], dict[str, list[str]]]:
    """Return the results in the order of their names, fit to be shown, and the ids withheld from each point.

    Raises:
        ConfigError: two results have the same name.
    """
    ordered = sorted(results, key=lambda result: result.name)
    for before, after in pairwise(ordered):
        if before.name == after.name:
            raise ConfigError(f"two results are called '{after.name}'. Give each point of a study a name of its own.")
    hidden = {result.name: withheld(result) for result in ordered}
    shown = []
    for result in ordered:
        document: dict[str, Any] = scrub({name: getattr(result, name) for name in TOLD if name != "layers" or not result.inexact})
        metrics = {key: _clean(metric) for key, metric in sorted(result.metrics.items()) if key not in hidden[result.name]}
        shown.append(PointResult(name=result.name, status=result.status, metrics=metrics, shapes=result.shapes, **document))
    return shown, {name: ids for name, ids in hidden.items() if ids}
