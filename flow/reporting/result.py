"""What a report is made of: one design point with its numbers, its gate and its failures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from flow.core.errors import ConfigError, MismatchError
from flow.core.metric import Metric

Status = Literal["ok", "failed", "untrained"]


@dataclass(frozen=True)
class PointResult:
    """One design point after its stages ran.

    Attributes:
        name: name of the point, unique in a study.
        status: ``ok``; ``failed``: a stage failed; ``untrained``: no better than a trivial predictor.
        config: the full design point document.
        metrics: numbers by id.
        gate: ``{"mismatches", "samples", "levels": {level: {"mismatches", "samples"}}}``; None: the gate did not run.
        failures: ``{"stage", "error", "message"}`` of each failed stage.
        stages: by id ``{"status": "ok|failed|skipped", "key": digest, "artifacts": {name: sha256}}``.
        versions: version of each tool and package.
        reproduce: command that makes this point again.
        notes: facts on the data.
        curves: learning curves of the trainings ``float`` and ``quantized``: lists ``train``, ``validation`` and ``score`` by epoch
            (None where a value was not finite) and ``best``, the epoch that was kept; empty for a network that was not trained here.
        published: the published design of the model, a document of `flow.reporting.published`; empty if there is none.
        layers: streaming hardware by layer, as `flow.reporting.layers.collect` makes it; empty for other hardware.
        shapes: files (.npz) with what is drawn of the landscape; they are no part of the document.
    """

    name: str
    status: Status
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    gate: dict[str, Any] | None = None
    failures: list[dict[str, str]] = field(default_factory=list)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    reproduce: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Any] = field(default_factory=dict)
    shapes: tuple[Path, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Refuse a status that does not exist.

        Raises:
            ConfigError: `status` is not one of the three.
        """
        if self.status not in get_args(Status):
            raise ConfigError(f"point {self.name}: status '{self.status}' is not one of {', '.join(get_args(Status))}.")

    @property
    def exact(self) -> bool:
        """The gate compared samples and found all levels that ran identical."""
        return self.gate is not None and self.gate["samples"] > 0 and not self.inexact

    @property
    def inexact(self) -> bool:
        """The gate found a mismatch, so no resource figure of the point is published."""
        counted = self.gate is not None and self.gate["mismatches"] > 0
        return counted or any(failure.get("error") == MismatchError.__name__ for failure in self.failures)

    @property
    def ranked(self) -> bool:
        """The point may stand in a ranking: its status is ok and the gate did not object."""
        return self.status == "ok" and not self.inexact

    @property
    def weight_bits(self) -> int | None:
        """Width of the weights, or None where the document does not have it."""
        bits = self.config.get("network", {}).get("weight_bits")
        return bits if isinstance(bits, int) else None

    @property
    def regularizer(self) -> str:
        """Names of the regularizers, joined with ``+``; ``none`` without any."""
        return "+".join(sorted(self.config.get("regularizers", {}))) or "none"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document; `from_json` reads it."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "shapes"}
        return document | {"metrics": {key: metric.to_json() for key, metric in self.metrics.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "PointResult":
        """Read what `to_json` wrote."""
        metrics = {key: Metric.from_json(metric) for key, metric in document["metrics"].items()}
        return cls(**{**document, "metrics": metrics})
