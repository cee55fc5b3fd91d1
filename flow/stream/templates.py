"""Verilog of each kind of element. All have the same ports: valid, ready and the pixel.

Every frame that comes in has all its pixels (`guard` sees to that), so each element counts them on its own and none can lose its place.
"""

from flow.stream.elements import Element
from flow.stream.kernel import HEAD, extended


def bits(count: int) -> int:
    """Return the width of a counter from 0 to count - 1."""
    return max(1, (count - 1).bit_length())


def ports(width: int, out: int) -> str:
    """Write the ports of an element with one input of `width` bits and one output."""
    return (
        f"  input clk, input rst,\n  input in_valid, output in_ready, input [{width - 1}:0] in_data,\n"
        f"  output out_valid, input out_ready, output [{out - 1}:0] out_data"
    )


def raster(rows: int, columns: int) -> str:
    """Write counters of the pixel that is taken: `c` and `r`, and whether it is the last one of its row, and of its column."""
    rb, cb = bits(rows), bits(columns)
    return f"""
  reg [{cb - 1}:0] c; reg [{rb - 1}:0] r;
  wire last_c = c == {cb}'d{columns - 1}, last_r = r == {rb}'d{rows - 1};
  wire go = in_valid & in_ready;
  always @(posedge clk)
    if (rst) begin c <= {cb}'d0; r <= {rb}'d0; end
    else if (go) begin
      c <= last_c ? {cb}'d0 : c + {cb}'d1;
      if (last_c) r <= last_r ? {rb}'d0 : r + {rb}'d1;
    end
"""


def arithmetic(name: str, x: str) -> str:
    """Write the mark of a complete window, and the arithmetic that takes it."""
    return f"""
  reg v;
  always @(posedge clk)
    if (rst) v <= 1'b0;
    else if (ce) v <= emit;
  a_{name} arithmetic (.clk(clk), .rst(rst), .ce(ce), .v(v), .x({x}), .hold(hold), .out_v(out_valid), .y(out_data));
"""


def arithmetic_ports(module: str, size: int, out: int) -> str:
    """Write the head of arithmetic: `v` marks a window `x` of `size` bits, `hold` asks for it to stay, `out_v` marks a pixel `y`."""
    return f"""{HEAD}module {module} (
  input clk, input rst, input ce, input v, input [{size - 1}:0] x, output hold, output out_v, output [{out - 1}:0] y
);
"""


def unrolled(name: str, latency: int, size: int, out: int, kernel: bool = True) -> str:
    """Write the marks beside a kernel that takes a window each cycle."""
    inside = f"k_{name} kernel (.clk(clk), .ce(ce), .x(x), .y(y));" if kernel else "assign y = 0;"
    return f"""{arithmetic_ports(f"a_{name}", size, out)}  reg [{latency - 1}:0] ov;
  assign hold = 1'b0, out_v = ov[{latency - 1}];
  always @(posedge clk)
    if (rst) ov <= 0;
    else if (ce) ov <= {{ov, v}};
  {inside}
endmodule
"""


def reused(name: str, reuse: int, steps: int, behind: int, size: int, out: int) -> str:
    """Write the marks of multipliers that are used again, without them; see `marks`."""
    return f"""{arithmetic_ports(f"a_{name}", size, out)}{marks(reuse, steps, behind)}  assign y = 0;
endmodule
"""


def marks(reuse: int, steps: int, behind: int) -> str:
    """Write what travels beside the data: which step runs (`at`), and when a window is done.

    Args:
        reuse: steps of a window, at least 2.
        steps: registers from a step to its sums, at least 2.
        behind: registers behind the sums.
    """
    ib = bits(reuse)
    return f"""  reg busy; reg [{ib - 1}:0] count;
  wire run = v | busy;
  wire [{ib - 1}:0] at = v ? {ib}'d0 : count;
  wire last = at == {ib}'d{reuse - 1};
  assign hold = run & ~last;
  always @(posedge clk)
    if (rst) busy <= 1'b0;
    else if (ce & run) busy <= ~last;
  always @(posedge clk) if (ce & run) count <= at + {ib}'d1;
  reg [{steps - 1}:0] go, fresh; reg [{steps}:0] ends;
  always @(posedge clk)
    if (rst) begin go <= 0; ends <= 0; end
    else if (ce) begin
      go <= {{go[{steps - 2}:0], run}};
      ends <= {{ends[{steps - 1}:0], run & last}};
    end
  always @(posedge clk) if (ce) fresh <= {{fresh[{steps - 2}:0], v}};
  reg [{behind - 1}:0] ov;
  always @(posedge clk)
    if (rst) ov <= 0;
    else if (ce) ov <= {{ov, ends[{steps}]}};
  assign out_v = ov[{behind - 1}];
"""


