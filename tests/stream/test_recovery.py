"""What goes wrong outside costs at most the frame it happens in: pixels lost or too many, a reset, a consumer that stops."""

import numpy as np
import pytest

from tests.stream.bench import beats
from tests.stream.networks import inputs

FRAMES = 26


def prepared(simulation):
    """Return, for each network, its frames as lists of pixels, and what it must give."""
    frames, expected = [], []
    for case in simulation.cases:
        source = case.design.elements[0].source
        x = np.zeros((FRAMES, source.rows, source.columns, source.words)) if case.bare else inputs(case.graph, FRAMES, 3)
        frames.append(beats(source, x))
        expected.append(None if case.bare else case.expected(x))
    return frames, expected


def disturb(frames):
    """Damage frames of at least 3 pixels; return them, those that have damage and those that do not begin."""
    pixels = len(frames[0])
    if pixels < 3:
        return frames, set(), set()
    lost = {5: [pixels // 2], 8: [0], 11: [pixels - 1], 14: list(range(1, pixels)), 18: [1], 19: [pixels - 2]}
    out = [np.delete(frame, lost.get(i, []), axis=0) for i, frame in enumerate(frames)]
    for i in (3, 22):  # pixels behind the end of a frame
        out[i] = np.concatenate([out[i], frames[i][1:2] & [252, *[255] * (frames[i].shape[1] - 1)]]).astype(np.uint8)
    out[16] = np.insert(out[16], 1, out[16][1], axis=0)  # one too many inside
    return out, {*lost, 16} - {8}, {8}


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (30, 40)])
def test_a_pixel_lost_or_too_many_damages_its_frame_only_and_is_told(simulation, gap, stall):
    frames, expected = prepared(simulation)
    disturbed = [disturb(f) for f in frames]
    results = simulation.run([out for out, *_ in disturbed], gap=gap, stall=stall)
    for (case, result), want, (_, bad, silent) in zip(results, expected, disturbed, strict=True):
        began = [i for i in range(FRAMES) if i not in silent]
        got, damaged = result.frames(case.pixels[1])
        assert len(got) == len(began), case.name  # each frame that began gives one result
        assert {began[k] for k in np.flatnonzero(damaged)} == bad, case.name
        if want is not None:
            whole = [k for k, i in enumerate(began) if i not in bad]
            np.testing.assert_array_equal(got[whole], want[[began[k] for k in whole]], err_msg=case.name)


@pytest.mark.parametrize("reset_at", [61, 150])
def test_reset_in_mid_frame_drops_what_is_inside_and_the_rest_of_that_frame(simulation, reset_at):
    frames, expected = prepared(simulation)
    pauses = 80  # percent; so that even one-pixel frames are not all sent before
    reached = 0
    for (case, result), want in zip(simulation.run(frames, gap=pauses, reset_at=reset_at), expected, strict=True):
        pixels = case.pixels[1]
        before = int((result.cycles <= reset_at).sum())  # the reset goes through a register
        behind = (len(result.cycles) - before) // pixels
        assert len(result.cycles) - before == behind * pixels, case.name  # whole results only
        inside = 4 if case.pixels[0] > 1 else 17  # frames in the network, and the one that is cut by the reset
        assert FRAMES - behind - before // pixels <= inside, case.name
        assert not result.damaged.any(), case.name
        reached += 0 < behind < FRAMES
        if want is not None:
            words = want.reshape(FRAMES * pixels, -1)
            np.testing.assert_array_equal(result.words[:before], words[:before], err_msg=case.name)
            np.testing.assert_array_equal(result.words[before:], words[(FRAMES - behind) * pixels :], err_msg=case.name)
    assert reached >= len(simulation.cases) - 4


def test_a_consumer_that_stops_stops_the_source_and_loses_nothing(simulation):
    frames, expected = prepared(simulation)
    start, end = 100, 3000  # in that time more frames come than the network can hold
    held = 0
    for (case, result), want in zip(simulation.run(frames, stalled=(start, end)), expected, strict=True):
        got, damaged = result.frames(case.pixels[1])
        assert len(got) == FRAMES, case.name
        assert not damaged.any(), case.name
        assert not ((result.cycles >= start) & (result.cycles < end)).any(), case.name
        held += bool((result.cycles >= end).any())
        if want is not None:
            np.testing.assert_array_equal(got, want, err_msg=case.name)
    assert held >= len(simulation.cases) - 4
