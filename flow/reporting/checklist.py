"""The review checklist: each line is computed from the data, never from a promise."""

from collections.abc import Callable
from dataclasses import dataclass

from flow.reporting.catalog import COSTS, group_of, landscape_scores, plotted_scores
from flow.reporting.numbers import listing
from flow.reporting.panels import ranked_scores
from flow.reporting.pareto import axis
from flow.reporting.result import PointResult


@dataclass(frozen=True)
class Check:
    """One line of the checklist: what is asked, whether it holds, and the reason in words."""

    text: str
    passed: bool
    detail: str


def _gate(results: list[PointResult]) -> Check:
    text = "The exactness gate passed on every point that is shown"
    wrong = [r.name for r in results if not r.exact]
    if wrong:
        return Check(text, False, f"not passed or not run: {listing(wrong)}")
    counts = [r.gate["samples"] for r in results if r.gate is not None]
    return Check(text, True, f"0 mismatches in {sum(counts)} samples, at least {min(counts)} a point")


def _hardware(results: list[PointResult]) -> Check:
    text = "Every hardware number has a provenance class, a tool and a part"
    wrong, count = [], 0
    for result in results:
        for name, metric in result.metrics.items():
            if group_of(name, result.metrics) != "hardware":
                continue
            count += 1
            # Cycles, and nanoseconds at the target clock, are the same on every part.
            lacks = [w for w, has in (("tool", metric.source), ("part", metric.part or metric.unit in ("cycles", "ns"))) if not has]
            if lacks:
                wrong.append(f"{result.name}: {name} (no {' and no '.join(lacks)})")
    if wrong:
        return Check(text, False, listing(wrong))
    return Check(text, count > 0, f"{count} numbers" if count else "there is no hardware number")


def _seeds(results: list[PointResult]) -> Check:
    def explicit(result: PointResult) -> bool:
        trained = "onnx" not in result.config  # else the network came as it is
        return _is_seed(result.config.get("data", {}).get("seed")) and (not trained or _is_seed(result.config.get("seed")))

    wrong = [r.name for r in results if not explicit(r)]
    seeds = sorted({str(r.config.get("seed")) for r in results} - {"None"})
    words = f"training seeds {listing(seeds)}; the data have a seed of their own" if seeds else "nothing was trained; the data have a seed"
    detail = f"no seed: {listing(wrong)}" if wrong else words
    return Check("Seeds of training and of data are explicit", not wrong, detail)


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _intervals(results: list[PointResult]) -> Check:
    text = "Every sampled score on a plot has a 95 % confidence interval"
    main, other = plotted_scores(results)
    scores = ranked_scores(results)
    found = {name: [m[name] for m in scores.values() if name in m] for name in (*main, *other)}
    without = {name: sum(metric.ci is None for metric in metrics) for name, metrics in found.items()}
    # A landscape score that never has an interval is computed to convergence on its samples, such as an eigenvalue.
    exact = [i for i in landscape_scores(results) if found.get(i) and without[i] == len(found[i])]
    wrong = [f"{name} ({count} points)" for name, count in without.items() if count and name not in exact]
    if wrong:
        return Check(text, False, f"no interval: {listing(wrong)}")
    words = f"; computed to convergence on its samples, so without one: {listing(exact)}" if exact else ""
    return Check(text, bool(main), f"{len(found) - len(exact)} scores{words}" if main else "there is no score")


def _test_set(results: list[PointResult]) -> Check:
    text = "All points were scored on the same test set"
    digests = {str(sorted(r.stages.get("data", {}).get("artifacts", {}).items())) for r in results}
    if len(digests) == 1 and digests != {"[]"}:
        return Check(text, True, "the artifacts of the data stage have the same digests")
    tables = {str((r.config.get("model"), sorted(r.config.get("data", {}).items()))) for r in results}
    if digests == {"[]"}:
        detail = "the data tables of all points are equal" if len(tables) == 1 else f"{len(tables)} different data tables"
        return Check(text, len(tables) == 1, detail)
    return Check(text, False, f"the artifacts of the data stage come in {len(digests)} versions")


def _axes(results: list[PointResult]) -> Check:
    text = "Numbers on one axis have one provenance class, unit and part"
    scores = ranked_scores(results)
    main, other = plotted_scores(results)
    wrong = []
    for name in (*COSTS, *main, *other):
        kinds = sorted({axis(metrics[name]) for metrics in scores.values() if name in metrics})
        if len(kinds) > 1:
            wrong.append(f"{name}: {' / '.join(kinds)}")
    detail = f"drawn apart and never ranked together: {listing(wrong)}" if wrong else f"{len(main) + len(other) + len(COSTS)} axes"
    return Check(text, not wrong, detail)


CHECKS: tuple[Callable[[list[PointResult]], Check], ...] = (_gate, _hardware, _seeds, _intervals, _test_set, _axes)


def checklist(results: list[PointResult]) -> list[Check]:
    """Return the checklist for the points that are ranked; without any, nothing passes."""
    ranked = [result for result in results if result.ranked]
    if not ranked:
        return [Check("Some point can be ranked", False, "all points failed or are untrained")]
    return [check(ranked) for check in CHECKS]
