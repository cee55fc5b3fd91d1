"""Rules of the go/no-go checklist: verdicts from intervals, relative limits, and files with mistakes."""

import pytest

from flow.checking.command import checklist, verdict
from flow.checking.rules import DEFAULT, Rule, apply, go, judge, read_rules
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.state import Failure, Result, State

METRICS = {
    "accuracy": Metric(0.9),
    "accuracy_trivial": Metric(0.5),
    "cross_entropy": Metric(0.3),
    "accuracy_flip_1": Metric(0.02, ci=(0.01, 0.03)),
    "accuracy_flip_5": Metric(0.2, ci=(0.15, 0.25)),
    "sharpness_mean_0.5": Metric(0.04),
}


def rule(metric="accuracy_flip_1", why="because", **keys):
    return Rule(metric=metric, why=why, **keys)


@pytest.mark.parametrize(
    ("value", "ci", "limit", "upper", "expected"),
    [
        (1.0, None, 1.0, True, "PASS"),
        (1.1, None, 1.0, True, "FAIL"),
        (0.5, (0.4, 1.0), 1.0, True, "PASS"),
        (0.5, (0.4, 1.1), 1.0, True, "UNCLEAR"),
        (1.5, (0.9, 2.0), 1.0, True, "UNCLEAR"),
        (1.5, (1.1, 2.0), 1.0, True, "FAIL"),
        (1.0, None, 1.0, False, "PASS"),
        (0.9, (0.8, 0.99), 1.0, False, "FAIL"),
        (1.5, (0.9, 2.0), 1.0, False, "UNCLEAR"),
        (1.5, (1.0, 2.0), 1.0, False, "PASS"),
    ],
)
def test_a_limit_inside_the_interval_is_no_pass(value, ci, limit, upper, expected):
    assert judge(Metric(value, ci=ci), limit, upper) == expected


@pytest.mark.parametrize(
    ("given", "limit", "status"),
    [
        ({"max": 0.025}, 0.025, "UNCLEAR"),
        ({"max": 0.1, "of": "gain"}, 0.04, "PASS"),
        ({"max": 0.1, "of": "loss"}, 0.03, "PASS"),
        ({"max": 0.01, "of": "accuracy"}, 0.009, "FAIL"),
        ({"min": 0.1, "of": "gain"}, 0.04, "FAIL"),
        ({"max": 1.0, "of": "mse"}, None, "NOT MEASURED"),
    ],
)
def test_what_a_limit_is_relative_to(given, limit, status):
    (line,) = apply([rule(**given)], METRICS)
    assert line.status == status
    assert line.limit == (None if limit is None else pytest.approx(limit))
    assert go([line]) == (status == "PASS")


def test_a_pattern_makes_a_line_for_each_metric():
    lines = apply([rule("accuracy_flip_*", max=0.1), rule("accuracy_flop_1", max=1.0)], METRICS)
    assert [(line.name, line.status) for line in lines] == [
        ("accuracy_flip_1", "PASS"),
        ("accuracy_flip_5", "FAIL"),
        ("accuracy_flop_1", "NOT MEASURED"),
    ]
    assert "Did you mean 'accuracy_flip_1'?" in lines[2].note


def test_only_rules_that_must_pass_decide():
    wanted = [rule(max=0.1), rule("accuracy_flip_5", max=0.1, severity="should"), rule("gone", max=1.0, severity="should")]
    lines = apply(wanted, METRICS)
    assert go(lines)
    assert verdict(lines, State()) == ["GO: every rule that must pass does; not passed, of those that should: accuracy_flip_5, gone."]
    assert not go(apply([*wanted, rule("gone", max=1.0)], METRICS)), "a rule that must pass cannot be left open"
    broken = State({"robustness": Result("robustness", "k", "failed", failure=Failure("robustness", "X", "the disk burns"))})
    assert "stage robustness failed: the disk burns" in "\n".join(verdict(lines, broken))


def test_text_and_json_of_a_line():
    lines = apply([rule(max=0.1, of="gain"), rule("gone", min=2.0)], METRICS)
    text = "\n".join(checklist(lines))
    assert "0.0200 [0.0100, 0.0300]" in text
    assert "<= 0.0400 (0.1 x gain)" in text
    assert ">= 2" in text
    document = lines[0].to_json()
    assert document["metric"] == document["rule"] == "accuracy_flip_1"
    assert (document["status"], document["ci"], document["limit"]) == ("PASS", [0.01, 0.03], pytest.approx(0.04))


def test_the_rules_that_come_with_the_package():
    rules = read_rules(DEFAULT)
    assert {r.severity for r in rules} == {"must", "should"}
    assert all(r.why.startswith(("convention: ", "exact arithmetic: ")) for r in rules), "each says where its limit is from"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["no such file", "rules.toml"]),
        ("[[rule]]\nmetric = oops\n", ["not valid TOML", "line 2"]),
        ("", ["there is no rule in it"]),
        ("[[rules]]\n", ["rules: unknown key", "Did you mean 'rule'"]),
        ('[[rule]]\nmetric = "a"\nwhy = "w"\n', ["line 1, rule 1: give max or min"]),
        ('[[rule]]\nmetric = "a"\nmax = 1\nmin = 0\nwhy = "w"\n', ["rule 1: give max or min, one of them"]),
        (
            '[[rule]]\nmetric = "a"\nmax = 1\nwhy = "w"\n\n[[rule]]\nmetric = "b"\nmax = "2"\nwhy = "w"\n',
            ["line 6, rule 2, max: ", "number"],
        ),
        ('[[rule]]\nmetric = "a"\nmax = 1\nwhy = "w"\nseverty = "must"\n', ["line 1, rule 1, severty: unknown key", "'severity'"]),
        ('[[rule]]\nmetric = "a"\nmax = 1\nwhy = "w"\nseverity = "may"\n', ["rule 1, severity: ", "'must' or 'should'"]),
        ("[[rule]]\nmax = 1\n", ["2 mistakes", "rule 1, metric: Field required", "rule 1, why: Field required"]),
        ('[[rule]]\nmetric = "a"\nmax = nan\nwhy = "w"\n', ["rule 1, max: ", "finite"]),
    ],
)
def test_rules_with_mistakes(tmp_path, text, words):
    path = tmp_path / "my.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_rules(path)
    assert [word for word in ["my.toml", *words] if word not in str(error.value)] == []
