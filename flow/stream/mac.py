"""The arithmetic of one layer with multipliers that are used again: groups of inputs, one after the other, with weights from a table."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput
from flow.rtl.graph import Array, FixedType, Graph, Layer
from flow.stream import templates
from flow.stream.elements import chained, refuse
from flow.stream.kernel import Kernel, build

FAN = 4  # terms that are added in one cycle
UNROLL = " Or leave it unrolled: hardware.reuse = 1 for it."
WIDEST = 53  # bits of a sum: float64 holds all integers of them


def accumulator(graph: Graph) -> FixedType:
    """Return the narrowest type that holds every partial sum of the first layer behind the window.

    Raises:
        InvalidInput: it would be too wide; names the layer.
    """
    window, _, dense = graph.layers[:3]
    (kernel, kept), (bias, bias_type) = dense.weights["weight"], _bias(dense)
    peak = float((np.abs(kernel).sum(axis=0) * 2.0 ** (window.type.integer - window.type.signed) + np.abs(bias)).max())
    fraction = max(window.type.fraction + kept.fraction, bias_type.fraction)
    integer = math.floor(math.log2(peak)) + 2 if peak else 1 - fraction
    if integer + fraction > WIDEST:
        raise refuse(dense, f"its sums need {integer + fraction} bits, and here at most {WIDEST} are computed exactly.", UNROLL)
    try:
        return FixedType(True, integer + fraction, integer)
    except InvalidInput as error:
        raise refuse(dense, f"its sums need {integer + fraction} bits. {error}", UNROLL) from None


def _bias(dense: Layer) -> tuple[Array, FixedType]:
    bias, kept = dense.weights.get("bias", (np.zeros(dense.shape[0]), dense.weights["weight"][1]))
    return np.asarray(bias, np.float64).reshape(-1), kept


def tail(graph: Graph) -> Graph:
    """Return what comes behind the sums: the accumulator's type, that of the layer, then the layers behind it.

    Raises:
        InvalidInput: an accumulator in which the order of the sum matters; see `flow.rtl.operations`.
    """
    window, _, dense, *rest = graph.layers
    count, total, kept = dense.shape[0], accumulator(graph), dense.accumulator
    steps = []
    if kept is not None:
        need = max(window.type.fraction + dense.weights["weight"][1].fraction, _bias(dense)[1].fraction)
        if kept.fraction < need or kept.saturation != "WRAP":
            why = f"its accumulator {kept} must wrap and have {need} fraction bits, or the order of the sum matters. Widen it."
            raise refuse(dense, why, UNROLL)
        steps.append(Layer("(accumulator)", "Activation", (), (count,), kept, {"activation": "linear"}))
    typed = Layer(dense.name, "Activation", (), (count,), dense.type, {"activation": "linear"})
    return chained(count, total, [*steps, typed, *rest])


def build_mac(name: str, graph: Graph, reuse: int, part: str, clock_ns: float) -> Kernel:
    """Write the multiply-accumulate array of a layer.

    Args:
        name: of the module, with the ports of `flow.stream.templates.unrolled`.
        graph: window -> dense -> ....
        reuse: cycles of a window, 2 to its words.
        part: FPGA part.
        clock_ns: clock period in ns.

    Raises:
        InvalidInput: a number of cycles that this layer cannot take, or sums that cannot be exact.
    """
    window, _, dense = graph.layers[:3]
    (kernel, kept), (bias, _) = dense.weights["weight"], _bias(dense)
    words = len(kernel)
    if not 2 <= reuse <= words:
        raise refuse(dense, f"a window of {words} words takes 1 to {words} cycles, not {reuse}.", "")
    post = build(f"{name}_post", tail(graph), part, clock_ns)
    array = _Array(name, window.type, kept, accumulator(graph), _grouped(kept.codes(kernel), reuse), words)
    files = {**post.files, f"{name}.v": array.verilog(bias, post)}

    def predict(x: Array) -> Array:
        return post.predict(x @ kernel + bias)  # sums of so few bits are exact

    latency = array.steps + 1 + post.latency
    return Kernel(name, graph, latency, (words, window.type), post.outputs, files, predict, array.steps, len(array.used), post.timing)


def _grouped(codes: NDArray[np.int64], reuse: int) -> NDArray[np.int64]:
    """Cut weights (words, out) into those of each cycle (reuse, lanes, out); zeros fill up the last."""
    lanes = -(-len(codes) // reuse)
    full = np.zeros((reuse * lanes, codes.shape[1]), np.int64)
    full[: len(codes)] = codes
    return full.reshape(reuse, lanes, -1)


def steps_of(terms: int) -> int:
    """Return the registers from a step to its sums: operands, products, and one for each addition of `FAN` terms."""
    steps = 2
    while terms > 1:
        terms, steps = -(-terms // FAN), steps + 1
    return steps


@dataclass(frozen=True)
class _Array:
    """Multipliers for the words of one step, and trees of adders behind them.

    Attributes:
        name: of the module.
        x: type of the window.
        w: type of the weights.
        total: type of the sums.
        codes: (reuse, lanes, out) weights.
        words: of the window.
    """

    name: str
    x: FixedType
    w: FixedType
    total: FixedType
    codes: NDArray[np.int64]
    words: int

    @property
    def used(self) -> list[tuple[int, int]]:
        """Lane and output of each multiplier: weights that are zero in every step need none."""
        return [(int(lane), int(out)) for lane, out in np.argwhere(self.codes.any(axis=0))]

    @property
    def steps(self) -> int:
        """Registers from a step to its sums."""
        return steps_of(int(self.codes.any(axis=0).sum(axis=0).max()))

    def verilog(self, bias: Array, post: Kernel) -> str:
        """Write the module; `post` is what comes behind the sums, `bias` (out,) what they begin with."""
        ports = templates.arithmetic_ports(self.name, self.words * self.x.width, post.outputs[0] * post.outputs[1].width)
        marks = templates.marks(len(self.codes), self.steps, post.latency)
        sums = ", ".join(f"a{out}" for out in reversed(range(len(bias))))
        pins = f".clk(clk), .ce(ce), .x({{{sums}}}), .y(y)"
        return f"{ports}{marks}{self._operands()}{self._products()}{self._sums(bias)}  {post.name} post ({pins});\nendmodule\n"

    def _operands(self) -> str:
        """Write the choice of a step's words and weights, and the registers behind it."""
        reuse, lanes, _ = self.codes.shape
        size, table, index = lanes * self.x.width, max(1, len(self.used)) * self.w.width, templates.bits(reuse)
        cases = []
        for i, step in enumerate(self.codes):
            weights = sum((int(step[at]) % (1 << self.w.width)) << (k * self.w.width) for k, at in enumerate(self.used))
            have = (min(self.words, (i + 1) * lanes) - min(self.words, i * lanes)) * self.x.width
            chosen = f"x[{i * size} +: {have}]" if have else "0"
            cases.append(f"      {index}'d{i}: begin group = {chosen}; rom = {table}'h{weights:x}; end\n")
        return f"""  reg [{size - 1}:0] group, xs; reg [{table - 1}:0] rom, ws;
  always @*
    case (at)
{"".join(cases)}      default: begin group = 0; rom = 0; end
    endcase
  always @(posedge clk) if (ce & run) begin
    xs <= group;
    ws <= rom;
  end
"""

    def _products(self) -> str:
        width, lines = self._product_width, []
        for k, (lane, out) in enumerate(self.used):
            x = _signed(f"xs[{lane * self.x.width} +: {self.x.width}]", self.x)
            w = _signed(f"ws[{k * self.w.width} +: {self.w.width}]", self.w)
            lines.append(f"  reg signed [{width - 1}:0] p{out}_{lane};\n  always @(posedge clk) if (ce) p{out}_{lane} <= {x} * {w};\n")
        return "".join(lines)

    @property
    def _product_width(self) -> int:
        return self.x.width + (not self.x.signed) + self.w.width + (not self.w.signed)

    def _sums(self, bias: Array) -> str:
        """Write, for each output, a tree as deep as the deepest one and the accumulator behind it."""
        shift = self.total.fraction - self.x.fraction - self.w.fraction
        start = np.rint(np.ldexp(bias, self.total.fraction)).astype(np.int64)
        last, size, text = self.steps - 1, self.total.width, ""
        for out, begin in enumerate(start.tolist()):
            terms, width = [f"p{out}_{lane}" for lane, o in self.used if o == out], self._product_width
            for level in range(self.steps - 2):
                width += 2  # FAN terms
                groups = [terms[i : i + FAN] for i in range(0, len(terms), FAN)]
                terms = [f"t{out}_{level}_{k}" for k in range(len(groups))]
                for term, group in zip(terms, groups, strict=True):
                    text += f"  reg signed [{width - 1}:0] {term};\n  always @(posedge clk) if (ce) {term} <= {' + '.join(group)};\n"
            first = f"{'-' if begin < 0 else ''}{size}'sd{abs(begin)}"
            shifted = f"{terms[0]} <<< {shift}" if terms and shift else terms[0] if terms else "0"
            text += f"""  wire signed [{size - 1}:0] n{out} = {shifted};
  reg signed [{size - 1}:0] a{out};
  always @(posedge clk) if (ce & go[{last}]) a{out} <= n{out} + (fresh[{last}] ? {first} : a{out});
"""
        return text


def _signed(wire: str, kept: FixedType) -> str:
    return f"$signed({wire})" if kept.signed else f"$signed({{1'b0, {wire}}})"
