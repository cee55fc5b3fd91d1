"""Stage ``rtl``: the lowered graph -> pipelined Verilog, whose logic equals the twin on every gate vector."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError, MismatchError, ToolNotFound
from flow.core.stage import Job, Stage
from flow.rtl.simulate import VERILATOR, simulator
from flow.stages._measuring import twin_layers
from flow.stream.simulate import DRIVER

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.gate import Values
    from flow.rtl.graph import Graph
    from flow.rtl.ports import Manifest
    from flow.stream.build import Design
    from flow.stream.reuse import Choice
    from flow.stream.sizing import Sized

TOOLS = simulator()
BATCH = 64  # frames of which all layers are in memory at once
TRIES = 4  # choices of reuse factors, each of which is built and simulated


def check(point: "DesignPoint") -> None:
    """Refuse a part that is not known, and settings of hls4ml's C++ that this RTL does not have.

    Raises:
        ConfigError: with the parts that are known; or hardware.reuse_factor or hardware.strategy asks for what only hls4ml's C++ has; or
            hardware.logic_per_stage or hardware.axi_stream for what only an unrolled network has.
        ToolNotFound: a stream is to be simulated, and Verilator is missing.
    """
    from flow.synth._parts import find_part

    find_part(point.hardware.part)
    stream = point.hardware.io == "stream"
    if stream:
        _check_stream(point)
    own = (
        "this RTL chooses a reuse factor for each layer by hardware.frame_rate_hz; hardware.reuse sets them" if stream
        else "this RTL computes everything in parallel, whatever is set here"
    )  # fmt: skip
    for key, value, only in (("reuse_factor", point.hardware.reuse_factor, 1), ("strategy", point.hardware.strategy, "latency")):
        if value != only:
            raise ConfigError(
                f"hardware.{key} = {value}: {own}. Leave it out ({only}), or build the hls4ml project with the tools of a vendor: "
                "hardware.backend = 'vitis'."
            )


def _check_stream(point: "DesignPoint") -> None:
    if point.hardware.logic_per_stage is not None:
        raise ConfigError(
            f"hardware.logic_per_stage = {point.hardware.logic_per_stage:g}: with hardware.io = 'stream' the layers are cut into stages by "
            "hardware.clock_ns. Leave it out."
        )
    if point.hardware.axi_stream:
        raise ConfigError(
            "hardware.axi_stream = true: with hardware.io = 'stream' the network has AXI4-Stream ports already (its top is network_axis), "
            "and nothing is wrapped around it. Leave it out."
        )
    if TOOLS[0].name != VERILATOR.name:
        raise ToolNotFound(
            f"hardware.io = 'stream': streams, which take a million cycles, are simulated with Verilator only. {VERILATOR.hint}"
        )


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return, of a stream, the C++ that drives its simulation, and the data of the estimate by which reuse factors are chosen."""
    from flow.estimate.model import CALIBRATION

    return {"driver": DRIVER, "calibration": CALIBRATION} if point.hardware.io == "stream" else {}


def run(job: Job) -> None:
    """Lower, compare, write: the whole network at once, or one pixel after the other.

    Raises:
        TooLarge: the network has too many products to be unrolled.
        InvalidInput: a layer that cannot be streamed; names it.
        ConfigError: a frame rate that cannot be kept up with.
        MismatchError: with the first layer, sample and values that differ.
        DoesNotFit: no pipeline depth reaches the clock.
    """
    from flow import gate
    from flow.rtl.graph import Graph

    graph = Graph.load(job.input("lowered"))
    samples, expected = gate.read_vectors(job.input("vectors"))
    if job.point.hardware.io == "stream":
        _stream(job, graph, samples, expected)
    else:
        _parallel(job, graph, samples, expected)


