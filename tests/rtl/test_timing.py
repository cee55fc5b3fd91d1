"""The delay estimate: against published routed paths, by hand, and what the pipeline depth makes of it."""

import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from flow.core.errors import ConfigError, DoesNotFit
from flow.rtl import timing
from flow.rtl.fabric import _PLUS, Fabric, fabric
from flow.rtl.lower import lower
from flow.rtl.timing import ADD, ADD3, ADD_CONSTANT, CONSTANT, INPUT, MUX, QUANTIZE, RELU, TABLE, UNARY, Walk, stage_delay
from flow.rtl.verilog import pipelined, write
from tests.rtl import tiny

KU115, VU9P, ZYNQ = "xcku115-flvb2104-2-i", "xcvu9p-flga2104-2-e", "xc7z020clg400-1"
ROUND = Fabric("round", "1", 1.0, 0.25, 0.5, 2.0, 6, 3.0, 0.125, 8, 4.0, 10.0, 1.0, "made up")


def op(code, *addr, width=8, data=(0,), low=0.0):
    return SimpleNamespace(opcode=code, addr=addr, data=data, qint=SimpleNamespace(kif=(0, width, 0), min=low))


def logic(*ops, out=-1):
    return SimpleNamespace(ops=list(ops), out_idxs=[len(ops) + out if out < 0 else out])


def delay(*ops):
    return stage_delay(logic(*ops), ROUND)


def test_two_routed_paths_of_vivado_are_met():
    """xczu3eg-1, Vivado 2021.2: register, three look-up tables and a 32-bit adder, 2.828 ns; two adders and a look-up table, 2.618 ns."""
    walk = Walk(logic(op(INPUT)), _PLUS)

    def net(at, loads):
        slower = _PLUS.net + _PLUS.fan * np.log2(loads)
        return at[0] + slower, at[1] + slower

    def lut(at):
        return at[0] + _PLUS.lut, at[1] + _PLUS.lut

    at = (_PLUS.clock_to_q,) * 2
    for loads in (19, 15, 65):
        at = lut(net(at, loads))
    assert max(walk.adder(net(at, 2), 32)) == pytest.approx(2.828, rel=0.05)
    at = walk.adder(net((_PLUS.clock_to_q,) * 2, 70), 16)
    assert max(walk.adder(net(lut(net(at, 2)), 1), 32)) == pytest.approx(2.618, rel=0.08)


def test_paths_are_added_up_as_by_hand():
    register, overhead = ROUND.clock_to_q, ROUND.setup + ROUND.uncertainty
    start = register + ROUND.net
    assert delay(op(INPUT), op(QUANTIZE, 0)) == register + overhead
    assert delay(op(INPUT), op(INPUT), op(ADD, 0, 1, width=8)) == start + 3 + 4 + overhead
    assert delay(op(INPUT), op(INPUT), op(ADD, 0, 1, width=16)) == start + 3 + 8 * 0.125 + 4 + overhead, "eight bits more"
    assert delay(op(INPUT), op(INPUT), op(INPUT), op(ADD3, 0, 1, 2)) == start + 2 + 10 + 3 + 4 + overhead
    assert delay(op(INPUT), op(ADD_CONSTANT, 0)) == start + 3 + 4 + overhead
    assert delay(op(INPUT), op(CONSTANT), op(ADD, 0, 1)) == start + 3 + 4 + overhead, "a constant is there at once"
    assert delay(op(INPUT, width=6), op(TABLE, 0)) == start + 2 + overhead
    assert delay(op(INPUT, width=10), op(TABLE, 0)) == start + 3 * 2 + 2 * 10 + overhead
    assert delay(op(INPUT, width=9), op(UNARY, 0, data=(1,), width=1)) == start + 2 * 2 + 10 + overhead
    assert delay(op(INPUT), op(UNARY, 0, data=(0,))) == register + overhead, "an inverter costs nothing"
    assert delay(op(INPUT), op(RELU, 0)) == register + overhead, "nothing to do: it is not negative"


def test_a_minus_among_three_costs_a_carry_chain_where_the_mapper_makes_one():
    sums = [logic(op(INPUT), op(INPUT), op(INPUT), op(ADD3, 0, 1, 2, data=(1, 0, sign, 0, 1, 2))) for sign in (1, 0)]
    apart = replace(ROUND, negates_apart=True)
    assert stage_delay(sums[0], apart) == stage_delay(sums[1], ROUND) == stage_delay(sums[0], ROUND)
    assert stage_delay(sums[1], apart) == stage_delay(sums[0], ROUND) + 3 + 4 + 10


def test_a_net_with_many_loads_is_slower():
    sign, zero, value = op(INPUT, width=1), op(CONSTANT), op(INPUT)
    assert delay(value, zero, sign, op(MUX, 0, 1, 2, width=8)) == 1 + 10 + 3 + 2 + 0.75, "the selecting bit drives eight tables"
    assert delay(op(INPUT, low=-1.0), op(RELU, 0, width=4)) == 1 + 10 + 2 + 2 + 0.75
    eight = [op(ADD_CONSTANT, 0) for _ in range(8)]
    assert delay(op(INPUT), *eight) == 1 + (10 + 3) + 3 + 4 + 0.75


