"""Ids of degradations taken apart, and which perturbations stand for the others where there is no room for all."""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from flow.core.metric import Metric
from flow.core.plugins import file_of, names
from flow.reporting.result import PointResult

LEVEL = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
OLD_KINDS = {"flip": "bit_flip", "salt": "salt_pepper"}
"""Perturbations whose ids do not have the name of their plug-in, and that plug-in."""
KNOWN_KINDS = ("gauss", "salt", "flip")
RANKED = "ranked_"
"""How the name of a perturbation begins that is aimed, and not drawn."""
CHOSEN = ("flip", "gauss", "measured_noise", "pgd", "salt")
"""Perturbations that stand for all: of the paper, of the detector, and the worst case."""
MOST = 6
"""Perturbations up to which none has to stand for others."""
SENTENCE = re.compile(r".+?(?<!\bal)\.(?=\s+[A-Z]|$)")
"""The first sentence of a text: ``et al.`` ends none."""
FIGURES = ("area", "critical")
"""What a curve has beside its levels."""
NO_DEGRADATION = ("harden_", "register_", "upset_", "upsets_", "gate_", "pylandscape_", "approximation_")
"""How ids begin that read like degradations and are none."""
WEAKER = re.compile(r"(^|_)snr(_|$)")
"""Perturbations of which a larger number is a weaker one, whatever their plug-in says: ratios of signal to noise in dB."""


@dataclass(frozen=True)
class Perturbed:
    """The parts of an id such as ``emd_gauss_10_p95``, which is how much worse the task score gets.

    Attributes:
        task: id of the task score.
        kind: perturbation.
        level: strength, in the unit of the perturbation.
        statistic: empty for the mean over draws.
    """

    task: str
    kind: str
    level: float
    statistic: str = ""


@dataclass(frozen=True)
class About:
    """What the file of a plug-in says of it.

    Attributes:
        title: words for a person.
        sentence: the first one of its text.
        falling: a larger number is a weaker perturbation, as its list of levels tells, which is from weak to strong.
    """

    title: str
    sentence: str
    falling: bool


@cache
def plugins(group: str) -> tuple[str, ...]:
    """List the plug-ins of a group."""
    return tuple(names(group))


def of_landscape(name: str) -> bool:
    """Tell whether an id is one of a landscape plug-in."""
    return any(name == plugin or name.startswith(f"{plugin}_") for plugin in plugins("landscape"))


def perturbed(name: str, metrics: Mapping[str, Metric]) -> Perturbed | None:
    """Take the id of a degradation under a perturbation apart: ``<task>_<kind>_<level>[_<statistic>]``.

    Returns:
        None if the id is something else: the task score must be there, or else the perturbation must be a known one, and a score of the
        landscape such as ``hessian_trace_layer_head_3`` is none.
    """
    if of_landscape(name) or name.startswith(NO_DEGRADATION):
        return None
    readings = _readings(name)
    return next((parts for parts, _ in readings if parts.task in metrics), next((parts for parts, known in readings if known), None))


@cache
def _readings(name: str) -> list[tuple[Perturbed, bool]]:
    """List the ways to read an id, and whether the perturbation is a known one.

    The level is the last of the first numbers in a row, as 5 in ``stuck_at_1_5_p95``; of the ways to split what is before it, that with
    the longest task score comes first.
    """
    words = name.split("_")
    numbers = [LEVEL.fullmatch(word) is not None for word in words]
    ends = [i for i, number in enumerate(numbers) if number and not (i + 1 < len(words) and numbers[i + 1])]
    return [
        (
            Perturbed("_".join(words[:split]), "_".join(words[split:at]), float(words[at]), "_".join(words[at + 1 :])),
            any(words[split].startswith(known) for known in KNOWN_KINDS),
        )
        for at in ends
        for split in range(at - 1, 0, -1)
        if not numbers[split] and words[-1] not in FIGURES
    ]