def _parallel(job: Job, graph: "Graph", samples: "Values", expected: "Values") -> None:
    from flow import gate
    from flow.rtl import axis
    from flow.rtl.lower import layer_values, lower
    from flow.rtl.verilog import write, write_testbench

    x = gate.channels_last(samples)
    job.progress(0.05, "alkaid makes adder trees")
    lowered = lower(graph)
    job.progress(0.7, f"{len(x)} samples")
    _compare(job, graph, samples, expected, lowered.predict(x), lambda one: layer_values(graph, one))
    job.progress(0.8, "write Verilog")
    hardware, folder = job.point.hardware, job.output("verilog")
    manifest = write(
        lowered, graph, folder, part=hardware.part, clock_ns=hardware.clock_ns, logic_per_stage=hardware.logic_per_stage,
        axi_stream=hardware.axi_stream,
    )  # fmt: skip
    keep = slice(0, job.point.gate.rtl_samples)
    write_testbench(manifest, folder / "tb", x[keep], expected[keep], hardware.clock_ns)
    if hardware.axi_stream:
        axis.write(manifest, folder, min(len(x), job.point.gate.rtl_samples), hardware.clock_ns)
    _measure(job, manifest)


def _stream(job: Job, graph: "Graph", samples: "Values", expected: "Values") -> None:
    from flow import gate
    from flow.stream.build import with_queues
    from flow.stream.plan import plan
    from flow.stream.reuse import frame_budget
    from flow.stream.write import GOLDEN, write, write_testbench

    hardware = job.point.hardware
    budget = frame_budget(plan(graph), hardware.clock_ns, hardware.frame_rate_hz)
    choice, design, sized = _fit(job, graph, samples, expected, budget)
    job.progress(0.9, "write Verilog")
    folder = job.output("verilog")
    manifest = write(
        with_queues(design, sized.depths), folder, part=hardware.part, clock_ns=hardware.clock_ns, latency=sized.latency,
        interval=sized.interval,
    )  # fmt: skip
    document = {**choice.to_json(), "frame_cycles": budget, "simulated_interval_cycles": sized.interval}
    (folder / "reuse.json").write_text(json.dumps(document, indent=1) + "\n")
    x = gate.channels_last(samples[:GOLDEN])
    write_testbench(manifest, folder / "tb", x, expected[:GOLDEN], hardware.clock_ns)
    _measure(job, manifest)
    _measure_reuse(job, design)


def _fit(job: Job, graph: "Graph", samples: "Values", expected: "Values", budget: int) -> "tuple[Choice, Design, Sized]":
    """Choose reuse factors, build, compare, and find the depths of queues; where frames then take too long, choose for fewer cycles.

    The chooser takes each layer for itself. What layers cost each other, if anything, only the simulation of all of them shows.

    Args:
        job: runs the simulator.
        graph: the network.
        samples: (N, C, ...) inputs.
        expected: (N, outputs) of the twin.
        budget: cycles of a frame.

    Raises:
        ConfigError: a frame rate that cannot be kept up with; or a factor that is not possible.
        MismatchError: as `_compare`.
    """
    from flow.stream.build import build
    from flow.stream.plan import plan
    from flow.stream.reuse import choose, least_budget
    from flow.stream.sizing import size
    from flow.synth._parts import find_part
    from flow.synth.open import FAMILIES

    hardware, elements = job.point.hardware, plan(graph)
    family = FAMILIES[find_part(hardware.part).family]
    least, aim, tried = least_budget(elements, hardware.reuse), budget, []
    for _ in range(TRIES):
        job.progress(0.05, "alkaid makes adder trees")
        choice = choose(elements, aim, hardware.reuse_for, hardware.reuse, dsp=hardware.dsp, dsp_bits=family.DSP_BITS)
        design = build(graph, hardware.part, hardware.clock_ns, choice.reuse)
        job.progress(0.4, f"{len(samples)} frames")
        _compare_stream(job, graph, design, samples, expected)
        job.progress(0.6, "simulate the handshakes, for the depths of queues")
        sized = size(job, design)
        tried.append((choice, design, sized))
        if sized.interval <= budget or choice.interval <= least:
            break
        aim = max(least, choice.interval - (sized.interval - budget))
    fastest = min(tried, key=lambda one: one[2].interval)
    interval = fastest[2].interval
    if hardware.frame_rate_hz is not None and interval > budget:
        rate = 1e9 / (interval * hardware.clock_ns)
        raise ConfigError(
            f"hardware.frame_rate_hz = {hardware.frame_rate_hz:g}: a frame may take {budget} cycles, and takes {interval} in "
            f"simulation, which is {math.floor(rate)} frames per second. Ask for at most that, or set hardware.reuse."
        )
    return fastest


