"""Stage ``csim``: the hls4ml C++ on every gate vector, bit for bit equal to the twin."""

import json
from typing import TYPE_CHECKING

from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.hls.csim import build, csim_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flow.hls.csim import Values


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
        raise gate.report(
            "csim", "twin", expected, got, _first_layer(job, csim.trace(x[where[0] : where[0] + 1]), x[where[0]]), where, count
        )
    job.output("csim_gate").write_text(json.dumps({"level": "csim", "samples": len(x), "mismatches": 0}) + "\n")


def _first_layer(job: Job, traced: "Mapping[str, Values]", sample: "Values") -> str:
    import numpy as np
    import torch

    from flow import gate
    from flow.twin import load_twin

    twin = load_twin(job.input("qonnx"))
    with torch.no_grad():
        layers = twin.layers(twin.params, torch.from_numpy(np.asarray(sample, np.float32))[None])
    reference = {k: np.ravel(gate.channels_last(v.numpy().astype(np.float64))) for k, v in layers.items()}
    return gate.first_layer(reference, traced) or "output"


STAGE = Stage(
    "csim", run, reads=("project", "vectors", "qonnx"), writes=("csim_gate",), measures=("gate_csim_*",), tools=(GXX, csim_tool()),
    packages=("numpy",), seconds=20,
)  # fmt: skip
