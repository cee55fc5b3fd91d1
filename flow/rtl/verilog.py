"""Write pipelined Verilog of a lowered network, with all that a person needs to use it."""

import importlib.metadata
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from alkaid.codegen import RTLModel
from alkaid.trace.passes import add_surrogate, dead_code_elimin, fuse_ternary_adders
from alkaid.trace.pipeline import to_pipeline

from flow.core.errors import ConfigError, InvalidInput
from flow.rtl import templates, timing
from flow.rtl.graph import Array, Graph
from flow.rtl.lower import Lowered
from flow.rtl.ports import Manifest, Port, Word

NAME = "network"
Signal = Any  # alkaid has no types


def write(
    lowered: Lowered, graph: Graph, folder: Path, *, part: str, clock_ns: float, logic_per_stage: float | None, axi_stream: bool = False
) -> Manifest:  # fmt: skip
    """Write ``src/*.v``, ``manifest.json``, ``README.md``, constraints and, for Xilinx parts, ``vivado_synth.tcl``.

    Args:
        lowered: from `flow.rtl.lower.lower`.
        graph: the network it was made of.
        folder: is created.
        part: FPGA part for the Vivado script.
        clock_ns: target clock period in ns.
        logic_per_stage: most delay units of alkaid between two registers; None: what the clock allows by the estimate of
            `flow.rtl.timing`.
        axi_stream: tell of the wrapper that `flow.rtl.axis.write` puts beside.

    Returns:
        The manifest.

    Raises:
        ConfigError: a part name with characters that no part has, or a clock that no pipeline depth reaches.
        InvalidInput: all outputs are constant.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+", part):
        raise ConfigError(f"hardware.part = '{part}': a part name has letters, digits and hyphens only.")
    if all(q.min == q.max for q in lowered.logic.out_qint):
        raise InvalidInput("all outputs of the network are constant, so there is no hardware to build. Train it further.")
    source = folder / "src"
    source.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        model = RTLModel(
            pipelined(lowered.logic, part, clock_ns, logic_per_stage), scratch, prj_name=NAME, flavor="verilog", ternary_fuse=False,
            print_latency=False, part_name=part, clock_period=clock_ns,
        )  # fmt: skip
        model.write()
        for path in Path(scratch, "src").rglob("*.v"):
            shutil.copyfile(path, source / path.name)
    manifest = _manifest(model, graph, sorted(f"src/{p.name}" for p in source.glob("*.v")), timing_of(model.fsm, part))
    manifest.save(folder / "manifest.json")
    xilinx = templates.of_xilinx(part)
    (folder / "README.md").write_text(templates.readme(manifest, clock_ns, axi_stream) + templates.VIVADO * xilinx)
    for name, text in templates.constraints(manifest, clock_ns).items():
        (folder / name).write_text(text)
    if xilinx:
        (folder / "vivado_synth.tcl").write_text(templates.vivado(manifest, part, axi_stream))
    return manifest


def write_testbench(manifest: Manifest, folder: Path, x: Array, y: Array, clock_ns: float) -> None:
    """Write a self-checking testbench: ``tb.sv``, ``inputs.hex``, ``expected.hex``.

    Args:
        manifest: of the Verilog.
        folder: is created.
        x: (N, ...) inputs, channels last.
        y: (N, outputs) expected outputs.
        clock_ns: clock period in ns.

    Raises:
        InvalidInput: a value that does not fit its port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputs.hex").write_text(manifest.input.hex_lines(manifest.input.pack(x)))
    (folder / "expected.hex").write_text(manifest.output.hex_lines(manifest.output.pack(y)))
    (folder / "tb.sv").write_text(templates.testbench(manifest, len(x), clock_ns))


def pipelined(logic: Signal, part: str, clock_ns: float, logic_per_stage: float | None) -> Signal:
    """Fuse adders in threes as alkaid does, and cut into stages: by alkaid's delay units, or by what the clock allows."""
    fused = add_surrogate(dead_code_elimin(fuse_ternary_adders(logic)), _skip_op8_cost=True)
    if logic_per_stage is None:
        return timing.pipeline(fused, part, clock_ns)
    return to_pipeline(fused, latency_cutoff=logic_per_stage, verbose=False)


def timing_of(fsm: Signal, part: str) -> timing.Timing | None:
    """Estimate the delay of the stages; None for a part that has no delay model."""
    try:
        return timing.estimate(fsm.logic.values(), part)
    except ConfigError:
        return None


def _manifest(model: RTLModel, graph: Graph, sources: list[str], estimate: timing.Timing | None) -> Manifest:
    (inputs,), (outputs,) = model.fsm.inp_signals, model.fsm.out_signals
    return Manifest(
        top=f"{NAME}_wrapper", clock="clk", latency=int(outputs.schedule.bias), interval=int(outputs.schedule.period),
        input=_port(inputs), output=_port(outputs), sources=tuple(sources), stages=tuple(sorted(model.fsm.logic)),
        output_layer=graph.output.name, generator=f"alkaid {importlib.metadata.version('alkaid')}",
        stage_delays_ns=tuple(round(d, 3) for d in estimate.delays) if estimate else (), delay_model=estimate.source if estimate else "",
    )  # fmt: skip


def _port(signal: Signal) -> Port:
    """Describe a port of alkaid's wrapper: every element is padded to the widest one."""
    signed, integer, fraction = (int(v) for v in np.max([tuple(p) for p in signal.precisions], axis=0))
    width = signed + integer + fraction
    words = tuple(Word(i * width, width, fraction, bool(signed)) for i in range(len(signal.precisions)))
    return Port(signal.name, width * len(words), words)
