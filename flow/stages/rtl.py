"""Stage ``rtl``: the lowered graph -> pipelined Verilog, whose logic equals the twin on every gate vector."""

from typing import TYPE_CHECKING

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.stages._measuring import twin_layers

if TYPE_CHECKING:
    from flow.config import DesignPoint


def check(point: "DesignPoint") -> None:
    """Refuse a part that is not known.

    Raises:
        ConfigError: with the parts that are known.
    """
    from flow.synth._parts import find_part

    find_part(point.hardware.part)


def run(job: Job) -> None:
    """Lower, compare, write.

    Raises:
        MismatchError: with the first layer, sample and values that differ.
    """
    from flow import gate
    from flow.rtl.graph import Graph
    from flow.rtl.lower import first_divergence, lower
    from flow.rtl.verilog import write, write_testbench

    graph = Graph.load(job.input("lowered"))
    x, expected = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(x)
    job.progress(0.05, "alkaid makes adder trees")
    lowered = lower(graph)
    job.progress(0.7, f"{len(x)} samples")
    got = lowered.predict(x)
    count, where = gate.mismatches(expected, got)
    job.measure("gate_alkaid_mismatches", count, "samples", direction="lower", title="logic against the twin: samples that differ")
    job.measure("gate_alkaid_samples", len(x), "samples", title="logic against the twin: samples compared")
    if where is not None:
        sample = x[where[0]]
        layers = twin_layers(job.input("qonnx"), sample.transpose(2, 0, 1) if sample.ndim == 3 else sample)
        layer = first_divergence(graph, sample[None], layers) or graph.output.name
        codes = [int(v[where] * 2.0**graph.output.type.fraction) for v in (expected, got)]
        error = gate.report("alkaid", "twin", expected, got, layer, where, count)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}.")
    job.progress(0.8, "write Verilog")
    hardware, folder = job.point.hardware, job.output("verilog")
    manifest = write(
        lowered, graph, folder, part=hardware.part, clock_ns=hardware.clock_ns, logic_per_stage=hardware.logic_per_stage
    )  # fmt: skip
    keep = slice(0, job.point.gate.rtl_samples)
    write_testbench(manifest, folder / "tb", x[keep], expected[keep], hardware.clock_ns)


STAGE = Stage(
    "rtl", run, reads=("lowered", "vectors", "qonnx", "csim_gate"), writes=("verilog",), measures=("gate_alkaid_*",),
    config=("hardware.part", "hardware.clock_ns", "hardware.logic_per_stage", "gate.rtl_samples"), packages=("alkaid",),
    check=check, seconds=8,
)  # fmt: skip
