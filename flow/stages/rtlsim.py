"""Stage ``rtlsim``: the Verilog equals the lowered logic, sample by sample; latency and interval are counted.

A network that takes all words at once gets one sample a clock cycle. A stream gets its frames twice: one behind the other without a pause,
and with random pauses of both sides.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.rtl.simulate import DRIVER, simulator, version
from flow.stream.simulate import DRIVER as STREAM_DRIVER

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.gate import Values
    from flow.rtl.ports import Manifest

TOOLS = simulator()


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the C++ that drives the simulation."""
    return {"driver": STREAM_DRIVER if point.hardware.io == "stream" else DRIVER}


def run(job: Job) -> None:
    """Simulate an evenly spaced subset of the gate vectors and compare.

    Raises:
        MismatchError: with the first sample and values that differ; or a stream that loses a result, or marks one as damaged.
    """
    import numpy as np

    from flow import gate
    from flow.rtl.ports import Manifest

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    x, expected = gate.read_vectors(job.input("vectors"))
    keep = np.unique(np.linspace(0, len(x) - 1, min(job.point.gate.rtl_samples, len(x))).round().astype(np.int64))
    x, expected = gate.channels_last(x[keep]), expected[keep]
    job.progress(0.05, f"{TOOLS[0].name} builds the simulation")
    latency = (_stream if manifest.io == "stream" else _parallel)(job, manifest, x, expected)
    document = {"level": "rtl", "samples": len(x), "mismatches": 0, "latency_cycles": latency, "simulator": version(TOOLS)}
    job.output("rtlsim_gate").write_text(json.dumps(document) + "\n")


def _parallel(job: Job, manifest: "Manifest", x: "Values", expected: "Values") -> int:
    """One sample a cycle; return the latency."""
    from flow.rtl.simulate import simulate

    result = simulate(job, job.input("verilog"), x, expected, TOOLS)
    _compare(job, manifest, expected, result.outputs, f"; {result.unknown} samples have unknown bits")
    if result.unknown:
        raise MismatchError(f"gate: level 'rtl' has unknown (X) bits in {result.unknown} of {len(x)} samples.")
    # The driver gives a new sample in every cycle, and every output was just found equal, one behind the other.
    _measure(job, result.latency, 1, "Latency, input to output register", "Initiation interval")
    if job.point.hardware.axi_stream:
        from flow.rtl import axis

        job.progress(0.6, "AXI-Stream wrapper, with pauses of both sides")
        axis.simulate(job, job.input("verilog"), TOOLS)
        source, title = version(TOOLS), "AXI-Stream wrapper against the logic, with pauses: results"
        job.measure("gate_axis_mismatches", 0, "results", direction="lower", source=source, title=f"{title} that differ")
        job.measure("gate_axis_samples", axis.PASSES * len(x), "results", source=source, title=f"{title} compared")
    return result.latency


def _stream(job: Job, manifest: "Manifest", x: "Values", expected: "Values") -> int:
    """Frames without pauses, then with some; return the latency."""
    from flow.stream.simulate import PAUSES, build, simulate

    folder = job.input("verilog")
    work = build(job, [folder / name for name in manifest.sources], manifest, job.work / "simulation")
    job.progress(0.4, f"{len(x)} frames, one behind the other")
    dense = simulate(job, work, manifest, x)
    _compare(job, manifest, expected, dense.outputs, ", frames one behind the other")
    job.progress(0.6, f"{len(x)} frames, with pauses of both sides")
    paused = simulate(job, work, manifest, x, gap=PAUSES[0], stall=PAUSES[1])
    _compare(job, manifest, expected, paused.outputs, ", with pauses of both sides")
    damaged = dense.damaged | paused.damaged
    if damaged.any():
        raise MismatchError(
            f"gate: level 'rtl' marks {damaged.sum()} of {len(x)} whole frames as damaged, the first is {damaged.argmax()}."
        )
    if dense.interval > manifest.interval:
        raise MismatchError(
            f"gate: level 'rtl' takes {dense.interval} cycles from frame to frame, and stage rtl counted {manifest.interval} in the "
            "simulation of the handshakes alone."
        )
    _measure(
        job, dense.latency, dense.interval, "Latency, first pixel of a frame to the last of its result",
        "Initiation interval, frame to frame",
    )  # fmt: skip
    job.measure(
        "frames_per_s", 1e9 / (dense.interval * job.point.hardware.clock_ns), "1/s", kind="estimate", direction="higher",
        source=version(TOOLS), title="Frames per second at the target clock (timing not verified)",
    )  # fmt: skip
    return dense.latency


def _compare(job: Job, manifest: "Manifest", expected: "Values", got: "Values", note: str) -> None:
    """Record how many samples differ from the logic.

    Raises:
        MismatchError: any does; with the first.
    """
    from flow import gate

    count, where = gate.mismatches(expected, got)
    source, title = version(TOOLS), "RTL against the logic: samples"
    job.measure("gate_rtl_mismatches", count, "samples", direction="lower", source=source, title=f"{title} that differ")
    job.measure("gate_rtl_samples", len(expected), "samples", source=source, title=f"{title} compared")
    if where is not None:
        fraction = manifest.output.words[where[1] % len(manifest.output.words)].fraction
        codes = [int(v[where] * 2.0**fraction) for v in (expected, got)]
        error = gate.report("rtl", "alkaid", expected, got, manifest.output_layer, where, count)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}{note}.")


def _measure(job: Job, latency: int, interval: int, latency_title: str, interval_title: str) -> None:
    source = version(TOOLS)
    job.measure("latency_cycles", latency, "cycles", direction="lower", source=source, title=latency_title)
    job.measure("ii_cycles", interval, "cycles", direction="lower", source=source, title=interval_title)
    job.measure(
        "latency_ns", latency * job.point.hardware.clock_ns, "ns", kind="estimate", direction="lower", source=source,
        title="Latency at the target clock (timing not verified)",
    )  # fmt: skip


STAGE = Stage(
    "rtlsim", run, reads=("verilog", "vectors"), writes=("rtlsim_gate",),
    measures=("gate_rtl_*", "gate_axis_*", "latency_*", "ii_cycles", "frames_per_s"),
    config=("hardware.clock_ns", "hardware.axi_stream", "gate.rtl_samples"), tools=TOOLS, packages=("numpy",), sources=sources, seconds=25,
)  # fmt: skip
