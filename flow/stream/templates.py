"""Verilog of each kind of element. All have the same ports: valid, ready, a mark of the first pixel of a frame, and the pixel."""

from flow.stream.plan import Element

HEAD = "`timescale 1 ns / 1 ps\n"


def _bits(count: int) -> int:
    """Return the width of a counter from 0 to count - 1."""
    return max(1, (count - 1).bit_length())


def ports(width: int, out: int) -> str:
    return (
        f"  input clk, input rst,\n  input in_valid, output in_ready, input in_sof, input [{width - 1}:0] in_data,\n"
        f"  output out_valid, input out_ready, output out_sof, output [{out - 1}:0] out_data"
    )


def raster(rows: int, columns: int, go: str = "go") -> str:
    """Write counters of the pixel that comes in: its row and column, whether a frame is open, and whether the pixel belongs to one."""
    rb, cb = _bits(rows), _bits(columns)
    return f"""
  reg [{cb - 1}:0] column; reg [{rb - 1}:0] row; reg open;
  wire [{cb - 1}:0] c = in_sof ? {cb}'d0 : column;
  wire [{rb - 1}:0] r = in_sof ? {rb}'d0 : row;
  wire last_c = c == {cb}'d{columns - 1}, last_r = r == {rb}'d{rows - 1};
  wire go = in_valid & in_ready & (in_sof | open);
  always @(posedge clk)
    if (rst) open <= 1'b0;
    else if (go) open <= ~(last_c & last_r);
  always @(posedge clk) if (go) begin
    column <= last_c ? {cb}'d0 : c + {cb}'d1;
    row <= last_c ? r + {rb}'d1 : r;
  end
"""


def pipe(name: str, x: str) -> str:
    """Write the mark of a complete window, and the kernel, which passes it on beside its result."""
    return f"""
  reg v, s;
  always @(posedge clk)
    if (rst) v <= 1'b0;
    else if (ce) v <= emit;
  always @(posedge clk) if (ce) s <= mark;
  a_{name} arithmetic (
    .clk(clk), .rst(rst), .ce(ce), .v(v), .s(s), .x({x}), .hold(hold), .out_v(out_valid), .out_s(out_sof), .y(out_data)
  );
"""


def unrolled(name: str, latency: int, size: int, out: int, kernel: bool = True) -> str:
    """Write the marks beside a kernel that takes a window each cycle."""
    inside = f"k_{name} kernel (.clk(clk), .ce(ce), .x(x), .y(y));" if kernel else "assign y = 0;"
    return f"""{HEAD}module a_{name} (
  input clk, input rst, input ce, input v, input s, input [{size - 1}:0] x,
  output hold, output out_v, output out_s, output [{out - 1}:0] y
);
  reg [{latency - 1}:0] ov, os;
  assign hold = 1'b0, out_v = ov[{latency - 1}], out_s = os[{latency - 1}];
  always @(posedge clk)
    if (rst) ov <= {latency}'d0;
    else if (ce) ov <= {{ov, v}};
  always @(posedge clk) if (ce) os <= {{os, s}};
  {inside}
endmodule
"""


def reused(name: str, marks: str, size: int, out: int) -> str:
    """Write the marks of multipliers that are used again, without them."""
    return f"""{HEAD}module a_{name} (
  input clk, input rst, input ce, input v, input s, input [{size - 1}:0] x,
  output hold, output out_v, output out_s, output [{out - 1}:0] y
);
{marks}
  assign y = 0;
endmodule
"""


