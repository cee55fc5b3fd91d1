"""Stage ``rtl``: the lowered graph -> pipelined Verilog, whose logic equals the twin on every gate vector."""

from typing import TYPE_CHECKING

from flow.core.errors import ConfigError, InvalidInput, MismatchError
from flow.core.stage import Job, Stage
from flow.stages._measuring import twin_layers

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.rtl.ports import Manifest


def check(point: "DesignPoint") -> None:
    """Refuse a part that is not known, a network that takes a stream, and multipliers that are to be used again.

    Raises:
        ConfigError: with the parts that are known; or hardware.reuse_factor or hardware.strategy asks for what only hls4ml's C++ has.
        InvalidInput: hardware.io is "stream".
    """
    from flow.synth._parts import find_part

    find_part(point.hardware.part)
    for key, value, only in (("reuse_factor", point.hardware.reuse_factor, 1), ("strategy", point.hardware.strategy, "latency")):
        if value != only:
            raise ConfigError(
                f"hardware.{key} = {value}: this RTL computes everything in parallel, whatever is set here. Leave it out ({only}), or "
                "build the hls4ml project with the tools of a vendor: hardware.backend = 'vitis'."
            )
    if point.hardware.io == "stream":
        raise InvalidInput(
            "hardware.io = 'stream': there is RTL only for networks that take all words of a sample at once. Set hardware.io = 'parallel'; "
            "or stop at stage csim (`hlscape run --until csim`) and build the hls4ml project of stage convert with Vitis."
        )


def run(job: Job) -> None:
    """Lower, compare, write.

    Raises:
        TooLarge: the network has too many products to be unrolled.
        MismatchError: with the first layer, sample and values that differ.
        DoesNotFit: no pipeline depth reaches the clock.
    """
    from flow import gate
    from flow.rtl import axis
    from flow.rtl.graph import Graph
    from flow.rtl.lower import first_divergence, lower
    from flow.rtl.verilog import write, write_testbench

    graph = Graph.load(job.input("lowered"))
    samples, expected = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(samples)
    job.progress(0.05, "alkaid makes adder trees")
    lowered = lower(graph)
    job.progress(0.7, f"{len(x)} samples")
    got = lowered.predict(x)
    count, where = gate.mismatches(expected, got)
    job.measure("gate_alkaid_mismatches", count, "samples", direction="lower", title="logic against the twin: samples that differ")
    job.measure("gate_alkaid_samples", len(x), "samples", title="logic against the twin: samples compared")
    if where is not None:
        layers = twin_layers(job.input("qonnx"), samples[where[0]])
        layer = first_divergence(graph, x[where[0]][None], layers) or graph.output.name
        codes = [int(v[where] * 2.0**graph.output.type.fraction) for v in (expected, got)]
        error = gate.report("alkaid", "twin", expected, got, layer, where, count)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}.")
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


STAGE = Stage(
    "rtl", run, reads=("lowered", "vectors", "qonnx", "csim_gate"), writes=("verilog",),
    measures=("gate_alkaid_*", "stage_delay_ns", "clock_slack_ns"),
    config=(
        "hardware.part", "hardware.clock_ns", "hardware.logic_per_stage", "hardware.axi_stream", "hardware.io", "gate.rtl_samples",
        "hardware.reuse_factor", "hardware.strategy",
    ), packages=("alkaid",), check=check, seconds=8,
)  # fmt: skip
