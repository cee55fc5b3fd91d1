"""Text that goes beside the generated Verilog: README, testbench, constraints, Vivado script."""

from flow.rtl.ports import Manifest, Port


def layout(port: Port) -> str:
    """Describe the words of a port."""
    word = port.words[0]
    kind = "two's complement" if word.signed else "unsigned"
    value = f"of {word.width} bit{'s' * (word.width > 1)}, {kind}, value = code * 2^-{word.fraction}"
    if len(port.words) == 1:
        return f"`{port.name}[{port.width - 1}:0]`: a word {value}."
    return f"`{port.name}[{port.width - 1}:0]`: {len(port.words)} words {value}; word i is `{port.name}[{word.width}*i +: {word.width}]`."


VIVADO = "\nVivado, out of context: `vivado -mode batch -source vivado_synth.tcl`.\n"
AXIS = """- `axis/network_axis.v` is an AXI-Stream wrapper around the core: one beat is one sample with all its words, `tdata` is the port
  above, padded with zeros to whole bytes; `tlast` is handed through; `aresetn` is synchronous. A result comes one cycle later than from
  the core alone. While `m_axis_tready` is low, results wait in a buffer and `s_axis_tready` goes low before it overflows: nothing is lost.
  Its self-checking testbench with pauses of both sides: `cd axis`, then as below with `tb_axis.sv network_axis.v` for `tb.sv` and
  `tb_axis` for `tb`. The resources of the wrapper are not in the report.
"""


def _timing(manifest: Manifest, clock_ns: float) -> str:
    if not manifest.stage_delays_ns:
        return f"Timing at the target period of {clock_ns:g} ns was not verified, and there is no estimate of it for this part."
    worst = max(manifest.stage_delays_ns)
    verdict = f"slack {clock_ns - worst:.2f} ns" if worst <= clock_ns else f"too slow by {worst - clock_ns:.2f} ns"
    return (
        f"The slowest of {len(manifest.stage_delays_ns)} pipeline stages is estimated at {worst:.2f} ns, register to register, of a period "
        f"of {clock_ns:g} ns ({verdict}). This is an estimate before synthesis, not a timing analysis: {manifest.delay_model}."
    )


def readme(manifest: Manifest, clock_ns: float, axi_stream: bool = False) -> str:
    """Describe ports, timing and how to simulate."""
    return f"""# Generated Verilog

Written by {manifest.generator}. Top module `{manifest.top}`; `manifest.json` has the same facts for programs.

- {layout(manifest.input)}
- {layout(manifest.output)}
- Words are in the order of the flattened array, channels last (row, column, channel); word 0 is at bit 0.
- One clock `{manifest.clock}`, no reset, no valid signal: a new input every {manifest.interval} cycle, its result after
  {manifest.latency} rising edges (input and output registers are part of it).
- The host rounds inputs to the words above.
- {_timing(manifest, clock_ns)}
- `constraints.xdc` (Vivado), `constraints.sdc` (other tools) and `constraints.lpf` (Lattice) say the same: the target clock.
{AXIS if axi_stream else ""}
Self-checking testbench in `tb/` (the run fails when a word differs):

    cd tb
    iverilog -g2012 -o tb.vvp tb.sv ../src/*.v && vvp tb.vvp
    verilator --binary --timing -CFLAGS '-std=c++20 -fcoroutines' -Wno-fatal --top-module tb tb.sv ../src/*.v && obj_dir/Vtb
    xvlog -sv tb.sv ../src/*.v && xelab tb -s tb && xsim tb -R
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


def constraints(manifest: Manifest, clock_ns: float) -> dict[str, str]:
    """Return the clock constraint by the name of its file: for Vivado, for tools that read SDC, for Lattice."""
    clock = f"create_clock -period {clock_ns:g} -name {manifest.clock} [get_ports {manifest.clock}]\n"
    lpf = f'FREQUENCY PORT "{manifest.clock}" {1000 / clock_ns:g} MHZ;\n'
    return {"constraints.xdc": clock, "constraints.sdc": clock, "constraints.lpf": lpf}


def of_xilinx(part: str) -> bool:
    """Tell whether Vivado knows a part."""
    return part.lower().startswith("xc")


def vivado(manifest: Manifest, part: str, axi_stream: bool = False) -> str:
    """Out-of-context synthesis script for Vivado."""
    sources = " ".join(manifest.sources)
    wrapper = """if {[lindex $argv 0] eq "axis"} {
  read_verilog axis/network_axis.v
  set top network_axis
  set constraints axis/constraints.xdc
}
"""
    usage = "\n# and for the AXI-Stream wrapper: vivado -mode batch -source vivado_synth.tcl -tclargs axis" if axi_stream else ""
    return f"""# A plan for a person who has Vivado: out-of-context synthesis, place and route. This flow wrote it and never ran it.
#   vivado -mode batch -source vivado_synth.tcl{usage}
# `hlscape read-report` reads the *.rpt files that it leaves.
cd [file dirname [file normalize [info script]]]
set top {manifest.top}
set constraints constraints.xdc
read_verilog {{{sources}}}
{wrapper if axi_stream else ""}read_xdc -mode out_of_context $constraints
synth_design -top $top -part {part} -mode out_of_context -flatten_hierarchy rebuilt
report_utilization -file utilization_synth.rpt
report_utilization -hierarchical -file utilization_hierarchical_synth.rpt
report_timing_summary -max_paths 10 -file timing_synth.rpt
opt_design
place_design
phys_opt_design
route_design
report_utilization -file utilization_routed.rpt
report_utilization -hierarchical -file utilization_hierarchical_routed.rpt
report_timing_summary -max_paths 10 -file timing_routed.rpt
report_power -file power_routed.rpt
"""
