"""What is known about a design point: artifacts by digest, metrics, failures. Immutable, JSON both ways."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flow.core.errors import FlowError
from flow.core.metric import Metric


@dataclass(frozen=True)
class Failure:
    """A stage that failed: class of the error and its message, which ends with the last lines of the tool."""

    stage: str
    error: str
    message: str


@dataclass(frozen=True)
class Result:
    """Outcome of one stage, as stored.

    Attributes:
        stage: id of the stage.
        key: of its inputs.
        status: ``ok``, ``failed``, or ``skipped`` because something it reads is missing.
        artifacts: digest of each output.
        metrics: what it measured.
        failure: why it failed.
        seconds: how long the work took when it was done.
        cached: nothing had to be done this time.
    """

    stage: str
    key: str
    status: str
    artifacts: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    failure: Failure | None = None
    seconds: float = 0.0
    cached: bool = False

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        document = {**asdict(self), "metrics": {k: m.to_json() for k, m in self.metrics.items()}}
        path.write_text(json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read what `write` wrote; the result counts as cached."""
        document: dict[str, Any] = json.loads(path.read_text())
        failure = document.pop("failure")
        metrics = {k: Metric.from_json(m) for k, m in document.pop("metrics").items()}
        return replace(cls(**document), metrics=metrics, failure=None if failure is None else Failure(**failure), cached=True)


@dataclass(frozen=True)
class State:
    """All results of one design point so far, in the order of the stages."""

    results: Mapping[str, Result] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)

    def add(self, result: Result, paths: Mapping[str, Path] = {}) -> "State":
        """Return the state with one more result and the paths of its artifacts."""
        return State({**self.results, result.stage: result}, {**self.paths, **paths})

    @property
    def artifacts(self) -> dict[str, str]:
        """Digest of every artifact."""
        return {name: d for r in self.results.values() for name, d in r.artifacts.items()}

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric."""
        return {name: m for r in self.results.values() for name, m in r.metrics.items()}

    @property
    def failures(self) -> list[Failure]:
        """Every failure, in the order of the stages."""
        return [r.failure for r in self.results.values() if r.failure is not None]


def failure_of(stage: str, error: FlowError) -> Failure:
    """Make the failure that is kept of an error."""
    return Failure(stage, type(error).__name__, str(error))
