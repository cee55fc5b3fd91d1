"""The HTML page: one file, no network, nothing of a user that is not escaped."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flow.reporting.beside import beside
from flow.reporting.bitmap import palette
from flow.reporting.catalog import COSTS, costs_of, plotted_scores
from flow.reporting.catalog import title as title_of
from flow.reporting.checklist import checklist
from flow.reporting.claim import KINDS
from flow.reporting.claims.judge import RULES
from flow.reporting.curves import study_charts
from flow.reporting.findings import Findings
from flow.reporting.numbers import listing, p_value, signed, significant
from flow.reporting.objectives import draw_objectives
from flow.reporting.page_claims import claim_views, summary
from flow.reporting.page_points import PointView, Sources, columns, common_settings, point_view, reasons, rows
from flow.reporting.panels import all_panels, ranked_scores
from flow.reporting.result import PointResult
from flow.reporting.robustness import robustness
from flow.reporting.screening import screening
from flow.reporting.shapes import landscapes
from flow.reporting.svg import SHAPES, Drawing, Key, blend, draw
from flow.reporting.verdict import verdict

CLASSES = (
    ("measured", "counted on data or in simulation; an interval where it was sampled"),
    ("estimate", "computed from a formula or from numbers of another class, before any tool for the part has run"),
    ("csynth", "what a high-level synthesis tool predicts for its C++"),
    ("mapped", "counted after technology mapping to the cells of the part, before placement and routing"),
    ("routed", "read from a placed and routed design"),
)


@dataclass(frozen=True)
class Figure:
    """The drawings of a score against one cost, and what a reader must know about them."""

    score: str
    cost: str
    drawings: list[Drawing]
    notes: list[str]


def gate_passed(results: list[PointResult]) -> list[PointResult]:
    """Return the points that passed every level of the gate that any point of the study reached."""
    wanted = {level for result in results if result.gate for level in result.gate.get("levels", {})}
    return [result for result in results if result.exact and result.gate and wanted <= set(result.gate.get("levels", {}))]


def plot_key(results: list[PointResult]) -> Key:
    """Give a colour to each weight width and a marker to each set of regularizers of the points that are ranked."""
    ranked = [result for result in results if result.ranked]
    bits = sorted({result.weight_bits for result in ranked}, key=lambda b: (b is None, b or 0))
    names = sorted({result.regularizer for result in ranked}, key=lambda name: (name != "none", name))
    return Key(bits, names, {result.name: number for number, result in enumerate(results)})


def _figures(results: list[PointResult], ids: list[str], key: Key) -> list[Figure]:
    return [
        Figure(score, cost, [draw(panel, key) for panel in drawn], [*notes, *(n for panel in drawn for n in panel.notes)])
        for score, by_cost in all_panels(results, ids).items()
        for cost, (drawn, notes) in by_cost.items()
    ]


def _pareto(results: list[PointResult], key: Key) -> dict[str, object]:
    """Return all that is drawn of fronts: of the main scores, of these against further costs, of other scores, and all at once."""
    ranked = [result for result in results if result.ranked]
    main, other = plotted_scores(ranked)
    drawn = _figures(results, main, key)
    more = [cost for cost in costs_of(ranked) if cost not in COSTS]
    axes = [next(title_of(cost, r.metrics[cost]) for r in ranked if cost in r.metrics) for cost in more]
    return {
        "main": [f for f in drawn if f.cost in COSTS], "further": [f for f in drawn if f.cost in more], "further_axes": listing(axes),
        "other": [f for f in _figures(results, other, key) if f.cost in COSTS], "parallel": draw_objectives(results, key),
    }  # fmt: skip


def _facts(results: list[PointResult]) -> list[tuple[str, str]]:
    hardware = [result.config.get("hardware", {}) for result in results]
    parts = sorted({str(table["part"]) for table in hardware if "part" in table})
    clocks = sorted({float(table["clock_ns"]) for table in hardware if "clock_ns" in table})
    clock = ", ".join(f"{significant(ns, 3)} ns ({significant(1000 / ns, 3)} MHz)" for ns in clocks)
    return [
        ("Design points", str(len(results))),
        ("Passed the exactness gate", f"{len(gate_passed(results))} of {len(results)}"),
        ("FPGA part", ", ".join(parts) or "not given"),
        ("Clock period", clock or "not given"),
    ]


def _versions(results: list[PointResult]) -> list[tuple[str, str]]:
    found: dict[str, set[str]] = {}
    for result in results:
        for tool, version in result.versions.items():
            found.setdefault(tool, set()).add(version)
    return [(tool, ", ".join(sorted(versions))) for tool, versions in sorted(found.items())]


def _common_notes(results: list[PointResult]) -> list[tuple[str, str]]:
    if not results:
        return []
    first = results[0].notes
    return [(key, str(value)) for key, value in sorted(first.items()) if all(r.notes.get(key) == value for r in results)]


def _kinds(results: list[PointResult]) -> list[tuple[str, str, bool]]:
    used = {metric.kind for result in results for metric in result.metrics.values()}
    return [(kind, words, kind in used) for kind, words in CLASSES]


def _not_run(results: list[PointResult]) -> list[str]:
    """Say which steps towards hardware were not taken, from the classes and stages that are there."""
    used = {metric.kind for result in results for metric in result.metrics.values()}
    words = []
    if "routed" not in used:
        words.append("Placement and routing: a latency in nanoseconds assumes that the clock period is met, which only they can show.")
    if "mapped" not in used and "routed" not in used:
        words.append("Technology mapping: there is no count of cells.")
    if "csynth" not in used:
        words.append("High-level synthesis by a vendor tool.")
    skipped: dict[str, int] = {}
    for result in results:
        for stage, entry in result.stages.items():
            skipped[stage] = skipped.get(stage, 0) + (entry.get("status") == "skipped")
    return [*words, *(f"Stage {stage}: skipped for {count} points." for stage, count in sorted(skipped.items()) if count)]


def _script(environment: Environment) -> tuple[Markup, str]:
    """Return the script and its hash: the page's policy lets no other script run."""
    text = environment.get_template("report.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"  # noqa: S704  # our own file, no data in it


def _claims(found: Findings) -> dict[str, object]:
    views, words = claim_views(found.judged), summary(found.judged)
    return {"claim": found.claim, "kinds_of_rho": KINDS, "claims": views, "claims_summary": words, "rules": RULES}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"signed": signed, "p_value": p_value}
    return environment


