"""What each command does; `flow.cli` parses and prints."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from flow import cli, comparison, results
from flow.config import DesignPoint, Study
from flow.core import explain as explaining
from flow.core.errors import ConfigError
from flow.core.plan import order, run_point
from flow.core.plugins import load, names
from flow.core.state import Failure, State
from flow.core.store import Store
from flow.core.sweep import run_many
from flow.model import model_names
from flow.points import load_document, load_point, load_study
from flow.project import publish
from flow.reporting import published
from flow.reporting.result import PointResult
from flow.reporting.tables import study_table, terminal_table
from flow.screening.command import command_screen  # noqa: F401  (found by its name)
from flow.stages import KNOWN, all_stages, load_stage
from flow.terminal import Progress
from flow.vendor.read_report import command_read_report  # noqa: F401  (found by its name)

REPORTS, PROJECTS = Path("reports"), Path("hls_projects")
GROUPS = {
    "regularizers": "regularizers",
    "metrics": "landscape",
    "perturbations": "robustness",
    "backends": "synth",
    "repairs": "quant.repairs",
}


def _store() -> Store:
    return Store(cli.store_root())


def _point(args: argparse.Namespace) -> DesignPoint:
    """Read the design point of a command: a TOML file, or a QONNX file and a data file, or both."""
    if not args.point and not args.onnx:
        raise ConfigError("there is nothing to do. Give a POINT.toml, or --onnx FILE --data FILE.")
    files = [f"{key}={json.dumps(file, ensure_ascii=False)}" for key, file in (("onnx", args.onnx), ("data.path", args.data)) if file]
    point = load_point(Path(args.point) if args.point else None, [*args.sets, *files])
    published.document(point.model)  # a mistake in it is told before any work starts
    return point


def command_run(args: argparse.Namespace) -> int:
    """Take one point through the flow, then write its project and its report."""
    point = _point(args)
    stages, store = order(all_stages(point), args.until), _store()
    cli.say(f"{point.name}: {len(stages)} stage{'s' * (len(stages) > 1)}, store {store.root}")
    state = run_point(stages, point, store, Progress(cli.say))
    if all(r.cached for r in state.results.values()):
        cli.say("Nothing had to be done: every stage is in the store.")
    command = results.run_command(args.point, args.sets, args.onnx, args.data)
    result = results.point_result(point, state, store, command)
    if words := result.notes.get("compared_with"):
        cli.say(f"The output is compared with {words}.")
    project = publish(store, PROJECTS / point.name, state, result)
    page = None if args.until else results.publish_report(store, REPORTS / point.name, point.name, command, [result])
    if args.json:
        extra = {"point": point.name, "project": str(project or ""), "report": str(page or "")}
        cli.emit(results.document([result], {point.name: state}, extra))
    else:
        cli.show(terminal_table(result))
        _say_where(project, page)
    return 1 if result.failures else 0


def _say_where(project: Path | None, page: Path | None) -> None:
    if project is not None:
        cli.show(f"project: {project.resolve()}")
    if page is not None:
        cli.show(f"report:  {page.resolve()}")


def command_sweep(args: argparse.Namespace) -> int:
    """Run a study on several processes and write its report."""
    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: at least one process is needed.")
    study, points = load_study(Path(args.study), args.sets)
    for model in {point.model for point in points}:
        published.document(model)
    store = _store()
    cli.say(f"{study.name}: {len(points)} point{'s' * (len(points) > 1)}, {args.jobs} at a time, store {store.root}")
    progress = Progress(cli.say, many=True)
    outcomes: dict[str, State | Failure] = {}
    work = [(order(all_stages(point)), point) for point in points]
    for point, outcome in run_many(work, store, args.jobs, progress):
        outcomes[point.name] = outcome
        verdict = outcome.message if isinstance(outcome, Failure) else "done" if not outcome.failures else "finished with failures"
        cli.say(f"--- {len(outcomes)}/{len(points)} {point.name}: {verdict}")
    outcomes = comparison.compare(points, outcomes, store, args.jobs, progress)
    states = {name: o for name, o in outcomes.items() if isinstance(o, State)}
    if len(states) == len(points) and all(r.cached for s in states.values() for r in s.results.values()):
        cli.say("Nothing had to be done: every stage is in the store.")
    return _finish_study(args, study, points, outcomes, results.sweep_command(args.study, args.sets))


def _finish_study(
    args: argparse.Namespace, study: Study | None, points: Sequence[DesignPoint], outcomes: dict[str, State | Failure], command: str
) -> int:
    store = _store()
    if broken := {o.message for o in outcomes.values() if isinstance(o, Failure)}:
        cli.say("Not every point could be run:\n  " + "\n  ".join(sorted(broken)))
        if len(broken) == 1 and not any(isinstance(o, State) for o in outcomes.values()):
            return 2
    name = points[0].name if study is None else study.name
    documents: list[PointResult] = []
    for point in points:
        outcome = outcomes[point.name]
        reproduce = command if study is None else results.point_command(args.study, study, point, args.sets)
        if isinstance(outcome, Failure):
            documents.append(results.request_failure(point, outcome, reproduce))
        else:
            documents.append(results.point_result(point, outcome, store, reproduce))
            publish(store, PROJECTS / point.name, outcome, documents[-1])
    page = results.publish_report(store, REPORTS / name, name, command, documents)
    if args.json:
        states = {n: o for n, o in outcomes.items() if isinstance(o, State)}
        cli.emit(results.document(documents, states, {"study": name, "report": str(page)}))
    else:
        cli.show(study_table(documents))
        _say_where(None, page)
    return 1 if any(d.failures for d in documents) else 0


def command_report(args: argparse.Namespace) -> int:
    """Write the report of a study from finished results only."""
    path = Path(args.study)
    study: Study | None = None
    if load_document(path).keys() & {"model", "onnx"}:
        points, command = [load_point(path, args.sets)], results.run_command(args.study, args.sets)
    else:
        (study, points), command = load_study(path, args.sets), results.sweep_command(args.study, args.sets)
    store = _store()
    outcomes: dict[str, State | Failure] = {}
    for point in points:
        stages = order(all_stages(point))
        missing = [stage for stage, verdict, _ in explaining.explain(stages, point, store) if verdict in ("will run", "depends")]
        if missing:
            outcomes[point.name] = Failure(
                missing[0], "NotRun", f"{point.name} has not been run (next stage: {missing[0]}). Run: {command}"
            )
        else:
            outcomes[point.name] = run_point(stages, point, store)
    outcomes, left = comparison.add_stored(points, outcomes, store)
    if left:
        cli.say(f"The seeds of {len(left)} configuration{'s' * (len(left) > 1)} have not been compared. Run: {command}")
    if not any(isinstance(o, State) for o in outcomes.values()):
        raise ConfigError(f"{args.study}: no point of it has been run. Run: {command}")
    return _finish_study(args, study, points, outcomes, command)


def command_explain(args: argparse.Namespace) -> int:
    """Say which stages would run, and why."""
    point = _point(args)
    rows = explaining.explain(order(all_stages(point)), point, _store())
    if args.json:
        cli.emit({"point": point.name, "stages": {s: {"status": v, "reasons": r} for s, v, r in rows}})
        return 0
    for stage, verdict, reasons in rows:
        cli.show(f"{stage:<11} {verdict:<13} {'; '.join(reasons)}".rstrip())
    return 0


def command_check(args: argparse.Namespace) -> int:
    """Describe a QONNX file, or with a data file hold it against rules."""
    from flow.checking.command import command_check_data
    from flow.twin.describe import describe

    if args.data:
        return command_check_data(args)
    if args.rules or args.sets:
        raise ConfigError("--rules and --set are for figures that are measured on data. Give --data FILE as well.")
    rows = describe(Path(args.onnx))
    if args.json:
        cli.emit({"layers": rows})
        return 0
    columns = list(rows[0])
    table: list[Mapping[str, object]] = [dict(zip(columns, columns, strict=True)), *rows]
    widths = [max(len(str(r.get(c, ""))) for r in table) for c in columns]
    for row in table:
        cli.show("  ".join(str(row.get(c, "")).ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    cli.show("Every scale is a power of two; this network can be lowered bit for bit.")
    return 0


def command_matrix(args: argparse.Namespace) -> int:
    """Measure which layers can be deployed, and compare with what was written last."""
    from dataclasses import asdict

    from flow.matrix.bench import Effort
    from flow.matrix.run import measure_all
    from flow.matrix.table import better, load_matrix, render, save, worse

    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: at least one process is needed.")
    folder = Path(args.output)
    before = load_matrix(folder / "layers.json").rows if (folder / "layers.json").is_file() else ()
    matrix = measure_all(Effort(), args.jobs, cli.say, args.rows)
    kept = [row for row in before if not args.rows or row.id in args.rows]
    lost, wrong = worse(kept, matrix.rows), [row.id for row in matrix.rows if row.wrong]
    if not (lost or wrong or args.rows):
        save(matrix, folder)
    if args.json:
        cli.emit(asdict(matrix))
    else:
        cli.show(render(matrix).rstrip())
    for word, lines in (("better", better(kept, matrix.rows)), ("worse", lost), ("wrong", wrong)):
        for line in lines:
            cli.say(f"{word}: {line}")
    if lost or wrong:
        cli.say(f"Nothing was written. Mend it, or remove {folder / 'layers.json'} to accept what became worse.")
    return 1 if lost or wrong else 0


def command_doctor(args: argparse.Namespace) -> int:
    """Tell which tools and packages are there."""
    from flow import doctor

    rows = doctor.examine(cli.store_root(), cli.say)
    if args.json:
        cli.emit({"tools": [row.to_json() for row in rows]})
    else:
        for line in doctor.table(rows):
            cli.show(line)
    return 0 if all(row.ok or not row.needed for row in rows) else 2


def _first_line(text: str | None) -> str:
    return next(iter((text or "").splitlines()), "")


def command_list(args: argparse.Namespace) -> int:
    """List the choices of one kind."""
    if args.what == "models":
        rows = dict.fromkeys(model_names(), "")
    elif args.what == "stages":
        rows = {name: _first_line(load_stage(name).run.__doc__) for name in KNOWN}
    else:
        group = GROUPS[args.what]
        modules = {name: load(group, name) for name in names(group)}
        rows = {name: str(getattr(module, "TITLE", _first_line(module.__doc__))) for name, module in modules.items()}
    if args.json:
        cli.emit({args.what: rows})
        return 0
    for name, title in rows.items():
        cli.show(f"{name:<18} {title}".rstrip())
    return 0


def command_gc(args: argparse.Namespace) -> int:
    """Remove what nothing refers to."""
    count, size = explaining.collect_garbage(_store(), args.dry_run)
    if args.json:
        cli.emit({"folders": count, "bytes": size, "removed": not args.dry_run})
    else:
        cli.show(f"{'would remove' if args.dry_run else 'removed'} {count} folder{'s' * (count != 1)}, {size / 2**20:.1f} MiB")
    return 0
