"""Stage ``netsim``: the mapped netlist equals the lowered logic; else no resource of it is published.

A network that takes all words at once gets one sample a clock cycle. A stream gets frames as a host sends them, see `flow.stream.netlist`.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.rtl.simulate import simulator

if TYPE_CHECKING:
    from flow.gate import Values
    from flow.rtl.ports import Manifest

TOOLS = simulator()  # only when a netlist is wrong, to find out where
AT_ONCE = 4096  # samples, for the memory
FEW = 64  # samples with which the wrong module is looked for
FRAMES = 128  # of a stream, which takes a thousand cycles and more for each; 64 streams of 2 are as fast as one
PAUSE = 0.2  # probability that a side of every other stream pauses in a cycle


def run(job: Job) -> None:
    """Simulate the gate vectors, of a stream an evenly spaced subset, and compare.

    Raises:
        MismatchError: with the first sample, output and values that differ, and the module if it can be told; or a stream that loses a
            result, gives one too many, or marks one as damaged.
    """
    from flow import gate
    from flow.rtl.ports import Manifest

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    vectors, expected = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(vectors)
    job.progress(0.05, "read the netlist")
    count = (_stream if manifest.io == "stream" else _parallel)(job, manifest, x, expected)
    job.output("netsim_gate").write_text(json.dumps({"level": "netlist", "samples": count, "mismatches": 0}) + "\n")


def _parallel(job: Job, manifest: "Manifest", x: "Values", expected: "Values") -> int:
    """One sample a cycle; return how many were compared."""
    import numpy as np

    from flow.synth._netgate import load, suspects

    netlist = load(job.input("netlist"), manifest)
    got = np.empty_like(expected)
    for first in range(0, len(x), AT_ONCE):
        job.progress(0.5 + 0.3 * first / len(x), f"{len(x)} samples")
        part = slice(first, first + AT_ONCE)
        got[part], _ = netlist.simulate(x[part], job.rng(0, "registers"))

    def blame(sample: int) -> str:
        job.progress(0.8, f"{TOOLS[0].name} looks for the module that is wrong")
        found = suspects(job, netlist, x[sample // FEW * FEW :][:FEW], job.input("verilog"), TOOLS)
        return f"Not what its Verilog is: module {', '.join(found)}." if found else f"Wrong around the stages: module {manifest.top}."

    _compare(job, manifest, expected, got, blame)
    return len(x)


def _stream(job: Job, manifest: "Manifest", x: "Values", expected: "Values") -> int:
    """Frames in many streams, every other one with pauses; return how many were compared."""
    import numpy as np

    from flow.stream.netlist import load, simulate

    keep = np.unique(np.linspace(0, len(x) - 1, min(FRAMES, len(x))).round().astype(np.int64))
    circuit = load(job.input("netlist"), manifest)
    job.progress(0.2, f"{len(keep)} frames")
    frames = 2
    pauses = PAUSE * (np.arange(-(-len(keep) // frames)) % 2)
    result = simulate(circuit, manifest, x[keep], job.rng(0, "registers"), frames=frames, gap=pauses, stall=pauses)
    _compare(job, manifest, expected[keep], result.values, lambda sample: f"NaN is a result that did not come. {result.cycles} cycles.")
    if result.extra or result.damaged.any():
        raise MismatchError(
            f"gate: level 'netlist' gives {result.extra} results that belong to no frame, and marks {result.damaged.sum()} of {len(keep)} "
            "whole frames as damaged."
        )
    return len(keep)


def _compare(job: Job, manifest: "Manifest", expected: "Values", got: "Values", blame: Callable[[int], str]) -> None:
    """Record how many samples differ from the logic.

    Raises:
        MismatchError: any does; with the first, and what `blame` says about it.
    """
    from flow import gate

    wrong, where = gate.mismatches(expected, got)
    title = "mapped netlist against the logic: samples"
    job.measure("gate_netlist_mismatches", wrong, "samples", direction="lower", title=f"{title} that differ")
    job.measure("gate_netlist_samples", len(expected), "samples", title=f"{title} compared")
    if where is not None:
        fraction = manifest.output.words[where[1] % len(manifest.output.words)].fraction
        codes = [f"{v[where] * 2.0**fraction:.0f}" for v in (expected, got)]
        error = gate.report("netlist", "alkaid", expected, got, manifest.output_layer, where, wrong)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}. {blame(int(where[0]))}")


STAGE = Stage(
    "netsim", run, reads=("verilog", "netlist", "vectors"), writes=("netsim_gate",), measures=("gate_netlist_*",),
    tools=TOOLS, packages=("numpy",), seconds=5,
)  # fmt: skip
