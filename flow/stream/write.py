"""The folder of a streaming network: Verilog, manifest, constraints, README and a self-checking testbench with golden frames."""

import importlib.metadata
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flow.core.errors import ConfigError
from flow.rtl import templates
from flow.rtl.graph import Array
from flow.rtl.ports import Manifest, Port, Word
from flow.stream.build import TOP, Design
from flow.stream.elements import Element, Link
from flow.stream.netlist import pieces
from flow.stream.reuse import cycles

AXIS = f"{TOP}_axis"
LAYERS = "layers.json"
GOLDEN = 16  # frames of the testbench; the stage rtlsim compares many more


def describe(design: Design, latency: int = 0, interval: int = 0) -> Manifest:
    """Return what one needs to know to use a design.

    Args:
        design: the network.
        latency: rising clock edges from the first pixel of a frame to the last of its result, as counted by `flow.stream.sizing`.
        interval: cycles from one frame to the next.
    """
    source, output = design.elements[0].source, design.elements[-1].output
    delays, model = _delays(design)
    return Manifest(
        top=AXIS, clock="aclk", latency=latency, interval=interval,
        input=_port("s_axis_tdata", source), output=_port("m_axis_tdata", output),
        sources=tuple(f"src/{name}" for name in sorted(design.files)), stages=pieces(design), output_layer=design.elements[-1].name,
        generator=f"hlscape, adder trees by alkaid {importlib.metadata.version('alkaid')}", io="stream",
        frame=(source.rows, source.columns), result=(output.rows, output.columns),
        reuse={e.name: design.reuse.get(e.name, 1) for e in design.elements if e.name in design.kernels}, queues=dict(design.fifos),
        stage_delays_ns=delays, delay_model=model,
    )  # fmt: skip


def _port(name: str, link: Link) -> Port:
    kept = link.type
    words = tuple(Word(i * kept.width, kept.width, kept.fraction, kept.signed) for i in range(link.words))
    return Port(name, link.width, words)


def _delays(design: Design) -> tuple[tuple[float, ...], str]:
    """Return the estimated delay of each pipeline stage of adder trees in ns, and of what they are an estimate."""
    timed = [kernel.timing for kernel in design.kernels.values() if kernel.timing is not None]
    if not timed:
        return (), ""
    reused = "reused multipliers, " if any(kernel.steps for kernel in design.kernels.values()) else ""
    source = f"{timed[0].source}; of adder trees, not of {reused}handshakes, line buffers and queues"
    return tuple(round(d, 3) for t in timed for d in t.delays), source


def layers(design: Design) -> list[dict[str, Any]]:
    """Describe the layers of the hardware, in the order of the network.

    Returns:
        By element: ``name``, as in the reports of synthesis, and the ``layer`` it begins with; ``kind`` in words; ``output``, rows, columns
        and words of what goes out, and ``bits`` of a word; ``reuse``; ``cycles`` that a frame keeps it busy; ``multipliers`` that are used
        again; ``latency`` of its arithmetic in cycles; and ``queue``, pixels that may wait in front of it (of a sum one for each way).
    """
    described = []
    for e in design.elements:
        kernel, reuse, out = design.kernels.get(e.name), design.reuse.get(e.name, 1), e.output
        places = [f"{e.name}.a", f"{e.name}.b"] if e.kind == "join" else [e.name]
        described.append({
            "name": e.name, "layer": e.layer, "kind": _kind(e), "output": [out.rows, out.columns, out.words], "bits": out.type.width,
            "reuse": reuse, "cycles": cycles(e, reuse), "multipliers": kernel.multipliers if kernel else 0,
            "latency": kernel.latency if kernel else 0, "queue": [design.fifos.get(place, 0) for place in places],
        })  # fmt: skip
    return described


def _kind(e: Element) -> str:
    """Say in words what an element does."""
    if e.kind == "window":
        what = "convolution" if e.reusable else "maximum"
        return f"{what} {e.settings['height']} x {e.settings['width']}"
    if e.kind == "point":
        image = e.output.rows * e.output.columns > 1
        return ("convolution 1 x 1" if image else "dense") if e.reusable else "word by word"
    return {"pad": "zeros around", "gather": "flatten", "join": "sum of two", "fork": "copies"}[e.kind]


