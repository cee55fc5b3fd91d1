"""A few pins around a network: a shift register before its inputs, another behind its outputs.

A network has more bits than a package has pins. Both shift registers are clocked with the network, so every path from the pins ends at a
register outside of it, and every path of the network begins and ends at registers, as it would in a larger design.

Both harnesses are in primitives of ECP5, so that nothing is left to map.
"""

from flow.rtl.ports import Manifest

TOP, INSTANCE = "harness", "network"
PINS = {"parallel": ("clk", "din", "load", "dout"), "stream": ("clk", "aresetn", "din", "ready", "dout")}
CHOOSE = "16'hCACA"  # of a LUT4: C ? B : A
REGISTERS = f"""
module {TOP}_register (input clk, input d, output q);
  TRELLIS_FF #(.CEMUX("1"), .CLKMUX("CLK"), .GSR("DISABLED"), .LSRMUX("LSR"), .REGSET("RESET")) ff (
    .CLK(clk), .DI(d), .LSR(1'b0), .Q(q)
  );
endmodule

module {TOP}_state #(parameter START = "RESET") (input clk, input run, input d, output q);  // at START while run is low
  TRELLIS_FF #(.CEMUX("1"), .CLKMUX("CLK"), .GSR("DISABLED"), .LSRMUX("INV"), .REGSET(START), .SRMODE("LSR_OVER_CE")) ff (
    .CLK(clk), .DI(d), .LSR(run), .Q(q)
  );
endmodule
"""


def verilog(manifest: Manifest) -> str:
    """Return the harness of a network.

    Args:
        manifest: of the Verilog.
    """
    return (_stream if manifest.io == "stream" else _parallel)(manifest) + REGISTERS


def _parallel(manifest: Manifest) -> str:
    """The output takes its place in the shift register one cycle after ``load``."""
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
      LUT4 #(.INIT({CHOOSE})) choose (.A(out_bits[k + 1]), .B(result[k]), .C(load_now), .D(1'b0), .Z(next_bits[k]));
      {TOP}_register r (.clk(clk), .d(next_bits[k]), .q(out_bits[k]));
    end
  endgenerate
endmodule
"""


def _stream(manifest: Manifest) -> str:
    """A word of either side is a start bit, ``tuser``, ``tlast`` and ``tdata``; the register of the input holds it until it is taken."""
    i, o = manifest.input, manifest.output
    width, out_width = i.width + 2, o.width + 2
    bytes_in, bytes_out = (-(-port.width // 8) * 8 for port in (i, o))
    padding = f"{{{bytes_in - i.width}'b0, pixel[{width - 1}:2]}}" if bytes_in > i.width else f"pixel[{width - 1}:2]"
    return f"""// Five pins around {manifest.top}.
