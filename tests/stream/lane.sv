`timescale 1ns / 1ps
// Feeds one network in a simulation with four states, and writes what it gives. Whatever the sender or the taker need not know is X: all
// inputs in a reset, a pixel that is not offered, the bits that fill up a byte.
//   in<N>.hex: of each pixel its bits and above them 1: first of its frame, 2: last of its row.
//   out<N>.txt, a line each: `result DAMAGED LAST WORDS`; `reset`, when there is another one than the first; `unknown WHAT CYCLE`, the first
//   time that a signal is X or Z which must not be; `changed CYCLE`, when a result that waits does not stay as it is.
// gap, stall: percent of cycles in which a side pauses. reset: cycle of a reset after which everything is sent anew (0: none).
module lane #(
    parameter integer N = 0, PIXEL = 1, IN = 8, OUT = 8, BEATS = 1, RESULTS = 1, PATIENCE = 1500
) (
    input clk, input aresetn, input [31:0] gap, input [31:0] stall, input [31:0] reset, output aclk, output done,
    output reg s_valid, output reg s_user, output reg s_last, output reg [IN-1:0] s_data, input s_ready,
    input m_valid, output reg m_ready, input m_user, input m_last, input [OUT-1:0] m_data
);
  reg [PIXEL+1:0] beats [0:BEATS-1];
  integer file, sent = 0, got = 0, idle = 0, cycle = 0, seed = N + 1;
  reg was_reset = 0, awake = 0, fired = 0, waits = 0, told = 0;
  reg [OUT+1:0] held;
  // some cycles more, in which nothing may come
  assign done = told || (cycle > reset && idle > (got < RESULTS ? PATIENCE : 60));
  reg on = 1;  // a network that is done gets no clock: it would take time
  assign aclk = clk & on;

  initial begin
    $readmemh($sformatf("in%0d.hex", N), beats);
    file = $fopen($sformatf("out%0d.txt", N), "w");
  end

  task unknown(input [8*16-1:0] what);
    if (!told) begin
      told = 1;
      $fdisplay(file, "unknown %0s %0d", what, cycle);
    end
  endtask

  always @(negedge clk) begin
    on = !done;
    if (aresetn !== 1) begin
      s_valid = 'x;
      m_ready = 'x;
      fired = 0;
      sent = 0;
    end else begin
      // a pixel that was not taken stays
      if (fired || s_valid !== 1) s_valid = sent < BEATS && $urandom(seed) % 100 >= gap;
      m_ready = $urandom(seed) % 100 >= stall;
    end
    s_data = 'x;
    {s_last, s_user} = 'x;
    if (s_valid === 1) {s_last, s_user, s_data[PIXEL-1:0]} = beats[sent];
  end

  always @(posedge clk) begin
    // In the cycle in which a reset begins, outputs may follow inputs that are X already.
    if (was_reset && (aresetn === 1 || !awake)) begin
      if (^s_ready === 1'bx) unknown("s_axis_tready");
      if (^m_valid === 1'bx) unknown("m_axis_tvalid");
      if (m_valid === 1) begin
        if (^m_data === 1'bx) unknown("m_axis_tdata");
        if (^{m_user, m_last} === 1'bx) unknown("m_axis_tuser");
      end
    end
    idle = idle + 1;
    fired = aresetn === 1 && s_valid === 1 && s_ready === 1;
    if (aresetn === 1) begin
      if (waits && (m_valid !== 1 || {m_user, m_last, m_data} !== held)) $fdisplay(file, "changed %0d", cycle);
      waits = m_valid === 1 && !m_ready;
      held = {m_user, m_last, m_data};
      if (fired) sent = sent + 1;
      if (m_valid === 1 && m_ready) begin
        $fdisplay(file, "result %b %b %h", m_user, m_last, m_data);
        got = got + 1;
      end
      if (fired || (m_valid === 1 && m_ready)) idle = 0;
    end else begin
      if (was_reset) $fdisplay(file, "reset");
      {waits, got, idle} = 0;
      was_reset = 1;
    end
    awake = aresetn === 1;
    cycle = cycle + 1;
  end
endmodule