def window(e: Element) -> str:
    """Rows that wait, a window that slides over them, and the arithmetic on those windows that are wanted."""
    h, w, down, right = (e.settings[key] for key in ("height", "width", "down", "right"))
    size, columns = e.source.width, e.source.columns
    pc, pr = bits(max(w, right)), bits(max(h, down))
    text = f"""{HEAD}module {e.name} (
{ports(size, e.output.width)}
);
  // everything stops when the result is not taken
  wire hold;
  wire ce = out_ready | ~out_valid;
  assign in_ready = ce & ~hold;
{raster(e.source.rows, columns)}
  // pixels until the next window is complete, along the row and down the column
  reg [{pc - 1}:0] wait_c; reg [{pr - 1}:0] wait_r;
  wire [{pc - 1}:0] wc = (c == 0) ? {pc}'d{w - 1} : wait_c;
  wire [{pr - 1}:0] wr = (r == 0) ? {pr}'d{h - 1} : wait_r;
  always @(posedge clk) if (go) begin
    wait_c <= (wc == 0) ? {pc}'d{right - 1} : wc - {pc}'d1;
    wait_r <= ~last_c ? wr : (wr == 0) ? {pr}'d{down - 1} : wr - {pr}'d1;
  end
  wire emit = go & (wc == 0) & (wr == 0);
"""
    lines, taps = _lines(e)
    text += lines
    # Row 0 of the window is the oldest one; within a row the oldest pixel has the lowest place.
    for i in range(h):
        tap = taps[h - 1 - i]
        shifted = f"{{{tap}, row{i}[{size * w - 1}:{size}]}}" if w > 1 else tap
        text += f"  reg [{size * w - 1}:0] row{i};\n  always @(posedge clk) if (go) row{i} <= {shifted};\n"
    rows = ", ".join(f"row{i}" for i in reversed(range(h)))
    return f"{text}{arithmetic(e.name, f'{{{rows}}}')}endmodule\n"


def _lines(e: Element) -> tuple[str, list[str]]:
    """Write the rows that wait; return them, and the pixels of the column that comes in, that of the newest row first."""
    h, size, columns = e.settings["height"], e.source.width, e.source.columns
    if e.settings.get("memory"):
        older = [f"lines[{size * (i + 1) - 1}:{size * i}]" for i in range(h - 1)]
        pins = ".clk(clk), .go(go), .c(c), .in_data(in_data), .out_data(lines)"
        return f"  wire [{size * (h - 1) - 1}:0] lines;\n  {e.name}_lines memory ({pins});\n", ["in_data", *older]
    text, taps = "", ["in_data"]
    for i in range(h - 1):
        rest = f"line{i}[{size * (columns - 1) - 1}:0], " if columns > 1 else ""
        text += f"  reg [{size * columns - 1}:0] line{i};\n  always @(posedge clk) if (go) line{i} <= {{{rest}{taps[-1]}}};\n"
        taps.append(f"line{i}[{size * columns - 1}:{size * (columns - 1)}]")
    return text, taps


def point(e: Element) -> str:
    """One pixel in, one out."""
    return f"""{HEAD}module {e.name} (
{ports(e.source.width, e.output.width)}
);
  wire hold;
  wire ce = out_ready | ~out_valid;
  assign in_ready = ce & ~hold;
  wire emit = in_valid & in_ready;
  reg [{e.source.width - 1}:0] x;
  always @(posedge clk) if (emit) x <= in_data;
{arithmetic(e.name, "x")}endmodule
"""


def gather(e: Element) -> str:
    """All pixels of a frame -> one vector."""
    size, out, count = e.source.width, e.output.width, e.source.rows * e.source.columns
    shifted = f"{{in_data, all[{out - 1}:{size}]}}" if count > 1 else "in_data"
    return f"""{HEAD}module {e.name} (
{ports(size, out)}
);
  reg full;
  assign in_ready = out_ready | ~full, out_valid = full;
{raster(e.source.rows, e.source.columns)}
  reg [{out - 1}:0] all;
  assign out_data = all;
  always @(posedge clk) if (go) all <= {shifted};
  always @(posedge clk)
    if (rst) full <= 1'b0;
    else if (in_ready) full <= go & last_c & last_r;
endmodule
"""


