"""Stage ``netsim``: the mapped netlist, one sample a clock cycle, equals the lowered logic; else no resource of it is published."""

import json

from flow.core.errors import MismatchError
from flow.core.stage import Job, Stage
from flow.rtl.simulate import simulator

TOOLS = simulator()  # only when a netlist is wrong, to find out where
AT_ONCE = 4096  # samples, for the memory
FEW = 64  # samples with which the wrong module is looked for


def run(job: Job) -> None:
    """Simulate all gate vectors and compare.

    Raises:
        MismatchError: with the module, and the first sample, output and values that differ.
    """
    import numpy as np

    from flow import gate
    from flow.rtl.ports import Manifest
    from flow.synth._netgate import load, suspects

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    vectors, expected = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(vectors)
    job.progress(0.05, "read the netlist")
    netlist = load(job.input("netlist"), manifest)
    got = np.empty_like(expected)
    for first in range(0, len(x), AT_ONCE):
        job.progress(0.5 + 0.3 * first / len(x), f"{len(x)} samples")
        part = slice(first, first + AT_ONCE)
        got[part], _ = netlist.simulate(x[part], job.rng(0, "registers"))
    wrong, where = gate.mismatches(expected, got)
    title = "mapped netlist against the logic: samples"
    job.measure("gate_netlist_mismatches", wrong, "samples", direction="lower", title=f"{title} that differ")
    job.measure("gate_netlist_samples", len(x), "samples", title=f"{title} compared")
    if where is not None:
        codes = [int(manifest.output.codes(v)[where]) for v in (expected, got)]
        job.progress(0.8, f"{TOOLS[0].name} looks for the module that is wrong")
        found = suspects(job, netlist, x[where[0] // FEW * FEW :][:FEW], job.input("verilog"), TOOLS)
        module = f"Not what its Verilog is: module {', '.join(found)}" if found else f"Wrong around the stages: module {manifest.top}"
        error = gate.report("netlist", "alkaid", expected, got, manifest.output_layer, where, wrong)
        raise MismatchError(f"{error} Codes: expected {codes[0]}, got {codes[1]}. {module}.")
    job.output("netsim_gate").write_text(json.dumps({"level": "netlist", "samples": len(x), "mismatches": 0}) + "\n")


STAGE = Stage(
    "netsim", run, reads=("verilog", "netlist", "vectors"), writes=("netsim_gate",), measures=("gate_netlist_*",),
    tools=TOOLS, packages=("numpy",), seconds=5,
)  # fmt: skip
