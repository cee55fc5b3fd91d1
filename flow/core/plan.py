"""Order stages, compute their keys, run what is missing, and explain in words why."""

import importlib.metadata
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flow.core import artifact
from flow.core.errors import ConfigError, FlowError, Undeclared
from flow.core.stage import Job, Stage
from flow.core.state import Failure, Result, State, failure_of
from flow.core.store import FULL, PIECES, Store, disk_errors, disk_full, free_bytes
from flow.core.tool import Tool

if TYPE_CHECKING:
    from flow.config import DesignPoint

FORMAT = 1  # of the store; a new number makes every old result unreachable


@dataclass(frozen=True)
class Event:
    """Something to show a person: a stage begins (`fraction` 0), goes on, or is done (`result`)."""

    point: str
    index: int
    total: int
    stage: str
    fraction: float = 0.0
    text: str = ""
    seconds_left: float = 0.0
    result: Result | None = None


Listener = Callable[[Event], None]


def order(stages: Iterable[Stage], until: str | None = None) -> list[Stage]:
    """Sort stages so that each comes after those it reads from; keep what `until` needs.

    Raises:
        ConfigError: `until` is no stage, or an artifact has no writer.
    """
    left = list(stages)
    known = {s.id: s for s in left}
    writer = {name: s for s in left for name in s.writes}
    if until is not None and until not in known:
        why = "Which there are depends on the point: its back end, its part, whether it is trained or imported."
        raise ConfigError(f"'{until}' is not a stage. Stages: {', '.join(known)}. {why}")
    done: list[Stage] = []

    def visit(stage: Stage) -> None:
        if stage in done:
            return
        for name in stage.reads:
            if name not in writer:
                raise ConfigError(f"stage {stage.id} reads '{name}', which no stage writes.")
            visit(writer[name])
        done.append(stage)

    for stage in [known[until]] if until else left:
        visit(stage)
    return done


@cache
def _version(tool: Tool) -> str:
    return tool.read_version()


def _kept_out(table: object) -> set[str]:
    """Name the fields of a table that are kept out of keys, because no result depends on them (paths, limits)."""
    fields = type(table).model_fields.items() if isinstance(table, BaseModel) else ()
    return {n for n, f in fields if isinstance(f.json_schema_extra, dict) and f.json_schema_extra.get("key") is False}


def _config(stage: Stage, point: "DesignPoint") -> dict[str, object]:
    """Return the declared configuration of a stage as JSON, as far as it enters its key."""
    document: dict[str, object] = {}
    for name in stage.config:
        above, _, last = name.rpartition(".")
        table = attrgetter(above)(point) if above else point
        value = getattr(table, last)
        if last not in _kept_out(table):
            document[name] = value.model_dump(mode="json", exclude=_kept_out(value)) if isinstance(value, BaseModel) else value
    return document


