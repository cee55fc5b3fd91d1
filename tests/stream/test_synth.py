"""Streaming networks through stages synth and netsim: layers, primitives, and netlists that are right, wrong or silent."""

import json
import re
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, MismatchError, MissingInput, ToolNotFound
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest
from flow.stages import netsim, synth
from flow.stream import cost
from flow.stream.build import build
from flow.stream.model import evaluate
from flow.stream.netlist import load, pieces, simulate
from flow.stream.plan import plan
from flow.stream.write import describe, write_sources
from flow.synth._modules import inside, needed
from flow.synth._netlist import parse
from flow.synth.open import FAMILIES, layers
from tests.rtl import tiny
from tests.stream.networks import CLOCK, PART, Net, inputs

COUNT = 12


def small(stored=False):
    """Return a network with lines of seven pixels, and a design whose last layer uses its multipliers three times and has a queue.

    If `stored`, its lines are in a memory.
    """
    graph = Net((4, 7, 2)).conv(2, (3, 3), pads=(0, 0, 1, 1)).act().end()
    dense = next(e.name for e in reversed(plan(graph)) if e.reusable)
    gather = next(e.name for e in plan(graph) if e.kind == "gather")
    memories = {e.name: True for e in plan(graph) if stored and e.kind == "window"}
    return graph, build(graph, PART, CLOCK, {dense: 7}, {gather: 3}, memories)


def mapped(folder, verilog, part, dsp):
    try:
        YOSYS.argv()
    except ToolNotFound:
        pytest.skip("Yosys is not installed")
    job = tiny.job(synth.STAGE, folder, verilog=verilog)
    job.full_point = DesignPoint.model_validate({"model": "m", "hardware": {"part": part, "dsp": dsp}})
    synth.run(job)
    return job


@pytest.fixture(scope="module", params=[(PART, False), ("xc7z020clg400-1", True)], ids=["tables", "slices"])
def network(request, tmp_path_factory):
    """Verilog, report, netlist and vectors; with DSP slices also a block RAM."""
    folder, (part, dsp) = tmp_path_factory.mktemp("network"), request.param
    return written(folder, *small(stored=dsp), part, dsp)


def written(folder, graph, design, part, dsp=False):
    """Map a design; return it, report, netlist and vectors."""
    write_sources(design, folder / "verilog")
    describe(design, 100, 100).save(folder / "verilog" / "manifest.json")
    x = inputs(graph, COUNT)
    y = evaluate(design.elements, design.kernels, x)[design.elements[-1].name].reshape(COUNT, -1)
    np.savez(folder / "vectors.npz", x=np.moveaxis(x, -1, 1), y=y)
    job = mapped(folder / "synth", folder / "verilog", part, dsp)
    report = json.loads((job.out / "synth_report").read_text())
    return SimpleNamespace(
        design=design, dsp=dsp, verilog=folder / "verilog", netlist=job.out / "netlist", vectors=folder / "vectors.npz", x=x, y=y,
        report=report, measured=job.metrics, manifest=Manifest.load(folder / "verilog" / "manifest.json"),
    )  # fmt: skip


def run(folder, network, netlist=None):
    job = tiny.job(netsim.STAGE, folder, verilog=network.verilog, netlist=netlist or network.netlist, vectors=network.vectors)
    netsim.run(job)
    return job


def broken(folder, network, module, pattern, replacement):
    """Copy a netlist and change all places that a pattern matches."""
    shutil.copytree(network.netlist, folder)
    text, count = re.subn(pattern, replacement, (folder / f"{module}.v").read_text())
    assert count
    (folder / f"{module}.v").write_text(text)
    return folder


def cells(network, name):
    (module,) = parse((network.netlist / f"{name}.v").read_text(), name)
    return module.cells


def test_a_right_netlist_passes(network, tmp_path):
    job = run(tmp_path, network)
    assert {n: m.value for n, m in job.metrics.items()} == {"gate_netlist_mismatches": 0, "gate_netlist_samples": COUNT}
    assert json.loads((job.out / "netsim_gate").read_text())["samples"] == COUNT


@pytest.mark.parametrize(("frames", "gap", "stall"), [(1, 0.0, 0.0), (5, 0.6, 0.0), (5, 0.0, 0.8), (12, 0.4, 0.4)])
def test_pauses_and_the_order_of_frames_change_nothing(network, frames, gap, stall):
    circuit = load(network.netlist, network.manifest)
    result = simulate(circuit, network.manifest, network.x, np.random.default_rng(frames), frames, gap, stall)
    assert np.array_equal(result.values, network.y)
    assert (result.extra, result.damaged.any()) == (0, False)
    assert result.cycles > frames * 28