def _compare_stream(job: Job, graph: "Graph", design: "Design", samples: "Values", expected: "Values") -> None:
    """Compare all frames; see `_compare`."""
    import numpy as np

    from flow import gate
    from flow.stream.model import evaluate

    x, last = gate.channels_last(samples), design.elements[-1].name
    parts = [evaluate(design.elements, design.kernels, x[i : i + BATCH])[last] for i in range(0, len(x), BATCH)]
    got = np.concatenate(parts).reshape(len(x), -1)
    _compare(job, graph, samples, expected, got, lambda one: evaluate(design.elements, design.kernels, one))


def _compare(
    job: Job, graph: "Graph", samples: "Values", expected: "Values", got: "Values", layers: "Callable[[Values], Mapping[str, Values]]"
) -> None:  # fmt: skip
    """Record how many samples differ from the twin.

    Args:
        job: gets the metrics.
        graph: the network.
        samples: (N, C, ...) inputs.
        expected: (N, outputs) of the twin.
        got: (N, outputs) of the logic.
        layers: returns what the layers of the logic give for one sample (1, ..., C).

    Raises:
        MismatchError: any differs; with the first layer that does.
    """
    from flow import gate

    count, where = gate.mismatches(expected, got)
    job.measure("gate_alkaid_mismatches", count, "samples", direction="lower", title="logic against the twin: samples that differ")
    job.measure("gate_alkaid_samples", len(samples), "samples", title="logic against the twin: samples compared")
    if where is not None:
        one = samples[where[0]]
        layer = gate.first_layer(twin_layers(job.input("qonnx"), one), layers(gate.channels_last(one[None]))) or graph.output.name
        codes = [int(v[where] * 2.0**graph.output.type.fraction) for v in (expected, got)]
        error = gate.report("alkaid", "twin", expected, got, layer, where, count)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}.")


def _measure(job: Job, manifest: "Manifest") -> None:
    """Record what the pipeline is estimated to reach; a part without a delay model has no such figure."""
    if not manifest.stage_delays_ns:
        return
    worst, hardware = max(manifest.stage_delays_ns), job.point.hardware
    job.measure(
        "stage_delay_ns", worst, "ns", kind="estimate", direction="lower", source=manifest.delay_model, part=hardware.part,
        title="Slowest pipeline stage, clock to clock",
    )  # fmt: skip
    job.measure(
        "clock_slack_ns", hardware.clock_ns - worst, "ns", kind="estimate", direction="higher", source=manifest.delay_model,
        part=hardware.part, title="Slack at the target clock",
    )  # fmt: skip


def _measure_reuse(job: Job, design: "Design") -> None:
    """Record how often multipliers are used, and how many there are: axes of a study of frame rates.

    Of all layers the one with the most products of a frame has most to save. The highest factor says little: it is that of a small dense
    layer, which has a whole frame for its one window whatever the rate.
    """
    reusable = [e for e in design.elements if e.reusable]
    if reusable:
        busiest = max(reusable, key=lambda e: e.output.rows * e.output.columns * e.settings["size"] * e.output.words)
        job.measure(
            "reuse_factor", design.reuse.get(busiest.name, 1), "cycles", source=f"layer {busiest.layer}",
            title="Reuse factor of the layer with the most products",
        )  # fmt: skip
    used = sum(kernel.multipliers for kernel in design.kernels.values())
    job.measure(
        "multipliers", used, "multipliers", direction="lower", source="counted in the Verilog", title="Multipliers that are used again"
    )  # fmt: skip


STAGE = Stage(
    "rtl", run, reads=("lowered", "vectors", "qonnx", "csim_gate"), writes=("verilog",),
    measures=("gate_alkaid_*", "stage_delay_ns", "clock_slack_ns", "reuse_factor", "multipliers"),
    config=(
        "hardware.part", "hardware.clock_ns", "hardware.logic_per_stage", "hardware.axi_stream", "hardware.io", "gate.rtl_samples",
        "hardware.reuse_factor", "hardware.strategy", "hardware.frame_rate_hz", "hardware.reuse", "hardware.reuse_for", "hardware.dsp",
    ), tools=TOOLS, packages=("numpy", "scipy", "alkaid"), sources=sources, check=check, seconds=8,
)  # fmt: skip
