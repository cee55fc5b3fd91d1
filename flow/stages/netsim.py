"""Stage ``netsim``: the mapped netlist, one sample a clock cycle, equals the lowered logic; else no resource of it is published."""

import json

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.rtl.simulate import simulator

TOOLS = simulator()  # only when a netlist is wrong, to find out where
LEAST = 64  # vectors


def run(job: Job) -> None:
    """Simulate an evenly spaced subset of the gate vectors and compare.

    Raises:
        MismatchError: with the module, and the first sample, output and values that differ.
    """
    import numpy as np

    from flow import gate
    from flow.rtl.ports import Manifest
    from flow.synth._netgate import BURST, load, suspects

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    vectors, expected = gate.read_vectors(job.input("vectors"))
    count = min(max(LEAST, job.point.gate.rtl_samples), len(vectors))
    keep = np.unique(np.linspace(0, len(vectors) - 1, count).round().astype(np.int64))
    x, expected = gate.channels_last(vectors[keep]), expected[keep]
    job.progress(0.05, "read the netlist")
    netlist = load(job.input("netlist"), manifest)
    job.progress(0.7, f"{len(x)} samples")
    got, trace = netlist.simulate(x, job.rng(0, "registers"))
    wrong, where = gate.mismatches(expected, got)
    title = "mapped netlist against the logic: samples"
    job.measure("gate_netlist_mismatches", wrong, "samples", direction="lower", title=f"{title} that differ")
    job.measure("gate_netlist_samples", len(x), "samples", title=f"{title} compared")
    if where is not None:
        codes = [int(manifest.output.codes(v)[where]) for v in (expected, got)]
        job.progress(0.75, f"{TOOLS[0].name} looks for the module that is wrong")
        found = suspects(job, netlist, trace, -(-len(x) // BURST), job.input("verilog"), TOOLS)
        module = f"Not what its Verilog is: module {', '.join(found)}" if found else f"Wrong around the stages: module {manifest.top}"
        error = gate.report("netlist", "rtl", expected, got, manifest.output_layer, where, wrong)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}. {module}.")
    job.output("netsim_gate").write_text(json.dumps({"level": "netlist", "samples": len(x), "mismatches": 0}) + "\n")


STAGE = Stage(
    "netsim", run, reads=("verilog", "netlist", "vectors"), writes=("netsim_gate",), measures=("gate_netlist_*",),
    config=("gate.rtl_samples",), tools=TOOLS, packages=("numpy",), seconds=4,
)  # fmt: skip
