"""One Verilator build of many networks: their modules get a prefix, and one top has the ports of all."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow.core.tool import GXX
from flow.rtl.ports import Port, Word
from flow.rtl.simulate import MAKE, MAKE_FLAGS, VERILATOR, VERILATOR_FLAGS
from flow.stream.kernel import shared

DRIVER = Path(__file__).with_name("bench.cpp")


@dataclass(frozen=True)
class Result:
    """Pixels that a network gave: cycle, marks and words of each."""

    cycles: np.ndarray
    damaged: np.ndarray
    last: np.ndarray
    words: np.ndarray

    def frames(self, pixels):
        """Results of whole frames (N, words of all pixels), and their damage; every `pixels`-th pixel must be marked as the last one."""
        assert len(self.words) % pixels == 0
        np.testing.assert_array_equal(self.last, np.arange(1, len(self.last) + 1) % pixels == 0)
        return self.words.reshape(len(self.words) // pixels, -1), self.damaged[pixels - 1 :: pixels]


def port(link):
    t = link.type
    return Port("data", link.width, tuple(Word(i * t.width, t.width, t.fraction, t.signed) for i in range(link.words)))


def beats(link, x):
    """Return frames (N, ...) as a list of arrays (pixels, 1 + bytes), with their marks."""
    packed = port(link).pack(x.reshape(-1, link.words)).reshape(len(x), link.rows * link.columns, -1)
    marks = np.zeros((link.rows, link.columns), np.uint8)
    marks[0, 0] += 1
    marks[:, -1] += 2
    return [np.concatenate([marks.reshape(-1, 1), frame], axis=1) for frame in packed]


def joined(designs):
    """Return the Verilog of all networks; the modules of the n-th one are called n<n>_...."""
    text = {}
    for n, design in enumerate(designs):
        own = sorted((name.removesuffix(".v") for name in design.files if not shared(name.removesuffix(".v"))), key=len, reverse=True)
        pattern = re.compile(rf"^(module +| *)({'|'.join(own)})(?= )", re.MULTILINE)  # heads and instances begin a line
        for name, body in design.files.items():
            if shared(name.removesuffix(".v")):
                text[name] = body
            else:
                text[f"n{n}_{name}"] = pattern.sub(rf"\1n{n}_\2", body)
    return "".join(text.values())


class Bench:
    """Networks side by side."""

    def __init__(self, designs, folder):
        self.designs, self.folder = list(designs), Path(folder)
        self.folder.mkdir(parents=True)
        (self.folder / "all.v").write_text(joined(self.designs) + self._top())
        lanes = " ".join(f"X({n}, {s}, {o})" for n, (s, o) in enumerate(map(self._bytes, self.designs)))
        (self.folder / "lanes.h").write_text(f"#define LANE_COUNT {len(self.designs)}\n#define LANES(X) {lanes}\n")
        shutil.copyfile(DRIVER, self.folder / "bench.cpp")
        self._run([VERILATOR.argv()[0], *VERILATOR_FLAGS, "--top-module", "bench", "bench.cpp", "all.v"])
        self._run([MAKE.argv()[0], *MAKE_FLAGS, f"CXX={GXX.argv()[0]}", "-C", "obj", "-f", "Vdut.mk"])

    def _run(self, command):
        done = subprocess.run(command, check=False, cwd=self.folder, env={**os.environ, **VERILATOR.env}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    @staticmethod
    def _bytes(design):
        return -(-design.elements[0].source.width // 8), -(-design.elements[-1].output.width // 8)

    def _top(self):
        ports, bodies = ["input aclk, input aresetn"], []
        keys = ("s_valid", "s_user", "s_last", "s_data", "m_ready", "s_ready", "m_valid", "m_user", "m_last", "m_data")
        wires = {key: key.replace("_", "_axis_t") for key in keys}
        for n, design in enumerate(self.designs):
            size, out = self._bytes(design)
            for key in wires:
                way = "input" if key in ("s_valid", "s_user", "s_last", "s_data", "m_ready") else "output"
                width = {"s_data": f"[{8 * size - 1}:0] ", "m_data": f"[{8 * out - 1}:0] "}.get(key, "")
                ports.append(f"{way} {width}n{n}_{key}")
            pins = ", ".join(f".{pin}(n{n}_{key})" for key, pin in wires.items())
            bodies.append(f"  n{n}_network_axis n{n} (.aclk(aclk), .aresetn(aresetn), {pins});\n")
        return f"module bench (\n  {', '.join(ports)}\n);\n{''.join(bodies)}endmodule\n"

    def run(self, sent, gap=0, stall=0, seed=1, reset_at=0, stalled=(0, 0)):
        """Send pixels (n, 1 + bytes) to each network; return what each gave."""
        for n, pixels in enumerate(sent):
            pixels.tofile(self.folder / f"in{n}.bin")
        self._run([str(self.folder / "obj" / "Vdut"), *map(str, (gap, stall, seed, reset_at, *stalled))])
        return [self._read(n) for n in range(len(self.designs))]

    def _read(self, n):
        output = self.designs[n].elements[-1].output
        raw = np.fromfile(self.folder / f"out{n}.bin", np.uint8).reshape(-1, 9 + self._bytes(self.designs[n])[1])
        cycles = raw[:, :8].copy().view(np.int64)[:, 0]
        return Result(cycles, raw[:, 8] & 1 > 0, raw[:, 8] & 2 > 0, port(output).unpack(raw[:, 9:]))
