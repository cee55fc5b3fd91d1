"""Networks in a simulation with four states: one build of Icarus Verilog for many of them."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow.rtl.simulate import IVERILOG, VVP, read_hex
from tests.stream.bench import joined, port

LANE = Path(__file__).with_name("lane.sv")


@dataclass(frozen=True)
class Result:
    """What a network gave since the last reset, pixel by pixel; `before`: the same of what it gave before a second reset.

    `complaints` are the lines of the lane about unknown signals and results that did not wait.
    """

    damaged: np.ndarray
    last: np.ndarray
    words: np.ndarray
    complaints: list[str]
    before: "Result | None" = None


class FourState:
    """Networks side by side, each with the pixels (n, 1 + bytes) that it gets and how many it must give."""

    def __init__(self, designs, sent, results, folder):
        self.designs, self.folder = list(designs), Path(folder)
        self.folder.mkdir(parents=True)
        lanes = []
        for n, (design, pixels, count) in enumerate(zip(self.designs, sent, results, strict=True)):
            size, out = design.elements[0].source.width, -(-design.elements[-1].output.width // 8) * 8
            lines = (f"{int(p[0]) << size | int.from_bytes(p[1:].tobytes(), 'little'):x}\n" for p in pixels)
            (self.folder / f"in{n}.hex").write_text("".join(lines))
            lanes.append(_lane(n, size, out, len(pixels), count))
        (self.folder / "all.sv").write_text(joined(self.designs) + _top(lanes))
        shutil.copyfile(LANE, self.folder / "lane.sv")
        self._run([*IVERILOG.argv(), "-g2012", "-o", "bench.vvp", "-s", "bench", "lane.sv", "all.sv"])

    def _run(self, command):
        done = subprocess.run(command, check=False, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def run(self, gap=0, stall=0, reset=0):
        """Send the pixels with pauses in so many percent of cycles, again from the start after a reset in that cycle."""
        self._run([*VVP.argv(), "-n", "bench.vvp", f"+gap={gap}", f"+stall={stall}", f"+reset={reset}"])
        return [self._read(n) for n in range(len(self.designs))]

    def _read(self, n):
        before, again, after = (self.folder / f"out{n}.txt").read_text().partition("reset\n")
        output = self.designs[n].elements[-1].output
        return _result(output, after, _result(output, before)) if again else _result(output, before)


def _result(output, text, before=None):
    rows = [line.split() for line in text.splitlines()]
    results = [row[1:] for row in rows if row[0] == "result"]
    words = np.zeros((0, output.words))
    if results:
        raw, _ = read_hex([row[2] for row in results], 8 * -(-output.width // 8))
        words = port(output).unpack(raw)
    damaged, last = (np.array([row[k] == "1" for row in results], bool) for k in (0, 1))
    return Result(damaged, last, words, [" ".join(row) for row in rows if row[0] != "result"], before)


def _lane(n, size, out, beats, results):
    """Write a network and what is around it."""
    wide = {"s_data": -(-size // 8) * 8, "m_data": out}
    keys = ("s_valid", "s_user", "s_last", "s_data", "s_ready", "m_valid", "m_ready", "m_user", "m_last", "m_data")
    wires = "".join(f"  wire [{wide.get(key, 1) - 1}:0] n{n}_{key};\n" for key in keys)
    network = ", ".join(f".{key.replace('_', '_axis_t')}(n{n}_{key})" for key in keys)
    around = ", ".join(f".{key}(n{n}_{key})" for key in keys)
    numbers = f".N({n}), .PIXEL({size}), .IN({wide['s_data']}), .OUT({out}), .BEATS({beats}), .RESULTS({results})"
    return f"""{wires}  wire n{n}_aclk;
  n{n}_network_axis n{n} (.aclk(n{n}_aclk), .aresetn(aresetn), {network});
  lane #({numbers}) lane{n} (
    .clk(clk), .aresetn(aresetn), .gap(gap), .stall(stall), .reset(reset), .aclk(n{n}_aclk), .done(done[{n}]), {around});
"""


def _top(lanes):
    """Write the clock, resets of a single cycle, and all networks; the clock ends when all are done."""
    return f"""module bench;
  reg clk = 0, aresetn = 0;
  integer gap = 0, stall = 0, reset = 0, cycle = 0;
  wire [{len(lanes) - 1}:0] done;
  initial begin
    if (!$value$plusargs("gap=%d", gap) || !$value$plusargs("stall=%d", stall) || !$value$plusargs("reset=%d", reset)) $fatal(1);
    while (&done !== 1'b1) begin
      #1 aresetn = cycle != 0 && (reset == 0 || cycle != reset);
      clk = 0;
      #1 clk = 1;
      cycle = cycle + 1;
    end
    $finish;
  end
{"".join(lanes)}endmodule
"""
