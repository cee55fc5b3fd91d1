"""AXI-Stream wrapper around the Verilog (Arm IHI 0051, "AMBA AXI-Stream Protocol Specification"), with a self-checking testbench.

The core is a pipeline without enable: what has entered comes out a fixed number of cycles later. So a sample is let in only when there
is room for its result in a buffer behind the core: `tready` of the source goes low when the samples inside and the results not yet taken
fill the buffer. No result is lost however long the sink waits, and one that takes a beat every cycle gets one every cycle.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from flow.core.errors import MismatchError, ToolFailed
from flow.core.stage import Job
from flow.core.tool import GXX, Tool, run
from flow.rtl.ports import Manifest, Port
from flow.rtl.simulate import IVERILOG, MAKE, MAKE_FLAGS, VERILATOR, VVP

TOP = "network_axis"
PASSES = 4  # of the testbench over the vectors
TESTBENCH_FLAGS = ("--cc", "--exe", "--main", "--timing", "-CFLAGS", "-std=c++20 -fcoroutines", "-Wno-fatal", "-Wno-lint", "-Wno-style")


def data_bits(port: Port) -> int:
    """Return the width of `tdata`: that of the port, rounded up to whole bytes."""
    return -(-port.width // 8) * 8


def buffer_depth(manifest: Manifest) -> int:
    """Return how many results the buffer holds: a power of two that covers the way through the core, into the buffer and out of it."""
    return 1 << (manifest.latency + 1).bit_length()


def write(manifest: Manifest, folder: Path, samples: int, clock_ns: float) -> None:
    """Write ``axis/network_axis.v``, its clock constraint and ``axis/tb_axis.sv`` beside the core, which stays as it is.

    Args:
        manifest: of the core.
        folder: of the core; the testbench reads the vectors in its ``tb/``.
        samples: how many vectors these are.
        clock_ns: clock period in ns.
    """
    target = folder / "axis"
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{TOP}.v").write_text(wrapper(manifest))
    (target / "constraints.xdc").write_text(f"create_clock -period {clock_ns:g} -name aclk [get_ports aclk]\n")
    (target / "tb_axis.sv").write_text(testbench(manifest, samples, clock_ns))


def _padding(port: Port) -> str:
    spare = data_bits(port) - port.width
    return f"{{{spare}'b0, result}}" if spare else "result"


def wrapper(manifest: Manifest) -> str:
    """Verilog-2001 of the wrapper."""
    i, o, depth = manifest.input, manifest.output, buffer_depth(manifest)
    bits = depth.bit_length() - 1
    spare = data_bits(i) - i.width
    unused = f"\n  wire unused = &{{1'b0, s_axis_tdata[{data_bits(i) - 1}:{i.width}]}};" if spare else ""
    return f"""`timescale 1 ns / 1 ps
// AXI-Stream around {manifest.top}: one beat is one sample with all its words; s_axis_tlast comes out with the sample's result.
// aresetn is synchronous and drops what is inside. A result that m_axis_tready does not take waits in the buffer; when the samples inside
// and the results waiting fill the buffer, s_axis_tready goes low. Back to back: one sample in and one result out every cycle.
module {TOP} #(
    parameter LATENCY = {manifest.latency},
    parameter DEPTH_BITS = {bits}
) (
    input aclk,
    input aresetn,
    input [{data_bits(i) - 1}:0] s_axis_tdata,
    input s_axis_tvalid,
    input s_axis_tlast,
    output s_axis_tready,
    output [{data_bits(o) - 1}:0] m_axis_tdata,
    output m_axis_tvalid,
    output m_axis_tlast,
    input m_axis_tready
);
  localparam [DEPTH_BITS:0] DEPTH = 1 << DEPTH_BITS;

  reg [LATENCY-1:0] valid;  // the way of a sample through the core
  reg [LATENCY-1:0] last;
  reg [{o.width}:0] buffer [0:(1 << DEPTH_BITS)-1];
  reg [DEPTH_BITS:0] busy;  // samples in the core and results in the buffer
  reg [DEPTH_BITS:0] waiting;  // results in the buffer
  reg [DEPTH_BITS-1:0] head, tail;
  reg running;
  wire [{o.width - 1}:0] core_out, result;

  wire accept = s_axis_tvalid & s_axis_tready;
  wire store = valid[LATENCY-1];
  wire take = m_axis_tvalid & m_axis_tready;
  assign s_axis_tready = running & (busy != DEPTH);
  assign m_axis_tvalid = waiting != 0;
  assign {{m_axis_tlast, result}} = buffer[head];
  assign m_axis_tdata = {_padding(o)};{unused}

  {manifest.top} core (.{manifest.clock}(aclk), .{i.name}(s_axis_tdata[{i.width - 1}:0]), .{o.name}(core_out));

  always @(posedge aclk) begin
    last <= {{last, s_axis_tlast}};
    if (store) buffer[tail] <= {{last[LATENCY-1], core_out}};
    if (!aresetn) begin
      running <= 0;
      valid <= 0;
      busy <= 0;
      waiting <= 0;
      head <= 0;
      tail <= 0;
    end else begin
      running <= 1;
      valid <= {{valid, accept}};
      busy <= busy + accept - take;
      waiting <= waiting + store - take;
      if (store) tail <= tail + 1'b1;
      if (take) head <= head + 1'b1;
    end
  end
endmodule
"""


def testbench(manifest: Manifest, samples: int, clock_ns: float) -> str:
    """SystemVerilog that sends all vectors four times, with pauses of both sides, and compares every result in order."""
    i, o = manifest.input, manifest.output
    return f"""`timescale 1ns / 1ps
