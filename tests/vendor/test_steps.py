"""Steps read from logs: real ones where they are at hand, and lines of the fakes."""

from itertools import pairwise
from pathlib import Path

import pytest

from flow.vendor.steps import COSIM_STEPS, HLS_STEPS, ROUTE_STEPS, SYNTH_STEPS, Steps

REPORTS = Path(__file__).parents[3] / "shared" / "reports"
LOGS = sorted(path for path in REPORTS.glob("*/*/*_hls.log") if path.stat().st_size > 10_000) if REPORTS.is_dir() else []


def walk(table, lines):
    told = []
    steps = Steps(table, lambda fraction, text: told.append((fraction, text)), "tool")
    for line in lines:
        steps(line, 0)
    return steps, told


@pytest.mark.skipif(not LOGS, reason="there are no real logs")
@pytest.mark.parametrize("path", LOGS, ids=lambda path: f"{path.parent.parent.name}/{path.parent.name}")
def test_real_logs_go_through_every_step(path):
    steps, told = walk(HLS_STEPS, path.read_text(errors="replace").splitlines(keepends=True))
    assert steps.position == len(HLS_STEPS)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] <= 0.98
    assert {f"step {k}/6" for k in range(1, 7)} <= {text.split(": ")[1].split(",")[0] for _, text in told}


@pytest.mark.parametrize("table", [HLS_STEPS, COSIM_STEPS, SYNTH_STEPS, ROUTE_STEPS])
def test_noise_does_not_move_and_no_step_goes_back(table):
    steps, told = walk(table, ["WARNING: [HLS 207-5292] unused parameter 'keep'", "INFO: nothing"])
    assert steps.position == 0
    assert told == []
    assert steps.fraction == 0
    last = {HLS_STEPS: "Generating Verilog RTL for net.", SYNTH_STEPS: "Starting Logic Optimization Task"}.get(table)
    if last:
        steps, _ = walk(table, [last, "Analyzing design file 'x.cpp'", "Starting synth_design"])
        assert steps.position == len(table)


def test_silence_is_told_with_time_and_memory():
    steps, told = walk(SYNTH_STEPS, ["Start Technology Mapping", ""])
    steps("", 3 << 30)
    assert told[0][1] == "tool: step 6/8, mapping to cells (0:00)"
    assert told[-1][1] == "tool: step 6/8, mapping to cells (0:00, 3.0 GiB)"


def test_modules_are_named_and_more_of_them_are_more_progress():
    _, told = walk(HLS_STEPS, [f"INFO: [HLS 200-42] -- Implementing module 'layer_{i}_s' " for i in range(30)])
    assert told[7][1].startswith("tool: step 4/6, scheduling layer_7_s (")
    fractions = [fraction for fraction, _ in told]
    assert all(a < b for a, b in pairwise(fractions))
    assert fractions[-1] < 4 / 6


def test_place_and_route():
    lines = [
        "Starting Placer Task",
        "Phase 2 Global Placement",
        "Starting Physical Synthesis Task",
        "Starting Routing Task",
        "route_design completed",
    ]
    _, told = walk(ROUTE_STEPS, lines)
    assert [text.split(", ")[1].split(" (")[0] for _, text in told] == [
        "placing", "placing", "optimising the placed design", "routing", "writing reports"
    ]  # fmt: skip
