"""The driver of streaming simulations, with a network of a few lines that can misbehave."""

import itertools
import re

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, MismatchError, ToolFailed, ToolNotFound
from flow.core.stage import Job
from flow.rtl.ports import Manifest, Port, Word
from flow.stages import rtlsim, waveform
from flow.stream import simulate

# A frame has two pixels, its result is their sum, two cycles after the first. The upper bits of a pixel say what else happens.
GOOD, CHANGES, WITHDRAWS, LOSES, MARKS, TWICE = range(6)
NETWORK = """
module network_axis (
  input aclk, input aresetn,
  input s_axis_tvalid, output s_axis_tready, input s_axis_tuser, input s_axis_tlast, input [7:0] s_axis_tdata,
  output m_axis_tvalid, input m_axis_tready, output m_axis_tuser, output m_axis_tlast, output [7:0] m_axis_tdata
);
  reg full; reg [7:0] sum; reg [2:0] mode; reg more;
  assign s_axis_tready = ~full | (m_axis_tready & ~more);
  assign m_axis_tvalid = full, m_axis_tdata = sum, m_axis_tuser = mode == 4, m_axis_tlast = 1;
  always @(posedge aclk) begin
    if (full & m_axis_tready) more <= 0;
    if (full & (m_axis_tready ? ~more : mode == 2)) full <= 0;
    if (full & ~m_axis_tready & mode == 1) sum <= sum + 1;
    if (s_axis_tvalid & s_axis_tready) begin
      mode <= s_axis_tdata[7:5];
      sum <= (s_axis_tuser ? 0 : sum) + s_axis_tdata[4:0];
      if (s_axis_tlast) full <= s_axis_tdata[7:5] != 3;
      if (s_axis_tlast) more <= s_axis_tdata[7:5] == 5;
    end
    if (~aresetn) begin full <= 0; more <= 0; end
  end
`ifdef SIMULATION
  always @(posedge aclk) if (aresetn & full) $display("sum_queue %0d", sum);
`endif
endmodule
"""
WORD = Word(0, 8, 0, False)
MANIFEST = Manifest(
    "network_axis", "aclk", 2, 2, Port("s_axis_tdata", 8, (WORD,)), Port("m_axis_tdata", 8, (WORD,)), (), (), "sum", "by hand",
    io="stream", frame=(1, 2),
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    (folder / "out").mkdir()
    (folder / "network_axis.v").write_text(NETWORK)
    point = DesignPoint.model_validate({"model": "m"})
    job = Job(rtlsim.STAGE, point, {}, folder / "out", folder, folder / "log.txt", folder / "replay.sh")
    return job, simulate.build(job, [folder / "network_axis.v"], MANIFEST, job.work / "simulation")


def frames(count, mode=GOOD, at=3):
    x = np.random.default_rng(0).integers(0, 16, (count, 1, 2, 1)).astype(float)
    want = x.sum(axis=(1, 2))
    x[at, 0, 1] += 32 * mode
    return x, want


def test_frames_behind_each_other_are_counted(built):
    x, want = frames(20)
    run = simulate.simulate(*built, MANIFEST, x)
    np.testing.assert_array_equal(run.outputs, want)
    np.testing.assert_array_equal(np.diff(run.starts), 2)
    np.testing.assert_array_equal(run.ends - run.starts, 2)
    assert (run.latency, run.interval, run.damaged.any()) == (2, 2, False)
    assert run.queues == {"sum_queue": int(want.max())}


def test_pauses_and_an_even_pace_change_the_time_and_nothing_else(built):
    x, want = frames(40)
    for seed in (1, 2):
        run = simulate.simulate(*built, MANIFEST, x, gap=50, stall=60, seed=seed)
        np.testing.assert_array_equal(run.outputs, want)
        assert run.interval > 3
    even = simulate.simulate(*built, MANIFEST, x, pace=3.5)
    np.testing.assert_array_equal(even.starts - even.starts[0], 7 * np.arange(40))
    assert (even.interval, even.latency) == (7, 5), "the second pixel comes 4 cycles after the first"


@pytest.mark.parametrize(("mode", "words"), [(CHANGES, "a result changed"), (WITHDRAWS, "a result was withdrawn")])
def test_a_result_must_wait_as_it_is(built, mode, words):
    with pytest.raises(ToolFailed, match=words):
        simulate.simulate(*built, MANIFEST, frames(20, mode)[0], stall=90)


@pytest.mark.parametrize(("mode", "count"), [(LOSES, 19), (TWICE, 21)])
def test_each_frame_has_one_result(built, mode, count):
    with pytest.raises(MismatchError, match=f"gave {count} pixels, {count} of them"):
        simulate.simulate(*built, MANIFEST, frames(20, mode, at=19)[0])


def test_a_mark_is_that_of_its_frame(built):
    run = simulate.simulate(*built, MANIFEST, frames(20, MARKS, at=5)[0])
    np.testing.assert_array_equal(np.flatnonzero(run.damaged), [5])


def test_a_result_with_its_last_pixel_at_the_wrong_place_is_refused(built):
    two = Manifest(**{**vars(MANIFEST), "result": (2, 1), "frame": (2, 2)})  # of what gives single pixels
    with pytest.raises(MismatchError, match="20 of them the last of a result"):
        simulate.simulate(*built, two, frames(20)[0].reshape(10, 2, 2, 1) % 4)


def test_one_frame_is_too_few_and_a_pixel_must_fit(built):
    with pytest.raises(InvalidInput, match="at least two"):
        simulate.simulate(*built, MANIFEST, frames(9)[0][:1])
    with pytest.raises(InvalidInput, match="256"):
        simulate.simulate(*built, MANIFEST, np.full((2, 1, 2, 1), 256.0))


def test_marks_of_beats():
    wide = Manifest(**{**vars(MANIFEST), "frame": (2, 3)})
    got = simulate.beats(wide, np.arange(12.0).reshape(2, 2, 3, 1))
    assert got[:, 0].tolist() == [1, 0, 2, 0, 0, 2] * 2
    assert got[:, 1].tolist() == list(range(12))
    column = Manifest(**{**vars(MANIFEST), "frame": (3, 1)})
    assert simulate.beats(column, np.zeros((1, 3, 1, 1)))[:, 0].tolist() == [3, 2, 2]


def test_what_was_printed_before_the_reset_is_not_a_depth():
    text = "a_queue 900\nreset is over\na_queue 1\nb_queue 7\na_queue 3\n12 cycles\n- x.v:3: Verilog $finish\n"
    assert simulate._queues(text) == {"a_queue": 3, "b_queue": 7}


def test_a_waveform_shows_both_frames(tmp_path):
    folder = tmp_path / "verilog"
    folder.mkdir()
    (folder / "network_axis.v").write_text(NETWORK)
    Manifest(**{**vars(MANIFEST), "sources": ("network_axis.v",)}).save(folder / "manifest.json")
    x, want = frames(6)
    np.savez(tmp_path / "vectors.npz", x=np.moveaxis(x, -1, 1), y=want)
    point = DesignPoint.model_validate({"model": "m", "hardware": {"io": "stream"}})
    (tmp_path / "out").mkdir()
    inputs = {"verilog": folder, "vectors": tmp_path / "vectors.npz"}
    job = Job(waveform.STAGE, point, inputs, tmp_path / "out", tmp_path / "scratch", tmp_path / "log.txt", tmp_path / "replay.sh")
    job.scratch.mkdir()
    waveform.run(job)
    values = changes((job.out / "waveform").read_text())
    assert {"full", "sum", "mode"} <= set(values)
    rises = [time for (_, low), (time, high) in itertools.pairwise(values["aclk"]) if (low, high) == (0, 1)]
    taken, given = [], []
    for rise in rises:  # signals just before an edge
        before = {name: next((v for t, v in reversed(seen) if t < rise), None) for name, seen in values.items()}
        if before["aresetn"] and before["s_axis_tvalid"] and before["s_axis_tready"]:
            taken.append(before["s_axis_tdata"])
        if before["aresetn"] and before["m_axis_tvalid"] and before["m_axis_tready"]:
            given.append(before["m_axis_tdata"])
    assert taken == x[: waveform.FRAMES].reshape(-1).tolist()
    assert given == want[: waveform.FRAMES].reshape(-1).tolist()


def changes(text):
    """Read a VCD file: (time, value) of each change, by signal."""
    names, found, time = {}, {}, 0
    for line in text.splitlines():
        if declared := re.match(r"\s*\$var wire +\d+ (\S+) (\S+)", line):
            names.setdefault(declared[1], set()).add(declared[2])  # the same wire in several modules
        elif line.startswith("#"):
            time = int(line[1:])
        elif change := re.match(r"b?([01]+) ?(\S+)$", line if line.startswith("b") else f"{line[:1]} {line[1:]}"):
            for name in names[change[2]]:
                found.setdefault(name, []).append((time, int(change[1], 2)))
    return found


def test_without_verilator_its_hint_is_given(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HLSCAPE_VERILATOR", "/nowhere/verilator")
    with pytest.raises(ToolNotFound, match=re.escape("/nowhere/verilator")):
        simulate.build(built[0], [], MANIFEST, tmp_path)
