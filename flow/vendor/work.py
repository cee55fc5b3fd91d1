"""Execute a plan of a vendor's program: with its steps shown, under limits, tried again without a licence, its log kept."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from flow.config import VendorConfig
from flow.core.errors import FlowError, InvalidInput, LicenceUnavailable, MissingInput, ToolFailed
from flow.core.stage import Job
from flow.core.tool import Tool
from flow.synth._plan import BuildPlan, Command
from flow.terminal import clock
from flow.vendor.reports import Csynth, read_csynth
from flow.vendor.steps import Steps, Table

COPIED = ("firmware", "tb_data")
TARGET = ("hardware.part", "hardware.clock_ns", "hardware.clock_uncertainty")
LIMITS = tuple(f"vendor.{key}" for key in ("max_hours", "max_gb", "licence_retries", "licence_wait_s"))


def copy_project(project: Path, target: Path, top: str) -> None:
    """Copy the parts of an hls4ml project that high-level synthesis reads; the project itself is never written to."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copytree(project / name, target / name, ignore=shutil.ignore_patterns("ap_types"))
    shutil.copy2(project / f"{top}_test.cpp", target)


def execute(job: Job, plan: BuildPlan, folder: Path, tools: Mapping[str, Tool], steps: Table) -> None:
    """Write the files of a plan and run its commands.

    Args:
        job: runs the programs; its point shows ``vendor``.
        plan: what to do.
        folder: where.
        tools: of the job's stage, by the names that the commands use.
        steps: what the programs print.

    Raises:
        FlowError: a program is missing, fails, passes a limit or gets no licence. The log of an error that may go away is kept
            beside the store's unfinished results, and the message says where.
    """
    plan.write(folder)
    for command in (one for group in plan.groups for one in group):
        _run(job, command, folder, tools[command.tool], steps)


def _run(job: Job, command: Command, folder: Path, tool: Tool, table: Table) -> None:
    vendor = job.point.vendor
    memory = None if vendor.max_gb is None else round(vendor.max_gb * 2**30)
    for left in range(vendor.licence_retries, -1, -1):
        steps = Steps(table, job.progress, command.tool)
        try:
            job.run_tool(tool, list(command.args), cwd=folder, timeout=3600 * vendor.max_hours, memory=memory, watch=steps)
        except LicenceUnavailable as error:
            if not left:
                tries = f"It was tried {vendor.licence_retries + 1} times (vendor.licence_retries)."
                raise _with_log(job, error, f"{tries} {CURES['LicenceUnavailable']}") from None
            _wait(job, vendor, command.tool, left)
        except FlowError as error:
            raise _with_log(job, error, CURES.get(type(error).__name__, "")) from None
        else:
            return


CURES = {
    "LicenceUnavailable": "Check XILINXD_LICENSE_FILE and the licence server; a part may need a licence of its own.",
    "ToolTimeout": "Raise vendor.max_hours, or make the design smaller: a reuse factor, streams, fewer bits.",
    "ToolOutOfMemory": "Raise vendor.max_gb, or make the design smaller: a reuse factor, streams, fewer bits.",
}


def _wait(job: Job, vendor: VendorConfig, name: str, left: int) -> None:
    """Wait for a licence, and show it."""
    until = time.monotonic() + vendor.licence_wait_s
    while (rest := until - time.monotonic()) > 0:
        job.progress(0.0, f"{name}: no licence; trying again in {clock(rest)}, {left} time{'s' * (left > 1)} more")
        time.sleep(min(1.0, rest))


def _with_log(job: Job, error: FlowError, cure: str) -> FlowError:
    """Return the error with what to do; the log of one that is not stored goes where it survives."""
    if error.transient and not error.usage and job.log.is_file():
        kept = job.scratch / "log.txt"
        shutil.copyfile(job.log, kept)
        cure = f"{cure} The log: {kept}"
    return type(error)(f"{error}\n{cure}" if cure else str(error))


def no_report(program: str, what: str, error: FlowError | None = None) -> ToolFailed:
    """Return the error for a program that ended well and left nothing to read."""
    why = f": {error}" if error is not None else "."
    return ToolFailed(f"{program} ended without an error but left no {what}{why} The log of the stage has what it printed.")


def hls_report(folder: Path, top: str, tool: str) -> Csynth:
    """Read what high-level synthesis says of the top function.

    Args:
        folder: the copy of the project.
        top: name of the function.
        tool: name and version, for the message.

    Raises:
        ToolFailed: there is no report, or none that can be read.
    """
    names = (f"{top}_csynth.xml", f"{top}_csynth.rpt", "csynth.xml", "csynth.rpt")
    found = [path for name in names for path in sorted(folder.glob(f"*/*/syn/report/{name}"))]
    if not found:
        raise no_report(tool, f"report of C synthesis ({top}_csynth.xml)")
    try:
        return read_csynth(found[0])
    except (InvalidInput, MissingInput) as error:
        raise no_report(tool, "report that can be read", error) from None
