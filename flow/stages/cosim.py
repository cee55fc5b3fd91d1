"""Stage ``cosim``: the RTL of high-level synthesis, simulated by the vendor's tool, equals the twin; its latency is counted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import InvalidInput, MismatchError, MissingInput
from flow.core.stage import Job, Stage
from flow.vendor.tools import HLS
from flow.vendor.work import LIMITS, TARGET

if TYPE_CHECKING:
    from flow.gate import Values
    from flow.vendor.reports import CosimRun

RESULTS = "rtl_cosim_results.log"


def run(job: Job) -> None:
    """Simulate the samples of the project's testbench and compare every output.

    Raises:
        MismatchError: with the first sample and values that differ.
        FlowError: the tool fails, passes a limit, gets no licence or leaves no report.
    """
    import numpy as np

    from flow import gate
    from flow.vendor.plans import Target, cosim_plan
    from flow.vendor.size import read_project
    from flow.vendor.steps import COSIM_STEPS
    from flow.vendor.work import copy_project, execute

    hardware, source = job.point.hardware, job.input("project")
    project = read_project(source)
    program, version = HLS.choose()
    tool, work = f"{program.name} {version} cosim", job.work / "hls"
    copy_project(source, work, project.top)
    (work / "tb_data" / RESULTS).unlink(missing_ok=True)
    target = Target(project.top, hardware.part, hardware.clock_ns, hardware.clock_uncertainty)
    execute(job, cosim_plan(target, program.name, version), work, {program.name: program}, COSIM_STEPS)
    got = read_results(work, tool)
    expected = np.loadtxt(source / "tb_data" / "tb_output_predictions.dat", dtype=np.float64, ndmin=2)
    count, where = gate.mismatches(expected, got)
    job.measure(
        "gate_cosim_mismatches",
        count,
        "samples",
        direction="lower",
        source=tool,
        title="Vendor's RTL against the twin: samples that differ",
    )
    job.measure("gate_cosim_samples", len(got), "samples", source=tool, title="Vendor's RTL against the twin: samples compared")
    if where is not None:
        raise gate.report("cosim", "twin", expected, got, "output", where, count)
    _measure(job, read_run(work, project.top, tool), tool)
    document = {"level": "cosim", "samples": len(got), "mismatches": 0, "simulator": tool}
    job.output("cosim_gate").write_text(json.dumps(document) + "\n")


def read_results(folder: Path, tool: str) -> "Values":
    """Read the outputs (samples, words) that the testbench wrote.

    Raises:
        ToolFailed: there are none, or something else.
    """
    import numpy as np

    from flow.vendor.work import no_report

    # Where the testbench's folder is a copy, the run behind the RTL has its own; that of the run before has the outputs of the C++.
    places = (folder / "tb_data" / RESULTS, *sorted(path for path in folder.rglob(RESULTS) if "wrapc_pc" in path.parts))
    found = [path for path in places if path.is_file()]
    if not found:
        raise no_report(tool, f"outputs of the simulation ({RESULTS})")
    try:
        return np.loadtxt(found[0], dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise no_report(tool, "outputs of the simulation that can be read", InvalidInput(str(error))) from None


def read_run(folder: Path, top: str, tool: str) -> "CosimRun":
    """Read what the tool counted.

    Raises:
        ToolFailed: there is no report, or it does not say that the simulation passed.
    """
    from flow.vendor.reports import read_cosim
    from flow.vendor.work import no_report

    found = sorted(folder.glob(f"*/*/sim/report/{top}_cosim.rpt"))
    if not found:
        raise no_report(tool, f"report of the simulation ({top}_cosim.rpt)")
    try:
        simulated = read_cosim(found[0]).run
    except (InvalidInput, MissingInput) as error:
        raise no_report(tool, "report of the simulation that can be read", error) from None
    if simulated is None or simulated.status.lower() != "pass":
        raise MismatchError(
            f"{tool}: the report says '{simulated.status if simulated else 'NA'}'. The log of the stage has what it printed."
        )
    return simulated


def _measure(job: Job, counted: "CosimRun", tool: str) -> None:
    latency, interval = counted.latency_max_cycles, counted.interval_max_cycles
    if latency is not None:
        job.measure("latency_cycles", latency, "cycles", direction="lower", source=tool, title="Latency, most of all samples")
        job.measure(
            "latency_ns", latency * job.point.hardware.clock_ns, "ns", kind="estimate", direction="lower", source=tool,
            title="Latency at the target clock (timing not verified)",
        )  # fmt: skip
    if interval is not None:
        job.measure("ii_cycles", interval, "cycles", direction="lower", source=tool, title="Initiation interval")


STAGE = Stage(
    "cosim", run, reads=("project", "csynth_report"), writes=("cosim_gate",), measures=("gate_cosim_*", "latency_*", "ii_cycles"),
    config=(*TARGET, *LIMITS), tools=(HLS,), packages=("numpy",), seconds=1200,
)  # fmt: skip
