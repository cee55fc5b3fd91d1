"""The arithmetic of one layer on one window: constant products as adder trees, in pipeline stages with a clock enable."""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alkaid.codegen import RTLModel

from flow.rtl.graph import Array, FixedType, Graph
from flow.rtl.lower import lower
from flow.rtl.verilog import _pipeline

COMMON = ("binop", "multiplier", "mux", "negative", "shift_adder", "ternary_adder")


@dataclass(frozen=True)
class Kernel:
    """Combinational stages with registers behind each.

    Attributes:
        name: prefix of its modules.
        graph: one window -> one pixel.
        files: Verilog text by file name; `<name>.v` is the pipeline.
        latency: registers from the window to the pixel.
        inputs: words and type of the window.
        outputs: words and type of the pixel.
    """

    name: str
    graph: Graph
    latency: int
    inputs: tuple[int, FixedType]
    outputs: tuple[int, FixedType]
    files: Mapping[str, str] = field(repr=False)
    predict: Callable[[Array], Array] = field(repr=False)


def build(name: str, graph: Graph, part: str, clock_ns: float, logic_per_stage: float | None = None) -> Kernel:
    """Lower a window's graph and write its stages."""
    lowered = lower(graph)
    out = graph.output
    inputs = (graph.layers[0].shape[0], graph.port.type)
    with tempfile.TemporaryDirectory() as scratch:
        model = RTLModel(
            _pipeline(lowered.logic, part, clock_ns, logic_per_stage), scratch, prj_name="kernel", flavor="verilog", ternary_fuse=False,
            print_latency=False, part_name=part, clock_period=clock_ns,
        )  # fmt: skip
        model.write()
        texts = {p.stem: p.read_text() for p in Path(scratch, "src").rglob("*.v")}
    stages = sorted(model.fsm.logic, key=lambda s: int(s.removeprefix("logic")))
    files = {f"{stem}.v": texts[stem] for stem in COMMON if stem in texts}
    for stage in stages:
        files[f"{name}_{stage}.v"] = re.sub(rf"\bmodule {stage}\b", f"module {name}_{stage}", texts[stage])
    (signal,) = model.fsm.out_signals
    words = [tuple(int(v) for v in p) for p in signal.precisions]
    size = 1
    for n in out.shape:
        size *= n
    files[f"{name}.v"] = _pipe(name, stages, model.fsm, inputs, words, (size, out.type))
    return Kernel(name, graph, len(stages), inputs, (size, out.type), files, lowered.predict)


def _pipe(name: str, stages: list[str], fsm: object, inputs: tuple[int, FixedType], words: list[tuple[int, ...]], outputs: tuple[int, FixedType]) -> str:
    """Write the stages one behind the other; the last register has every word in the type of the layer."""
    logic = fsm.logic  # type: ignore[attr-defined]
    widths = [sum(int(sum(q.kif)) for q in logic[s].out_qint) for s in stages]
    size = inputs[1].width
    taken = [int(sum(q.kif)) for q in logic[stages[0]].inp_qint]  # 0: a word that nothing needs
    if len(taken) != inputs[0] or not set(taken) <= {0, size}:
        raise ValueError(f"{name}: words of {set(taken)} bits, not of {size}")
    first = inputs[0] * size
    used = [f"x[{i * size} +: {size}]" for i, w in enumerate(taken) if w]
    count, kept = outputs
    lines = [
        "`timescale 1 ns / 1 ps",
        f"module {name} (input clk, input ce, input [{first - 1}:0] x, output reg [{count * kept.width - 1}:0] y);",
    ]
    source = "x" if len(used) == len(taken) else "{" + ", ".join(reversed(used)) + "}"
    for i, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        lines.append(f"  wire [{width - 1}:0] w{i};")
        lines.append(f"  {name}_{stage} i{i} (.model_inp({source}), .model_out(w{i}));")
        if i < len(stages) - 1:
            lines += [f"  reg [{width - 1}:0] r{i};", f"  always @(posedge clk) if (ce) r{i} <= w{i};"]
            source = f"r{i}"
    at, last = 0, len(stages) - 1
    for k, (signed, integer, fraction) in enumerate(words):
        width = signed + integer + fraction
        target = f"y[{k * kept.width} +: {kept.width}]"
        lines.append(f"  always @(posedge clk) if (ce) {target} <= {_word(f'w{last}', at, width, fraction, bool(signed), kept)};")
        at += width
    return "\n".join([*lines, "endmodule", ""])


def _word(wire: str, at: int, width: int, fraction: int, signed: bool, kept: FixedType) -> str:
    """Return a word in the type that a layer has: zeros below, sign or zeros above."""
    if width == 0:
        return f"{kept.width}'d0"
    below = kept.fraction - fraction
    above = kept.width - width - below
    body = f"{wire}[{at} +: {width}]"
    if below < 0 or above < 0:
        raise ValueError((width, fraction, signed, str(kept)))
    parts = [f"{{{above}{{{wire}[{at + width - 1}]}}}}" if signed else f"{above}'d0"] if above else []
    return "{" + ", ".join([*parts, body, *([f"{below}'d0"] if below else [])]) + "}"
