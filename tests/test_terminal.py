"""What a person sees while stages run."""

import io
import sys

import pytest

from flow import terminal
from flow.core.metric import Metric
from flow.core.plan import Event
from flow.core.state import Failure, Result
from flow.terminal import Progress, clock, headline

GATE = {"gate_csim_mismatches": Metric(3), "gate_csim_samples": Metric(4096)}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result("s", "k", "failed", failure=Failure("s", "ToolFailed", "g++ ended\nwith code 1")), "ToolFailed: g++ ended with code 1"),
        (Result("s", "", "skipped"), "skipped: what it reads is missing, see the failure above"),
        (Result("s", "k", "ok", metrics=GATE), "exactness gate: 3 of 4096 samples differ"),
        (Result("s", "k", "ok", metrics={"a": Metric(0.123456, "ns", title="WNS"), "b": Metric(2)}), "WNS 0.1235 ns, 2"),
        (Result("s", "k", "ok", {"a": "1", "b": "2"}), "2 artifact(s)"),
    ],
)
def test_headline(result, words):
    assert headline(result) == words


def test_a_long_failure_is_one_short_line():
    words = headline(Result("s", "k", "failed", failure=Failure("s", "E", "word " * 200)))
    assert len(words) <= 300
    assert "\n" not in words


def test_clock():
    assert [clock(s) for s in (0, 59.9, 60, 3661)] == ["0:00", "0:59", "1:00", "61:01"]


@pytest.fixture
def time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def event(stage="train", fraction=0.0, result=None, left=0.0):
    return Event("p", 3, 11, stage, fraction, "epoch 3", left, result)


def test_lines_of_a_log(time):
    lines = []
    progress = Progress(lines.append, started=100.0)
    progress(event())
    progress(event(fraction=0.1, left=70))
    assert lines == [], "no line before there is something to say"
    time[0] += 14
    progress(event(fraction=0.2, left=60))
    assert lines == []
    time[0] += 2
    progress(event(fraction=0.3, left=50))
    assert lines == ["[ 3/11] train          30%  epoch 3  (elapsed 0:16, left ~0:50)"]
    progress(event(fraction=0.4, left=49))
    assert len(lines) == 1
    progress(event(result=Result("train", "k", "ok", {"a": "1"}, seconds=16.04), left=40))
    progress(event(result=Result("train", "k", "ok", {"a": "1"}, cached=True)))
    progress(event(result=Result("train", "k", "failed", failure=Failure("train", "E", "m"))))
    progress(event(result=Result("train", "", "skipped")))
    assert lines[1:] == [
        "[ 3/11] train        16.0 s  1 artifact(s)  (elapsed 0:16, left ~0:40)",
        "[ 3/11] train        cached  1 artifact(s)",
        "[ 3/11] train        FAILED  E: m  (elapsed 0:16, left ~0:00)",
        "[ 3/11] train       skipped  skipped: what it reads is missing, see the failure above  (elapsed 0:16, left ~0:00)",
    ]


def test_many_points_have_their_names(time):
    lines = []
    Progress(lines.append, many=True)(event(result=Result("train", "k", "ok", cached=True)))
    assert lines == ["[ 3/11] p: train        cached  0 artifact(s)"]


def test_terminal_has_one_moving_line(time, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    lines = []
    progress = Progress(lines.append, started=100.0)
    progress(event(fraction=0.5, left=10))
    assert screen.getvalue() == "\r\033[K[ 3/11] train          50%  epoch 3  (elapsed 0:00, left ~0:10)"
    progress(event(result=Result("train", "k", "ok", cached=True)))
    assert screen.getvalue().endswith("\r\033[K")
    assert len(lines) == 1


def test_a_signal_that_a_library_swallowed_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(terminal, "_SIGNALS", [])
    with pytest.raises(KeyboardInterrupt):
        terminal.stop_on_signal(15, None)
    with pytest.raises(KeyboardInterrupt):
        Progress(print)(event())
