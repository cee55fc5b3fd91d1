"""The AXI-Stream wrapper in two simulators, with pauses of both sides and with planted faults."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from flow.core.errors import MismatchError, ToolFailed, ToolNotFound
from flow.core.stage import Stage
from flow.core.tool import GXX
from flow.rtl import axis
from flow.rtl import simulate as sim
from flow.rtl.lower import lower
from flow.rtl.ports import Port
from flow.rtl.verilog import write, write_testbench
from tests.rtl import tiny

STAGE = Stage("toy", lambda job: None, tools=(sim.VERILATOR, sim.MAKE, GXX, sim.IVERILOG, sim.VVP))
VERILATOR, ICARUS = (sim.VERILATOR, sim.MAKE, GXX), (sim.IVERILOG, sim.VVP)


def missing(tools):
    for tool in tools:
        try:
            tool.argv()
        except ToolNotFound:
            return True
    return False


SIMULATORS = [
    pytest.param(tools, marks=pytest.mark.skipif(missing(tools), reason=f"{tools[0].name} is not installed"))
    for tools in (VERILATOR, ICARUS)
]


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """A network with layers of all kinds, cut for a fast clock, in a wrapper."""
    rng = np.random.default_rng(3)
    graph = tiny.image(rng)
    lowered = lower(graph)
    x = tiny.inputs(rng, graph, 75)
    folder = tmp_path_factory.mktemp("axis") / "verilog"
    manifest = write(lowered, graph, folder, part="xcku115-flvb2104-2-i", clock_ns=4.0, logic_per_stage=None, axi_stream=True)
    write_testbench(manifest, folder / "tb", x, lowered.predict(x), 4.0)
    axis.write(manifest, folder, len(x), 4.0)
    return SimpleNamespace(folder=folder, manifest=manifest)


@pytest.mark.parametrize("tools", SIMULATORS)
def test_no_result_is_lost_with_pauses_and_none_waits_without(wrapped, tmp_path, tools):
    job = tiny.job(STAGE, tmp_path)
    axis.simulate(job, wrapped.folder, tools)
    found = re.search(r"PASS: (\d+) results in \d+ cycles, the first (\d+) in (\d+); the source waited (\d+) cycles", job.log.read_text())
    results, first, cycles, waited = map(int, found.groups())
    assert (results, first) == (300, 75)
    assert cycles <= first + wrapped.manifest.latency + 10, "one result every cycle while nobody pauses"
    assert waited > 50, "the slow sink makes the source wait"


FAULTS = {
    "a buffer that is too small for what is inside": (r"\(busy != DEPTH\)", "(1'b1)"),
    "a result that is one cycle late": (r"wire store = valid\[LATENCY-1\]", "wire store = valid[LATENCY-2]"),
    "data that changes while it waits": (r"assign m_axis_tdata = ", "assign m_axis_tdata = waiting > 3 ? 0 : "),
    "a last word at the wrong sample": (r"last <= \{last, s_axis_tlast\}", "last <= {last, accept}"),
    "a bit that is inverted": (r"core_out\};", "core_out ^ 1'b1};"),
    "a result that never comes": (r"if \(store\) tail <= tail \+ 1'b1;", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("tools", SIMULATORS[:1] if missing(ICARUS) else SIMULATORS[1:])
def test_planted_faults_are_seen(small, tmp_path, fault, tools):
    """With a small core, for only the wrapper has faults."""
    if tools is VERILATOR and fault not in list(FAULTS)[:2]:
        pytest.skip("one build takes seconds; Icarus sees all of them")
    shutil.copytree(small.folder, tmp_path / "v")
    axis.write(small.manifest, tmp_path / "v", len(small.x), 4.0)
    file = tmp_path / "v" / "axis" / "network_axis.v"
    text, edits = re.subn(FAULTS[fault][0], FAULTS[fault][1], file.read_text())
    assert edits == 1
    file.write_text(text)
    with pytest.raises(MismatchError, match=r"AXI-Stream wrapper does not give the results of the core"):
        axis.simulate(tiny.job(STAGE, tmp_path / "job"), tmp_path / "v", tools)


def test_a_simulation_that_does_not_build_is_no_mismatch(wrapped, tmp_path, fake):
    fake("verilator", "sys.exit('no such file')")
    with pytest.raises(ToolFailed, match="no such file"):
        axis.simulate(tiny.job(STAGE, tmp_path), wrapped.folder, VERILATOR)


def test_ports_are_whole_bytes_and_the_buffer_covers_the_pipeline(wrapped):
    text = (wrapped.folder / "axis" / "network_axis.v").read_text()
    i, o = wrapped.manifest.input, wrapped.manifest.output
    assert [axis.data_bits(Port("p", n, ())) for n in (1, 8, 9, 64)] == [8, 8, 16, 64]
    assert f"input [{axis.data_bits(i) - 1}:0] s_axis_tdata" in text
    assert f"output [{axis.data_bits(o) - 1}:0] m_axis_tdata" in text
    for latency in range(2, 70):
        depth = axis.buffer_depth(SimpleNamespace(latency=latency))
        assert latency + 2 <= depth < 2 * (latency + 2)
        assert depth & (depth - 1) == 0
    assert "network_axis.v" in (wrapped.folder / "README.md").read_text()
    assert "-tclargs axis" in (wrapped.folder / "vivado_synth.tcl").read_text()
    assert "get_ports aclk" in (wrapped.folder / "axis" / "constraints.xdc").read_text()