def pad(e: Element) -> str:
    """Zeros around the pixels of a frame; they begin when its first pixel is there."""
    size, s, o = e.source.width, e.settings, e.output
    rb, cb = bits(o.rows), bits(o.columns)
    top, left, bottom, right = s["top"], s["left"], s["top"] + e.source.rows, s["left"] + e.source.columns
    return f"""{HEAD}module {e.name} (
{ports(size, o.width)}
);
  reg valid; reg [{size - 1}:0] data;
  assign out_valid = valid, out_data = data;
  reg [{cb - 1}:0] c; reg [{rb - 1}:0] r;
  wire ce = out_ready | ~valid;
  wire in_image = r >= {top} & r < {bottom} & c >= {left} & c < {right};
  wire first = r == 0 & c == 0;
  assign in_ready = ce & in_image;
  wire step = ce & (in_valid | ~(in_image | first));
  wire last_c = c == {cb}'d{o.columns - 1}, last_r = r == {rb}'d{o.rows - 1};
  always @(posedge clk)
    if (rst) begin c <= {cb}'d0; r <= {rb}'d0; valid <= 1'b0; end
    else if (ce) begin
      valid <= step;
      if (step) begin
        c <= last_c ? {cb}'d0 : c + {cb}'d1;
        if (last_c) r <= last_r ? {rb}'d0 : r + {rb}'d1;
      end
    end
  always @(posedge clk) if (ce) data <= in_image ? in_data : {size}'d0;
endmodule
"""


def fork(e: Element) -> str:
    """One stream to several readers, each of which takes a pixel when it likes."""
    ways, size = e.settings["ways"], e.source.width
    return f"""{HEAD}module {e.name} (
  input clk, input rst,
  input in_valid, output in_ready, input [{size - 1}:0] in_data,
  output [{ways - 1}:0] out_valid, input [{ways - 1}:0] out_ready, output [{size - 1}:0] out_data
);
  reg [{ways - 1}:0] done;
  wire [{ways - 1}:0] taken = done | out_ready;
  assign in_ready = &taken, out_valid = {{{ways}{{in_valid}}}} & ~done, out_data = in_data;
  always @(posedge clk)
    if (rst) done <= {ways}'d0;
    else if (in_valid) done <= in_ready ? {ways}'d0 : taken;
endmodule
"""


def join(e: Element) -> str:
    """Two streams pixel by pixel."""
    words, both, types = e.output.words, e.settings["both"], e.settings["types"]
    fields = [
        extended(f"{side}_data", k * t.width, t.width, t.fraction, t.signed, both)
        for side, t in zip("ab", types, strict=True)
        for k in range(words)
    ]  # fmt: skip
    return f"""{HEAD}module {e.name} (
  input clk, input rst,
  input a_valid, output a_ready, input [{types[0].width * words - 1}:0] a_data,
  input b_valid, output b_ready, input [{types[1].width * words - 1}:0] b_data,
  output out_valid, input out_ready, output [{e.output.width - 1}:0] out_data
);
  wire hold;
  wire ce = out_ready | ~out_valid;
  wire emit = a_valid & b_valid & ce & ~hold;
  assign a_ready = emit, b_ready = emit;
  reg [{2 * words * both.width - 1}:0] x;
  always @(posedge clk) if (emit) x <= {{{", ".join(reversed(fields))}}};
{arithmetic(e.name, "x")}endmodule
"""


def queue(name: str, size: int, depth: int, memory: bool = False) -> str:
    """Pixels that wait, in shift registers or a memory. A simulation prints how many there were at most."""
    ab = bits(depth + 1)
    return f"""{HEAD}module {name} (
{ports(size, size)}
);
  reg [{ab - 1}:0] count;
  wire push = in_valid & in_ready, pop = out_valid & out_ready;
  assign in_ready = count != {ab}'d{depth}, out_valid = count != 0;
{(_ring if memory else _shifted)(size, depth)}
  always @(posedge clk)
    if (rst) count <= 0;
    else count <= count + push - pop;
`ifdef SIMULATION
  reg [{ab - 1}:0] most;
  always @(posedge clk)
    if (rst) most <= 0;
    else if (count > most) begin
      most <= count;
      $display("{name} %0d", count);
    end
`endif
endmodule
"""


def _shifted(size: int, depth: int) -> str:
    """Write a shift register for each bit of a queue: of an array of words, synthesis makes flip-flops and multiplexers."""
    lines = [f"  wire [{bits(depth + 1) - 1}:0] at = count - {bits(depth + 1)}'d1;"]
    for k in range(size):
        deep = f"{{line{k}[{depth - 2}:0], in_data[{k}]}}", f"line{k}[at[{bits(depth) - 1}:0]]"
        before, tap = deep if depth > 1 else (f"in_data[{k}]", f"line{k}")
        lines.append(
            f"  reg [{depth - 1}:0] line{k}; assign out_data[{k}] = {tap};\n  always @(posedge clk) if (push) line{k} <= {before};"
        )
    return "\n".join(lines)