def test_chained_adders_pay_for_one_carry_chain():
    ops = [op(INPUT, width=24), op(INPUT, width=24), op(ADD, 0, 1, width=24), op(ADD, 1, 2, width=24)]
    one, two = delay(*ops[:3]), delay(*ops)
    assert two - one < 10 + 3 + 4 + 16 * 0.125 + ROUND.fan + 0.01
    assert two == pytest.approx(1 + 11 + 3 + 16 * 0.125 + 4 + 10 + 3 + 4 + 0.75)


@pytest.mark.parametrize("part", [KU115, VU9P, ZYNQ, "lfe5u-85f-6bg756c"])
def test_every_depth_computes_the_same_and_meets_the_clock(part, tmp_path):
    graph = tiny.convolution(np.random.default_rng(2))
    lowered = lower(graph)
    latencies = {}
    for clock in (3.5, 6.0, 12.0):
        manifest = (
            write(lowered, graph, tmp_path / f"{clock}", part=part, clock_ns=clock, logic_per_stage=None)
            if fits(lowered, part, clock)
            else None
        )
        if manifest:
            assert max(manifest.stage_delays_ns) <= clock
            assert len(manifest.stage_delays_ns) == len(manifest.stages) == manifest.latency - 1
            latencies[clock] = manifest.latency
    assert len(latencies) >= 2
    assert [latencies[c] for c in sorted(latencies)] == sorted(latencies.values(), reverse=True)


def fits(lowered, part, clock):
    try:
        pipelined(lowered.logic, part, clock, None)
    except DoesNotFit:
        return False
    return True


def test_cutting_does_not_change_what_is_computed():
    rng = np.random.default_rng(3)
    for make, clock in itertools.product((tiny.dense, tiny.convolution, tiny.line), (2.5, 5.0)):
        graph = make(rng)
        lowered = lower(graph)
        x = tiny.inputs(rng, graph, 20).reshape(20, -1)
        values = x
        stages = list(pipelined(lowered.logic, KU115, clock, None).logic.values())
        for stage in stages:
            values = stage.predict(np.ascontiguousarray(values), n_threads=1)
        assert np.array_equal(values, lowered.predict(x)), (make, clock)


def test_one_stage_less_is_too_slow():
    """The number of stages is the smallest: with the limit just below the delay that was found, more are needed."""
    logic = lower(tiny.image(np.random.default_rng(1))).logic
    stages = pipelined(logic, KU115, 4.0, None).logic.values()
    again = pipelined(logic, KU115, max(timing.estimate(stages, KU115).delays) * 0.97, None).logic.values()
    assert len(again) > len(stages)


def test_a_clock_that_no_depth_reaches_is_refused_with_the_fastest_one():
    logic = lower(tiny.convolution(np.random.default_rng(2))).logic
    with pytest.raises(DoesNotFit, match=r"hardware.clock_ns = 1: the slowest single operation.*Set hardware.clock_ns to") as caught:
        pipelined(logic, ZYNQ, 1.0, None)
    fastest = float(re.search(r"clock_ns to ([0-9.]+) or more", str(caught.value))[1])
    assert max(timing.estimate(pipelined(logic, ZYNQ, fastest, None).logic.values(), ZYNQ).delays) <= fastest
    with pytest.raises(DoesNotFit):
        pipelined(logic, ZYNQ, fastest - 0.02, None)


def test_parts_have_the_fabric_of_their_family_and_grade():
    assert fabric(KU115).describe().startswith("delay model 1, UltraScale -2 (")
    assert [fabric(p).name for p in (VU9P, "xck26-sfvc784-2LV-c", "xcu250-figd2104-2L-e", "xczu9eg-ffvb1156-2-e")] == ["UltraScale+"] * 4
    assert fabric("xcku5p-ffvb676-2-e").name == "UltraScale+"
    assert fabric(ZYNQ).lut > fabric("xc7k325tffg900-1").lut
    assert fabric("xczu9eg-ffvb1156-1-e").lut > fabric("xczu9eg-ffvb1156-2-e").lut > fabric("xczu9eg-ffvb1156-3-e").lut
    assert fabric("xck26-sfvc784-2LV-c").lut == fabric("xczu9eg").lut == _PLUS.lut, "low voltage and no grade: the slowest"
    grades = [fabric(part).grade for part in ("LFE5U-25F-8BG381C", "lfe5u-85f-6bg756c", "lfe5u-85f", "lfe5um5g-45f-8bg381")]
    assert grades == ["8", "6", "6", "8 (5G)"], "the size is no grade"
    with pytest.raises(ConfigError, match="no delay model"):
        fabric("ep4ce22")


def test_explicit_depth_has_an_estimate_too_and_a_foreign_part_none(small, tmp_path):
    assert len(small.manifest.stage_delays_ns) == len(small.manifest.stages)
    manifest = write(small.lowered, small.graph, tmp_path / "v", part="ep4ce22", clock_ns=4.0, logic_per_stage=3.0)
    assert (manifest.stage_delays_ns, manifest.delay_model) == ((), "")
    assert "no estimate" in (tmp_path / "v" / "README.md").read_text()


def test_a_device_number_is_not_a_speed_grade():
    slow = fabric("lfe5u-85f-6bg756c")
    assert fabric("lfe5u-85f") == slow
    assert fabric("lfe5u-85f-8bg756c").lut == pytest.approx(0.78 * slow.lut)
    assert fabric("lfe5um5g-85f").lut < fabric("lfe5um-85f-8bg381c").lut
