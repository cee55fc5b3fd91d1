"""Stage ``rtlsim``: the Verilog, one sample a clock cycle, equals the lowered logic; latency and interval are counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.rtl.simulate import DRIVER, simulator, version

if TYPE_CHECKING:
    from flow.config import DesignPoint

TOOLS = simulator()


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the C++ that drives the simulation."""
    return {"driver": DRIVER}


def run(job: Job) -> None:
    """Simulate an evenly spaced subset of the gate vectors and compare.

    Raises:
        MismatchError: with the first sample and values that differ.
    """
    import numpy as np

    from flow import gate
    from flow.rtl.ports import Manifest
    from flow.rtl.simulate import simulate

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    x, expected = gate.read_vectors(job.input("vectors"))
    keep = np.unique(np.linspace(0, len(x) - 1, min(job.point.gate.rtl_samples, len(x))).round().astype(np.int64))
    x, expected = gate.channels_last(x[keep]), expected[keep]
    job.progress(0.05, f"{TOOLS[0].name} builds the simulation")
    result = simulate(job, job.input("verilog"), x, expected, TOOLS)
    count, where = gate.mismatches(expected, result.outputs)
    source, clock = version(TOOLS), job.point.hardware.clock_ns
    title = "RTL against the logic: samples"
    job.measure("gate_rtl_mismatches", count, "samples", direction="lower", source=source, title=f"{title} that differ")
    job.measure("gate_rtl_samples", len(x), "samples", source=source, title=f"{title} compared")
    if where is not None:
        codes = [int(manifest.output.codes(v)[where]) for v in (expected, result.outputs)]
        error = gate.report("rtl", "alkaid", expected, result.outputs, manifest.output_layer, where, count)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}; {result.unknown} samples have unknown bits.")
    if result.unknown:
        raise MismatchError(f"gate: level 'rtl' has unknown (X) bits in {result.unknown} of {len(x)} samples.")
    job.measure("latency_cycles", result.latency, "cycles", direction="lower", source=source, title="Latency, input to output register")
    # The driver gives a new sample in every cycle, and every output was just found equal, one behind the other.
    job.measure("ii_cycles", 1, "cycles", direction="lower", source=source, title="Initiation interval")
    job.measure(
        "latency_ns", result.latency * clock, "ns", kind="estimate", direction="lower", source=source,
        title="Latency at the target clock (timing not verified)",
    )  # fmt: skip
    if job.point.hardware.axi_stream:
        from flow.rtl import axis

        job.progress(0.6, "AXI-Stream wrapper, with pauses of both sides")
        axis.simulate(job, job.input("verilog"), TOOLS)
        title = "AXI-Stream wrapper against the logic, with pauses: results"
        job.measure("gate_axis_mismatches", 0, "results", direction="lower", source=source, title=f"{title} that differ")
        job.measure("gate_axis_samples", axis.PASSES * len(x), "results", source=source, title=f"{title} compared")
    document = {"level": "rtl", "samples": len(x), "mismatches": 0, "latency_cycles": result.latency, "simulator": source}
    job.output("rtlsim_gate").write_text(json.dumps(document) + "\n")


STAGE = Stage(
    "rtlsim", run, reads=("verilog", "vectors"), writes=("rtlsim_gate",), measures=("gate_rtl_*", "gate_axis_*", "latency_*", "ii_cycles"),
    config=("hardware.clock_ns", "hardware.axi_stream", "gate.rtl_samples"), tools=TOOLS, packages=("numpy",), sources=sources, seconds=25,
)  # fmt: skip