def _ring(size: int, depth: int) -> str:
    """Write a queue's memory, with the places of the oldest pixel and of the next one."""
    pb = bits(depth)
    return f"""  reg [{pb - 1}:0] oldest, place;
  reg [{size - 1}:0] memory [0:{depth - 1}];
  assign out_data = memory[oldest];
  always @(posedge clk) if (push) memory[place] <= in_data;
  always @(posedge clk)
    if (rst) begin oldest <= {pb}'d0; place <= {pb}'d0; end
    else begin
      if (pop) oldest <= (oldest == {pb}'d{depth - 1}) ? {pb}'d0 : oldest + {pb}'d1;
      if (push) place <= (place == {pb}'d{depth - 1}) ? {pb}'d0 : place + {pb}'d1;
    end"""


def guard(rows: int, columns: int, size: int, out_count: int, out_size: int, inner: str, flight: int) -> str:
    """Write the top: AXI4-Stream in and out around the network, which only ever sees whole frames.

    The first pixel of a frame has `s_axis_tuser`, the last one of each row `s_axis_tlast` (as AXI4-Stream Video). A frame that the next one
    cuts short is filled up with zeros while that one waits; pixels that belong to no frame are dropped. Each frame that began gives one
    result; with its last pixel `m_axis_tuser` says that the frame was not as it should be. At most `flight` frames, a power of two, are
    inside at once.
    """
    return f"""{HEAD}module {inner}_axis (
  input aclk, input aresetn,
  input s_axis_tvalid, output s_axis_tready, input s_axis_tuser, input s_axis_tlast, input [{-(-size // 8) * 8 - 1}:0] s_axis_tdata,
  output m_axis_tvalid, input m_axis_tready, output m_axis_tuser, output m_axis_tlast, output [{-(-out_size // 8) * 8 - 1}:0] m_axis_tdata
);
  wire clk = aclk;
  reg rst;
  always @(posedge clk) rst <= ~aresetn;
  wire in_valid, in_ready, out_valid, out_ready; wire [{size - 1}:0] in_data; wire [{out_size - 1}:0] out_data;
  {inner} {inner}_i (
    .clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
{_frames_in(rows, columns, size)}{_results_out(out_count, out_size, flight)}endmodule
"""


def _frames_in(rows: int, columns: int, size: int) -> str:
    """Write the half of `guard` before the network: whole frames only, and `wrong` if this one is damaged."""
    return f"""{raster(rows, columns)}
  wire first = c == 0 & r == 0, last = last_c & last_r;
  wire fill = ~first & s_axis_tvalid & s_axis_tuser;  // a new frame although this one is not whole
  wire stray = first & s_axis_tvalid & ~s_axis_tuser;
  wire room;
  assign in_valid = s_axis_tvalid & ~stray & (~last | room);
  assign in_data = fill ? {size}'d0 : s_axis_tdata[{size - 1}:0];
  assign s_axis_tready = ~rst & (stray | (in_ready & ~fill & (~last | room)));
  reg bad;
  wire wrong = (first ? 1'b0 : bad) | fill | (s_axis_tlast != last_c);
  always @(posedge clk) if (go) bad <= wrong;
"""


def _results_out(count: int, size: int, flight: int) -> str:
    """Write the half of `guard` behind the network: the marks of at most `flight` frames, a power of two, and the register at the end."""
    fb, ob = bits(flight), bits(count)
    return f"""  // which frames between input and output are damaged
  reg [{flight - 1}:0] damaged; reg [{fb}:0] count;
  reg [{ob - 1}:0] o;
  wire enter = go & last, leave = m_axis_tvalid & m_axis_tready & m_axis_tlast;
  assign room = ~count[{fb}];
  always @(posedge clk)
    if (rst) count <= 0;
    else count <= count + enter - leave;
  always @(posedge clk) if (enter) damaged <= {{damaged[{flight - 2}:0], wrong}};
  wire [{fb}:0] at = count - 1;
  // The last pixel of a result waits, in a register, until its frame is known to be whole: the network must not stop for it.
  reg full; reg [{size - 1}:0] kept;
  wire offered = full | out_valid;
  wire whole = ~m_axis_tlast | (count != 0);
  assign out_ready = ~full;
  assign m_axis_tvalid = offered & whole & ~rst, m_axis_tdata = full ? kept : out_data;
  assign m_axis_tlast = o == {ob}'d{count - 1}, m_axis_tuser = m_axis_tlast & damaged[at[{fb - 1}:0]];
  wire give = m_axis_tvalid & m_axis_tready;
  always @(posedge clk) if (~full) kept <= out_data;
  always @(posedge clk)
    if (rst) begin full <= 1'b0; o <= 0; end
    else begin
      full <= offered & ~give;
      if (give) o <= m_axis_tlast ? {ob}'d0 : o + {ob}'d1;
    end
"""
