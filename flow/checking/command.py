"""The command ``check`` with a data file: measure a network from elsewhere, and hold the figures against rules."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from flow import cli
from flow.checking.rules import DEFAULT, Line, apply, go, read_rules
from flow.config import DesignPoint
from flow.core.plan import order, run_point
from flow.core.stage import Stage
from flow.core.state import State
from flow.core.store import Store
from flow.reporting.numbers import listing, significant

WIDTH = 110
SCORES = ("landscape", "robustness")


def needed(point: DesignPoint) -> list[Stage]:
    """Return the stages that measure the landscape and the robustness of a point, and what these read; no hardware."""
    from flow.stages import all_stages

    every = order(all_stages(point))
    wanted = {stage.id for score in SCORES for stage in order(every, score)}
    return [stage for stage in every if stage.id in wanted]


def _value(line: Line) -> str:
    if line.metric is None:
        return ""
    ci = line.metric.ci
    return significant(line.metric.value, 3) + (f" [{significant(ci[0], 3)}, {significant(ci[1], 3)}]" if ci else "")


def _limit(line: Line) -> str:
    factor, sign = (line.rule.min, ">=") if line.rule.max is None else (line.rule.max, "<=")
    if not line.rule.of:
        return f"{sign} {factor:g}"
    share = f"{factor:g} x {line.rule.of}"
    return f"{sign} {share}" if line.limit is None else f"{sign} {significant(line.limit, 3)} ({share})"


def checklist(lines: Sequence[Line]) -> list[str]:
    """Write one line for each rule and metric, and below it why the rule is there."""
    width = max(len(line.name) for line in lines)
    text = [f"{'':<14}{'':<8}{'metric':<{width}}  {'value [95 %]':<26}  limit"]
    for line in lines:
        head = f"{line.status:<14}{line.rule.severity:<8}{line.name:<{width}}  {_value(line):<26}  {_limit(line)}"
        text.append(head.rstrip())
        words = f"{line.note} ({line.rule.why})" if line.note else line.rule.why
        text += wrap(words, WIDTH, initial_indent=" " * 22, subsequent_indent=" " * 22)
    return text


def verdict(lines: Sequence[Line], state: State) -> list[str]:
    """Say go or no-go, and what to do about what stands in the way."""
    if go(lines) and not state.failures:
        weak = [line.name for line in lines if line.status != "PASS"]
        return [f"GO: every rule that must pass does{f'; not passed, of those that should: {listing(weak)}' if weak else ''}."]
    must = [line for line in lines if line.rule.severity == "must"]
    text = []
    for status, words in (
        ("FAIL", "failed"),
        (
            "UNCLEAR",
            "the limit is inside of the interval; measure more: more data, or --set robustness.trials=..., .noise_draws=..., .samples=...",
        ),
        ("NOT MEASURED", "not measured; a rule that must pass cannot be left open"),
    ):
        if names := [line.name for line in must if line.status == status]:
            text.append(f"  {listing(names)}: {words}")
    text += [f"  stage {failure.stage} failed: {failure.message}" for failure in state.failures]
    return ["NO-GO:", *text]


def card(args: argparse.Namespace, point: DesignPoint, state: State, store: Store) -> str:
    """Write all figures that were measured."""
    from flow import results
    from flow.reporting.tables import terminal_table

    return terminal_table(results.point_result(point, state, store, results.run_command(None, args.sets, args.onnx, args.data)))


def command_check_data(args: argparse.Namespace) -> int:
    """Measure the landscape and the robustness of a QONNX file with its data, and check the figures.

    Returns:
        0: go; 1: no-go.
    """
    from flow.points import load_point
    from flow.stages.data import read_notes
    from flow.terminal import Progress

    path = Path(args.rules) if args.rules else DEFAULT
    rules = read_rules(path)
    files = [f"{key}={json.dumps(str(file), ensure_ascii=False)}" for key, file in (("onnx", args.onnx), ("data.path", args.data))]
    point = load_point(None, [*args.sets, *files])
    stages, store = needed(point), Store(cli.store_root())
    cli.say(f"{point.name}: {len(stages)} stages, store {store.root}")
    state = run_point(stages, point, store, Progress(cli.say))
    lines = apply(rules, state.metrics)
    passed = go(lines) and not state.failures
    if args.json:
        cli.emit(
            {
                "point": point.name,
                "verdict": "go" if passed else "no-go",
                "rules": str(path.resolve()),
                "lines": [line.to_json() for line in lines],
                "metrics": {name: metric.to_json() for name, metric in state.metrics.items()},
                "failures": [{"stage": f.stage, "error": f.error, "message": f.message} for f in state.failures],
            }
        )
        return 0 if passed else 1
    if "dataset" in state.paths and (words := read_notes(state.paths["dataset"]).get("compared_with")):
        cli.say(f"The output is compared with {words}.")
    cli.show(card(args, point, state, store))
    cli.show("\n".join([*checklist(lines), "", f"rules: {path.resolve()}", *verdict(lines, state)]))
    return 0 if passed else 1
