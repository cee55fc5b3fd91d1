"""The arithmetic of one layer with multipliers that are used again: groups of inputs, one after the other, with weights from a table."""

import math
from dataclasses import replace

import numpy as np

from flow.rtl.graph import Array, FixedType, Graph, Layer
from flow.stream.kernel import Kernel, build
from flow.stream.plan import chained

HEAD = "`timescale 1 ns / 1 ps\n"


def accumulator(graph: Graph) -> FixedType:
    """Return the narrowest type that holds every partial sum of the first layer behind the window."""
    window, _, dense = graph.layers[:3]
    kernel, kept = dense.weights["weight"]
    bias, bias_type = dense.weights.get("bias", (np.zeros(kernel.shape[-1]), FixedType(True, 1, 1)))
    peak = float((np.abs(kernel).sum(axis=0) * 2.0 ** (window.type.integer - window.type.signed) + np.abs(bias)).max())
    fraction = max(window.type.fraction + kept.fraction, bias_type.fraction)
    integer = math.ceil(math.log2(peak + 1)) + 1
    return FixedType(True, integer + fraction, integer)


def tail(graph: Graph) -> Graph:
    """Return what comes behind the sums: the accumulator's type, that of the layer, then the layers behind it."""
    dense, rest = graph.layers[2], graph.layers[3:]
    count, total = dense.shape[0], accumulator(graph)
    cast = {"activation": "linear"}
    kept = [] if dense.accumulator is None else [Layer(f"{dense.name}_wrapped", "Activation", (), (count,), dense.accumulator, cast)]
    return chained(count, total, [*kept, Layer(f"{dense.name}_typed", "Activation", (), (count,), dense.type, cast), *rest])


def build_mac(name: str, graph: Graph, reuse: int, part: str, clock_ns: float) -> Kernel:
    """Write the multiply-accumulate array of a layer.

    Args:
        name: of the module.
        graph: window -> dense -> ....
        reuse: cycles of a window.
        part: FPGA part.
        clock_ns: clock period.
    """
    window, _, dense = graph.layers[:3]
    kernel, kept = dense.weights["weight"]
    bias, _ = dense.weights.get("bias", (np.zeros(kernel.shape[-1]), None))
    n, count = kernel.shape
    lanes = -(-n // reuse)
    codes = np.zeros((reuse * lanes, count), np.int64)
    codes[:n] = kept.codes(kernel)
    total = accumulator(graph)
    shift = total.fraction - window.type.fraction - kept.fraction
    start = np.rint(np.ldexp(np.asarray(bias, np.float64).reshape(-1), total.fraction)).astype(np.int64)
    post = build(f"{name}_post", tail(graph), part, clock_ns)
    text, extra = _module(name, codes.reshape(reuse, lanes, count), start, window.type, kept, total, shift, post, n)
    files = {**post.files, f"{name}.v": text}

    def predict(x: Array) -> Array:
        return post.predict(x @ kernel + np.ravel(bias))  # sums of integers below 2^53 are exact

    return Kernel(name, graph, extra + post.latency, (n, window.type), post.outputs, files, predict)


def _hex(values: np.ndarray, width: int) -> int:
    result = 0
    for i, v in enumerate(values.reshape(-1).tolist()):
        result |= (v & ((1 << width) - 1)) << (i * width)
    return result


def marks(reuse: int, steps: int, behind: int) -> str:
    """Write what travels beside the data: which step runs, and when a window is done.

    Args:
        reuse: steps of a window.
        steps: registers from a step to its sums.
        behind: registers behind the sums.
    """
    ib = max(1, (reuse - 1).bit_length())
    return f"""
  reg busy; reg [{ib - 1}:0] count;
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


def steps_of(lanes: int) -> int:
    """Return the registers from a step to its sums: operands, products, and one for each addition of four."""
    steps = 2
    while lanes > 1:
        lanes, steps = -(-lanes // 4), steps + 1
    return steps


def _module(name, codes, start, x_type, w_type, total, shift, post, n):  # noqa
    reuse, lanes, count = codes.shape
    xb, wb, ab = x_type.width, w_type.width, total.width
    ib = max(1, (reuse - 1).bit_length())
    rom = "\n".join(f"      {ib}'d{i}: rom = {lanes * count * wb}'h{_hex(codes[i], wb):x};" for i in range(reuse))
    padded = reuse * lanes * xb
    fill = f"{{{padded - n * xb}'d0, x}}" if padded > n * xb else "x"
    pb = xb + wb + (not x_type.signed)
    lines = [HEAD + f"""module {name} (
  input clk, input rst, input ce, input v, input [{n * xb - 1}:0] x,
  output hold, output out_v, output [{post.outputs[0] * post.outputs[1].width - 1}:0] y
);
{marks(reuse, steps_of(lanes), post.latency)}  wire [{padded - 1}:0] all = {fill};
  reg [{lanes * count * wb - 1}:0] rom;
  always @*
    case (at)
{rom}
      default: rom = {lanes * count * wb}'d0;
    endcase
  reg [{lanes * xb - 1}:0] xs; reg [{lanes * count * wb - 1}:0] ws;
  always @(posedge clk) if (ce & run) begin
    xs <= all[at * {lanes * xb} +: {lanes * xb}];
    ws <= rom;
  end"""]
    # products, then sums of pairs with a register behind every second level
    for o in range(count):
        for l in range(lanes):
            xv = f"$signed(xs[{l * xb} +: {xb}])" if x_type.signed else f"$signed({{1'b0, xs[{l * xb} +: {xb}]}})"
            lines.append(f"  reg signed [{pb - 1}:0] p{o}_{l};\n  always @(posedge clk) if (ce) p{o}_{l} <= {xv} * $signed(ws[{(l * count + o) * wb} +: {wb}]);")
    steps = 2
    terms = {o: [f"p{o}_{l}" for l in range(lanes)] for o in range(count)}
    width, level = pb, 0
    while len(terms[0]) > 1:
        width, level = width + 2, level + 1
        for o in range(count):
            groups = [terms[o][i : i + 4] for i in range(0, len(terms[o]), 4)]
            terms[o] = []
            for k, group in enumerate(groups):
                t = f"t{level}_{o}_{k}"
                lines.append(f"  reg signed [{width - 1}:0] {t};\n  always @(posedge clk) if (ce) {t} <= {' + '.join(group)};")
                terms[o].append(t)
        steps += 1
    for o in range(count):
        value = int(start[o])
        first = f"-{ab}'sd{-value}" if value < 0 else f"{ab}'sd{value}"
        term = f"($signed({terms[o][0]}) <<< {shift})" if shift else terms[o][0]
        lines.append(f"  reg signed [{ab - 1}:0] a{o};\n  wire signed [{ab - 1}:0] n{o} = {term};\n  always @(posedge clk) if (ce & go[{steps - 1}]) a{o} <= n{o} + (fresh[{steps - 1}] ? {first} : a{o});")
    sums = ", ".join(f"a{o}" for o in reversed(range(count)))
    lines.append(f"""  {post.name} post (.clk(clk), .ce(ce), .x({{{sums}}}), .y(y));
endmodule
""")
    assert steps == steps_of(lanes)
    return "\n".join(lines), steps + 1
