"""Write pipelined Verilog of a lowered network, with all that a person needs to use it."""

import importlib.metadata
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from alkaid.codegen import RTLModel

from flow.core.errors import ConfigError, InvalidInput
from flow.rtl import templates
from flow.rtl.graph import Array, Graph
from flow.rtl.lower import Lowered
from flow.rtl.ports import Manifest, Port, Word

NAME = "network"
Signal = Any  # alkaid has no types


def write(lowered: Lowered, graph: Graph, folder: Path, *, part: str, clock_ns: float, logic_per_stage: float) -> Manifest:
    """Write ``src/*.v``, ``manifest.json``, ``README.md``, ``constraints.xdc`` and ``vivado_synth.tcl``.

    Args:
        lowered: from `flow.rtl.lower.lower`.
        graph: the network it was made of.
        folder: is created.
        part: FPGA part for the Vivado script.
        clock_ns: target clock period in ns.
        logic_per_stage: most delay units of logic between two registers.

    Returns:
        The manifest.

    Raises:
        ConfigError: a part name with characters that no part has.
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
            lowered.logic, scratch, prj_name=NAME, flavor="verilog", latency_cutoff=logic_per_stage, print_latency=False,
            part_name=part, clock_period=clock_ns,
        )  # fmt: skip
        model.write()
        for path in Path(scratch, "src").rglob("*.v"):
            shutil.copyfile(path, source / path.name)
    manifest = _manifest(model, graph, sorted(f"src/{p.name}" for p in source.glob("*.v")))
    manifest.save(folder / "manifest.json")
    (folder / "README.md").write_text(templates.readme(manifest, clock_ns))
    (folder / "constraints.xdc").write_text(templates.constraints(manifest, clock_ns))
    (folder / "vivado_synth.tcl").write_text(templates.vivado(manifest, part))
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


def _manifest(model: RTLModel, graph: Graph, sources: list[str]) -> Manifest:
    (inputs,), (outputs,) = model.fsm.inp_signals, model.fsm.out_signals
    return Manifest(
        top=f"{NAME}_wrapper", clock="clk", latency=int(outputs.schedule.bias), interval=int(outputs.schedule.period),
        input=_port(inputs), output=_port(outputs), sources=tuple(sources), stages=tuple(sorted(model.fsm.logic)),
        output_layer=graph.output.name, generator=f"alkaid {importlib.metadata.version('alkaid')}",
    )  # fmt: skip


def _port(signal: Signal) -> Port:
    """Describe a port of alkaid's wrapper: every element is padded to the widest one."""
    signed, integer, fraction = (int(v) for v in np.max([tuple(p) for p in signal.precisions], axis=0))
    width = signed + integer + fraction
    words = tuple(Word(i * width, width, fraction, bool(signed)) for i in range(len(signal.precisions)))
    return Port(signal.name, width * len(words), words)