// A pixel is {width + 1} bits on din, one a cycle: 1, s_axis_tuser, s_axis_tlast, s_axis_tdata[{i.width - 1}:0] from bit 0 on.
// Between pixels din is 0.
// The next pixel may begin as soon as ready is 1, which is looked at from the second rising edge on after the one that took the last bit.
// A pixel of a result is {out_width + 1} bits on dout: 1, m_axis_tuser, m_axis_tlast, m_axis_tdata[{o.width - 1}:0] from bit 0 on.
// Else dout is 0.
// aresetn has to be 0 for two edges at least.
module {TOP} (input clk, input aresetn, input din, output ready, output dout);
  wire run, valid, taken, free, next_valid, next_free, waits;
  wire [{width + 1}:0] in_bits;
  wire [{width}:0] next_in;
  wire [{width - 1}:0] pixel, next_pixel;
  wire [{out_width + 1}:0] out_bits;
  wire [{out_width}:0] result, next_out, left;
  wire [{out_width - 1}:0] next_left;
  wire [{bytes_out - 1}:0] data;
  assign in_bits[{width + 1}] = din;
  assign result[{out_width}:3] = data[{o.width - 1}:0];
  assign out_bits[{out_width + 1}] = 1'b0;
  assign dout = out_bits[0];
  {TOP}_register hold (.clk(clk), .d(aresetn), .q(run));
  {manifest.top} {INSTANCE} (
    .{manifest.clock}(clk), .aresetn(run), .s_axis_tdata({padding}), .s_axis_tvalid(valid), .s_axis_tuser(pixel[0]),
    .s_axis_tlast(pixel[1]), .s_axis_tready(taken), .m_axis_tdata(data), .m_axis_tvalid(result[0]), .m_axis_tuser(result[1]),
    .m_axis_tlast(result[2]), .m_axis_tready(free)
  );
  // A whole word is in in_bits[{width}:0] when its start bit is at the end. It goes into pixel then, and the register is cleared.
  // valid: in_bits[0] | valid & ~taken
  LUT4 #(.INIT(16'hAEAE)) set_valid (.A(in_bits[0]), .B(valid), .C(taken), .D(1'b0), .Z(next_valid));
  {TOP}_state is_valid (.clk(clk), .run(run), .d(next_valid), .q(valid));
  LUT4 #(.INIT(16'h1111)) wait_for (.A(in_bits[0]), .B(valid), .C(1'b0), .D(1'b0), .Z(waits));
  {TOP}_state is_ready (.clk(clk), .run(run), .d(waits), .q(ready));
  // free, the m_axis_tready of the network: until a result comes, and again when all of it was sent, as left tells that is 1 in one place.
  // free ? ~result[0] : left[0]
  LUT4 #(.INIT(16'h5C5C)) set_free (.A(result[0]), .B(left[0]), .C(free), .D(1'b0), .Z(next_free));
  {TOP}_state #(.START("SET")) is_free (.clk(clk), .run(run), .d(next_free), .q(free));
  genvar k;
  generate
    for (k = 0; k <= {width}; k = k + 1) begin : shift_in
      LUT4 #(.INIT(16'h2222)) clear (.A(in_bits[k + 1]), .B(in_bits[0]), .C(1'b0), .D(1'b0), .Z(next_in[k]));
      {TOP}_state r (.clk(clk), .run(run), .d(next_in[k]), .q(in_bits[k]));
    end
    for (k = 0; k < {width}; k = k + 1) begin : word
      LUT4 #(.INIT({CHOOSE})) choose (.A(pixel[k]), .B(in_bits[k + 1]), .C(in_bits[0]), .D(1'b0), .Z(next_pixel[k]));
      {TOP}_register r (.clk(clk), .d(next_pixel[k]), .q(pixel[k]));
    end
    for (k = 0; k <= {out_width}; k = k + 1) begin : shift_out
      LUT4 #(.INIT({CHOOSE})) choose (.A(out_bits[k + 1]), .B(result[k]), .C(free), .D(1'b0), .Z(next_out[k]));
      {TOP}_state r (.clk(clk), .run(run), .d(next_out[k]), .q(out_bits[k]));
    end
    for (k = 0; k < {out_width}; k = k + 1) begin : count
      LUT4 #(.INIT(16'h2222)) clear (.A(left[k + 1]), .B(free), .C(1'b0), .D(1'b0), .Z(next_left[k]));
      {TOP}_state r (.clk(clk), .run(run), .d(next_left[k]), .q(left[k]));
    end
    {TOP}_state last (.clk(clk), .run(run), .d(free), .q(left[{out_width}]));
  endgenerate
endmodule
"""


def cells(manifest: Manifest) -> tuple[int, int]:
    """Return the look-up tables and flip-flops of the harness alone."""
    i, o = manifest.input.width, manifest.output.width
    if manifest.io != "stream":
        return o, i + o + 1
    width, out_width = i + 2, o + 2
    return 3 + (width + 1) + width + (out_width + 1) + out_width, 4 + (width + 1) + width + 2 * (out_width + 1)
