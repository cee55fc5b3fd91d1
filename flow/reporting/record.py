"""The records of a study for machines: metrics.json and pareto.csv."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from flow.reporting.catalog import plotted_scores
from flow.reporting.checklist import checklist
from flow.reporting.claim import Pair
from flow.reporting.claims.all import claims_json
from flow.reporting.correlation import Correlation
from flow.reporting.findings import Findings
from flow.reporting.objectives import WHOLE, objectives
from flow.reporting.panels import all_panels
from flow.reporting.result import PointResult
from flow.reporting.robustness import faults_json

SCHEMA = "hlscape-report/1"


def fronts(results: list[PointResult]) -> dict[str, dict[str, bool]]:
    """Return for each plot ``<score>_vs_<cost>`` which of its points are on the front; points that are not on it are absent.

    A study of streaming networks has the front over all its objectives as `WHOLE`, too.
    """
    found: dict[str, dict[str, bool]] = {}
    main, other = plotted_scores([result for result in results if result.ranked])
    for score, by_cost in all_panels(results, [*main, *other]).items():
        for cost, (drawn, _) in by_cost.items():
            on = {dot.name: dot.front for panel in drawn if panel.ranked for dot in panel.dots}
            if on:
                found[f"{score}_vs_{cost}"] = dict(sorted(on.items()))
    whole = objectives(results)
    return found | ({WHOLE: {name: name in whole.front for name in sorted(whole.names)}} if whole else {})


def _correlation(found: Correlation | None) -> dict[str, Any] | None:
    return None if found is None else {"rho": found.rho, "p": found.p, "ci": list(found.ci)}


def _pair(pair: Pair) -> dict[str, Any]:
    kinds = {"plain": "spearman", "given_bits": "given_weight_bits", "given_both": "given_weight_bits_and_clean_score"}
    return {"n": pair.n, "configurations": pair.configurations, **{word: _correlation(pair.found[kind]) for kind, word in kinds.items()}}


def metrics_json(
    study: str, title: str, command: str, results: list[PointResult], withheld: Mapping[str, list[str]], found: Findings
) -> str:  # fmt: skip
    """Write everything as one JSON document: keys sorted, points in the order of their names, no time and no place."""
    pairs = {key: pair for table in (found.claim.main, *found.claim.more.values()) for key, pair in table.pairs.items()}
    document = {
        "schema": SCHEMA,
        "study": study,
        "title": title,
        "command": command,
        "points": [result.to_json() for result in results],
        "withheld": dict(withheld),
        "fronts": fronts(results),
        "correlations": {f"{row} / {column}": _pair(pair) for (row, column), pair in pairs.items()},
        "claims": claims_json(found.judged),
        "faults": {result.name: numbers for result in results if (numbers := faults_json(result))},
        "checklist": [
            {"text": check.text, "passed": check.passed, "done": check.done, "detail": check.detail} for check in checklist(results)
        ],
    }
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables under dotted keys; lists stay whole.

    >>> flat({"network": {"weight_bits": 6}, "seed": 0})
    {'network.weight_bits': 6, 'seed': 0}
    """
    leaves: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def varying(results: list[PointResult]) -> list[str]:
    """List the dotted keys of the design point that differ within the study, without name and regularizers."""
    documents = [flat({k: v for k, v in result.config.items() if k not in ("name", "regularizers")}) for result in results]
    keys = sorted({key for document in documents for key in document})
    return [key for key in keys if len({json.dumps(document.get(key), sort_keys=True) for document in documents}) > 1]


def regularizers(result: PointResult) -> str:
    """Write the regularizers of a point with their strengths, and options in brackets; empty without any."""
    return " ".join(f"{name}={_strength(given)}" for name, given in sorted(result.config.get("regularizers", {}).items()))


def _strength(given: float | Mapping[str, float]) -> str:
    if not isinstance(given, Mapping):
        return f"{given:g}"
    options = ", ".join(f"{name} {value:g}" for name, value in given.items() if name != "strength")
    return f"{given['strength']:g}" + (f"({options})" if options else "")


def _text(value: object) -> object:
    """Keep a spreadsheet from running a text as a formula."""
    if isinstance(value, list | dict):
        value = json.dumps(value, sort_keys=True)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def pareto_csv(results: list[PointResult]) -> str:
    """Write a row a point: configuration, every metric with interval and class, and whether it is on each front (1, 0 or empty)."""
    config_keys = list(dict.fromkeys(["model", "seed", "network.weight_bits", "hardware.part", "hardware.clock_ns", *varying(results)]))
    ids = sorted({name for result in results for name in result.metrics})
    on_front = fronts(results)
    header = ["name", "status", *config_keys, "regularizers", "gate_passed"]
    header += [f"{name}{suffix}" for name in ids for suffix in ("", "_low", "_high", "_unit", "_class")]
    header += [f"on_front_{plot}" for plot in on_front]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for result in results:
        config = flat(result.config)
        row = [result.name, result.status, *(config.get(key, "") for key in config_keys), regularizers(result), int(result.exact)]
        for name in ids:
            metric = result.metrics.get(name)
            if metric is None:
                row += [""] * 5
            else:
                row += [repr(metric.value), *(map(repr, metric.ci) if metric.ci else ("", "")), metric.unit, metric.kind]
        row += [str(int(points[result.name])) if result.name in points else "" for points in on_front.values()]
        # Numbers were written by repr, so a leading minus is a number and not a formula.
        writer.writerow([cell if _is_number(cell) else _text(cell) for cell in row])
    return stream.getvalue()


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except (TypeError, ValueError):
        return False
    return True
