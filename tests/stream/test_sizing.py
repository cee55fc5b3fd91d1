"""Depths of queues: enough, and not more."""

from dataclasses import replace

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, MismatchError
from flow.core.stage import Job
from flow.stages import rtl
from flow.stream import sizing
from flow.stream.build import LEAST_FLIGHT, build, flight_of, queues, skeleton, with_queues
from flow.stream.simulate import Run
from tests.stream.networks import CLOCK, PART, Net

POOL = ((2, 2), (2, 2))


def job(folder):
    (folder / "out").mkdir()
    return Job(rtl.STAGE, DesignPoint.model_validate({"model": "m"}), {}, folder / "out", folder, folder / "log.txt", folder / "replay.sh")


@pytest.fixture(scope="module")
def residual():
    """conv -> conv -> sum with what was before -> pool -> conv with multipliers used again: a sum, and pixels that come in bursts."""
    net = Net((8, 8, 1))
    before = net.conv(2, (1, 1), name="first").act().at
    net.zeros((1, 1, 1, 1)).conv(2, (3, 3), name="second").signed().plus(before, "sum").act()
    net.pool(*POOL).conv(2, (2, 2), name="slow").act()
    return build(net.end(), PART, CLOCK, {"slow": 4})


def test_depths_are_enough_and_each_sum_needs_its_own(residual, tmp_path):
    one = job(tmp_path)
    sized = sizing.size(one, residual)
    assert set(sized.depths) == set(queues(residual.elements, residual.reuse)) >= {"sum.a", "sum.b", "slow"}
    assert 100 <= sized.interval < sized.latency + 64, "padding makes 10 x 10 pixels of 8 x 8"
    assert sized.depths["sum.a"] > 8, "a row of pixels passes by the convolution"
    assert max(sized.depths.values()) < 64, "not a whole frame"
    short = with_queues(skeleton(residual, 1), {**sized.depths, "sum.a": 4})
    with pytest.raises(MismatchError, match="gave 0 pixels"):
        sizing.Handshakes(one, short).run()


def fake(monkeypatch, rule):
    """Stand in for the simulator: `rule(depths, pace)` gives latency, interval and how full the queues were."""
    seen = []

    class Handshakes:
        def __init__(self, job, design):
            self.depths = dict(design.fifos)
            seen.append(self.depths)

        def run(self, pace=0):
            latency, interval, full = rule(self.depths, pace)
            ends = latency + interval * np.arange(8)
            return Run(np.zeros((8, 1)), np.arange(8) * 64, ends, np.zeros(8, bool), full)

    monkeypatch.setattr(sizing, "Handshakes", Handshakes)
    return seen


def test_queues_grow_until_nothing_is_lost_to_bursts(residual, monkeypatch):
    def rule(depths, pace):
        full = {"sum_a_queue": 12, "sum_b_queue": 1, "slow_queue": 3 if pace else 40}
        assert pace in (0, 200 / 64)
        return 150, 200 if depths["slow"] >= 14 else 210, full

    seen = fake(monkeypatch, rule)
    sized = sizing.size(None, residual)
    assert [d["slow"] for d in seen] == [100, 4, 8, 16]
    assert (sized.depths["slow"], sized.depths["sum.a"], sized.depths["sum.b"]) == (16, 13, 2), "never more than was ever needed"
    assert (sized.latency, sized.interval) == (150, 200)


def test_a_network_that_queues_do_not_help_is_refused(residual, monkeypatch):
    fake(monkeypatch, lambda depths, pace: (150, 200 if depths["slow"] == 100 else 201, {"slow_queue": 3}))
    with pytest.raises(InvalidInput, match=r"takes 201 cycles.*without a limit 200"):
        sizing.size(None, residual)


def test_short_frames_do_not_wait_for_room(tmp_path):
    """A result a cycle, from a pipeline that is longer than the frames there is room for at least."""
    net = Net((4,), 3)
    for _ in range(5):
        net.dense(4).act()
    design = build(net.end(2), PART, 2.0)
    assert design.flight == 64
    one = job(tmp_path)
    sized = sizing.size(one, design)
    assert (sized.depths, sized.interval) == ({}, 1)
    assert LEAST_FLIGHT + 10 < sized.latency < design.flight
    few = sizing.Handshakes(one, skeleton(replace(design, flight=LEAST_FLIGHT), 1))
    few.frames = 128
    assert few.run().interval > 1, "so it would be with less room, when enough frames are sent to see it"


def test_room_is_for_what_the_slowest_element_lets_in():
    elements = build(Net((6, 6, 1)).conv(2, (3, 3)).act().end(), PART, CLOCK).elements
    dense = elements[-1].name
    assert flight_of(elements, {dense: 36 * 15}, {}) == 32, "frames of 36 cycles"
    assert flight_of(elements, {dense: 36 * 5}, {}) == LEAST_FLIGHT


def test_a_network_without_queues_is_only_measured(tmp_path, monkeypatch):
    design = build(Net((6, 6, 1)).conv(2, (3, 3)).act().end(), PART, CLOCK)
    seen = fake(monkeypatch, lambda depths, pace: (40, 36, {}))
    assert sizing.size(None, design) == sizing.Sized({}, 40, 36)
    assert len(seen) == 1
