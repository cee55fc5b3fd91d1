"""What a folder of streaming hardware says of its layers, and how long their pipeline stages are estimated to take."""

import json

import pytest

from flow.rtl.fabric import fabric
from flow.rtl.ports import Manifest
from flow.stream.build import build, with_queues
from flow.stream.plan import plan
from flow.stream.write import LAYERS, describe, write
from tests.stream.networks import CLOCK, PART, Net

SLOW = 3 * CLOCK


@pytest.fixture(scope="module")
def designs():
    """A padded convolution, pooling and a dense layer; the same with a clock of a third of the speed; and with the dense layer reused."""
    graph = Net((6, 6, 2)).conv(3, (3, 3), pads=(1, 1, 1, 1)).act().pool((2, 2), (2, 2)).end()
    dense = next(e.name for e in reversed(plan(graph)) if e.reusable)
    gather = next(e.name for e in plan(graph) if e.kind == "gather")
    reused = with_queues(build(graph, PART, CLOCK, {dense: 9}), {gather: 4})
    return build(graph, PART, CLOCK), build(graph, PART, SLOW), reused


def test_layers_are_told_with_shape_reuse_cycles_and_queue(designs, tmp_path):
    reused = designs[2]
    write(reused, tmp_path / "v", part=PART, clock_ns=CLOCK, latency=1, interval=1)
    found = json.loads((tmp_path / "v" / LAYERS).read_text())
    assert [e["name"] for e in found] == [e.name for e in reused.elements]
    assert [e["kind"] for e in found] == ["zeros around", "convolution 3 x 3", "maximum 2 x 2", "flatten", "dense"]
    assert [e["output"] for e in found] == [[8, 8, 2], [6, 6, 3], [3, 3, 3], [1, 1, 27], [1, 1, 2]]
    assert [e["cycles"] for e in found] == [64, 64, 36, 9, 9], "a pixel a cycle, and one vector in nine cycles"
    assert [e["reuse"] for e in found] == [1, 1, 1, 1, 9]
    assert [e["queue"] for e in found] == [[0], [0], [0], [4], [0]]
    kernel = reused.kernels[found[-1]["name"]]
    assert found[-1]["multipliers"] == kernel.multipliers > 0 and found[-1]["latency"] == kernel.latency


def test_delays_are_those_of_adder_trees_and_keep_to_the_clock(designs, tmp_path):
    fast, _, reused = designs
    manifest, calm, part = (describe(design) for design in designs)
    assert len(manifest.stage_delays_ns) == sum(kernel.latency for kernel in fast.kernels.values())
    assert fabric(PART).clock_to_q + fabric(PART).overhead < max(manifest.stage_delays_ns) <= CLOCK
    assert max(manifest.stage_delays_ns) < max(calm.stage_delays_ns) <= SLOW, "a slower clock has longer stages"
    assert "line buffers" in manifest.delay_model and "reused" not in manifest.delay_model
    behind = {kernel.name: kernel.latency - kernel.steps - bool(kernel.steps) for kernel in reused.kernels.values()}
    assert len(part.stage_delays_ns) == sum(behind.values()) and "reused multipliers" in part.delay_model
    write(fast, tmp_path / "v", part=PART, clock_ns=CLOCK, latency=1, interval=1)
    assert Manifest.load(tmp_path / "v" / "manifest.json").stage_delays_ns == manifest.stage_delays_ns
    assert f"estimated to need {max(manifest.stage_delays_ns):g} ns" in (tmp_path / "v" / "README.md").read_text()
