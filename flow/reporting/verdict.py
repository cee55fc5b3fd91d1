"""The result of a study in a few sentences with numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from flow.core.metric import Metric
from flow.reporting.catalog import COSTS, better, task_score, title
from flow.reporting.numbers import listing, plus_minus, significant, with_unit
from flow.reporting.panels import Panel, all_panels, axis_title, ranked_scores
from flow.reporting.pareto import knee
from flow.reporting.perturbation import middle_levels
from flow.reporting.result import PointResult
from flow.reporting.times import duration

DAYS = "upset_days_to_visible_"
ROUTED = ("fmax_mhz", "routed_latency_ns", "routed_frames_per_s")  # what the target clock promises and place and route may not keep


@dataclass(frozen=True)
class Highlight:
    """A point worth a box: what it is, its name, and its main numbers as (title, value and unit)."""

    role: str
    name: str
    numbers: list[tuple[str, str]]


@dataclass(frozen=True)
class Verdict:
    """Sentences, and the points that they speak of."""

    highlights: list[Highlight]
    sentences: list[str]


def _counts(results: list[PointResult]) -> str:
    kinds = {"failed": "failed", "untrained": "are untrained"}
    ranked = sum(result.ranked for result in results)
    parts = [f"{ranked} of {len(results)} points are ranked"]
    for status, words in kinds.items():
        count = sum(result.status == status for result in results)
        parts += [f"{count} {words if count > 1 else words.replace('are', 'is')}"] if count else []
    withheld = sum(result.inexact and result.status == "ok" for result in results)
    parts += [f"{withheld} disagreed at the exactness gate"] if withheld else []
    return ", ".join(parts) + "."


def _highlight(role: str, name: str, metrics: Mapping[str, Metric], ids: list[str]) -> Highlight:
    return Highlight(role, name, [(title(i, metrics[i]), with_unit(metrics[i])) for i in ids if i in metrics])


def _front_sentences(panel: Panel) -> list[str]:
    line = panel.front
    names = listing((f"{dot.name} ({plus_minus(dot.y)} at {with_unit(dot.x)})" for dot in line), 12)
    noun = "point is" if len(line) == 1 else "points are"
    sentences = [f"{panel.y_title} against {panel.x_title}: {len(line)} {noun} Pareto-optimal, from cheap to good: {names}."]
    close = panel.within_error()
    if close:
        noun = "point is" if len(close) == 1 else "points are"
        sentences.append(
            f"{len(close)} dominated {noun} within the 95 % intervals of the front and cannot be told from it: {listing(close)}."
        )
    return sentences


def _knee_sentences(panel: Panel, name: str) -> list[str]:
    line = panel.front
    at = next(i for i, dot in enumerate(line) if dot.name == name)
    here, before, after = line[at], line[at - 1], line[at + 1]

    def step(of: float, to: float, unit: str) -> str:
        return f"{significant(abs(to - of), 3)} {unit}".strip()

    return [
        f"The knee of that front is {name}: the next larger point of the front, {after.name}, costs "
        f"{step(here.x.value, after.x.value, here.x.unit)} more and gains {step(here.y.value, after.y.value, here.y.unit)}; "
        f"the next smaller one, {before.name}, saves {step(here.x.value, before.x.value, here.x.unit)} and loses "
        f"{step(here.y.value, before.y.value, here.y.unit)}."
    ]


def _robust_sentences(results: list[PointResult], scores: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    sentences = []
    for middle in middle_levels([result for result in results if result.ranked]):
        known = {name: metrics[middle] for name, metrics in scores.items() if middle in metrics}
        if len(known) < 2 or len({(m.unit, m.kind, m.part) for m in known.values()}) > 1:
            continue
        order = sorted(known, key=lambda name: known[name].value)
        least, most = (f"{_alike(known, name)} ({plus_minus(known[name])})" for name in (order[0], order[-1]))
        words = f"least for {least}, most for {most}"
        if known[order[0]].value == known[order[-1]].value:
            words = f"the same for all ({plus_minus(known[order[0]])})"
        sentences.append(f"{axis_title(middle, known[order[0]])}: {words}.")
    return sentences


def _alike(known: Mapping[str, Metric], name: str) -> str:
    """Name a point, and say how many others have its value: those of one network in several hardware."""
    others = sum(metric.value == known[name].value for metric in known.values()) - 1
    return f"{name} and {others} with the same value" if others else name


def _fault_sentences(scores: Mapping[str, Mapping[str, Metric]], task: str) -> list[str]:
    """Say how many single bits are visible, and how soon an upset is, at the place with the most of them."""
    sentences = []
    share = {name: metrics[i] for name, metrics in scores.items() if (i := f"{task}_single_bit_map_1_visible") in metrics}
    if share:
        order = sorted(share, key=lambda name: share[name].value)
        least, most = (f"{with_unit(share[name])} ({_alike(share, name)})" for name in (order[0], order[-1]))
        bits = "Deployed bits that are visible when they flip alone"
        sentences.append(f"{bits}: {least}." if len(order) == 1 else f"{bits}: from {least} to {most}.")
    days = {i: [m[i] for m in scores.values() if i in m] for i in sorted({i for m in scores.values() for i in m if i.startswith(DAYS)})}
    if days:
        soonest = min(days, key=lambda i: min(metric.value for metric in days[i]))
        ends = [duration(edge(metric.value for metric in days[soonest])) for edge in (min, max)]
        sentences.append(f"{title(soonest, days[soonest][0])}: " + (f"{ends[0]}." if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}."))
    return sentences


def verdict(results: list[PointResult]) -> Verdict:
    """Say what the study found: fronts of the task score, the knee, the most robust points."""
    task, scores = task_score([r for r in results if r.ranked]), ranked_scores(results)
    sentences = [_counts(results)]
    if task is None:
        return Verdict([], [*sentences, "No point has a task score, so nothing is ranked."])
    highlights: list[Highlight] = []
    by_cost = all_panels(results, [task])[task]
    for drawn, _ in (by_cost[cost] for cost in COSTS):
        panel = next(iter(drawn), None)
        if panel is None or not panel.ranked:
            continue
        sentences += _front_sentences(panel)
        slices = ["dsp"] if any(m["dsp"].value for m in scores.values() if "dsp" in m) else []
        ids = [task, "lut", *slices, "latency_cycles", "latency_ns", "frames_per_s", "reuse_factor", *ROUTED]
        names = {dot.name: scores[dot.name] for dot in panel.dots}
        bend = knee(names, frozenset(dot.name for dot in panel.front), (panel.cost, panel.score))
        if bend is not None:
            sentences += _knee_sentences(panel, bend)
        if panel.cost == "lut":
            best = panel.front[-1].name
            highlights = [_highlight("Best task score", best, scores[best], ids)]
            highlights += [_highlight("Knee of the front", bend, scores[bend], ids)] if bend else []
            cheap = panel.front[0].name
            highlights += [_highlight("Cheapest", cheap, scores[cheap], ids)] if cheap != best else []
    sentences += _trivial_sentences(scores, task)
    return Verdict(highlights, sentences + _robust_sentences(results, scores) + _fault_sentences(scores, task))


def _trivial_sentences(scores: Mapping[str, Mapping[str, Metric]], task: str) -> list[str]:
    """Name the points that do not beat the trivial predictor beyond their interval."""
    weak = []
    for name, metrics in scores.items():
        score, trivial = metrics.get(task), metrics.get(f"{task}_trivial")
        if score is not None and trivial is not None and not better(score.value, trivial.value, score.direction):
            weak.append(name)
    return [f"No better than the trivial predictor: {listing(weak)}. Treat these as untrained."] if weak else []
