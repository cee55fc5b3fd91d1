"""What a metric id stands for: hardware cost, task score, its degradation under a perturbation, landscape score, gate."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from flow.core.metric import Direction, Metric
from flow.reporting.perturbation import RANKED, falls, main_kinds, middle, middle_levels, of_curve, of_landscape, perturbed, plugins
from flow.reporting.perturbation import levels as levels  # noqa: PLC0414  # a name of this module for others
from flow.reporting.result import PointResult

Group = Literal["hardware", "task", "robustness", "protection", "landscape", "compat", "import", "facts", "gate"]
COSTS = ("lut", "latency_ns")
STREAMS = ("dsp", "frames_per_s", "reuse_factor", "multipliers")
"""Further axes of a study of streaming networks, where they differ."""
HARDWARE = (
    "lut", "lut6_packed", "ff", "dsp", "carry", "carry8", "bram", "uram",
    "latency_cycles", "latency_ns", "ii_cycles", "frames_per_s", "reuse_factor", "multipliers",
)  # fmt: skip
LANDSCAPE = ("trace", "eigen", "gradient", "hessian")
"""Words in the ids of landscape scores; the others begin with the name of a plug-in of `flow.landscape`."""
STARTS: dict[str, Group] = {
    "gate_": "gate", "approximation_": "import", "pylandscape_": "compat", "harden_": "protection", "upset_": "robustness",
    "upsets_": "robustness", "register_": "robustness",
}  # fmt: skip
"""What ids begin with; what the released code of Baldi et al. would give is never ranked or correlated."""
FACTS = re.compile(r"^samples_|^epochs$|^zero_weights$|_loss$")
LEVEL_AT_END = re.compile(r"_(\d+(?:\.\d+)?)$")
MAIN_SCORES = {"mode_connectivity": "mode_connectivity_linear", "spectrum": "spectrum_effective_rank", "surface": "surface_rise"}
"""Which score stands for a landscape plug-in where its name does not tell."""


def group_of(name: str, metrics: Mapping[str, Metric]) -> Group:
    """Tell what a metric is about, from its id first and its provenance class second."""
    for start, group in STARTS.items():
        if name.startswith(start):
            return group
    if name in HARDWARE or name.endswith("_percent") or (name in metrics and metrics[name].kind != "measured"):
        return "hardware"
    if perturbed(name, metrics) is not None or of_curve(name, metrics) is not None:
        return "robustness"
    if any(word in name for word in LANDSCAPE) or of_landscape(name):
        return "landscape"
    return "facts" if FACTS.search(name) else "task"


def costs_of(results: Iterable[PointResult]) -> list[str]:
    """List the costs that scores are drawn against: those of all networks, then those of streams in which the points differ."""
    known = list(results)
    values = {name: {r.metrics[name].value for r in known if name in r.metrics} for name in STREAMS}
    return [*COSTS, *(name for name, found in values.items() if len(found) > 1 and values["frames_per_s"])]


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


def _landscape_place(name: str) -> tuple[int, str]:
    return min((place for place, word in enumerate(LANDSCAPE) if word in name), default=len(LANDSCAPE)), name


def landscape_scores(results: Iterable[PointResult]) -> list[str]:
    """List the ids of the landscape scores of whole networks, not of layers: traces, then eigenvalues, then the rest."""
    found = {name for r in results for name in r.metrics if "_layer_" not in name and group_of(name, r.metrics) == "landscape"}
    return sorted(found, key=_landscape_place)


def main_landscape_scores(results: Iterable[PointResult]) -> list[str]:
    """List one landscape score for each plug-in: of all parameters, of the middle level, and the mean where there are several."""
    families: dict[str, list[str]] = {}
    for name in landscape_scores(results):
        plugin = max((p for p in plugins("landscape") if name == p or name.startswith(f"{p}_")), key=len, default=name)
        if not name.endswith("_chip"):
            families.setdefault(plugin, []).append(name)
    return sorted((_main_of(plugin, ids) for plugin, ids in families.items()), key=_landscape_place)


def _main_of(plugin: str, ids: list[str]) -> str:
    for name in (MAIN_SCORES.get(plugin), plugin):
        if name in ids:
            return name
    candidates = [name for name in ids if "_mean" in name] or ids
    by_stem: dict[str, list[tuple[float, str]]] = {}
    for name in candidates:
        level = LEVEL_AT_END.search(name)
        by_stem.setdefault(name[: level.start()] if level else name, []).append((float(level[1]) if level else 0.0, name))
    first = sorted(next(iter(by_stem.values())))
    return first[len(first) // 2][1]


def ids_of(group: Group, metrics: Mapping[str, Metric], task: str | None) -> list[str]:
    """List the ids of a group in the order of a table: costs as `HARDWARE`, the task score first, perturbations by rising level."""

    def place(name: str) -> tuple[object, ...]:
        if group == "hardware":
            return (HARDWARE.index(name) if name in HARDWARE else len(HARDWARE), name)
        parts = perturbed(name, metrics) if group == "robustness" else None
        if parts is not None:
            return (0, parts.kind, -parts.level if falls(parts.kind) else parts.level, parts.statistic)
        whole = of_curve(name, metrics) if group == "robustness" else None
        if group == "robustness":
            return (0, whole[1], float("inf"), whole[2]) if whole is not None else (1, name, 0.0, "")
        return _landscape_place(name) if group == "landscape" else (name != task, not name.startswith(task or ""), name)

    return sorted((name for name in metrics if group_of(name, metrics) == group), key=place)


def plotted_scores(results: list[PointResult]) -> tuple[list[str], list[str]]:
    """Choose the scores of the Pareto plots.

    Returns:
        The main ones (task score, the middle level of each perturbation that stands for all, trace and top eigenvalue), and others: a
        score of each other landscape plug-in, and, of a few perturbations, the remaining levels and the middle one of ranked flips. Of
        many perturbations the levels are to be seen in the degradation curves only.
    """
    task, main = task_score(results), middle_levels(results)
    by_kind = levels(results)
    few = {kind: ids for kind, ids in by_kind.items() if main_kinds(by_kind) == list(by_kind)}
    aimed = [middle(ids) for kind, ids in few.items() if kind.startswith(RANKED)]
    other = [name for kind, ids in few.items() for name in ids if name in aimed or not (kind.startswith(RANKED) or name in main)]
    landscape = main_landscape_scores(results)
    curvature = [name for name in landscape if name in ("hessian_trace", "top_eigenvalue")]
    return [*([task] if task else []), *main, *curvature], [*other, *(name for name in landscape if name not in curvature)]


def better(a: float, b: float, direction: Direction) -> bool:
    """Tell whether `a` is strictly better than `b`."""
    return a > b if direction == "higher" else a < b
