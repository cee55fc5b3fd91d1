"""Rules for metrics: limits, what they are relative to, and what a measured value with its interval says about them."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from flow.config import Section
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.plugins import suggest
from flow.reporting.perturbation import perturbed

DEFAULT = Path(__file__).with_name("rules.toml")
LOSSES = ("cross_entropy", "mse")
Status = Literal["PASS", "FAIL", "UNCLEAR", "NOT MEASURED"]


class Rule(Section):
    """One rule; see ``rules.toml`` for the keys."""

    metric: Annotated[str, Field(min_length=1)]
    max: float | None = None
    min: float | None = None
    of: str = ""
    severity: Literal["must", "should"] = "must"
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_limit(self) -> "Rule":
        if (self.max is None) == (self.min is None):
            raise ValueError("give max or min, one of them")
        return self


@dataclass(frozen=True)
class Line:
    """What a rule says about one metric.

    Attributes:
        rule: the rule.
        status: ``UNCLEAR``: the limit lies inside the 95 % interval of the metric.
        name: id of the metric, or the pattern if nothing fits it.
        metric: what was measured, or None.
        limit: in the unit of the metric, or None: what it is relative to was not measured.
        note: why something was not measured.
    """

    rule: Rule
    status: Status
    name: str
    metric: Metric | None = None
    limit: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            **self.rule.model_dump(exclude_none=True),
            "rule": self.rule.metric,
            "metric": self.name,
            "status": self.status,
            "value": self.metric.value if self.metric else None,
            "ci": list(self.metric.ci) if self.metric and self.metric.ci else None,
            "unit": self.metric.unit if self.metric else "",
            "limit": self.limit,
            "note": self.note,
        }


class _Document(Section):
    rule: list[Rule] = Field(default_factory=list)


def _lines_of_rules(text: str) -> list[int]:
    return [text.count("\n", 0, match.start()) + 1 for match in re.finditer(r"^[ \t]*\[\[[ \t]*\"?rule\"?[ \t]*\]\]", text, re.MULTILINE)]


def _explain(error: ValidationError, path: Path, text: str) -> ConfigError:
    starts, found = _lines_of_rules(text), []
    known = list(Rule.model_fields)
    for e in error.errors():
        loc = list(e["loc"])
        index = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else None
        where = f"line {starts[index]}, rule {index + 1}" if index is not None and index < len(starts) else "the file"
        key = ".".join(str(part) for part in loc[2:]) if index is not None else ".".join(map(str, loc))
        words = e["msg"].removeprefix("Value error, ")
        if e["type"] == "extra_forbidden":
            keys = known if index is not None else ["rule"]
            words = f"unknown key. Known: {', '.join(keys)}.{suggest(key, keys)}"
        found.append(f"{where}{f', {key}' if key else ''}: {words}")
    count = f"{len(found)} mistake{'s' * (len(found) > 1)}"
    return ConfigError(f"{path}: {count}.\n" + "\n".join(f"  - {line}" for line in found))


def read_rules(path: Path) -> list[Rule]:
    """Read a file of rules.

    Raises:
        ConfigError: with every mistake of it, its line and its key.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file. Copy {DEFAULT} and give your limits.")
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid TOML: {error}.") from None
    try:
        rules = _Document.model_validate(document).rule
    except ValidationError as error:
        raise _explain(error, path, text) from None
    if not rules:
        raise ConfigError(f"{path}: there is no rule in it. A rule begins with [[rule]]; see {DEFAULT}.")
    return rules


def _gain(metrics: Mapping[str, Metric], name: str) -> float | None:
    """Return what the score of a degradation is better than the best constant output; without one, of the only score that has it."""
    parts = perturbed(name, metrics)
    tasks = [parts.task] if parts else [i.removesuffix("_trivial") for i in metrics if i.endswith("_trivial")]
    found = [t for t in tasks if t in metrics and f"{t}_trivial" in metrics]
    return abs(metrics[found[0]].value - metrics[f"{found[0]}_trivial"].value) if found else None


def reference(rule: Rule, name: str, metrics: Mapping[str, Metric]) -> float | None:
    """Return what the limit of a rule is a multiple of, or None: it was not measured."""
    if not rule.of:
        return 1.0
    if rule.of == "gain":
        return _gain(metrics, name)
    if rule.of == "loss":
        return next((metrics[i].value for i in LOSSES if i in metrics), None)
    return metrics[rule.of].value if rule.of in metrics else None


def judge(metric: Metric, limit: float, upper: bool) -> Status:
    """Compare a metric with a limit that it must not exceed (`upper`) or fall below.

    >>> [judge(Metric(v, ci=(v - 1, v + 1)), 3.0, True) for v in (1.0, 2.5, 5.0)]
    ['PASS', 'UNCLEAR', 'FAIL']
    """
    low, high = metric.ci or (metric.value, metric.value)
    good, bad = (
        (max(high, metric.value) <= limit, min(low, metric.value) > limit)
        if upper
        else (min(low, metric.value) >= limit, max(high, metric.value) < limit)
    )
    return "PASS" if good else "FAIL" if bad else "UNCLEAR"


def _missing(rule: Rule, metrics: Mapping[str, Metric]) -> str:
    hint = suggest(rule.metric, sorted(metrics))
    return f"no metric fits '{rule.metric}'.{hint}" if metrics else "nothing was measured, because an earlier stage failed."


def apply(rules: Sequence[Rule], metrics: Mapping[str, Metric]) -> list[Line]:
    """Return what each rule says about each metric that it fits, in the order of the rules."""
    lines = []
    for rule in rules:
        names = [name for name in metrics if fnmatchcase(name, rule.metric)]
        if not names:
            lines.append(Line(rule, "NOT MEASURED", rule.metric, note=_missing(rule, metrics)))
        for name in sorted(names):
            scale, factor = reference(rule, name, metrics), rule.min if rule.max is None else rule.max
            if scale is None or factor is None:
                why = "needs targets y in the data file" if rule.of in ("gain", "loss") else "was not measured"
                note = f"the limit is relative to {rule.of}, which {why}."
                lines.append(Line(rule, "NOT MEASURED", name, metrics[name], note=note))
            else:
                limit = factor * scale
                lines.append(Line(rule, judge(metrics[name], limit, rule.max is not None), name, metrics[name], limit))
    return lines


def go(lines: Sequence[Line]) -> bool:
    """Tell whether all rules that must pass do."""
    return all(line.status == "PASS" for line in lines if line.rule.severity == "must")
