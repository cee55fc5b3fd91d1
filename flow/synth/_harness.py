"""Four pins around a network: a shift register before its inputs, another behind its outputs.

A network has more bits than a package has pins. Both shift registers are clocked with the network, so every path from the pins ends at a
register outside of it, and every path of the network begins and ends at registers, as it would in a larger design.
"""

from flow.rtl.ports import Manifest

TOP, INSTANCE = "harness", "network"
PINS = ("clk", "din", "load", "dout")


def verilog(manifest: Manifest) -> str:
    """Return the harness of a network in primitives of ECP5, so that nothing is left to map.

    Args:
        manifest: of the Verilog; its output takes its place in the shift register one cycle after ``load``.
    """
    i, o = manifest.input, manifest.output
    return f"""// Four pins around {manifest.top}.
// Give the bits of {i.name}[{i.width - 1}:0] on din, one a cycle, bit 0 first. Let load be 1 at the rising edge {manifest.latency} cycles
// after the one that took the last bit, and 0 at all others. After the next edge bit 0 of {o.name}[{o.width - 1}:0] is on dout, and one
// more after every further edge.
module {TOP} (input clk, input din, input load, output dout);
  wire [{i.width}:0] in_bits;
  wire [{o.width}:0] out_bits;
  wire [{o.width - 1}:0] result, next_bits;
  wire load_now;
  assign in_bits[{i.width}] = din;
  assign out_bits[{o.width}] = 1'b0;
  assign dout = out_bits[0];
  {TOP}_register hold (.clk(clk), .d(load), .q(load_now));
  {manifest.top} {INSTANCE} (.{manifest.clock}(clk), .{i.name}(in_bits[{i.width - 1}:0]), .{o.name}(result));
  genvar k;
  generate
    for (k = 0; k < {i.width}; k = k + 1) begin : shift_in
      {TOP}_register r (.clk(clk), .d(in_bits[k + 1]), .q(in_bits[k]));
    end
    for (k = 0; k < {o.width}; k = k + 1) begin : shift_out
      LUT4 #(.INIT(16'hCACA)) choose (.A(out_bits[k + 1]), .B(result[k]), .C(load_now), .D(1'b0), .Z(next_bits[k]));
      {TOP}_register r (.clk(clk), .d(next_bits[k]), .q(out_bits[k]));
    end
  endgenerate
endmodule

module {TOP}_register (input clk, input d, output q);
  TRELLIS_FF #(.CEMUX("1"), .CLKMUX("CLK"), .GSR("DISABLED"), .LSRMUX("LSR"), .REGSET("RESET")) ff (
    .CLK(clk), .DI(d), .LSR(1'b0), .Q(q)
  );
endmodule
"""


def cells(manifest: Manifest) -> tuple[int, int]:
    """Return the look-up tables and flip-flops of the harness alone."""
    return manifest.output.width, manifest.input.width + manifest.output.width + 1