def window(e: Element) -> str:
    h, w = e.settings["height"], e.settings["width"]
    down, right = e.settings["down"], e.settings["right"]
    bits, rows, columns = e.source.width, e.source.rows, e.source.columns
    text = f"{HEAD}module {e.name} (\n{ports(bits, e.output.width)}\n);\n  wire ce = out_ready | ~out_valid, hold;\n  assign in_ready = ce & ~hold;"
    text += raster(rows, columns)
    pc, pr = _bits(max(w, right)), _bits(max(h, down))
    text += f"""
  // pixels until the next window is complete, along the row and down the column
  reg [{pc - 1}:0] wait_c; reg [{pr - 1}:0] wait_r;
  wire [{pc - 1}:0] wc = (c == 0) ? {pc}'d{w - 1} : wait_c;
  wire [{pr - 1}:0] wr = (r == 0) ? {pr}'d{h - 1} : wait_r;
  always @(posedge clk) if (go) begin
    wait_c <= (wc == 0) ? {pc}'d{right - 1} : wc - {pc}'d1;
    if (last_c) wait_r <= (wr == 0) ? {pr}'d{down - 1} : wr - {pr}'d1;
    else wait_r <= wr;
  end
  wire emit = go & (wc == 0) & (wr == 0);
  reg first;
  wire mark = emit & (in_sof | first);
  always @(posedge clk) if (go) first <= (in_sof | first) & ~emit;
"""
    taps = ["in_data"]
    for i in range(h - 1):
        text += f"""
  reg [{bits * columns - 1}:0] line{i};
  always @(posedge clk) if (go) line{i} <= {{{f"line{i}[{bits * (columns - 1) - 1}:0], " if columns > 1 else ""}{taps[-1]}}};
"""
        taps.append(f"line{i}[{bits * columns - 1}:{bits * (columns - 1)}]")
    # row 0 of the window is the oldest one; within a row the oldest pixel has the lowest place
    for i in range(h):
        tap = taps[h - 1 - i]
        shifted = f"{{{tap}, row{i}[{bits * w - 1}:{bits}]}}" if w > 1 else tap
        text += f"  reg [{bits * w - 1}:0] row{i};\n  always @(posedge clk) if (go) row{i} <= {shifted};\n"
    names = ", ".join(f"row{i}" for i in reversed(range(h)))
    text += pipe(e.name, f"{{{names}}}") + "endmodule\n"
    return text


def point(e: Element) -> str:
    """One pixel in, one out."""
    bits = e.source.width
    return f"""{HEAD}module {e.name} (
{ports(bits, e.output.width)}
);
  wire ce = out_ready | ~out_valid, hold;
  assign in_ready = ce & ~hold;
  wire emit = in_valid & in_ready, mark = in_sof;
  reg [{bits - 1}:0] x;
  always @(posedge clk) if (emit) x <= in_data;
{pipe(e.name, "x")}endmodule
"""


def gather(e: Element) -> str:
    """All pixels of a frame -> one vector."""
    bits, out, count = e.source.width, e.output.width, e.source.rows * e.source.columns
    shifted = f"{{in_data, all[{out - 1}:{bits}]}}" if count > 1 else "in_data"
    return f"""{HEAD}module {e.name} (
{ports(bits, out)}
);
  reg full;
  assign in_ready = out_ready | ~full;
{raster(e.source.rows, e.source.columns)}
  reg [{out - 1}:0] all;
  always @(posedge clk) if (go) all <= {shifted};
  always @(posedge clk)
    if (rst) full <= 1'b0;
    else if (in_ready) full <= go & last_c & last_r;
  assign out_valid = full, out_sof = 1'b1, out_data = all;
endmodule
"""


def pad(e: Element) -> str:
    """Zeros around the pixels of a frame."""
    bits, s, o = e.source.width, e.settings, e.output
    rb, cb = _bits(o.rows), _bits(o.columns)
    top, left, bottom, right = s["top"], s["left"], s["top"] + e.source.rows, s["left"] + e.source.columns
    return f"""{HEAD}module {e.name} (
{ports(bits, o.width)}
);
  reg valid, sof; reg [{bits - 1}:0] data;
  reg open, begun; reg [{cb - 1}:0] c; reg [{rb - 1}:0] r;
  wire ce = out_ready | ~valid;
  wire in_image = r >= {top} & r < {bottom} & c >= {left} & c < {right};
  wire starts = in_valid & in_sof & (~open | begun);  // the first pixel of a frame waits; an unfinished one is given up
  wire restart = starts & (~open | in_image);
  wire uses = open & in_image & in_valid & ~restart;
  wire stray = in_valid & ~in_sof & ~open;
  assign in_ready = (ce & uses) | stray;
  wire step = ce & open & ~restart & (~in_image | in_valid);
  wire last_c = c == {cb}'d{o.columns - 1}, last = last_c & r == {rb}'d{o.rows - 1};
  always @(posedge clk)
    if (rst) begin open <= 1'b0; begun <= 1'b0; end
    else if (restart & ce) begin open <= 1'b1; begun <= 1'b0; end
    else if (step) begin open <= ~last; begun <= begun | in_image; end
  always @(posedge clk)
    if (restart & ce) begin c <= {cb}'d0; r <= {rb}'d0; end
    else if (step) begin
      c <= last_c ? {cb}'d0 : c + {cb}'d1;
      r <= last_c ? r + {rb}'d1 : r;
    end
  always @(posedge clk)
    if (rst) valid <= 1'b0;
    else if (ce) valid <= step;
  always @(posedge clk) if (ce) begin
    sof <= r == 0 & c == 0;
    data <= in_image ? in_data : {bits}'d0;
  end
  assign out_valid = valid, out_sof = sof, out_data = data;
endmodule
"""