def render_page(
    study: str, title: str, command: str, results: list[PointResult], withheld: Mapping[str, list[str]], found: Findings, files: list[str]
) -> str:  # fmt: skip
    """Render the report.

    Args:
        study: name of the study.
        title: words for the headline; empty: the name.
        command: what makes the study again.
        results: as `flow.reporting.publish.published` returns them.
        withheld: ids of figures that are not shown, by point.
        found: correlations, claims and screening.
        files: names of the files beside the page.
    """
    environment = _environment()
    key, script = plot_key(results), _script(environment)
    scores = ranked_scores(results)
    table = columns(results, scores)
    common = common_settings(results)
    cite = Sources(len(results))
    points: list[PointView] = [
        point_view(number, result, withheld.get(result.name, []), common, cite) for number, result in enumerate(results)
    ]
    return environment.get_template("report.html.j2").render(
        study=study,
        title=title or study,
        command=command,
        facts=_facts(results),
        verdict=verdict(results),
        key=key,
        shapes=[key.shape(name) for name in key.regularizers],
        circle=SHAPES[0],
        light=blend(len(key.bits), 0.0, 0.74),
        dark=blend(len(key.bits), 0.42, 1.0),
        **_pareto(results, key),
        training=study_charts(results, key) if len(points) > 1 else [chart for p in points for chart in p.charts],
        columns=table,
        rows=rows(results, scores, table),
        points=points,
        sources=list(cite.numbers),
        ids=sorted({name: title_of(name, m) for r in reversed(results) for name, m in r.metrics.items()}.items()),
        all_shapes=SHAPES,
        landscapes=landscapes(results),
        robustness=robustness(results, key),
        palette=palette()[::8],
        beside=beside(results),
        screening=screening(found.screen, results, key),
        **_claims(found),
        failed=[(p, reasons(p.result)) for p in points if p.result.status != "untrained" and not p.result.ranked],
        untrained=[(p, reasons(p.result)) for p in points if p.result.status == "untrained"],
        versions=_versions(results),
        notes=_common_notes(results),
        common=list(common.items()),
        kinds=_kinds(results),
        not_run=_not_run(results),
        files=files,
        checks=checklist(results),
        script=script[0],
        script_hash=script[1],
    )
