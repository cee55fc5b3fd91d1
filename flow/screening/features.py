"""What the regression looks at, and what it predicts, from the results of short and full trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flow.config import DesignPoint, ScreenConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.plugins import suggest
from flow.core.state import State
from flow.reporting.catalog import landscape_scores, task_score
from flow.reporting.perturbation import levels, main_levels
from flow.reporting.result import PointResult
from flow.screening.regression import Floats, Groups
from flow.screening.twins import Candidate, configuration

FEWEST = 8
"""Configurations with a measured degradation: a rank correlation of fewer says nothing."""


@dataclass(frozen=True)
class Features:
    """What is known before the full training, of the n points whose short training gave something.

    Attributes:
        candidates: the points.
        groups: number of the configuration of each, (n,).
        base: bit widths and task score, (n, b).
        base_ids: what they are, (b,).
        scores: landscape scores, (n, m).
        score_ids: their ids, (m,).
        titles: words for each landscape score, by id.
        dropped: ids of scores that some point lacks.
    """

    candidates: Sequence[Candidate]
    groups: Groups
    base: Floats
    base_ids: tuple[str, ...]
    scores: Floats
    score_ids: tuple[str, ...]
    titles: Mapping[str, str]
    dropped: tuple[str, ...]


def widths(point: DesignPoint) -> dict[str, float]:
    """Return the bit widths of a point: of weights, activations, inputs, outputs, and of single layers that have their own."""
    network = point.network
    found = {
        "weight_bits": network.weight_bits,
        "activation_bits": network.hidden_bits,
        "input_bits": network.input_bits,
        "latent_bits": network.latent_bits,
    }
    own = {f"layers.{name}.bits": layer.bits for name, layer in network.layers.items() if layer.bits}
    return {key: float(bits) for key, bits in {**found, **own}.items()}


def as_results(metrics: Sequence[Mapping[str, Metric]]) -> list[PointResult]:
    """Wrap metrics for `flow.reporting.catalog`."""
    return [PointResult(str(i), "ok", metrics=dict(found)) for i, found in enumerate(metrics)]


def _chosen(screen: ScreenConfig, available: Sequence[str]) -> list[str]:
    unknown = [name for name in screen.metrics if name not in available]
    if unknown:
        known = f"Measured after the short training: {', '.join(available) or 'nothing'}."
        raise ConfigError(f"screen.metrics: '{unknown[0]}' was not measured. {known}{suggest(unknown[0], list(available))}")
    return list(screen.metrics or available)


def gather(candidates: Sequence[Candidate], screen: ScreenConfig) -> Features:
    """Collect the features.

    Raises:
        ConfigError: no short training gave a task score and a landscape score, or an id of `screen.metrics` is unknown.
    """
    kept = [c for c in candidates if isinstance(c.short, State) and not c.short.failures]
    if not kept:
        why = next((c.failure for c in candidates if c.failure), "")
        raise ConfigError(f"screen: no short training gave features. Raise screen.budget ({screen.budget:g}). The first said: {why}")
    measured = [c.short.metrics for c in kept if isinstance(c.short, State)]
    results = as_results(measured)
    task = _short_task(kept, results)
    available = landscape_scores(results)
    wanted = _chosen(screen, available)
    complete = [name for name in wanted if all(name in found for found in measured)]
    if not complete:
        raise ConfigError(
            f"screen: none of {', '.join(wanted) or 'the landscape scores'} was measured for every point. Check screen.metrics."
        )
    bits = [widths(c.point) for c in kept]
    names = list(dict.fromkeys(name for found in bits for name in found))
    table = np.array([[found.get(name, found["weight_bits"]) for name in names] for found in bits])
    varies = np.ptp(table, axis=0) > 0
    base = np.column_stack([table[:, varies], [found[task].value for found in measured]])
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(configuration(c.point), len(numbers)) for c in kept])
    scores = np.array([[found[name].value for name in complete] for found in measured])
    titles = {name: measured[0][name].title or name for name in complete}
    base_ids = (*(name for name, free in zip(names, varies, strict=True) if free), task)
    return Features(kept, groups, base, base_ids, scores, tuple(complete), titles, tuple(n for n in wanted if n not in complete))


def _short_task(kept: Sequence[Candidate], results: list[PointResult]) -> str:
    """Find the task score: the one that the degradations are of, or else the first one of the model."""
    full = as_results([c.full.metrics for c in kept if c.full is not None])
    task = task_score(full) if full else task_score(results)
    if task is None or any(task not in result.metrics for result in results):
        raise ConfigError(f"screen: the short trainings have no task score{f' {task}' if task else ''}, so there is no baseline to beat.")
    return task


def choose_targets(candidates: Sequence[Candidate], screen: ScreenConfig, again: str) -> list[str]:
    """Choose the degradations to predict, and make sure that there are enough of them.

    Args:
        candidates: the points, with what is in the store of them.
        screen: `targets`; empty: the middle level of each perturbation that stands for all.
        again: command that runs the study.

    Raises:
        ConfigError: an id is unknown, or too few configurations were measured.
    """
    ranked = [c for c in candidates if c.full is not None]
    results = as_results([c.full.metrics for c in ranked if c.full is not None])
    found = levels(results)
    everything = sorted({name for ids in found.values() for name in ids})
    if not everything:
        raise ConfigError(f"screen: no degradation of this study is in the store, so there is nothing to learn from. Run: {again}")
    metrics = {name for c in ranked if c.full is not None for name in c.full.metrics}
    for name in screen.targets:
        if name not in metrics:
            raise ConfigError(
                f"screen.targets: '{name}' was not measured. Degradations: {', '.join(everything)}.{suggest(name, everything)}"
            )
    targets = list(screen.targets) or main_levels(results)
    for name in targets:
        count = len({configuration(c.point) for c in ranked if c.full is not None and name in c.full.metrics})
        if count < FEWEST:
            raise ConfigError(
                f"screen: {name} is measured for {count} configuration{'s' * (count != 1)} (a configuration is everything but the seed); "
                f"at least {FEWEST} are needed. Add values to the axes of the study other than seed, and run: {again}"
            )
    return targets