def test_resources_are_summed_by_layer(network):
    report, design = network.report, network.design
    assert set(report["layers"]) == {*(e.name for e in design.elements), "network_axis"}
    for key in ("lut", "ff", "srl", "dsp", "carry", "muxf", "lut6_packed"):
        assert (
            sum(layer[key] for layer in report["layers"].values())
            == report["total"][key]
            == sum(m[key] for m in report["modules"].values())
        )
    assert set(report["modules"]) == {*pieces(design), "network_axis"}
    assert report["total"]["other"] == {}
    assert network.measured["lut"].value == report["total"]["lut"]
    dense = next(name for name, cycles in design.reuse.items() if cycles > 1)
    slices = {name for name, layer in report["layers"].items() if layer["dsp"]}
    assert slices == ({dense} if network.dsp else set())


def test_lines_become_shift_registers_that_stop_with_the_stream(network):
    if network.dsp:
        pytest.skip("they are in a block RAM")
    window = next(e.name for e in network.design.elements if e.kind == "window")
    shifts = [cell for cell in cells(network, window) if cell.kind in ("SRL16E", "SRLC32E")]
    # two lines of a pixel of two words of four bits; beside the window a row of nine pixels is shorter than a table
    assert len(shifts) >= 2 * network.design.elements[0].source.width
    enables = Counter(cell.pins["CE"] for cell in shifts)
    assert all(net > 1 for nets in enables for net in nets)


def test_lines_become_a_block_ram(network):
    if not network.dsp:
        pytest.skip("they are in shift registers")
    window = next(e.name for e in network.design.elements if e.kind == "window")
    assert [cell.kind for cell in cells(network, f"{window}_lines") if cell.kind.startswith("RAM")] == ["RAMB18E1"]
    assert not any(cell.kind.startswith("SRL") for cell in cells(network, window))
    assert {name: layer["bram"] for name, layer in network.report["layers"].items() if layer["bram"]} == {window: 0.5}
    assert network.measured["bram"].value == 0.5


def test_lines_that_do_not_stop_are_found(network, tmp_path):
    window = next(e.name for e in network.design.elements if e.kind == "window")
    # as old versions of Yosys do; and a memory that reads on
    planted = (f"{window}_lines", r"\.ENBWREN\([^)]*\)", ".ENBWREN(1'h1)") if network.dsp else (
        window, r"(SRL16E #\([^;]*?)\.CE\([^)]*\)", r"\1.CE(1'h1)")  # fmt: skip
    netlist = broken(tmp_path / "netlist", network, *planted)
    with pytest.raises(MismatchError, match="level 'netlist' differs from 'alkaid'"):
        run(tmp_path / "job", network, netlist)


def test_ecp5_has_short_lines_and_queues_in_distributed_memory(tmp_path):
    graph = Net((4, 7, 2)).pool((2, 2), (2, 2)).graph()
    (window,) = (e.name for e in plan(graph))
    design = build(graph, "lfe5u-12f", 10.0, fifos={window: 3})
    found = written(tmp_path, graph, design, "lfe5u-12f")
    assert sum(cell.kind == "TRELLIS_DPR16X4" for cell in cells(found, f"{window}_queue")) == 2
    kinds = Counter(cell.kind for cell in cells(found, f"{window}_lines"))
    assert kinds["TRELLIS_DPR16X4"] == 2
    assert found.report["modules"][f"{window}_lines"]["lut"] == 6 * 2 + kinds["LUT4"]
    assert set(found.report["layers"]) == {window, "network_axis"}
    run(tmp_path / "job", found)
    netlist = broken(tmp_path / "netlist", found, f"{window}_lines", r"\.WAD\([^)]*\)", ".WAD(4'h3)")
    with pytest.raises(MismatchError, match="level 'netlist' differs from 'alkaid'"):
        run(tmp_path / "again", found, netlist)


@pytest.mark.parametrize("dsp", [False, True])
def test_ecp5_has_multipliers_where_they_are_allowed(tmp_path, dsp):
    graph, _ = small()
    dense = next(e.name for e in reversed(plan(graph)) if e.reusable)
    found = written(tmp_path, graph, build(graph, "lfe5u-12f", 10.0, {dense: 7}), "lfe5u-12f", dsp)
    counted = found.report["total"]["dsp"]
    assert (counted > 0) is dsp
    graph = next(e.graph for e in plan(graph) if e.name == dense)
    assert counted == cost.estimate(graph, 7, dsp, FAMILIES["ecp5"].DSP_BITS).dsp, "by which reuse factors are chosen"
    run(tmp_path / "job", found)
    if dsp:
        netlist = broken(tmp_path / "netlist", found, f"a_{dense}", r"\.A0\([^)]*\)", ".A0(1'h0)")
        with pytest.raises(MismatchError, match="level 'netlist' differs from 'alkaid'"):
            run(tmp_path / "again", found, netlist)


