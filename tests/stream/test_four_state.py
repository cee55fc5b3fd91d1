"""Streaming networks in a simulation with four states: nothing that is unknown gets out, whatever is unknown inside or at the inputs.

Before the first rising edge with `aresetn` low, all outputs may be unknown. After it, whatever the inputs were, `s_axis_tready` and
`m_axis_tvalid` are known, and so are the other outputs while `m_axis_tvalid` is high. One such edge is enough. Verilator, with random
registers in their place, sees what Verilog's `if` hides from this simulation: it takes an unknown condition as false.
"""

import re
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest

from flow.core.errors import ToolNotFound
from flow.rtl.simulate import IVERILOG, VVP
from flow.stream.build import Design
from flow.stream.plan import plan
from flow.stream.write import write, write_testbench
from tests.stream.bench import beats
from tests.stream.conftest import make
from tests.stream.four_state import FourState
from tests.stream.networks import CLOCK, NAMED, PART, REUSED, SEEDS, STORED, inputs, random_network, random_reuse

FRAMES = 9
NAMES = ("constants", "table", "scaled", "twice")
REUSES = ("vector", "line", "residual", "odd_names")
STORES = ("image_out", "narrow")  # their rows wait in memories


@dataclass(frozen=True)
class Lane:
    """A network, the pixels it gets, of which some are lost and some too many, and what it must give.

    `frames` are those that begin; `bad` those of them, by place, that are not as they should be.
    """

    name: str
    design: Design
    sent: np.ndarray
    want: np.ndarray
    bad: set[int]


def lane(case):
    (size, pixels), x = case.pixels, inputs(case.graph, FRAMES, 3)
    frames, began, bad = beats(case.design.elements[0].source, x), list(range(FRAMES)), set()
    if (
        size > 2
    ):  # a frame without its first pixel, which therefore does not begin, without one inside, without its last, and with one twice
        for i, pixel in ((1, 0), (2, size // 2), (4, size - 1)):
            frames[i] = np.delete(frames[i], pixel, axis=0)
        frames[6] = np.insert(frames[6], 1, frames[6][1], axis=0)
        began, bad = [0, 2, 3, 4, 5, 6, 7, 8], {1, 3, 5}
    want = case.expected(x)[began].reshape(len(began), pixels, -1)
    return Lane(case.name, case.design, np.concatenate(frames), want, bad)


@pytest.fixture(scope="module", autouse=True)
def icarus():
    try:
        for tool in (IVERILOG, VVP):
            tool.argv()
    except ToolNotFound as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def lanes():
    cases = [make(f"{name} reused", NAMED[name](), REUSED[name]) for name in REUSES]
    cases += [make(name, NAMED[name](), {}) for name in NAMES]
    cases += [make(f"{name} in memory", NAMED[name](), STORED[name], stored=True) for name in STORES]
    cases += [make(f"random {seed}", graph := random_network(seed), random_reuse(plan(graph), seed)) for seed in SEEDS]
    return [lane(case) for case in cases]


def build(lanes, folder):
    return FourState([lane.design for lane in lanes], [lane.sent for lane in lanes], [lane.want[..., 0].size for lane in lanes], folder)


def check(lane, result):
    """All results are there, whole and exact, but for those of damaged frames, which are marked."""
    count, pixels, words = lane.want.shape
    assert result.complaints == [], lane.name
    assert len(result.words) == count * pixels, lane.name
    np.testing.assert_array_equal(result.last, np.arange(1, count * pixels + 1) % pixels == 0, err_msg=lane.name)
    assert set(np.flatnonzero(result.damaged[pixels - 1 :: pixels])) == lane.bad, lane.name
    whole = [k for k in range(count) if k not in lane.bad]
    np.testing.assert_array_equal(result.words.reshape(count, pixels, words)[whole], lane.want[whole], err_msg=lane.name)


def test_what_is_unknown_never_gets_out_and_results_are_exact(lanes, tmp_path):
    """Also behind a second reset, of one cycle and in mid-frame."""
    cut = 0
    for lane, result in zip(lanes, build(lanes, tmp_path / "bench").run(gap=30, stall=40, reset=131), strict=True):
        check(lane, result)
        assert result.before.complaints == [], lane.name
        cut += 0 < len(result.before.words) < lane.want[..., 0].size
    assert cut >= len(lanes) / 2


RESET = re.compile(r"if \(rst\) (begin .*? end|[^;]*;)\s*else ", re.DOTALL)
FAULTS = {  # of the top
    "a frame begins with what is no pixel": (r"fill = ~first & s_axis_tvalid & ", "fill = ~first & "),
    "outputs in the first reset": (r"offered & whole & ~rst", "offered & whole"),
    "bits that only fill up bytes": (r"(in_data = fill \? \d+'d0 : s_axis_tdata)\[\d+:0\]", r"\1 >> 1"),
    "a mark of no frame": (r"damaged\[at\[\d+:0\]\]", "(|damaged)"),
}


def mutants(design):
    """Return designs in each of which one register has no reset, or that have one of `FAULTS`."""
    for name, text in design.files.items():
        for found in RESET.finditer(text.partition("`ifdef")[0]):
            yield f"{name}: {found[0]}", text[: found.start()] + text[found.end() :], name
    for fault, (old, new) in FAULTS.items():
        text, edits = re.subn(old, new, design.files["network_axis.v"])
        assert edits == 1, fault
        yield fault, text, "network_axis.v"


def test_a_register_without_its_reset_is_seen(lanes, tmp_path):
    """All such registers, in networks that together have each kind of module."""
    changed = [
        replace(lane, name=f"{lane.name}: {fault}", design=replace(lane.design, files={**lane.design.files, name: text}))
        for lane in lanes
        if lane.name == "random 0"
        for fault, text, name in mutants(lane.design)
    ]
    assert len(changed) > 20
    silent = [
        lane.name for lane, result in zip(changed, build(changed, tmp_path / "bench").run(30, 40), strict=True) if not result.complaints
    ]
    assert silent == []


def test_the_testbench_of_the_folder_passes_as_its_readme_says(tmp_path):
    """It fails when a word is another one."""
    case = make("a", graph := random_network(10), random_reuse(plan(graph), 10))
    x = inputs(graph, 6)
    manifest = write(case.design, tmp_path, part=PART, clock_ns=CLOCK, latency=0, interval=0)
    write_testbench(manifest, tmp_path / "tb", x, case.expected(x), CLOCK)
    command = re.search(r"^    (iverilog .*)$", (tmp_path / "README.md").read_text(), re.MULTILINE)[1]

    def run():
        return subprocess.run(["sh", "-c", command], check=False, cwd=tmp_path / "tb", capture_output=True, text=True)

    done = run()
    assert "PASS: 6 frames twice" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    words = (tmp_path / "tb" / "expected.hex").read_text().split()
    words[-1] = f"{int(words[-1], 16) ^ 1:x}"
    (tmp_path / "tb" / "expected.hex").write_text("\n".join(words))
    done = run()
    assert "FAIL: 2 errors" in done.stdout, done.stdout + done.stderr
    assert done.returncode != 0
