"""From the kernel's state to what a person is given: result documents, reports and project folders."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flow.config import DesignPoint, Study
from flow.core import artifact
from flow.core.metric import Metric
from flow.core.state import Failure, State
from flow.core.store import Store
from flow.reporting import published
from flow.reporting.layers import collect
from flow.reporting.result import PointResult

LEVELS = ("twin", "csim", "alkaid", "rtl", "axis", "netlist", "cosim", "upsets")
CURVES = {"float": "float_history", "quantized": "history"}
SHAPES = ("shapes", "curves", "faults", "upsets", "hardened")
"""Artifacts of the landscape, of the comparison of seeds, of faults and of protection, that a report draws."""


def gate_of(metrics: Mapping[str, Metric]) -> dict[str, Any] | None:
    """Collect what the levels of the exactness gate measured; None when none ran.

    Returns:
        ``mismatches`` over all levels, ``samples`` of the level with the fewest, and both by ``levels``.
    """
    levels = {
        level: {what: int(metrics[f"gate_{level}_{what}"].value) for what in ("mismatches", "samples")}
        for level in LEVELS
        if f"gate_{level}_samples" in metrics
    }
    if not levels:
        return None
    return {
        "mismatches": sum(v["mismatches"] for v in levels.values()),
        "samples": min(v["samples"] for v in levels.values()),
        "levels": levels,
    }


def point_result(point: DesignPoint, state: State, store: Store, reproduce: str) -> PointResult:
    """Make the result document of a point from its state."""
    failures = [{"stage": f.stage, "error": f.error, "message": f.message} for f in state.failures]
    untrained = any(f["error"] == "NotTrained" for f in failures)
    versions: dict[str, str] = {}
    for result in state.results.values():
        key = store.folder(result.stage, result.key) / "key.json"
        if result.key and key.is_file():
            document = json.loads(key.read_text())
            versions |= document["tools"] | document["packages"]
    return PointResult(
        name=point.name,
        status="untrained" if untrained else "failed" if failures else "ok",
        config=_config(point),
        metrics=state.metrics,
        gate=gate_of(state.metrics),
        failures=failures,
        stages={r.stage: {"status": r.status, "key": r.key, "artifacts": dict(r.artifacts)} for r in state.results.values()},
        versions=dict(sorted(versions.items())),
        reproduce=reproduce,
        notes=_notes(state),
        curves=_curves(state),
        layers=collect(state.paths["verilog"], state.paths.get("synth_report")) if "verilog" in state.paths else {},
        published=published.document(point.model),
        shapes=tuple(state.paths[name] for name in SHAPES if name in state.paths),
    )


def request_failure(point: DesignPoint, failure: Failure, reproduce: str) -> PointResult:
    """Make the result document of a point that could not be run at all."""
    words = {"stage": failure.stage, "error": failure.error, "message": failure.message}
    return PointResult(name=point.name, status="failed", config=_config(point), failures=[words], reproduce=reproduce)


def _config(point: DesignPoint) -> dict[str, Any]:
    """Return the document of a point without paths of this computer; an imported network has no settings of a training."""
    config = point.model_dump(mode="json")
    for section, key in (("data", "path"), ("robustness", "noise_file")):
        if config[section][key]:
            config[section][key] = Path(config[section][key]).name
    if not config.pop("onnx"):
        return config
    for section in ("seed", "train", "pruning", "regularizers"):
        del config[section]
    del config["data"]["split"]
    name = Path(point.onnx).name
    return config | {"model": name, "onnx": name, "network": {"allow_approximate": point.network.allow_approximate}}


def _notes(state: State) -> dict[str, Any]:
    from flow.stages.data import read_notes

    return read_notes(state.paths["dataset"]) if "dataset" in state.paths else {}


def _curves(state: State) -> dict[str, Any]:
    """Read the learning curves; what JSON has no number for becomes None."""
    files = {phase: state.paths[name] for phase, name in CURVES.items() if name in state.paths}
    return {phase: json.loads(path.read_text(), parse_constant=lambda _: None) for phase, path in files.items()}


def document(results: Sequence[PointResult], states: Mapping[str, State], extra: Mapping[str, object]) -> dict[str, Any]:
    """Return the one JSON document of a command.

    Metrics, gate and stages of a single point stand under their ids; of several points under ``<point>/<id>``.
    """

    def prefix(name: str) -> str:
        return f"{name}/" if len(results) > 1 else ""

    gates = [r.gate for r in results if r.gate is not None]
    return {
        **extra,
        "status": {r.name: r.status for r in results},
        "metrics": {prefix(r.name) + k: m.to_json() for r in results for k, m in r.metrics.items()},
        "gate": {
            "mismatches": sum(g["mismatches"] for g in gates),
            "samples": min((g["samples"] for g in gates), default=0),
            "levels": {prefix(r.name) + k: v for r in results if r.gate for k, v in r.gate["levels"].items()},
        },
        "stages": {
            prefix(name) + r.stage: {"status": r.status, "seconds": r.seconds, "cached": r.cached}
            for name, state in states.items()
            for r in state.results.values()
        },
        "failures": {r.name: r.failures for r in results if r.failures},
    }


def _same(stamp: Path, digest: str) -> bool:
    return stamp.is_file() and stamp.read_text() == digest


def _publishing(store: Store, folder: Path) -> AbstractContextManager[None]:
    """Lock a folder for people: several processes may have the same point."""
    return store.lock("publish", artifact.text_digest(str(folder.resolve())))


def publish_report(store: Store, folder: Path, study: str, command: str, results: list[PointResult]) -> Path:
    """Write ``reports/<study>/`` unless it already shows exactly these results, and return the HTML file."""
    reporting = Path(__file__).parent / "reporting"
    code = [artifact.code_digests(reporting / "report.py"), [artifact.digest(p) for p in sorted(reporting.glob("*.j2"))]]
    page, screen = folder / "index.html", folder / "screen.json"
    beside = artifact.digest(screen) if screen.is_file() else ""
    digest = artifact.text_digest([study, command, code, [r.to_json() for r in results], beside])
    with _publishing(store, folder):
        if not (page.is_file() and _same(folder / ".digest", digest)):
            from flow.reporting.report import write_report

            page = write_report(folder, study, command, results)
            (folder / ".digest").write_text(digest)
    return page


def run_command(path: str | None, sets: Sequence[str], onnx: str | None = None, data: str | None = None) -> str:
    """Return the command line that repeats a run."""
    files = [word for option, file in (("--onnx", onnx), ("--data", data)) if file for word in (option, file)]
    return _command("run", [*([path] if path else []), *files], sets)


def point_command(study_file: str, study: Study, point: DesignPoint, sets: Sequence[str]) -> str:
    """Return the command line that runs one point of a study by itself."""
    axes = [f"{key}={_toml(_plain(attrgetter(key)(point)))}" for key in study.axes]
    path = os.path.normpath(Path(study_file).parent / study.point)
    return run_command(path, [*sets, *axes, f"name={point.name}"])


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def sweep_command(path: str, sets: Sequence[str]) -> str:
    """Return the command line that repeats a sweep."""
    return _command("sweep", [path], sets)


def _command(name: str, words: Sequence[str], sets: Sequence[str]) -> str:
    return shlex.join(["hlscape", name, *words, *(word for s in sets for word in ("--set", s))])
