"""The folder of a design point for the next engineer: hls4ml project, Verilog, golden vectors, emulator, and a README with the figures."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from flow.core import artifact
from flow.core.state import State
from flow.core.store import Store
from flow.reporting import catalog
from flow.reporting.numbers import with_unit
from flow.reporting.perturbation import main_levels
from flow.reporting.result import PointResult
from flow.rtl import templates
from flow.rtl.ports import Manifest

# What is copied as it is: name in the folder, and the artifact.
COPIED = {
    "hls": "project", "verilog": "verilog", "model.onnx": "qonnx", "synth.json": "synth_report", "route": "route",
    "netlist": "netlist", "waveform.vcd": "waveform", "hardened": "hardened_rtl",
    "csynth.json": "csynth_report", "vsynth.json": "vsynth_report", "vivado_reports": "vsynth_reports", "estimate.json": "estimate_report",
}  # fmt: skip
MADE = ("vectors", "emulator")
MOST_VECTORS = 1024
VENDOR = {"csynth": "Vitis HLS", "cosim": "co-simulation", "vsynth": "Vivado"}


def publish(store: Store, folder: Path, state: State, result: PointResult) -> Path | None:
    """Write ``hls_projects/<point>/`` unless it already shows exactly this result.

    Args:
        store: locks the folder; several processes may have the same point.
        folder: is created.
        state: has the artifacts.
        result: of the same point.

    Returns:
        The folder, or None when the point has nothing for it.
    """
    wanted = {name: state.paths[source] for name, source in COPIED.items() if source in state.paths}
    if not wanted:
        return None
    code = artifact.code_digests(Path(__file__))
    digest = artifact.text_digest([code, {name: state.artifacts[COPIED[name]] for name in wanted}, result.to_json()])
    stamp = folder / ".digest"
    with store.lock("publish", artifact.text_digest(str(folder.resolve()))):
        if not (stamp.is_file() and stamp.read_text() == digest):
            folder.mkdir(parents=True, exist_ok=True)
            stamp.unlink(missing_ok=True)
            _clear(folder)
            for name, source in wanted.items():
                shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy2(source, folder / name)
            space = _make(folder, state)
            (folder / "README.md").write_text(readme(folder, result, space))
            stamp.write_text(digest)
    return folder


def _clear(folder: Path) -> None:
    for name in (*COPIED, *MADE):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)


def _make(folder: Path, state: State) -> str:
    """Write golden vectors and the emulator; return its namespace, empty without one."""
    if "vectors" not in state.paths:
        return ""
    from flow.hls import emulator

    verilog = folder / "verilog" / "manifest.json"
    write_vectors(folder / "vectors", state.paths["vectors"], Manifest.load(verilog) if verilog.is_file() else None)
    if not (folder / "hls" / "hlscape.json").is_file():
        return ""
    return emulator.write(folder / "hls", folder / "emulator", folder.name)


def write_vectors(folder: Path, vectors: Path, manifest: Manifest | None) -> None:
    """Write golden vectors in every form: ``.npz``, ``.dat`` text and, when there is RTL, ``.hex``.

    Args:
        folder: is created.
        vectors: artifact with inputs x (N, C, ...) and outputs y (N, outputs).
        manifest: of the Verilog.
    """
    import numpy as np

    from flow import gate

    x, y = gate.read_vectors(vectors)
    x, y = gate.words(x[:MOST_VECTORS]), y[:MOST_VECTORS]
    folder.mkdir()
    with (folder / "vectors.npz").open("wb") as stream:
        np.savez_compressed(stream, x=x, y=y)
    for name, rows in (("inputs", x), ("outputs", y)):
        np.savetxt(folder / f"{name}.dat", rows, fmt="%.17g")
    if manifest:
        (folder / "inputs.hex").write_text(manifest.input.hex_lines(manifest.pack_inputs(x)))
        (folder / "outputs.hex").write_text(manifest.output.hex_lines(manifest.pack_outputs(y)))
    (folder / "README.md").write_text(
        VECTORS.format(samples=len(x), inputs=x.shape[1], outputs=y.shape[1], hex=HEX if manifest else "")
    )  # fmt: skip


VECTORS = """# Golden vectors