def of_curve(name: str, metrics: Mapping[str, Metric]) -> tuple[str, str, str] | None:
    """Take the id of a figure of a whole perturbation apart: ``<task>_<kind>_area`` and the like, without a level.

    Returns:
        Task score, perturbation and figure, or None if the id is something else.
    """
    if of_landscape(name) or name.startswith(NO_DEGRADATION):
        return None
    words = name.split("_")
    task = next((task for k in range(len(words) - 1, 0, -1) if (task := "_".join(words[:k])) in metrics), "")
    rest = name.removeprefix(f"{task}_") if task else ""
    known = max((p for p in plugins("robustness") if rest.startswith(f"{p}_")), key=len, default="")
    if rest and rest.rpartition("_")[2] in FIGURES and rest.rpartition("_")[0]:
        return task, *rest.rpartition("_")[::2]
    return (task, known, rest.removeprefix(f"{known}_")) if known else None


def plugin_of(kind: str) -> str:
    """Return the plug-in that a perturbation belongs to; empty if there is none of that name now."""
    name = OLD_KINDS.get(kind, kind)
    return max((p for p in plugins("robustness") if name == p or name.startswith(f"{p}_")), key=len, default="")


@cache
def about(kind: str) -> About:
    """Read what a perturbation is from the file of its plug-in, which is not imported for it."""
    plugin = plugin_of(kind)
    if not plugin:
        return About(kind.replace("_", " "), "", falling=False)
    tree = ast.parse(file_of("robustness", plugin).read_text(encoding="utf-8"))
    constants: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in ("TITLE", "LEVELS"):
                constants[target.id] = _literal(node.value)
    levels_ = constants.get("LEVELS")
    falling = isinstance(levels_, tuple | list) and len(levels_) > 1 and levels_[0] > levels_[-1]
    paragraph = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].replace("`", "").split())
    text = SENTENCE.match(paragraph)
    return About(str(constants.get("TITLE") or plugin.replace("_", " ")), text[0] if text else paragraph, falling)


def _literal(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except ValueError:  # it is computed, so it cannot be read
        return None
    return value


def falls(kind: str) -> bool:
    """Tell whether a larger number is a weaker perturbation."""
    return WEAKER.search(kind) is not None or about(kind).falling


def levels(results: Iterable[PointResult]) -> dict[str, list[str]]:
    """List the degradations (means, no quantiles) of each perturbation, from weak to strong."""
    found: dict[str, dict[str, float]] = {}
    for result in results:
        for name in result.metrics:
            parts = perturbed(name, result.metrics)
            if parts is not None and not parts.statistic and (parts.level > 0 or falls(parts.kind)):
                found.setdefault(parts.kind, {})[name] = -parts.level if falls(parts.kind) else parts.level
    return {kind: sorted(ids, key=lambda name: (ids[name], name)) for kind, ids in sorted(found.items())}


def main_kinds(kinds: Iterable[str]) -> list[str]:
    """Choose the perturbations that stand for all where each one needs room: all if they are few, else `CHOSEN` ones."""
    known = list(kinds)
    if len(known) <= MOST:
        return known
    return [kind for kind in known if kind in CHOSEN] or [kind for kind in known if not kind.startswith(RANKED)][:MOST]


def middle(ids: Sequence[str]) -> str:
    """Return the middle one of the levels of a perturbation."""
    return ids[len(ids) // 2]


def main_levels(results: Iterable[PointResult]) -> list[str]:
    """List the middle level of each perturbation that stands for all."""
    by_kind = levels(results)
    return [middle(by_kind[kind]) for kind in main_kinds(by_kind)]


def middle_levels(results: Iterable[PointResult]) -> list[str]:
    """List the middle level of each perturbation that stands for all and is not aimed by a ranking."""
    by_kind = levels(results)
    return [middle(by_kind[kind]) for kind in main_kinds(by_kind) if not kind.startswith(RANKED)]