// Self-checking. Four passes over the vectors: no pauses; a slow source; a slow sink; both. +seed=N chooses other pauses.
module tb_axis;
  localparam integer SAMPLES = {samples};
  localparam integer PASSES = {PASSES};
  localparam integer DEADLINE = 40 * PASSES * SAMPLES + 10000;
  reg aclk = 0, aresetn = 0;
  reg [{data_bits(i) - 1}:0] s_data = 0;
  reg s_valid = 0, s_last = 0, m_ready = 0;
  wire s_ready, m_valid, m_last;
  wire [{data_bits(o) - 1}:0] m_data;
  reg [{i.width - 1}:0] inputs [0:SAMPLES-1];
  reg [{o.width - 1}:0] expected [0:SAMPLES-1];
  integer seed = 1, sent = 0, got = 0, wrong = 0, t = 0, stalls = 0, first = 0;
  reg [31:0] state;
  reg held = 0, held_last = 0, s_fire, slow_source, slow_sink;
  reg [{data_bits(o) - 1}:0] held_data = 0;

  {TOP} dut (
      .aclk(aclk), .aresetn(aresetn),
      .s_axis_tdata(s_data), .s_axis_tvalid(s_valid), .s_axis_tlast(s_last), .s_axis_tready(s_ready),
      .m_axis_tdata(m_data), .m_axis_tvalid(m_valid), .m_axis_tlast(m_last), .m_axis_tready(m_ready));

  task advance;  // a linear congruential generator, the same in every simulator; its upper bits are used
    state = state * 32'd1664525 + 32'd1013904223;
  endtask

  initial begin
    $readmemh("../tb/inputs.hex", inputs);
    $readmemh("../tb/expected.hex", expected);
    if ($value$plusargs("seed=%d", seed)) $display("seed %0d", seed);
    state = seed;
    for (t = 0; t < DEADLINE && got < PASSES * SAMPLES; t = t + 1) begin
      #{clock_ns / 2:g};
      // What happens at the rising edge.
      s_fire = s_valid & s_ready;
      if (held && (!m_valid || m_data !== held_data || m_last !== held_last)) begin
        wrong = wrong + 1;
        $display("cycle %0d: a result changed while the sink was not ready", t);
      end
      held = m_valid & ~m_ready & aresetn;
      held_data = m_data;
      held_last = m_last;
      if (s_valid && !s_ready) stalls = stalls + 1;
      if (m_valid && m_ready) begin
        if (got >= sent || m_data !== expected[got % SAMPLES] || m_last !== (got % 3 == 2)) begin
          wrong = wrong + 1;
          if (wrong <= 5)
            $display("result %0d: expected %h last %b, got %h last %b", got, expected[got % SAMPLES], got % 3 == 2, m_data, m_last);
        end
        got = got + 1;
        if (got == SAMPLES) first = t;
      end
      if (s_fire) sent = sent + 1;
      aclk = 1;
      #{clock_ns / 2:g};
      aclk = 0;
      // What both sides offer next; a beat that was not taken stays.
      aresetn = t > 4;
      slow_source = sent >= SAMPLES && (sent < 2 * SAMPLES || sent >= 3 * SAMPLES);
      slow_sink = got >= 2 * SAMPLES;
      advance;
      m_ready = !slow_sink || state[31:30] == 0;
      if (s_fire || !s_valid) begin
        advance;
        s_valid = aresetn && sent < PASSES * SAMPLES && (!slow_source || state[31:30] == 0);
        s_data = inputs[sent % SAMPLES];
        s_last = sent % 3 == 2;
      end
    end
    if (got < PASSES * SAMPLES) $display("only %0d of %0d results came", got, PASSES * SAMPLES);
    if (wrong != 0 || got < PASSES * SAMPLES) begin
      $display("FAIL: %0d errors", wrong);
      $fatal(1);
    end
    $display("PASS: %0d results in %0d cycles, the first %0d in %0d; the source waited %0d cycles", got, t, SAMPLES, first, stalls);
    $finish;
  end
endmodule
"""


def simulate(job: Job, verilog: Path, tools: Sequence[Tool]) -> None:
    """Build and run the testbench of the wrapper.

    Args:
        job: gives a work folder and runs the programs.
        verilog: folder of the core, with ``tb/`` and ``axis/``.
        tools: from `flow.rtl.simulate.simulator`.

    Raises:
        MismatchError: a result is wrong, missing, out of order, or changes while it waits.
        FlowError: a program is missing, fails or takes too long.
    """
    manifest = Manifest.load(verilog / "manifest.json")
    work = job.work / "axis"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("src", "tb", "axis"):
        shutil.copytree(verilog / name, work / name)
    cwd = work / "axis"
    files = ["tb_axis.sv", f"{TOP}.v", *(f"../{name}" for name in manifest.sources)]
    if tools[0].name == "iverilog":
        job.run_tool(IVERILOG, ["-g2012", "-o", "tb.vvp", "-s", "tb_axis", *files], cwd=cwd)
        program, arguments = VVP, ["-n", "tb.vvp"]
    else:
        names = ["--prefix", "Vtb", "--Mdir", "obj", "--top-module", "tb_axis"]
        job.run_tool(VERILATOR, [*TESTBENCH_FLAGS, *names, *files], cwd=cwd)
        job.run_tool(MAKE, [*MAKE_FLAGS, "VM_PARALLEL_BUILDS=0", f"CXX={GXX.argv()[0]}", "-C", "obj", "-f", "Vtb.mk"], cwd=cwd)
        program, arguments = Tool("axis simulation", ((str(cwd / "obj" / "Vtb"),),), "It is built by the stage itself."), []
    try:
        run(program, arguments, cwd=cwd, log=job.log, replay=job.replay)
    except ToolFailed as error:
        if "FAIL:" in str(error):
            raise MismatchError(f"gate: the AXI-Stream wrapper does not give the results of the core. {error}") from None
        raise