def fork(e: Element) -> str:
    """One stream to several readers, each of which takes a pixel when it likes."""
    ways, bits = e.settings["ways"], e.source.width
    return f"""{HEAD}module {e.name} (
  input clk, input rst,
  input in_valid, output in_ready, input in_sof, input [{bits - 1}:0] in_data,
  output [{ways - 1}:0] out_valid, input [{ways - 1}:0] out_ready, output out_sof, output [{bits - 1}:0] out_data
);
  reg [{ways - 1}:0] done;
  wire [{ways - 1}:0] taken = done | out_ready;
  assign in_ready = &taken, out_valid = {{{ways}{{in_valid}}}} & ~done, out_sof = in_sof, out_data = in_data;
  always @(posedge clk)
    if (rst) done <= {ways}'d0;
    else if (in_valid) done <= in_ready ? {ways}'d0 : taken;
endmodule
"""


def fifo(name: str, bits: int, depth: int) -> str:
    """Pixels that wait, in shift registers. `most` is the largest number that ever did; simulators read it, synthesis leaves it out."""
    ab = _bits(depth + 1)
    shifts = f"for (i = 1; i < {depth}; i = i + 1) memory[i] <= memory[i - 1];" if depth > 1 else ""
    return f"""{HEAD}module {name} (
{ports(bits, bits)}
);
  reg [{bits}:0] memory [0:{depth - 1}];
  reg [{ab - 1}:0] count;
  wire push = in_valid & in_ready, pop = out_valid & out_ready;
  assign in_ready = count != {ab}'d{depth}, out_valid = count != 0;
  wire [{ab - 1}:0] at = count - {ab}'d1;
  assign {{out_sof, out_data}} = memory[at[{_bits(depth) - 1}:0]];
  integer i;
  always @(posedge clk) if (push) begin
    memory[0] <= {{in_sof, in_data}};
    {shifts}
  end
  always @(posedge clk)
    if (rst) count <= 0;
    else count <= count + push - pop;
`ifdef SIMULATION
  reg [{ab - 1}:0] most;
  always @(posedge clk)
    if (rst) most <= 0;
    else if (count > most) begin
      most <= count;
      $display("queue {name} %0d", count);
    end
`endif
endmodule
"""


def join(e: Element) -> str:
    """Two streams pixel by pixel; where one has lost its frame, it is brought to the next one."""
    words, both = e.output.words, e.settings["both"]
    types = e.settings["types"]
    fields = []
    for n, t in zip("ab", types, strict=True):
        for k in range(words):
            body = f"{n}_data[{k * t.width} +: {t.width}]"
            below, above = both.fraction - t.fraction, both.width - t.width - (both.fraction - t.fraction)
            sign = [f"{{{above}{{{n}_data[{(k + 1) * t.width - 1}]}}}}" if t.signed else f"{above}'d0"] if above else []
            fields.append("{" + ", ".join([*sign, body, *([f"{below}'d0"] if below else [])]) + "}")
    size = 2 * words * both.width
    return f"""{HEAD}module {e.name} (
  input clk, input rst,
  input a_valid, output a_ready, input a_sof, input [{types[0].width * words - 1}:0] a_data,
  input b_valid, output b_ready, input b_sof, input [{types[1].width * words - 1}:0] b_data,
  output out_valid, input out_ready, output out_sof, output [{e.output.width - 1}:0] out_data
);
  wire ce = out_ready | ~out_valid, hold;
  wire both = a_valid & b_valid, same = a_sof == b_sof;
  wire emit = both & same & ce & ~hold, mark = a_sof;
  assign a_ready = both & (same ? ce & ~hold : b_sof);
  assign b_ready = both & (same ? ce & ~hold : a_sof);
  reg [{size - 1}:0] x;
  always @(posedge clk) if (emit) x <= {{{", ".join(reversed(fields))}}};
{pipe(e.name, "x")}endmodule
"""
