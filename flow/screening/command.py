"""The command ``screen``: rank the points of a study by what a short training says about them."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flow import cli
from flow.config import DesignPoint, Study
from flow.core.errors import ConfigError
from flow.core.plan import Listener
from flow.core.store import Store, disk_errors
from flow.screening.regression import LEVEL
from flow.screening.twins import Candidate, Planner, check_metrics, cost, short_twin, stored, train_short

REPORTS = Path("reports")


def screen(
    study: Study, points: Sequence[DesignPoint], store: Store, jobs: int, listen: Listener, again: str, planner: Planner
) -> dict[str, Any]:
    """Train the short twins of a study and return the document of `flow.screening`.

    Args:
        study: with its settings `screen`.
        points: of the study.
        store: holds the results of the full trainings, and gets those of the short ones.
        jobs: processes.
        listen: shows progress.
        again: command that runs the study.
        planner: stages of a point.

    Raises:
        ConfigError: a setting is wrong, or too little was measured.
    """
    from flow.core.state import Failure
    from flow.screening.features import choose_targets, gather
    from flow.screening.judge import judge

    check_metrics(study.screen.metrics)
    for point in points:
        short_twin(point, study.screen)
    before = [Candidate(point, Failure("", "", ""), stored(point, store, planner)) for point in points]
    choose_targets(before, study.screen, again)  # before hours are spent on what cannot be judged

    def done(name: str, words: str) -> None:
        cli.say(f"--- {name}: {words}")

    short = train_short(points, study.screen, store, jobs, listen, done, planner)
    candidates = [Candidate(c.point, short[c.point.name], c.full) for c in before]
    features = gather(candidates, study.screen)
    targets = choose_targets(features.candidates, study.screen, again)
    costs = cost(candidates, study.screen)
    cli.say(f"{study.name}: leaving out each of the configurations in turn, {len(targets)} target{'s' * (len(targets) > 1)}")
    return {
        "study": study.name,
        "level": LEVEL,
        "points": len(features.groups),
        "configurations": len(set(features.groups.tolist())),
        "cost": costs,
        "dropped": list(features.dropped),
        "failed": {c.point.name: c.failure for c in candidates if c.failure},
        "targets": {name: {**judge(features, name), "cost_share": costs["training_share"]} for name in targets},
    }


def write(document: dict[str, Any], store: Store) -> Path:
    """Write ``reports/<study>/screen.json`` in one step, and return it."""
    path: Path = REPORTS / document["study"] / "screen.json"
    with disk_errors(store.root):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
        temporary.replace(path)
    return path


def command_screen(args: argparse.Namespace) -> int:
    """Rank the points of a study by what a short training says about them, and say what that is worth."""
    from flow import results
    from flow.points import load_study
    from flow.screening.table import table
    from flow.stages import all_stages
    from flow.terminal import Progress

    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: at least one process is needed.")
    study, points = load_study(Path(args.study), args.sets)
    store = Store(cli.store_root())
    cli.say(f"{study.name}: short trainings of {len(points)} points, {args.jobs} at a time, store {store.root}")
    again = results.sweep_command(args.study, args.sets)
    document = screen(study, points, store, args.jobs, Progress(cli.say, many=True), again, all_stages)
    path = write(document, store)
    if args.json:
        cli.emit(document)
    else:
        cli.show(table(document))
        cli.show(f"file: {path.resolve()}")
    return 0