def write_sources(design: Design, folder: Path) -> list[Path]:
    """Write ``src/*.v`` into a folder that is made anew; return the files."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "src").mkdir(parents=True)
    paths = [folder / "src" / name for name in sorted(design.files)]
    for path in paths:
        path.write_text(design.files[path.name])
    return paths


def write(design: Design, folder: Path, *, part: str, clock_ns: float, latency: int, interval: int) -> Manifest:
    """Write ``src/*.v``, ``manifest.json``, ``layers.json``, ``README.md``, constraints and, for Xilinx parts, ``vivado_synth.tcl``.

    Args:
        design: with its queues.
        folder: is created.
        part: FPGA part for the Vivado script.
        clock_ns: target clock period in ns.
        latency: as for `describe`.
        interval: as for `describe`.

    Raises:
        ConfigError: a part name with characters that no part has.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", part):
        raise ConfigError(f"hardware.part = '{part}': a part name has letters, digits and hyphens only.")
    write_sources(design, folder)
    manifest = describe(design, latency, interval)
    manifest.save(folder / "manifest.json")
    (folder / LAYERS).write_text(json.dumps(layers(design), indent=1) + "\n")
    xilinx = templates.of_xilinx(part)
    (folder / "README.md").write_text(readme(manifest, clock_ns) + templates.VIVADO * xilinx)
    for name, text in templates.constraints(manifest, clock_ns).items():
        (folder / name).write_text(text)
    if xilinx:
        (folder / "vivado_synth.tcl").write_text(templates.vivado(manifest, part))
    return manifest


def write_testbench(manifest: Manifest, folder: Path, x: Array, y: Array, clock_ns: float) -> None:
    """Write a self-checking testbench: ``tb.sv``, and ``inputs.hex`` and ``expected.hex`` with one pixel a line.

    Args:
        manifest: of the Verilog.
        folder: is created.
        x: (N, ...) frames, channels last.
        y: (N, outputs) expected results.
        clock_ns: clock period in ns.

    Raises:
        InvalidInput: a value that does not fit its port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputs.hex").write_text(manifest.input.hex_lines(manifest.pack_inputs(x)))
    (folder / "expected.hex").write_text(manifest.output.hex_lines(manifest.pack_outputs(y)))
    (folder / "tb.sv").write_text(testbench(manifest, len(x), clock_ns))


def _listed(title: str, values: Sequence[tuple[str, int]]) -> str:
    return f"- {title}: " + (", ".join(f"`{name}` {value}" for name, value in values) if values else "none") + "."


def readme(manifest: Manifest, clock_ns: float) -> str:
    """Describe ports, timing and how to simulate."""
    (rows, columns), (out_rows, out_columns) = manifest.frame, manifest.result
    reused = [(name, factor) for name, factor in manifest.reuse.items() if factor > 1]
    worst = max(manifest.stage_delays_ns, default=0.0)
    slowest = f"; the slowest stage of the adder trees is estimated to need {worst:g} ns" if worst else ""
    every = "cycle" if manifest.interval == 1 else f"{manifest.interval} cycles"
    return f"""# Generated Verilog: one pixel after the other

Written by {manifest.generator}. Top module `{manifest.top}`; `manifest.json` has the same facts for programs, `layers.json` those of each
layer, and `reuse.json`, where it is there, why each reuse factor was chosen.

- A frame is {rows} x {columns} pixels, row by row, one a transfer of the AXI4-Stream `s_axis`: {templates.layout(manifest.input)}
- Its result is {out_rows} x {out_columns} pixels of `m_axis`: {templates.layout(manifest.output)}
- Bits of `tdata` above are padding to whole bytes. The host rounds inputs to the words above.
- `s_axis_tuser` is high with the first pixel of a frame, `s_axis_tlast` with the last one of each row (as in AXI4-Stream Video).
  `m_axis_tlast` is high with the last pixel of a result.
- Pixels may come with gaps and results may be taken late: `s_axis_tready` goes low before anything is lost.
- A frame that the next one cuts short is filled up with zeros, pixels that belong to no frame are dropped. Each frame that began gives
  one result, and `m_axis_tuser` is high with it when its pixels were not as they should be. The next frame is right again.
- One clock `{manifest.clock}`, a synchronous reset `aresetn` (low for one cycle at least), after which the first pixel begins a frame.
- A frame every {every}, the last pixel of its result {manifest.latency} rising edges after its first, counted in simulation with
  frames one behind the other. Timing at the target period of {clock_ns:g} ns was not verified{slowest}.
{_listed("Layers whose multipliers are used for several cycles of a window", reused)}
{_listed("Queues, in pixels, sized by simulation", list(manifest.queues.items()))}
- `constraints.xdc` (Vivado), `constraints.sdc` (other tools) and `constraints.lpf` (Lattice) say the same: the target clock.

Self-checking testbench in `tb/` (the run fails when a word differs), first without pauses, then with pauses of both sides:

    cd tb
    iverilog -g2012 -o tb.vvp tb.sv ../src/*.v && vvp tb.vvp
    verilator --binary --timing -CFLAGS '-std=c++20 -fcoroutines' -Wno-fatal --top-module tb tb.sv ../src/*.v && obj_dir/Vtb
    xvlog -sv tb.sv ../src/*.v && xelab tb -s tb && xsim tb -R
"""


def testbench(manifest: Manifest, frames: int, clock_ns: float) -> str:
    """SystemVerilog that sends all frames twice, the second time with pauses of both sides, and compares every pixel that comes out."""
    i, o = manifest.input, manifest.output
    data, result = (-(-port.width // 8) * 8 for port in (i, o))
    (rows, columns), (out_rows, out_columns) = manifest.frame, manifest.result
    return f"""`timescale 1ns / 1ps
// Self-checking. Two passes over the frames: no pauses; pauses of both sides. +seed=N chooses other pauses.
module tb;
  localparam integer FRAMES = {frames};
  localparam integer PIXELS = {rows * columns};
  localparam integer COLUMNS = {columns};
  localparam integer RESULTS = {out_rows * out_columns};
  localparam integer PATIENCE = 1000000;  // cycles in which nothing moves
  reg aclk = 0, aresetn = 0;
  reg [{data - 1}:0] s_data = 0;
  reg s_valid = 0, s_user = 0, s_last = 0, m_ready = 0;
  wire s_ready, m_valid, m_user, m_last;
  wire [{result - 1}:0] m_data;
  reg [{result - 1}:0] want;
  reg [{i.width - 1}:0] inputs [0:FRAMES*PIXELS-1];
  reg [{o.width - 1}:0] expected [0:FRAMES*RESULTS-1];
  integer seed = 1, sent = 0, got = 0, wrong = 0, t = 0, idle = 0, first = 0;
  reg [31:0] state;
  reg held = 0, s_fire, last;
  reg [{result + 1}:0] held_word = 0;

  {manifest.top} dut (
      .aclk(aclk), .aresetn(aresetn),
      .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tuser(s_user), .s_axis_tlast(s_last), .s_axis_tready(s_ready),
      .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tuser(m_user), .m_axis_tlast(m_last), .m_axis_tready(m_ready));

  task advance;  // a linear congruential generator, the same in every simulator; its upper bits are used
    state = state * 32'd1664525 + 32'd1013904223;
  endtask

  initial begin
    $readmemh("inputs.hex", inputs);
    $readmemh("expected.hex", expected);
    if ($value$plusargs("seed=%d", seed)) $display("seed %0d", seed);
    state = seed;
    for (t = 0; idle < PATIENCE && got < 2 * FRAMES * RESULTS; t = t + 1) begin
      #{clock_ns / 2:g};
      // What happens at the rising edge.
      s_fire = aresetn & s_valid & s_ready;
      idle = s_fire | (m_valid & m_ready) ? 0 : idle + 1;
      if (held && (m_valid !== 1 || {{m_user, m_last, m_data}} !== held_word)) begin
        wrong = wrong + 1;
        $display("cycle %0d: a result changed while the sink was not ready", t);
      end
      held = (m_valid === 1) & ~m_ready & aresetn;
      held_word = {{m_user, m_last, m_data}};
      if (aresetn && m_valid !== 0 && m_ready) begin
        want = expected[got % (FRAMES * RESULTS)];
        last = got % RESULTS == RESULTS - 1;
        if (m_valid !== 1 || m_data !== want || m_user !== 0 || m_last !== last) begin
          wrong = wrong + 1;
          if (wrong <= 5)
            $display("pixel %0d: expected %h, last %b; got %h, last %b, damaged %b", got, want, last, m_data, m_last, m_user);
        end
        got = got + 1;
        if (got == FRAMES * RESULTS) first = t;
      end
      if (s_fire) sent = sent + 1;
      aclk = 1;
      #{clock_ns / 2:g};
      aclk = 0;
      // What both sides offer next; a pixel that was not taken stays.
      aresetn = t > 4;
      advance;
      m_ready = got < FRAMES * RESULTS || state[31:30] != 0;
      if (s_fire || !s_valid) begin
        advance;
        // The pixel is unknown while none is offered: nothing may depend on it then.
        s_valid = aresetn && sent < 2 * FRAMES * PIXELS && (sent < FRAMES * PIXELS || state[31:30] != 0);
        s_data = s_valid ? inputs[sent % (FRAMES * PIXELS)] : 'x;
        s_user = s_valid ? sent % PIXELS == 0 : 'x;
        s_last = s_valid ? sent % COLUMNS == COLUMNS - 1 : 'x;
      end
    end
    if (got < 2 * FRAMES * RESULTS) $display("only %0d of %0d pixels came out", got, 2 * FRAMES * RESULTS);
    if (wrong != 0 || got < 2 * FRAMES * RESULTS) begin
      $display("FAIL: %0d errors", wrong);
      $fatal(1);
    end
    $display("PASS: %0d frames twice in %0d cycles, without pauses in %0d", FRAMES, t, first);
    $finish;
  end
endmodule
"""
