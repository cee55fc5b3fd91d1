"""Stage ``csim``: the hls4ml C++ on every gate vector, bit for bit equal to the twin."""

import json

from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.hls.csim import build, csim_tool
from flow.stages._measuring import twin_layers


def run(job: Job) -> None:
    """Compile, simulate, compare.

    Raises:
        MismatchError: with the first layer, sample and values that differ.
    """
    from flow import gate

    job.progress(0.05, "g++ compiles the firmware")
    csim = build(job, job.input("project"))
    x, expected = gate.read_vectors(job.input("vectors"))
    job.progress(0.9, f"{len(x)} samples")
    got = csim.run(x)
    count, where = gate.mismatches(expected, got)
    job.measure("gate_csim_mismatches", count, "samples", direction="lower", title="C-simulation against the twin: samples that differ")
    job.measure("gate_csim_samples", len(x), "samples", title="C-simulation against the twin: samples compared")
    if where is not None:
        traced = csim.trace(x[where[0] : where[0] + 1])
        layer = gate.first_layer(twin_layers(job.input("qonnx"), x[where[0]]), traced) or "output"
        raise gate.report("csim", "twin", expected, got, layer, where, count)
    job.output("csim_gate").write_text(json.dumps({"level": "csim", "samples": len(x), "mismatches": 0}) + "\n")


STAGE = Stage(
    "csim", run, reads=("project", "vectors", "qonnx"), writes=("csim_gate",), measures=("gate_csim_*",), tools=(GXX, csim_tool()),
    packages=("numpy",), seconds=20,
)  # fmt: skip
