"""Short trainings of the points of a study, and what is in the store about the full ones."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flow.config import DesignPoint, ScreenConfig
from flow.core.errors import ConfigError
from flow.core.explain import explain
from flow.core.plan import Listener, order, run_point
from flow.core.plugins import names, suggest
from flow.core.stage import Stage
from flow.core.state import Failure, Result, State
from flow.core.store import Store
from flow.core.sweep import run_many

Planner = Callable[[DesignPoint], Sequence[Stage]]
SUFFIX = "-short"
TRAINING = ("pretrain", "train")


@dataclass(frozen=True)
class Candidate:
    """A point of the study.

    Attributes:
        point: as it is in the study.
        short: what is known of its short twin.
        full: what is in the store of the point itself, or None: it was not run.
    """

    point: DesignPoint
    short: State | Failure
    full: State | None

    @property
    def failure(self) -> str:
        """Say why the short training gave no features; empty if it did."""
        if isinstance(self.short, Failure):
            return self.short.message
        return " ".join(failure.message for failure in self.short.failures)


def configuration(point: DesignPoint) -> str:
    """Return everything of a point but its seed and its name, as text that is equal for equal configurations."""
    return json.dumps(point.model_dump(mode="json", exclude={"seed", "name"}), sort_keys=True)


def short_epochs(point: DesignPoint, budget: float) -> tuple[int, int]:
    """Return the epochs of the short training, float and quantized: at most `budget` of all, but at least one quantized one."""
    before, after = point.train.pretrain_epochs, point.train.epochs
    total = max(1, int(budget * (before + after) + 1e-9))
    first = min(total - 1, int(total * before / (before + after)))
    return first, total - first


def _plugins_of(ids: Iterable[str]) -> tuple[str, ...] | None:
    """Return the plug-ins of `flow.landscape` that make these ids; None if that cannot be told from one of them."""
    known = names("landscape")
    owners = {i: max((p for p in known if i == p or i.startswith(f"{p}_")), key=len, default="") for i in ids}
    return tuple(sorted(set(owners.values()))) if all(owners.values()) else None


def check_metrics(ids: Sequence[str]) -> None:
    """Refuse an id of a landscape score that no plug-in can have made, before hours are spent on it.

    Raises:
        ConfigError: with the plug-ins there are.
    """
    for name in ids:
        if _plugins_of([name]) is None and not any(word in name for word in ("trace", "eigen")):
            known = names("landscape")
            raise ConfigError(
                f"screen.metrics: '{name}' is no landscape score. Their ids begin with one of: {', '.join(known)}.{suggest(name, known)}"
            )


def short_twin(point: DesignPoint, screen: ScreenConfig) -> DesignPoint:
    """Return a point with fewer epochs, which measures only what the screening asks for.

    Raises:
        ConfigError: it is not trained here.
    """
    if point.onnx:
        raise ConfigError(f"{point.name}: an imported network is trained already, so there is nothing to screen. Use a model.")
    before, after = short_epochs(point, screen.budget)
    train = point.train.model_copy(update={"pretrain_epochs": before, "epochs": after})
    wanted = _plugins_of(screen.metrics) if screen.metrics else None
    landscape = point.landscape.model_copy(update={"metrics": wanted} if wanted else {})
    return point.model_copy(update={"name": point.name[: 81 - len(SUFFIX)] + SUFFIX, "train": train, "landscape": landscape})


def stored(point: DesignPoint, store: Store, planner: Planner) -> State | None:
    """Return what is in the store of a point up to its degradations, with its landscape if that is there; None if it was not run."""
    every = order(planner(point))
    for ends in (("landscape", "robustness"), ("robustness",)):
        needed = {stage.id for end in ends for stage in order(every, end)}
        stages = [stage for stage in every if stage.id in needed]
        if all(verdict not in ("will run", "depends") for _, verdict, _ in explain(stages, point, store)):
            return run_point(stages, point, store)
    return None


def train_short(
    points: Sequence[DesignPoint], screen: ScreenConfig, store: Store, jobs: int, listen: Listener, done: Callable[[str, str], None],
    planner: Planner,
) -> dict[str, State | Failure]:  # fmt: skip
    """Train and measure the short twin of every point, or take it from the store.

    Args:
        points: of the study.
        screen: budget and metrics.
        store: of results.
        jobs: processes.
        listen: shows progress.
        done: is told the name of each point that ended, and in words how.
        planner: stages of a point.

    Returns:
        By the name of the point, not of its twin.
    """
    twins = {short_twin(point, screen).name: (point.name, short_twin(point, screen)) for point in points}
    if len(twins) < len(points):
        raise ConfigError("names of points are too long to be told apart when '-short' is added. Give the study a shorter name.")
    work = [(order(planner(twin), "landscape"), twin) for _, twin in twins.values()]
    outcomes: dict[str, State | Failure] = {}
    for twin, outcome in run_many(work, store, jobs, listen):
        name = twins[twin.name][0]
        outcomes[name] = outcome
        failed = outcome if isinstance(outcome, Failure) else next(iter(outcome.failures), None)
        done(name, "short training done" if failed is None else f"no features: {failed.message}")
    return {point.name: outcomes[point.name] for point in points}


def _seconds(states: Iterable[State], stages: Sequence[str]) -> float:
    """Add up what stages took; a result that several points share counts once."""
    found: dict[tuple[str, str], Result] = {(s, r.key): r for state in states for s, r in state.results.items() if s in stages and r.key}
    return sum(result.seconds for result in found.values())


def cost(candidates: Sequence[Candidate], screen: ScreenConfig) -> Mapping[str, Any]:
    """Compare what short and full trainings cost, over the points that had both; see `flow.screening`."""
    epochs = [(sum(short_epochs(c.point, screen.budget)), c.point.train.pretrain_epochs + c.point.train.epochs) for c in candidates]
    both = [(c.short, c.full) for c in candidates if isinstance(c.short, State) and c.full is not None]
    scored = (*TRAINING, "landscape")
    kinds = {"training_share": (TRAINING, TRAINING), "with_landscape_share": (scored, scored)}
    kinds["screening_share"] = (scored, (*TRAINING, "robustness"))
    shares: dict[str, float | None] = {}
    for name, (cheap, dear) in kinds.items():
        measured = [(short, full) for short, full in both if all(stage in full.results for stage in dear)]
        short, full = (_seconds([pair[i] for pair in measured], stages) for i, stages in enumerate((cheap, dear)))
        shares[name] = short / full if full > 0 else None
    short_total, full_total = (sum(column) for column in zip(*epochs, strict=True))
    return {"epochs": {"short": epochs[0][0], "full": epochs[0][1], "share": short_total / full_total}, **shares}
