"""The arithmetic of one layer on one window: constant products as adder trees, in pipeline stages with a clock enable."""

import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alkaid.codegen import RTLModel

from flow.core.errors import InvalidInput
from flow.rtl.graph import Array, FixedType, Graph
from flow.rtl.lower import lower
from flow.rtl.timing import Timing
from flow.rtl.verilog import pipelined, timing_of

COMMON = ("binop", "multiplier", "mux", "negative", "shift_adder", "ternary_adder")
HEAD = "`timescale 1 ns / 1 ps\n"
Words = Sequence[tuple[int, int, int]]  # sign bits, integer bits without the sign, fraction bits


@dataclass(frozen=True)
class Kernel:
    """The arithmetic of an element.

    Attributes:
        name: of its module, and prefix of those inside.
        graph: one window -> one pixel.
        latency: registers from the window to the pixel; with multipliers that are used again from the last step.
        inputs: words and type of the window.
        outputs: words and type of the pixel.
        files: Verilog text by file name.
        predict: (N, words of the window) -> (N, words of the pixel), exact.
        steps: registers from a step to its sums, if multipliers are used again; else 0.
        multipliers: how many are used again.
        timing: estimate of the pipeline stages of its adder trees, with multipliers that are used again of those behind the sums; None: the
            part has no delay model.
    """

    name: str
    graph: Graph
    latency: int
    inputs: tuple[int, FixedType]
    outputs: tuple[int, FixedType]
    files: Mapping[str, str] = field(repr=False)
    predict: Callable[[Array], Array] = field(repr=False)
    steps: int = 0
    multipliers: int = 0
    timing: Timing | None = None


def build(name: str, graph: Graph, part: str, clock_ns: float, logic_per_stage: float | None = None) -> Kernel:
    """Lower a window's graph and write its stages.

    Args:
        name: of the module, with ports clk, ce, x (the window, word 0 in the lowest bits) and y.
        graph: one window -> one pixel.
        part: FPGA part.
        clock_ns: clock period in ns.
        logic_per_stage: as `flow.rtl.verilog.write`.

    Raises:
        InvalidInput: a layer that cannot be lowered exactly.
        ConfigError: a clock that no pipeline depth reaches.
    """
    lowered = lower(graph)
    inputs, outputs = (graph.layers[0].shape[0], graph.port.type), (math.prod(graph.output.shape), graph.output.type)
    if all(q.min == q.max for q in lowered.logic.out_qint):  # alkaid writes no hardware for it
        codes = [int(outputs[1].codes(q.min)) for q in lowered.logic.out_qint]
        return Kernel(name, graph, 1, inputs, outputs, {f"{name}.v": _constant(name, inputs, codes, outputs[1])}, lowered.predict)
    with tempfile.TemporaryDirectory() as scratch:
        model = RTLModel(
            pipelined(lowered.logic, part, clock_ns, logic_per_stage), scratch, prj_name="kernel", flavor="verilog", ternary_fuse=False,
            print_latency=False, part_name=part, clock_period=clock_ns,
        )  # fmt: skip
        model.write()
        texts = {p.stem: p.read_text() for p in Path(scratch, "src").rglob("*.v")}
    stages = sorted(model.fsm.logic, key=lambda s: int(s.removeprefix("logic")))
    files = {f"{stem}.v": texts[stem] for stem in COMMON if stem in texts}
    for table in re.finditer(r"^module (table_\w+).*?^endmodule\n", texts.get("kernel_tables", ""), re.MULTILINE | re.DOTALL):
        files[f"{table[1]}.v"] = HEAD + table[0]
    for stage in stages:
        files[f"{name}_{stage}.v"] = re.sub(rf"\bmodule {stage}\b", f"module {name}_{stage}", texts[stage])
    (signal,) = model.fsm.out_signals
    words = [(int(k), int(i), int(f)) for k, i, f in signal.precisions]
    files[f"{name}.v"] = _pipe(name, [model.fsm.logic[stage] for stage in stages], inputs, words, outputs[1])
    timing = timing_of(model.fsm, part)
    return Kernel(name, graph, len(stages), inputs, outputs, files, lowered.predict, timing=timing)


def shared(module: str) -> bool:
    """Whether a module is the same wherever it is used: alkaid's own ones, and tables, whose names are hashes of what they hold."""
    return module in COMMON or module.startswith("table_")


def _ports(name: str, inputs: tuple[int, FixedType], out: int) -> str:
    size = inputs[0] * inputs[1].width
    return f"{HEAD}module {name} (input clk, input ce, input [{size - 1}:0] x, output reg [{out - 1}:0] y);"


def _constant(name: str, inputs: tuple[int, FixedType], codes: Sequence[int], kept: FixedType) -> str:
    size = len(codes) * kept.width
    value = sum((code % (1 << kept.width)) << (k * kept.width) for k, code in enumerate(codes))
    return f"{_ports(name, inputs, size)}\n  always @(posedge clk) if (ce) y <= {size}'h{value:x};\nendmodule\n"


def _pipe(name: str, stages: Sequence[Any], inputs: tuple[int, FixedType], words: Words, kept: FixedType) -> str:
    """Write the stages one behind the other; the last register has every word in the type of the layer."""
    size = inputs[1].width
    taken = [int(sum(q.kif)) for q in stages[0].inp_qint]  # 0: a word that nothing needs
    if len(taken) != inputs[0] or not set(taken) <= {0, size}:
        raise InvalidInput(f"module {name}: alkaid made words of {set(taken)} bits of an input of {inputs[0]} words of {size} bits.")
    used = [f"x[{i * size} +: {size}]" for i, width in enumerate(taken) if width]
    source = "x" if len(used) == len(taken) else "{" + ", ".join(reversed(used)) + "}"
    lines = [_ports(name, inputs, len(words) * kept.width)]
    for i, stage in enumerate(stages):
        width = sum(int(sum(q.kif)) for q in stage.out_qint)
        lines += [f"  wire [{width - 1}:0] w{i};", f"  {name}_logic{i} i{i} (.model_inp({source}), .model_out(w{i}));"]
        if i < len(stages) - 1:
            lines += [f"  reg [{width - 1}:0] r{i};", f"  always @(posedge clk) if (ce) r{i} <= w{i};"]
            source = f"r{i}"
    at, wire = 0, f"w{len(stages) - 1}"
    for k, (sign, integer, fraction) in enumerate(words):
        width = sign + integer + fraction
        value = extended(wire, at, width, fraction, bool(sign), kept) if width else f"{kept.width}'d0"
        lines.append(f"  always @(posedge clk) if (ce) y[{k * kept.width} +: {kept.width}] <= {value};")
        at += width
    return "\n".join([*lines, "endmodule", ""])


def extended(wire: str, at: int, width: int, fraction: int, signed: bool, kept: FixedType) -> str:
    """Write a word, which is `width` bits of a wire from bit `at` on, in a type that holds it: zeros below, sign or zeros above."""
    below = kept.fraction - fraction
    above = kept.width - width - below
    if below < 0 or above < 0:
        raise InvalidInput(f"a word of {width} bits, {fraction} of them fraction, is not one of {kept}.")
    sign = f"{{{above}{{{wire}[{at + width - 1}]}}}}" if signed else f"{above}'d0"
    parts = [*([sign] if above else []), f"{wire}[{at} +: {width}]", *([f"{below}'d0"] if below else [])]
    return f"{{{', '.join(parts)}}}"
