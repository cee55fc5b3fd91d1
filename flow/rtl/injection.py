"""Flips register bits in the simulated Verilog. alkaid is not needed for it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.core.stage import Job
from flow.core.tool import Tool
from flow.rtl.ports import Bytes, Manifest, Port
from flow.rtl.simulate import stream

Ints = NDArray[np.int64]
Array = NDArray[np.float64]
CONTROL = 32  # bits: which register (0: none) in the upper 8, which of its bits in the others
PLACE = 24
TOP = "upset_top"
WRITES = re.compile(r"^(\s*)(\w+)\[(\d+):0\] <= (\w+\[\3:0\]);$", re.MULTILINE)


def registers(core: str) -> list[tuple[str, int]]:
    """Return name and width of the registers of the core, from the input on.

    Args:
        core: Verilog of the module that has the registers.

    Raises:
        InvalidInput: it does not write each of them as a whole.
    """
    found = [(match[2], int(match[3]) + 1) for match in WRITES.finditer(core)]
    if not found or len(found) != core.count("<=") or len(found) >= 1 << CONTROL - PLACE:
        raise InvalidInput("the Verilog writes its registers in a way in which no upset can be placed.")
    return found


def instrument(verilog: Path, folder: Path) -> list[Path]:
    """Write the Verilog with a port that flips a bit of what a register takes over at the next clock edge.

    Args:
        verilog: folder that `flow.rtl.verilog.write` wrote.
        folder: is created.

    Returns:
        All sources, the new top module `TOP` first. Its ``model_inp`` has the control word above the words of the sample.

    Raises:
        InvalidInput: the Verilog has an unknown form.
    """
    manifest = Manifest.load(verilog / "manifest.json")
    inner = manifest.top.removesuffix("_wrapper")
    texts = {path.stem: path.read_text() for path in (verilog / name for name in manifest.sources)}
    names = [name for name, _ in registers(texts[inner])]

    def flip(match: re.Match[str]) -> str:
        number, width = names.index(match[2]) + 1, int(match[3]) + 1
        mask = f"(upset[{CONTROL - 1}:{PLACE}] == {number} ? {width}'d1 << upset[{PLACE - 1}:0] : {width}'d0)"
        return f"{match[1]}{match[2]}[{match[3]}:0] <= {match[4]} ^ {mask};"

    texts[inner] = WRITES.sub(flip, texts[inner])
    port = (r"\(\n    input clk,", f"(\n    input clk,\n    input wire [{CONTROL - 1}:0] upset,")
    pin = (r"\.clk\(clk\),", ".clk(clk), .upset(upset),")
    for name, pattern, new in ((inner, *port), (manifest.top, *port), (manifest.top, *pin)):
        texts[name], count = re.subn(pattern, new, texts[name])
        if count != 1:
            raise InvalidInput(f"{name}.v: the module has no clock of the known form, so no upset can be placed.")
    i, o = manifest.input, manifest.output
    texts[TOP] = f"""module {TOP} (input clk, input [{i.width + CONTROL - 1}:0] {i.name}, output [{o.width - 1}:0] {o.name});
  {manifest.top} core (
      .clk(clk), .upset({i.name}[{i.width + CONTROL - 1}:{i.width}]), .{i.name}({i.name}[{i.width - 1}:0]), .{o.name}({o.name}));
endmodule
"""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.v").write_text(text)
    return [folder / f"{TOP}.v", *(folder / f"{name}.v" for name in texts if name != TOP)]


def schedule(latency: int, hit: int, samples: int) -> tuple[Ints, Ints]:
    """Place samples that are hit among others, so that each upset has the pipeline for itself and all other samples are there to be harmed.

    Args:
        latency: registers of the pipeline.
        hit: how many samples are hit.
        samples: how many there are to be the others.

    Returns:
        (rows,) which sample enters in each cycle, -1 - k for the k-th that is hit; and (hit,) the rows of these.
    """
    rows = np.arange((hit + 1) * latency) % samples
    at = np.arange(1, hit + 1) * latency - latency // 2
    rows[at] = -1 - np.arange(hit)
    return rows, at


def inject(
    job: Job, verilog: Path, x: Array, at: Ints, register: Ints, place: Ints, expected: Array, tools: Sequence[Tool]
) -> tuple[Array, NDArray[np.bool_]]:  # fmt: skip
    """Feed one sample every clock cycle and flip register bits, each for one cycle.

    Args:
        job: gives a work folder and runs the programs.
        verilog: folder that `flow.rtl.verilog.write` wrote.
        x: (rows, ...) samples in the order in which they enter, channels last.
        at: (n,) the sample that is hit by each upset; no two upsets in one cycle.
        register: (n,) its register, 0 is that of the input.
        place: (n,) the bit.
        expected: (rows, outputs), for the messages of Icarus only.
        tools: from `flow.rtl.simulate.simulator`.

    Returns:
        (rows, outputs), and (rows,) whether an output has an unknown bit.

    Raises:
        InvalidInput: two upsets in a cycle, data that does not fit the ports, or Verilog of another form.
        FlowError: a program is missing, fails or takes too long.
    """
    manifest = Manifest.load(verilog / "manifest.json")
    control = np.zeros(len(x) + manifest.latency, np.int64)
    cycles = at + register
    if len(np.unique(cycles)) < len(cycles):
        raise InvalidInput("two upsets in one clock cycle.")
    control[cycles] = (register + 1 << PLACE) + place
    i = manifest.input
    words = np.unpackbits(i.pack(np.concatenate([x, x[-1:].repeat(manifest.latency, axis=0)])), axis=1, bitorder="little")[:, : i.width]
    bits = np.concatenate([words, control[:, None] >> np.arange(CONTROL) & 1], axis=1).astype(np.uint8)
    packed: Bytes = np.packbits(bits, axis=1, bitorder="little")
    want = manifest.output.pack(expected)
    sources = instrument(verilog, job.work / "upsets")
    top = replace(manifest, top=TOP, input=Port(i.name, i.width + CONTROL, ()))
    raw, unknown = stream(job, sources, top, packed, tools, want)
    rows = slice(manifest.latency - 1, manifest.latency - 1 + len(x))
    return manifest.output.unpack(raw[rows]), unknown[rows]
