"""Stage ``csynth``: high-level synthesis of the hls4ml project with Vitis HLS or Vivado HLS; what it estimates is of class ``csynth``."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.stage import Job, Stage
from flow.vendor.tools import HLS
from flow.vendor.work import LIMITS, TARGET

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.vendor.reports import Csynth
    from flow.vendor.size import HlsProject


def check(point: "DesignPoint") -> None:
    """Refuse a part whose name must not stand in a script.

    Raises:
        ConfigError: it has other characters than names of parts have.
    """
    from flow.vendor.plans import Target

    Target("top", point.hardware.part, point.hardware.clock_ns)


def run(job: Job) -> None:
    """Check the size, synthesize, read.

    Raises:
        TooLarge: the design is too large to be unrolled.
        FlowError: the tool fails, passes a limit, gets no licence or leaves no report.
    """
    from flow.vendor.plans import SOLUTION, Target, csynth_plan
    from flow.vendor.size import check_size, read_project
    from flow.vendor.steps import HLS_STEPS
    from flow.vendor.work import copy_project, execute, hls_report

    hardware, vendor, source = job.point.hardware, job.point.vendor, job.input("project")
    project = read_project(source)
    check_size(project, vendor.max_unrolled, vendor.max_unrolled_total)
    program, version = HLS.choose()
    work = job.work / "hls"
    copy_project(source, work, project.top)
    target = Target(project.top, hardware.part, hardware.clock_ns, hardware.clock_uncertainty)
    execute(job, csynth_plan(target, program.name, version), work, {program.name: program}, HLS_STEPS)
    found = hls_report(work, project.top, f"{program.name} {version}")
    out = job.output("csynth_project")
    kept = Path(f"{project.top}_prj", SOLUTION, "syn")
    for name in ("report", "verilog"):
        if (work / kept / name).is_dir():
            shutil.copytree(work / kept / name, out / kept / name)
    shutil.copy2(work / "csynth.tcl", out)
    _measure(job, found, project, f"{program.name} {version}")
    document: dict[str, object] = {"tool": f"{program.name} {version}", "part": hardware.part, "used": asdict(found.used)}
    document |= {"available": asdict(found.available), "layers": [asdict(layer) for layer in project.layers]}
    job.output("csynth_report").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _measure(job: Job, found: "Csynth", project: "HlsProject", source: str) -> None:
    part, used, available = job.point.hardware.part, found.used, found.available
    capacity = {"lut": available.lut, "ff": available.ff, "dsp": available.dsp, "bram18": available.bram_18k, "uram": available.uram}
    for key, value, unit, title in (
        ("lut", used.lut, "LUT", "Look-up tables"), ("ff", used.ff, "FF", "Flip-flops"), ("dsp", used.dsp, "DSP", "DSP slices"),
        ("bram18", used.bram_18k, "BRAM18", "Block RAMs of 18 kbit"), ("uram", used.uram, "URAM", "UltraRAMs"),
        ("latency_cycles", found.latency_max_cycles, "cycles", "Latency"),
        ("ii_cycles", found.interval_max_cycles, "cycles", "Initiation interval"),
        ("clock_ns", found.clock_estimated_ns, "ns", "Clock period"),
    ):  # fmt: skip
        if value is None or capacity.get(key) == 0:  # a part without such blocks
            continue
        name, words = f"csynth_{key}", f"{title}, high-level synthesis"
        job.measure(name, value, unit, kind="csynth", direction="lower", source=source, part=part, title=words)
        if whole := capacity.get(key):
            share, words = 100 * value / whole, f"{words}, share of the part"
            job.measure(f"{name}_percent", share, "%", kind="csynth", direction="lower", source=source, part=part, title=words)
    if project.reuse_factors:
        factor, title = max(project.reuse_factors), "Reuse factor, largest that hls4ml took"
        job.measure("csynth_reuse_factor", factor, "", kind="csynth", source="hls4ml", part=part, title=title)


STAGE = Stage(
    "csynth", run, reads=("project", "csim_gate"), writes=("csynth_project", "csynth_report"), measures=("csynth_*",),
    config=(*TARGET, "vendor.max_unrolled", "vendor.max_unrolled_total", *LIMITS),
    tools=(HLS,), check=check, seconds=600,
)  # fmt: skip
