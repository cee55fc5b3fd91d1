"""The review checklist: each line is computed from the data, never from a promise."""

from collections.abc import Callable
from dataclasses import dataclass

from flow.reporting.catalog import costs_of, group_of, landscape_scores, plotted_scores
from flow.reporting.degradation import GROUPS, group
from flow.reporting.numbers import listing
from flow.reporting.panels import ranked_scores
from flow.reporting.pareto import axis
from flow.reporting.perturbation import levels
from flow.reporting.result import PointResult

OF_ANY_PART = ("cycles", "ns", "1/s", "multipliers")  # counted, or counted times the target clock


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Attributes:
        text: what is asked.
        passed: whether it holds.
        detail: the reason in words.
        done: False: nothing of the kind was measured, so it neither holds nor fails.
    """

    text: str
    passed: bool
    detail: str
    done: bool = True


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
            lacks = [w for w, has in (("tool", metric.source), ("part", metric.part or metric.unit in OF_ANY_PART)) if not has]
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
    axes = [*costs_of(results), *main, *other]
    for name in axes:
        kinds = sorted({axis(metrics[name]) for metrics in scores.values() if name in metrics})
        if len(kinds) > 1:
            wrong.append(f"{name}: {' / '.join(kinds)}")
    detail = f"drawn apart and never ranked together: {listing(wrong)}" if wrong else f"{len(axes)} axes"
    return Check(text, not wrong, detail)


def _of_points(text: str, results: list[PointResult], having: list[PointResult], found: str, reason: str) -> Check:
    """Judge that something was measured at every point."""
    if not having:
        return Check(text, False, f"not done: {reason}", done=False)
    lacking = [result.name for result in results if result not in having]
    return Check(text, not lacking, f"not at {listing(lacking)}; else {found}" if lacking else found)


def _without(results: list[PointResult], table: str, key: str, words: str) -> str:
    """Say why a figure is not there: the setting that leaves it out, or else that it was not made."""
    known = [result.config.get(table, {}).get(key) for result in results]
    return words if all(not value for value in known) else "it was asked for, but no point has it; see the stages of the points"


def _perturbed(results: list[PointResult], which: str, text: str) -> Check:
    by_point = {r.name: [kind for kind in levels([r]) if group(kind) == which] for r in results}
    kinds = sorted({kind for some in by_point.values() for kind in some})
    having = [r for r in results if by_point[r.name]]
    some = listing((kind.replace("_", " ") for kind in kinds), 30)
    reason = "robustness.perturbations names none of these, or their stage failed"
    return _of_points(text, results, having, f"{len(kinds)} perturbations: {some}", reason)


def _noise(results: list[PointResult]) -> Check:
    return _perturbed(results, GROUPS[0], "The task score was measured with perturbed inputs")


def _flips(results: list[PointResult]) -> Check:
    return _perturbed(results, GROUPS[1], "The task score was measured with faults in weights and biases")


def _map(results: list[PointResult]) -> Check:
    having = [r for r in results if any(name.endswith("_single_bit_map_1") for name in r.metrics)]
    sources = sorted({m.source for r in having for name, m in r.metrics.items() if name.endswith("_single_bit_map_1")})
    asked = any("single_bit_map" in r.config.get("robustness", {}).get("perturbations", ()) for r in results)
    reason = "its stage failed or is older" if asked else "single_bit_map is not in robustness.perturbations"
    found = "; ".join(sources[:3]) + (" and others" if len(sources) > 3 else "")
    return _of_points("Every deployed bit was flipped alone", results, having, found, reason)


def _times(results: list[PointResult]) -> Check:
    text = "The time to a visible error is known, with the source of the upset rate"
    known = {r.name: [m for name, m in r.metrics.items() if name.startswith("upset_days_")] for r in results}
    mapped = [r for r in results if any(name.endswith("_single_bit_map_1") for name in r.metrics)]
    having = [r for r in mapped if known[r.name] and all(m.source and m.ci for m in known[r.name])]
    harmless = [r for r in mapped if not known[r.name]]
    places = max((len(some) for some in known.values()), default=0)
    found = f"{places} rates" + (f"; no single bit is visible at {listing(r.name for r in harmless)}" if harmless else "")
    return _of_points(text, results, [*having, *harmless], found, "it needs the map of single bits")


def _registers(results: list[PointResult]) -> Check:
    text = "Upsets of pipeline registers were measured, and the simulated Verilog agrees"
    having = [r for r in results if any("_register_flip_" in name for name in r.metrics)]
    compared = [r.metrics["gate_upsets_mismatches"].value for r in having if "gate_upsets_mismatches" in r.metrics]
    reason = _without(results, "registers", "flips", "registers.flips = 0, or the back end has no RTL")
    if having and (len(compared) < len(having) or any(compared)):
        return Check(text, False, "the simulation was not compared at every point, or differs")
    return _of_points(text, results, having, "no mismatch", reason)


def _hardening(results: list[PointResult]) -> Check:
    having = [r for r in results if any(name.startswith("harden_") for name in r.metrics)]
    methods = sorted({str(method) for r in having for method in r.config.get("protection", {}).get("methods", ())})
    reason = _without(results, "protection", "methods", "protection.methods is empty, or the back end has no RTL")
    found = f"methods: {listing(methods) or 'unknown'}"
    return _of_points("Hardened designs were built, mapped and priced", results, having, found, reason)


CHECKS: tuple[Callable[[list[PointResult]], Check], ...] = (
    _gate, _hardware, _seeds, _intervals, _test_set, _axes, _noise, _flips, _map, _times, _registers, _hardening,
)  # fmt: skip


def checklist(results: list[PointResult]) -> list[Check]:
    """Return the checklist for the points that are ranked; without any, nothing passes."""
    ranked = [result for result in results if result.ranked]
    if not ranked:
        return [Check("Some point can be ranked", False, "all points failed or are untrained")]
    return [check(ranked) for check in CHECKS]
