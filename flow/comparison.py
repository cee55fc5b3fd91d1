"""Points of a study that differ in the training seed only: which they are, and what stage ``compare`` finds when it compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flow.config import DesignPoint
from flow.core.plan import Listener, artifact_paths, find_result, remember
from flow.core.stage import Stage
from flow.core.state import Failure, Result, State
from flow.core.store import Store
from flow.core.sweep import run_many
from flow.stages import COMPARE
from flow.stages.compare import OWN, SHARED, comparing, stage_for

Outcomes = Mapping[str, State | Failure]


@dataclass(frozen=True)
class Group:
    """Points to compare.

    Attributes:
        members: at least two, by rising seed.
        stage: the stage that compares them.
        given: the artifacts that it reads.
    """

    members: tuple[DesignPoint, ...]
    stage: Stage
    given: State

    @property
    def point(self) -> DesignPoint:
        """The member in whose name the stage runs; it looks at nothing in which they differ."""
        return self.members[0]


def alike(points: Sequence[DesignPoint]) -> list[tuple[DesignPoint, ...]]:
    """Return the groups of at least two points that differ in seed and name only, each by rising seed.

    Left out are networks that were trained elsewhere, which have no seed, and points without a plug-in that compares.
    """
    found: dict[str, list[DesignPoint]] = {}
    for point in points:
        if not point.onnx:
            found.setdefault(point.model_copy(update={"seed": 0, "name": "any"}).model_dump_json(), []).append(point)
    several = [tuple(sorted(members, key=lambda point: point.seed)) for members in found.values() if len(members) > 1]
    return [members for members in several if comparing(members[0])]


def _gather(states: Sequence[State]) -> State:
    """Give the artifacts of several points distinct names."""
    names = {name: (states[0], name) for name in SHARED}
    names |= {f"{name}_{i}": (state, name) for i, state in enumerate(states) for name in OWN}
    digests = {new: state.artifacts[old] for new, (state, old) in names.items()}
    return State().add(Result("members", "", "ok", digests), {new: state.paths[old] for new, (state, old) in names.items()})


def groups(points: Sequence[DesignPoint], outcomes: Outcomes) -> list[Group]:
    """Return what can be compared: a member whose training failed, or that was not run, leaves its group."""
    states = {name: o for name, o in outcomes.items() if isinstance(o, State) and {*SHARED, *OWN} <= set(o.artifacts)}
    found = []
    for members in alike([point for point in points if point.name in states]):
        found.append(Group(members, stage_for(members), _gather([states[m.name] for m in members])))
    return found


def _attach(group: Group, result: Result, outcomes: dict[str, State | Failure], store: Store) -> None:
    """Make a result one of each member."""
    paths = artifact_paths(store, result)
    for member in group.members:
        state = outcomes[member.name]
        if isinstance(state, State):
            outcomes[member.name] = state.add(result, paths)
        if result.key:
            remember(store, member.name, State().add(result))


def add_stored(points: Sequence[DesignPoint], outcomes: Outcomes, store: Store) -> tuple[dict[str, State | Failure], list[Group]]:
    """Add the comparisons that are in the store to the states of their members.

    Returns:
        The outcomes, and the groups that have not been compared.
    """
    after, missing = dict(outcomes), []
    for group in groups(points, outcomes):
        result = find_result(group.stage, group.point, store, group.given)
        if result is None:
            missing.append(group)
        else:
            _attach(group, result, after, store)
    return after, missing


def compare(points: Sequence[DesignPoint], outcomes: Outcomes, store: Store, jobs: int, listen: Listener) -> dict[str, State | Failure]:
    """Compare every group on `jobs` processes, and add what was found to the states of its members.

    A comparison that cannot run is a failure of each member, which keeps all that it had.
    """
    after, missing = add_stored(points, outcomes, store)
    if not missing:
        return after
    by_name = {group.point.name: group for group in missing}
    work = [((group.stage,), group.point) for group in missing]
    for point, outcome in run_many(work, store, jobs, listen, {name: group.given for name, group in by_name.items()}):
        if isinstance(outcome, State):
            result = outcome.results[COMPARE]
        else:
            result = Result(COMPARE, "", "failed", failure=Failure(COMPARE, outcome.error, outcome.message))
        _attach(by_name[point.name], result, after, store)
    return after
