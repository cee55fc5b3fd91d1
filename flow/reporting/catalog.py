"""What a metric id stands for: hardware cost, task score, landscape score, score under a perturbation, gate."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import hypot
from typing import Literal

from flow.core.metric import Direction, Metric
from flow.reporting.result import PointResult

Group = Literal["hardware", "task", "robustness", "landscape", "gate"]
COSTS = ("lut", "latency_ns")
HARDWARE = (
    "lut", "ff", "dsp", "carry", "bram", "uram",
    "latency_cycles", "latency_ns", "ii_cycles",
)  # fmt: skip
LANDSCAPE = ("trace", "eigen", "gradient", "hessian")
LEVEL = re.compile(r"\d+(?:\.\d+)?")
KNOWN_KINDS = ("gauss", "salt", "flip")


@dataclass(frozen=True)
class Perturbed:
    """The parts of an id such as ``emd_gauss_10_p95``.

    Attributes:
        task: id of the task score.
        kind: perturbation.
        level: strength, in the unit of the perturbation.
        statistic: empty for the mean over draws.
    """

    task: str
    kind: str
    level: float
    statistic: str = ""


def perturbed(name: str, metrics: Mapping[str, Metric]) -> Perturbed | None:
    """Take the id of a score under a perturbation apart: ``<task>_<kind>_<level>[_<statistic>]``.

    Returns:
        None if the id is something else: the task score must be there, or else the perturbation must be a known one.
    """
    words = name.split("_")
    at = next((i for i, word in enumerate(words) if LEVEL.fullmatch(word)), 0)
    level, statistic = words[at], "_".join(words[at + 1 :])
    for split in range(at - 1, 0, -1):
        task, kind = "_".join(words[:split]), "_".join(words[split:at])
        if task in metrics or any(words[split].startswith(known) for known in KNOWN_KINDS):
            return Perturbed(task, kind, float(level), statistic)
    return None


def group_of(name: str, metrics: Mapping[str, Metric]) -> Group:
    """Tell what a metric is about, from its id first and its provenance class second."""
    if name.startswith("gate_"):
        return "gate"
    if name in HARDWARE or name.endswith("_percent") or (name in metrics and metrics[name].kind != "measured"):
        return "hardware"
    if perturbed(name, metrics) is not None:
        return "robustness"
    return "landscape" if any(word in name for word in LANDSCAPE) else "task"


def title(name: str, metric: Metric) -> str:
    """Return words for a metric: its title, or else its id."""
    return metric.title or name.replace("_", " ")


def task_score(results: Iterable[PointResult]) -> str | None:
    """Find the id of the task score: the score that perturbations are applied to, or else the first one of the model."""
    candidates: dict[str, int] = {}
    for result in results:
        for name in result.metrics:
            parts = perturbed(name, result.metrics)
            if parts is not None and parts.task in result.metrics:
                candidates[parts.task] = candidates.get(parts.task, 0) + 1000
            elif f"{name}_trivial" in result.metrics:
                candidates[name] = candidates.get(name, 0) + 100
            elif group_of(name, result.metrics) == "task" and result.metrics[name].direction != "none":
                candidates[name] = candidates.get(name, 0) + (2 if result.metrics[name].ci else 1)
    return max(sorted(candidates), key=lambda name: candidates[name], default=None)


def degradation(name: str, metrics: Mapping[str, Metric]) -> Metric | None:
    """Return how much worse a score is under a perturbation, lower is better.

    A metric ``<id>_degradation`` is taken as it is (a stage can pair the samples). Otherwise it is the difference to
    ``<task>_<kind>_0``, the clean score of the same samples, or else to ``<task>``; the half-widths of the intervals are
    added in quadrature, which is too wide rather than too narrow where both scores share samples.

    Returns:
        None if `name` is no score under a perturbation or has no comparable clean score.
    """
    if f"{name}_degradation" in metrics:
        return metrics[f"{name}_degradation"]
    parts = perturbed(name, metrics)
    if parts is None:
        return None
    clean = metrics.get(f"{parts.task}_{parts.kind}_0", metrics.get(parts.task))
    noisy = metrics[name]
    if clean is None or not clean.comparable(noisy):
        return None
    higher = "higher" in (clean.direction, noisy.direction)
    value = (clean.value - noisy.value) if higher else (noisy.value - clean.value)
    words = f"clean − {title(name, noisy)}" if higher else f"{title(name, noisy)} − clean"
    return replace(noisy, value=value, ci=_difference_ci(value, clean, noisy), direction="lower", title=words)


def _difference_ci(value: float, clean: Metric, noisy: Metric) -> tuple[float, float] | None:
    if clean.ci is None or noisy.ci is None:
        return None
    half = hypot(*(max(m.ci[1] - m.value, m.value - m.ci[0]) for m in (clean, noisy) if m.ci is not None))
    return value - half, value + half


def degradation_id(name: str) -> str:
    """Return the id under which `with_degradations` puts the degradation of a score."""
    return f"{name}_degradation"


def with_degradations(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics and the degradation of each score under a perturbation."""
    found = dict(metrics)
    for name in metrics:
        parts = perturbed(name, metrics)
        if parts is None or parts.statistic or parts.level == 0:
            continue
        worse = degradation(name, metrics)
        if worse is not None:
            found[degradation_id(name)] = worse
    return found


def levels(results: Iterable[PointResult]) -> dict[str, list[str]]:
    """List the perturbed scores (means, no quantiles) of each perturbation, by rising level."""
    found: dict[str, dict[str, float]] = {}
    for result in results:
        for name in result.metrics:
            parts = perturbed(name, result.metrics)
            if parts is not None and not parts.statistic and parts.level > 0:
                found.setdefault(parts.kind, {})[name] = parts.level
    return {kind: sorted(ids, key=lambda name: (ids[name], name)) for kind, ids in sorted(found.items())}


def landscape_scores(results: Iterable[PointResult]) -> list[str]:
    """List the ids of the landscape scores: traces, then eigenvalues, then the rest."""
    ids = {name for r in results for name in r.metrics if group_of(name, r.metrics) == "landscape"}
    order = {word: position for position, word in enumerate(LANDSCAPE)}
    return sorted(ids, key=lambda name: (min(order[word] for word in LANDSCAPE if word in name), name))


def plotted_scores(results: list[PointResult]) -> tuple[list[str], list[str]]:
    """Choose the scores of the Pareto plots.

    Returns:
        The main ones (task score, the middle level of each perturbation, trace and top eigenvalue), and the others.
    """
    task = task_score(results)
    main = [task] if task else []
    other: list[str] = []
    for ids in levels(results).values():
        middle = ids[len(ids) // 2]
        main.append(degradation_id(middle))
        other += [degradation_id(name) for name in ids if name != middle]
    for name in landscape_scores(results):
        (main if name in ("hessian_trace", "top_eigenvalue") else other).append(name)
    return main, other


def better(a: float, b: float, direction: Direction) -> bool:
    """Tell whether `a` is strictly better than `b`."""
    return a > b if direction == "higher" else a < b
