"""A streaming network in its harness: what goes in and comes out through five pins, and its place and route."""

import json

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import ConfigError
from flow.core.tool import YOSYS
from flow.core.tool import run as run_program
from flow.stages import route
from flow.stream.build import build
from flow.synth import _harness, _nextpnr
from flow.synth._circuit import Circuit
from flow.synth._netlist import parse
from tests.rtl import tiny
from tests.stream.networks import Net
from tests.stream.test_synth import written
from tests.synth.test_route import REAL, REPORT, fake

PART, LANES = "lfe5u-12f", 64
INPUTS, OUTPUTS = ("aresetn", "din"), ("ready", "dout")
ONES = 2**64 - 1


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Lines in a memory; a result has more bits than a frame, so that the network has to wait, and the host with it."""
    graph = Net((3, 7, 1)).pool((2, 2), (1, 2)).conv(6, (1, 1)).act().graph()
    return written(tmp_path_factory.mktemp("network"), graph, build(graph, PART, 10.0), PART)


def netlists(network):
    names = json.loads((network.netlist / "netlist.json").read_text())["modules"]
    return {f"{name}.v": (network.netlist / f"{name}.v").read_text() for name in names}


@pytest.fixture(scope="module")
def circuit(network, tmp_path_factory):
    """The linked cells that are placed and routed, in a module without constants at its ports."""
    folder = tmp_path_factory.mktemp("linked")
    plan = _nextpnr.link(network.manifest, netlists(network), {})
    plan.write(folder)
    script = plan.files["link.ys"].replace("write_json design.json", "write_verilog -noattr -simple-lhs all.v")
    (folder / "link.ys").write_text(script)
    run_program(YOSYS, ["-q", "-s", "link.ys"], cwd=folder, log=folder / "log")
    return Circuit({m.name: m for m in parse((folder / "all.v").read_text(), "all.v")}, _harness.TOP, "clk")


class Host:
    """What the comment of the harness tells a host to do, in one lane."""

    def __init__(self, words, begin):
        self.words, self.begin, self.bits, self.wait, self.got, self.read = list(words), begin, [], 0, [], None
        self.held = 0  # cycles beyond those of a network that takes every pixel at once

    def din(self, cycle):
        """Return the bit for the next edge."""
        if not self.bits and self.words and self.wait == 0 and cycle >= self.begin:
            self.bits = [1, *self.words.pop(0)]
        return self.bits[0] if self.bits else 0

    def edge(self, ready, dout, width):
        """Take what the pins showed before an edge."""
        if self.bits:
            self.bits.pop(0)
            self.wait = 0 if self.bits else 2
        elif self.wait:
            self.held += self.wait == 1 and not ready
            self.wait = 1 if self.wait == 2 or not ready else 0
        if self.read is None:
            self.read = [] if dout else None
        else:
            self.read.append(dout)
            if len(self.read) == width:
                self.got.append(self.read)
                self.read = None


def play(circuit, manifest, x, cycles, restart=0):
    """Send frames, each lane those behind its own first one; return what each lane got: (results, tuser, tlast, bits of tdata)."""
    bits = np.unpackbits(manifest.pack_inputs(x), axis=1, bitorder="little")[:, : manifest.input.width]
    rows, columns = manifest.frame
    place = np.arange(len(bits)) % (rows * columns)
    beats = np.column_stack([place == 0, place % columns == columns - 1, bits]).astype(int).tolist()
    rng = np.random.default_rng(0)
    values = circuit.begin(1, rng)
    hosts = [Host(beats, restart + 6 + lane % 7) for lane in range(LANES)]
    early = Host(beats[:5], 4)  # of a run that a reset ends
    for cycle in range(cycles):
        running = cycle not in {0, 1, restart, restart + 1}
        lanes = [(early if cycle < restart else host).din(cycle) for host in hosts]
        values[circuit.inputs["aresetn"]] = ONES if running else 0
        values[circuit.inputs["din"]] = sum(bit << lane for lane, bit in enumerate(lanes))
        circuit.settle(values)
        ready, dout = (int(values[circuit.outputs[name]][0, 0]) for name in OUTPUTS)
        if cycle >= 4:
            early.edge(ready & 1, dout & 1, manifest.output.width + 2)
        if cycle >= restart + 4:
            for lane, host in enumerate(hosts):
                host.edge(ready >> lane & 1, dout >> lane & 1, manifest.output.width + 2)
        circuit.clock(values)
    assert not any(host.words or host.bits for host in hosts)
    assert min(host.held for host in hosts) > 100
    return [np.array(host.got) for host in hosts]


@pytest.mark.parametrize("restart", [0, 90])
def test_frames_go_in_and_results_come_out_as_the_harness_says(network, circuit, restart):
    manifest, frames = network.manifest, 4
    pixels = manifest.result[0] * manifest.result[1]
    got = play(circuit, manifest, network.x[:frames], restart + frames * 600, restart)
    for words in got:
        assert len(words) == frames * pixels
        user, last, data = words[:, 0], words[:, 1], words[:, 2:].astype(np.uint8)
        assert not user.any()
        assert np.flatnonzero(last).tolist() == [pixels * (k + 1) - 1 for k in range(frames)]
        values = manifest.output.unpack(np.packbits(data, axis=1, bitorder="little")).reshape(frames, -1)
        np.testing.assert_array_equal(values, network.y[:frames])


def job(folder, network, **settings):
    made = tiny.job(route.STAGE, folder, verilog=network.verilog, netlist=network.netlist)
    made.full_point = DesignPoint.model_validate({"model": "m", "hardware": {"io": "stream", "part": PART}, "route": settings})
    route.check(made.full_point)
    return made


def test_a_clock_is_also_a_frame_rate(network, tmp_path, monkeypatch):
    write = "Path(f'seed{seed}.json').write_text(json.dumps(REPORT)); Path(f'seed{seed}.config').write_text('bits')"
    fake(tmp_path, monkeypatch, f"REPORT = {REPORT!r}\n{write}")
    one = job(tmp_path / "job", network)
    route.run(one)
    rate, clock = one.metrics["routed_frames_per_s"], one.metrics["fmax_mhz"]
    assert rate.value == pytest.approx(clock.value * 1e6 / network.manifest.interval)
    assert (rate.unit, rate.kind, rate.direction, rate.part) == ("1/s", "routed", "higher", PART)
    words = (one.out / "route" / "README.md").read_text()
    assert "come out through five pins." in words
    assert "before `route.pins` says where each of clk, aresetn, din, ready and dout is." in words


@pytest.mark.parametrize(
    ("io", "pin", "names"), [("stream", "load", "clk, aresetn, din, ready, dout"), ("parallel", "ready", "clk, din, load, dout")]
)
def test_pins_that_the_harness_does_not_have_are_refused(io, pin, names):
    point = DesignPoint.model_validate({"model": "m", "hardware": {"io": io, "part": PART}, "route": {"pins": {"clk": "G2", pin: "D6"}}})
    with pytest.raises(ConfigError, match=rf"^route\.pins\.{pin}: with hardware.io = '{io}' the pins of the bitstream are {names}\.$"):
        route.check(point)


@pytest.mark.skipif(not REAL, reason="nextpnr-ecp5 is not installed")
def test_a_stream_is_routed(network, tmp_path):
    pins = {"clk": "G2", "aresetn": "D6", "din": "R1", "ready": "B2", "dout": "B3"}
    one = job(tmp_path, network, pins=pins)
    route.run(one)
    assert "They are where `route.pins` says" in (one.out / "route" / "README.md").read_text()
    assert b"LFE5U-12F" in (one.out / "route" / "network.bit").read_bytes()[:200]
    assert one.metrics["fmax_mhz"].value > 50
    total = network.report["total"]
    assert one.metrics["routed_ff"].value == total["ff"]
    assert total["lut"] <= one.metrics["routed_lut"].value < 1.25 * total["lut"]  # carries that leave a chain take cells of their own
    used = json.loads((one.out / "route" / "report.json").read_text())["utilization"]
    assert used["TRELLIS_RAMW"]["used"] > 0