def key_document(stage: Stage, point: "DesignPoint", inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that the result of a stage depends on.

    Raises:
        FlowError: a tool or a source is missing.
    """
    return {
        "stage": stage.id,
        "format": FORMAT,
        "config": _config(stage, point),
        "inputs": dict(inputs),
        "code": artifact.code_digests(Path(stage.run.__code__.co_filename)),
        "sources": {label: artifact.source_digest(path) for label, path in stage.sources(point).items()},
        "tools": {tool.name: _version(tool) for tool in stage.tools},
        "packages": {name: importlib.metadata.version(name) for name in stage.packages},
    }


def preflight(stages: Sequence[Stage], point: "DesignPoint", store: Store, given: Mapping[str, str] | None = None) -> None:
    """Find out before any work starts whether tools, sources and settings are fine.

    Args:
        stages: in order.
        point: the design point.
        store: of finished results.
        given: digests of artifacts that are there already.

    Raises:
        FlowError: the first thing that is missing or wrong.
    """
    known = dict(given or {})
    for stage in stages:
        document = key_document(stage, point, {name: known.get(name, "") for name in stage.reads})
        found = store.find(stage.id, artifact.text_digest(document))
        if found is None:
            stage.check(point)
        else:
            known |= found.artifacts


def run_point(
    stages: Sequence[Stage], point: "DesignPoint", store: Store, listen: Listener = lambda event: None, state: State | None = None
) -> State:
    """Take a design point through `stages`, reusing every stored result.

    A stage that fails does not stop those that do not depend on it.

    Args:
        stages: in order.
        point: the design point.
        store: of finished results.
        listen: is told what happens.
        state: what is there already, artifacts that the stages may read among it; None: nothing.

    Raises:
        FlowError: what is wrong with the request itself, or may go away when it is tried again; nothing is stored of it.
    """
    state = State() if state is None else state
    preflight(stages, point, store, state.artifacts)
    with disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    if free_bytes(store.root) < FULL:
        raise disk_full(store.root)
    expected = [_expected_seconds(store, stage) for stage in stages]
    for index, stage in enumerate(stages):
        left = sum(expected[index:])

        def show(fraction: float = 0.0, text: str = "", result: Result | None = None, i: int = index, left: float = left) -> None:
            rest = max(0.0, left - (1.0 if result else fraction) * expected[i])
            listen(Event(point.name, i + 1, len(stages), stages[i].id, fraction, text, rest, result))

        show()
        result = _obtain(stage, point, store, state, show)
        state = state.add(result, artifact_paths(store, result))
        show(1.0, result=result)
    remember(store, point.name, state)
    return state


def artifact_paths(store: Store, result: Result) -> dict[str, Path]:
    """Return where the artifacts of a stored result lie."""
    folder = store.folder(result.stage, result.key) / "out"
    return {name: folder / name for name in result.artifacts}


def find_result(stage: Stage, point: "DesignPoint", store: Store, state: State) -> Result | None:
    """Return the stored result of a stage for which `state` has all artifacts that it reads; nothing is run.

    Raises:
        FlowError: a tool or a source is missing.
    """
    document = key_document(stage, point, {name: state.artifacts[name] for name in stage.reads})
    return store.find(stage.id, artifact.text_digest(document))


def _obtain(stage: Stage, point: "DesignPoint", store: Store, state: State, show: Callable[[float, str], None]) -> Result:
    missing = [name for name in stage.reads if name not in state.paths]
    if missing:
        return Result(stage.id, "", "skipped")
    document = key_document(stage, point, {name: state.artifacts[name] for name in stage.reads})
    key = artifact.text_digest(document)
    if (found := store.find(stage.id, key)) is not None:
        return found
    with store.lock(stage.id, key):
        if (found := store.find(stage.id, key)) is not None:
            return found
        with store.workspace(stage.id, key) as folder, disk_errors(store.root):
            return _execute(stage, point, store, state, show, folder, document)


def _execute(
    stage: Stage, point: "DesignPoint", store: Store, state: State, show: Callable[[float, str], None],
    folder: Path, document: dict[str, Any],
) -> Result:  # fmt: skip
    key = artifact.text_digest(document)
    scratch = store.scratch(stage.id, key)
    scratch.mkdir(parents=True, exist_ok=True)
    (folder / "key.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    out = folder / "out"
    out.mkdir()
    inputs = {name: state.paths[name] for name in stage.reads}
    job = Job(stage, point, inputs, out, scratch, folder / "log.txt", folder / "replay.sh", show, pieces=store.root / PIECES)
    started = time.monotonic()
    result = Result(stage.id, key, "ok")
    try:
        stage.run(job)
        _check_declared(stage, job)
    except Exception as error:
        if free_bytes(store.root) < FULL:
            raise disk_full(store.root) from error
        if isinstance(error, FlowError) and error.usage:
            raise
        shutil.rmtree(out)
        out.mkdir()
        failure, lasting = _describe(stage, error)
        result = replace(result, status="failed", failure=failure)
        if not lasting:
            return result
    else:
        result = replace(result, artifacts={name: artifact.digest(out / name) for name in stage.writes})
    if result.failure is None:  # a failure keeps its files, so that replay.sh can repeat it
        shutil.rmtree(folder / "work", ignore_errors=True)
    result = replace(result, metrics=dict(job.metrics), seconds=round(time.monotonic() - started, 3))
    store.commit(folder, result)
    return result


def _describe(stage: Stage, error: Exception) -> tuple[Failure, bool]:
    """Return what is told about an error, and whether it would come again and so is stored."""
    if isinstance(error, FlowError):
        return failure_of(stage.id, error), not error.transient
    return defect(stage.id, error), False


def defect(stage: str, error: Exception) -> Failure:
    """Return what is told about an error that nobody foresaw."""
    trace = traceback.extract_tb(error.__traceback__)[-1]
    words = f"{type(error).__name__}: {error} (at {Path(trace.filename).name}:{trace.lineno}). A defect of hlscape or a library."
    return Failure(stage, "Defect", words)


def _check_declared(stage: Stage, job: Job) -> None:
    written = {p.name for p in job.out.iterdir()}
    if written != set(stage.writes):
        raise Undeclared(f"stage {stage.id} declares to write {sorted(stage.writes)} but wrote {sorted(written)}")
    strange = [m for m in job.metrics if not any(fnmatch(m, pattern) for pattern in stage.measures)]
    if strange:
        raise Undeclared(f"stage {stage.id} measured {strange}, which it does not declare in `measures`")


def _expected_seconds(store: Store, stage: Stage) -> float:
    results = list((store.root / stage.id).glob("*/result.json"))
    return Result.read(max(results, key=lambda p: p.stat().st_mtime)).seconds if results else stage.seconds


def index_file(store: Store, name: str) -> Path:
    """Return the file that holds the latest keys of a point."""
    return store.root / "points" / f"{name}.json"


def remember(store: Store, name: str, state: State) -> None:
    """Keep the latest keys of a point: what `explain` compares with and what `gc` keeps."""
    path = index_file(store, name)
    keys = json.loads(path.read_text()) if path.is_file() else {}
    new = {**keys, **{r.stage: r.key for r in state.results.values() if r.key}}
    if new == keys:
        return
    with disk_errors(store.root):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{time.monotonic_ns()}.tmp")
        temporary.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n")
        temporary.replace(path)
