"""Bit-exact inference of the ECON-T encoder: the twin, and the compiled engine, against hls4ml's C-simulation and Brevitas."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from benchmarks.compare import OURS, Contest, Entry, Side, run_contest, version
from benchmarks.econ_t import COMPILED, Network, load
from benchmarks.memory import program_peak_mib
from flow.core.stage import Job
from flow.core.tool import GXX
from flow.gate import Values
from flow.hls.csim import Csim, build
from flow.stages.csim import STAGE
from flow.twin.quantizer import quantize

TITLE = "bit-exact inference against hls4ml's C-simulation"
SAMPLES, QUICK_SAMPLES, QONNX_SAMPLES, REPEATS = 2048, 64, 16, 20
TIMES = f"{REPEATS} times"
NAIVE, OPTIMISED, BREVITAS, QONNX = "csim", "csim_o3", "brevitas", "qonnx"


def _job(net: Network, folder: Path) -> Job:
    """Return the job of stage csim in a folder of ours."""
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Job(STAGE, net.point, {}, folder / "out", folder / "scratch", folder / "log.txt", folder / "replay.sh")


def _optimised(csim: Csim, project: Path) -> Csim:
    """Compile the simulation anew with the flags that hls4ml's own `compile` gives."""
    firmware, program = project / "firmware", csim.program.with_name("csim_o3")
    csim.job.run_tool(
        GXX,
        ["-std=c++17", "-O3", "-fPIC", "-w", f"-I{project}", f"-I{firmware / 'ap_types'}", f'-DWEIGHTS_DIR="{firmware / "weights"}"',
         str(csim.program.with_suffix(".cpp")), "-o", str(program)],
        cwd=program.parent,
    )  # fmt: skip
    return Csim(csim.job, program, csim.outputs, csim.layers)


def simulations(net: Network, folder: Path) -> dict[str, Csim]:
    """Compile the C-simulation, as the stage does and as hls4ml does; not part of any time."""
    project = net.paths["project"]
    csim = build(_job(net, folder), project)
    return {NAIVE: csim, OPTIMISED: _optimised(csim, project)}


def sides(net: Network, compiled: Mapping[str, Csim]) -> dict[str, Side]:
    """Return ours and the peers; all of them read float32 or float64 samples on the grid of the input words."""
    x = quantize(net.x, net.twin.input_format)
    words, codes, few = x.double().numpy(), net.twin.codes(net.twin.params), x[:QONNX_SAMPLES]
    graph = ModelWrapper(str(net.paths["qonnx"]))
    name_in, name_out = graph.graph.input[0].name, graph.graph.output[0].name

    def many(forward: Callable[[], torch.Tensor]) -> Callable[[], Values]:
        def run() -> Values:
            with torch.no_grad():
                outputs = [forward() for _ in range(REPEATS)]
            return outputs[0].double().numpy().reshape(len(x), -1)

        return run

    def one_by_one() -> Values:
        outputs = [execute_onnx(graph, {name_in: sample[None].numpy()})[name_out] for sample in few]
        return np.concatenate(outputs).astype(np.float64).reshape(len(few), -1)

    def simulation(name: str, words_of: str) -> Side:
        csim = compiled[name]
        files = [str(csim.program.with_suffix(ending)) for ending in ("", ".in", ".out")]
        return Side(lambda: csim.run(words), f"{version('hls4ml')} C++, {words_of}, program start and file of samples included",
                    peak=lambda: program_peak_mib(files))  # fmt: skip

    return {
        OURS: Side(many(lambda: net.twin.forward_codes(codes, x)), "torch twin, input quantizer included", REPEATS, TIMES),
        NAIVE: simulation(NAIVE, "-O1 as stage csim compiles it"),
        OPTIMISED: simulation(OPTIMISED, "-O3 as hls4ml compiles it"),
        BREVITAS: Side(many(lambda: net.chain.on_chip(x)), f"{version('brevitas')}, without autograd", REPEATS, TIMES),
        QONNX: Side(
            one_by_one, f"{version('qonnx')} execute_onnx, one sample at a time", len(few) / len(x), f"{len(few)} of {len(x)} samples"
        ),
    }


def compiled_sides(net: Network, compiled: Mapping[str, Csim]) -> dict[str, Side]:
    """Return the compiled engine and the same peers, without the slowest."""
    x, point = quantize(net.x, net.twin.input_format), net.problem.quantized(net.problem.point[None])
    engine: Any = net.problem.engine

    def ours() -> Values:
        outputs = [engine.outputs(point, x) for _ in range(REPEATS)]
        return np.asarray(outputs[0], np.float64).reshape(len(x), -1)

    return {OURS: Side(ours, net.engine, REPEATS, TIMES), **{k: v for k, v in sides(net, compiled).items() if k not in (OURS, QONNX)}}


def agreement(results: Mapping[str, Any]) -> str:
    """Count the samples in which a peer differs in any bit."""
    wrong = {name: int((results[OURS][: len(found)] != found).any(axis=1).sum()) for name, found in results.items() if name != OURS}
    return "samples that differ from ours: " + ", ".join(f"{name} {count} of {len(results[name])}" for name, count in wrong.items())


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time a forward pass of all samples; yields lines to print and entries."""
    torch.set_num_threads(1)
    net = load(QUICK_SAMPLES if quick else SAMPLES, quick)
    folder = Path(tempfile.mkdtemp(prefix="hlscape-bench-"))
    try:
        compiled = simulations(net, folder)
        yield from run_contest(Contest(
            "inference", f"on-chip outputs of {len(net.x)} ECON-T samples, bit for bit", NAIVE, sides(net, compiled),
            sides(net.take(QUICK_SAMPLES), compiled), 1 if quick else 5, {NAIVE: 35.0, OPTIMISED: 35.0}, agreement,
        ))  # fmt: skip
        if net.engine == COMPILED:
            yield from run_contest(Contest(
                "inference_compiled", f"on-chip outputs of {len(net.x)} ECON-T samples, bit for bit", NAIVE, compiled_sides(net, compiled),
                compiled_sides(net.take(QUICK_SAMPLES), compiled), 1 if quick else 5, {}, agreement,
            ))  # fmt: skip
    finally:
        shutil.rmtree(folder)
