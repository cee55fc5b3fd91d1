"""Text that goes beside the generated Verilog: README, testbench, constraints, Vivado script."""

from flow.rtl.ports import Manifest, Port


def _layout(port: Port) -> str:
    word = port.words[0]
    kind = "two's complement" if word.signed else "unsigned"
    return (
        f"`{port.name}[{port.width - 1}:0]`: {len(port.words)} words of {word.width} bits, {kind}, value = code * 2^-{word.fraction}; "
        f"word i is `{port.name}[{word.width}*i +: {word.width}]`."
    )


def readme(manifest: Manifest, clock_ns: float) -> str:
    """Describe ports, timing and how to simulate."""
    return f"""# Generated Verilog

Written by {manifest.generator}. Top module `{manifest.top}`; `manifest.json` has the same facts for programs.

- {_layout(manifest.input)}
- {_layout(manifest.output)}
- Words are in the order of the flattened array, channels last (row, column, channel); word 0 is at bit 0.
- One clock `{manifest.clock}`, no reset, no valid signal: a new input every {manifest.interval} cycle, its result after
  {manifest.latency} rising edges (input and output registers are part of it).
  Timing at the target period of {clock_ns:g} ns was not verified.
- The host rounds inputs to the words above.

Self-checking testbench in `tb/` (the run fails when a word differs):

    cd tb
    iverilog -g2012 -o tb.vvp tb.sv ../src/*.v && vvp tb.vvp
    verilator --binary --timing -CFLAGS '-std=c++20 -fcoroutines' -Wno-fatal --top-module tb tb.sv ../src/*.v && obj_dir/Vtb
    xvlog -sv tb.sv ../src/*.v && xelab tb -s tb && xsim tb -R

Vivado, out of context: `vivado -mode batch -source vivado_synth.tcl`.
"""


def testbench(manifest: Manifest, samples: int, clock_ns: float) -> str:
    """SystemVerilog that feeds one vector a cycle, compares every result, and with ``+outputs=FILE`` writes the output of every cycle."""
    i, o = manifest.input, manifest.output
    return f"""`timescale 1ns / 1ps
// Self-checking: one new input every cycle, every output is compared; ends with an error when one differs.
module tb;
  localparam integer SAMPLES = {samples};
  localparam integer LATENCY = {manifest.latency};
  localparam integer FLUSH = 256;
  reg clk = 0;
  reg [{i.width - 1}:0] in_word = 0;
  wire [{o.width - 1}:0] out_word;
  reg [{i.width - 1}:0] inputs [0:SAMPLES-1];
  reg [{o.width - 1}:0] expected [0:SAMPLES-1];
  reg [8*1024-1:0] name;
  integer t, wrong = 0, file = 0;

  {manifest.top} dut (.{manifest.clock}(clk), .{i.name}(in_word), .{o.name}(out_word));

  initial begin
    $readmemh("inputs.hex", inputs);
    $readmemh("expected.hex", expected);
    if ($value$plusargs("outputs=%s", name)) file = $fopen(name, "w");
    for (t = 0; t < SAMPLES + FLUSH; t = t + 1) begin
      if (t < SAMPLES) in_word = inputs[t];
      else in_word = 0;
      #{clock_ns / 2:g} clk = 1;
      #{clock_ns / 2:g} clk = 0;
      if (file != 0) $fdisplay(file, "%h", out_word);
      if (t >= LATENCY - 1 && t < SAMPLES + LATENCY - 1 && out_word !== expected[t - LATENCY + 1]) begin
        wrong = wrong + 1;
        if (wrong <= 5) $display("sample %0d: expected %h, got %h", t - LATENCY + 1, expected[t - LATENCY + 1], out_word);
      end
    end
    if (file != 0) $fclose(file);
    if (wrong != 0) begin
      $display("FAIL: %0d of %0d samples differ", wrong, SAMPLES);
      if (file == 0) $fatal(1);
    end else $display("PASS: %0d samples", SAMPLES);
    $finish;
  end
endmodule
"""


def constraints(manifest: Manifest, clock_ns: float) -> str:
    """Clock constraint for Vivado."""
    return f"create_clock -period {clock_ns:g} -name {manifest.clock} [get_ports {manifest.clock}]\n"


def vivado(manifest: Manifest, part: str) -> str:
    """Out-of-context synthesis script for Vivado."""
    sources = " ".join(manifest.sources)
    return f"""# A plan for a person who has Vivado: out-of-context synthesis. This flow wrote it and never ran it.
#   vivado -mode batch -source vivado_synth.tcl
cd [file dirname [file normalize [info script]]]
read_verilog {{{sources}}}
read_xdc -mode out_of_context constraints.xdc
synth_design -top {manifest.top} -part {part} -mode out_of_context -flatten_hierarchy rebuilt
report_utilization -file utilization_synth.rpt
report_timing_summary -file timing_synth.rpt
opt_design
place_design
route_design
report_utilization -file utilization_routed.rpt
report_timing_summary -file timing_routed.rpt
"""