{samples} samples with {inputs} input words and {outputs} output words each, in the same order in every file. They are test samples, random
words and the two corners of the range, on the grid of the input words; the outputs are those of the quantized network.

- `inputs.dat`, `outputs.dat`: text, one sample a line, values as decimal numbers. Words are in the order of the flattened array, channels
  last.
- `vectors.npz`: the same as float64 arrays `x` and `y` for `numpy.load`.
{hex}"""
HEX = """- `inputs.hex`, `outputs.hex`: for `$readmemh`, one line a sample, or of a stream one line a pixel: the port of the Verilog as one
  number, word 0 in its lowest bits, each word its integer code (two's complement where it is signed). `../verilog/manifest.json` has
  offset, width and fraction of each.
"""


def readme(folder: Path, result: PointResult, space: str) -> str:
    """Describe a folder as it is.

    Args:
        folder: with what was copied and made.
        result: the point.
        space: namespace of the emulator.
    """
    there = {name for name in (*COPIED, *MADE) if (folder / name).exists()}
    hardware = result.config.get("hardware", {})
    wrapped = (folder / "verilog" / "axis").is_dir()
    axis = f"\n  {'`verilog/axis/` is' if wrapped else '`hardware.axi_stream = true` adds'} an AXI-Stream wrapper."
    axis = "\n  Its ports are AXI4-Stream, one pixel a transfer." if hardware.get("io") == "stream" else axis
    parts = [
        f"# {result.name}: a network as hardware",
        f"Made by `{result.reproduce}`, which also makes this folder again. Target: part `{hardware.get('part', '?')}`, clock period "
        f'{hardware.get("clock_ns", "?")} ns, back end `{hardware.get("backend", "?")}`, `hardware.io = "{hardware.get("io", "?")}"`.',
        *(f"**Stage `{f['stage']}` failed** ({f['error']}): {f['message'].splitlines()[0]}" for f in result.failures),
        "## Figures\n\n" + _figures(result),
        "## Is it exact?\n\n" + _gate(result),
        "## Ports and numbers\n\n" + _ports(folder),
        "## What is here\n\n" + "\n".join(text.format(space=space, axis=axis) for name, text in CONTENTS.items() if name in there),
        "## What was not done\n\n" + _not_done(result, there),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in result.versions.items()) + "." if result.versions else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(result: PointResult) -> str:
    metrics = result.metrics
    task = catalog.task_score([result])
    named = [task, *(k for k in metrics if task and k == f"{task}_trivial")] if task else []
    named += main_levels([result])
    hardware = [] if result.inexact else catalog.ids_of("hardware", metrics, task)
    rows = [
        f"| {catalog.title(k, metrics[k])} | {with_unit(metrics[k])} | {metrics[k].kind} | {metrics[k].source or '-'} |"
        for k in (*hardware, *named)
    ]
    notes = [
        "Classes: `measured` is counted on data or in simulation; cost is `estimate`, `csynth`, `mapped` or `routed`, and two classes must "
        "not be compared. ± is a 95 % interval."
    ]
    if result.inexact:
        notes.append("**The exactness gate failed: figures of hardware are withheld, and what is in this folder must not be used.**")
    if result.status == "untrained":
        notes.append("**The network is no better than a constant output.**")
    if not rows:
        return "\n\n".join(["No figure was measured.", *notes[1:]])
    return "\n".join(["| figure | value | class | source |", "|---|---|---|---|", *rows, "", "\n\n".join(notes)])


def _gate(result: PointResult) -> str:
    if result.gate is None:
        return "The exactness gate was not run."
    rows = [f"| {level} | {v['samples']} | {v['mismatches']} |" for level, v in result.gate["levels"].items()]
    words = (
        "The same input words at each level, every output compared with the level before. A level that is not in the table was not "
        "compared, and a folder that is not here belongs to a stage that failed or was not asked for."
    )
    return "\n".join([words, "", "| level | samples | samples that differ |", "|---|---|---|", *rows])


def _ports(folder: Path) -> str:
    order = "Words are in the order of the flattened array, channels last (row, column, channel)."
    manifest = folder / "verilog" / "manifest.json"
    if manifest.is_file():
        m = Manifest.load(manifest)
        unit = "frame, pixel by pixel," if m.io == "stream" else "sample"
        every = f"a new {unit} every {m.interval} cycle{'s' * (m.interval > 1)}"
        return "\n".join(
            [
                f"Verilog module `{m.top}`, clock `{m.clock}`; {every}, the last word of its result {m.latency} cycles after its first:",
                "",
                f"- in: {templates.layout(m.input)}",
                f"- out: {templates.layout(m.output)}", "",
                order + " The host rounds inputs to these words.",
            ]
        )  # fmt: skip
    defines = folder / "hls" / "firmware" / "defines.h"
    types = [line for line in defines.read_text().splitlines() if line.endswith((" input_t;", " result_t;"))] if defines.is_file() else []
    return "\n".join(["C++ types of the ports:", "", *(f"- `{line}`" for line in types), "", order]) if types else order


CONTENTS: Mapping[str, str] = {
    "model.onnx": "- `model.onnx`: the quantized network (QONNX).",
    "hls": (
        "- `hls/`: hls4ml project (Vitis HLS C++). `cd hls && vitis-run --mode hls --tcl build_prj.tcl` (2024.1 and later), or\n"
        "  `vitis_hls -f build_prj.tcl`; `build_opt.tcl` chooses the steps. `tb_data/` holds inputs and the outputs that must come out."
    ),
    "verilog": (
        "- `verilog/`: pipelined RTL with constraints (xdc, sdc, lpf), a self-checking testbench `tb/` for Icarus, Verilator or xsim, and\n"
        "  for Xilinx parts `vivado_synth.tcl`, out-of-context synthesis, placement and routing. Its README has the commands.{axis}"
    ),
    "synth.json": "- `synth.json`: resources by module.",
    "netlist": "- `netlist/`: the mapped modules in primitives of the FPGA, of which the resources and level `netlist` of the gate are.",
    "waveform.vcd": "- `waveform.vcd`: what every signal of the Verilog does over the first vectors.",
    "hardened": "- `hardened/`: Verilog of the hardened designs that were priced, with a README.",
    "route": "- `route/`: a bitstream of the placed and routed network and what nextpnr reports. Its README says how bits go in and out.",
    "csynth.json": "- `csynth.json`: what Vitis HLS reported.",
    "vsynth.json": "- `vsynth.json`: what Vivado reported for the project of Vitis HLS.",
    "vivado_reports": "- `vivado_reports/`: its reports as they are.",
    "estimate.json": "- `estimate.json`: the fast estimate with its interval; nothing was synthesized for it.",
    "vectors": "- `vectors/`: golden vectors, and what lies where in them.",
    "emulator": (
        "- `emulator/`: the same bits as a C++ function `{space}::emulate` in a namespace of its own; `make -C emulator test` compares it\n"
        "  with the vectors."
    ),
}


def _not_done(result: PointResult, there: set[str]) -> str:
    done = {stage for stage, entry in result.stages.items() if entry["status"] == "ok"}
    missing = [tool for stage, tool in VENDOR.items() if stage not in done]
    lines = []
    if missing:
        lines.append(f"- Not run for this point: {', '.join(missing)}. The scripts for them are here as a plan.")
    kinds = {m.kind for k, m in result.metrics.items() if catalog.group_of(k, result.metrics) == "hardware"}
    if "routed" not in kinds and {"verilog", "hls"} & there:
        lines.append("- Nothing was placed and routed: nanoseconds are cycles times the target clock, and delays are estimates.")
    return "\n".join(lines) or "Nothing is missing."