@pytest.mark.parametrize(
    ("port", "value", "words"),
    [
        ("m_axis_tvalid", 0, "NaN is a result that did not come"),
        ("m_axis_tlast", 0, "NaN is a result that did not come"),
        ("m_axis_tuser", 1, f"marks {COUNT} of {COUNT} whole frames as damaged"),
        ("m_axis_tvalid", 1, "level 'netlist' differs from 'alkaid'"),
    ],
)
def test_a_netlist_that_is_silent_or_marks_whole_frames_does_not_pass(network, tmp_path, port, value, words):
    if network.dsp:
        pytest.skip("the same module as with look-up tables")
    netlist = shutil.copytree(network.netlist, tmp_path / "netlist")
    text = re.sub(rf"  assign {port} = .*;\n", "", (netlist / "network_axis.v").read_text())
    text = re.sub(rf"\.([OQ])\({port}\)", r".\1()", text)  # the pin that drives it
    (netlist / "network_axis.v").write_text(text.replace("endmodule", f"  assign {port} = 1'h{value};\nendmodule"))
    with pytest.raises(MismatchError, match=words):
        run(tmp_path / "job", network, netlist)


def test_a_netlist_without_its_top_or_ports_is_refused(network, tmp_path):
    netlist = shutil.copytree(network.netlist, tmp_path / "netlist")
    (netlist / "netlist.json").write_text('{"top": "network_axis", "modules": []}')
    with pytest.raises(MissingInput, match="no netlist of network_axis"):
        load(netlist, network.manifest)
    with pytest.raises(InvalidInput, match="no output m_axis_tlast of one bit"):
        load(broken(tmp_path / "other", network, "network_axis", "m_axis_tlast", "m_axis_tend"), network.manifest)


def test_large_modules_are_mapped_alone():
    _, design = small()
    names, tree = pieces(design), inside(design.files, (*pieces(design), "network_axis"))
    dense = next(name for name, cycles in design.reuse.items() if cycles > 1)
    elements = {e.name for e in design.elements}
    assert f"a_{dense}" in names
    assert any(re.fullmatch(r"k_\w+_logic0", name) for name in names)
    assert set(tree["network_axis"]) == {*elements, *(name for name in names if name.endswith("_queue"))}
    assert tree[dense] == (f"a_{dense}",)
    assert all(re.fullmatch(rf"a_{dense}_post_logic\d+", name) for name in tree[f"a_{dense}"])
    found = layers(tree, "network_axis")
    assert set(found) == set(names)
    assert set(found.values()) == elements
    assert found[f"a_{dense}_post_logic0"] == dense


def test_a_port_that_is_called_as_a_layer_is_not_inside():
    sources = {
        "x.v": "module x (input clk, input y, output q);\n  k_x kernel (.x(y), .y(q));\nendmodule\n",
        "k_x.v": "module k_x (input x, output y);\n  reg c; // c c (\n  mux #(.W(2)) op (.a(x), .q(y));\nendmodule\n",
        "y.v": "module y (input x, output q);\n  assign q = x;\nendmodule\n",
        "c.v": "module c (input y, output q);\n  assign q = y;\nendmodule\n",
        "mux.v": "module mux #(parameter W = 1) (input a, output q);\n  assign q = a;\nendmodule\n",
        "top.v": "module top (input a, output q);\n  wire b, d;\n  x\n    x_i (.y(a), .q(b));\n  y y_i (.x(b), .q(d));\n"
        "  c c_i (.y(d), .q(q));\nendmodule\n",
    }
    tree = inside(sources, ("k_x", "x", "y", "c", "top"))
    assert tree == {"k_x": (), "x": ("k_x",), "y": (), "c": (), "top": ("x", "y", "c")}
    assert layers(tree, "top") == {"k_x": "x", "x": "x", "y": "y", "c": "c"}
    assert set(needed(sources, "x", ("k_x",))) == {"x.v", "x.stubs.v"}
    assert set(needed(sources, "k_x")) == {"k_x.v", "mux.v"}


def test_stages_beside_each_other_are_no_layers():
    assert layers({"logic0": (), "logic1": (), "top": ("logic0", "logic1")}, "top") == {}
    tree = {"x": (), "a": ("x",), "a_b_queue": (), "a_queue": (), "lonely_queue": (), "top": ("a", "a_b_queue", "a_queue", "lonely_queue")}
    assert layers(tree, "top") == {"x": "a", "a": "a", "a_b_queue": "a", "a_queue": "a", "lonely_queue": "lonely_queue"}
