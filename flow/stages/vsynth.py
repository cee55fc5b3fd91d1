"""Stage ``vsynth``: out-of-context run of Vivado on the RTL of high-level synthesis, to a mapped or to a routed design."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import InvalidInput, MissingInput
from flow.core.stage import Job, Stage
from flow.vendor.tools import VIVADO
from flow.vendor.work import LIMITS

if TYPE_CHECKING:
    from flow.core.metric import Kind
    from flow.vendor.reports import Power, Timing, Utilization


@dataclass(frozen=True)
class Found:
    """What Vivado reported."""

    used: "Utilization"
    timing: "Timing"
    power: "Power | None"


def run(job: Job) -> None:
    """Synthesize, perhaps place and route, and read.

    Raises:
        FlowError: the tool fails, passes a limit, gets no licence or leaves no report.
    """
    from flow.vendor.plans import SOLUTION, Target, vsynth_plan
    from flow.vendor.steps import ROUTE_STEPS, SYNTH_STEPS
    from flow.vendor.work import execute, no_report

    hardware, source = job.point.hardware, job.input("csynth_project")
    route = job.point.vendor.vsynth == "route"
    rtl = next(iter(sorted(source.glob(f"*_prj/{SOLUTION}/syn/verilog"))), None)
    if rtl is None:
        raise no_report("high-level synthesis", "Verilog (syn/verilog)")
    target = Target(rtl.parts[-4].removesuffix("_prj"), hardware.part, hardware.clock_ns)
    version = VIVADO.read_version()
    work = job.work / "vivado"
    shutil.copytree(rtl, work / "rtl")
    plan = vsynth_plan(target, version, route)
    execute(job, plan, work, {VIVADO.name: VIVADO}, ROUTE_STEPS if route else SYNTH_STEPS)
    tool = f"{VIVADO.name} {version}"
    found = read(work, tool)
    out = job.output("vsynth_reports")
    out.mkdir()
    for path in (*work.glob("*.rpt"), *(work / name for name in plan.files)):
        shutil.copy2(path, out)
    if route and found.used.kind != "routed":
        raise no_report(tool, f"report of a routed design (its state is '{found.used.state}')")
    _measure(job, found, found.used.kind, f"{tool} (OOC)")
    numbers = {name: metric.value for name, metric in job.metrics.items()}
    job.output("vsynth_report").write_text(json.dumps({"tool": tool, "part": hardware.part, **numbers}, indent=1, sort_keys=True) + "\n")


def read(folder: Path, tool: str) -> Found:
    """Read the reports.

    Raises:
        ToolFailed: one is not there or cannot be read; power may be absent.
    """
    from flow.vendor.plans import POWER, TIMING, UTILIZATION
    from flow.vendor.reports import read_power, read_timing, read_utilization
    from flow.vendor.work import no_report

    try:
        power = read_power(folder / POWER) if (folder / POWER).is_file() else None
        return Found(read_utilization(folder / UTILIZATION), read_timing(folder / TIMING), power)
    except MissingInput as error:
        raise no_report(tool, "report", error) from None
    except InvalidInput as error:
        raise no_report(tool, "report that can be read", error) from None


def _measure(job: Job, found: Found, kind: "Kind", source: str) -> None:
    part = job.point.hardware.part
    sites = (
        ("lut", found.used.lut, "LUT", "Look-up tables"), ("ff", found.used.ff, "FF", "Flip-flops"),
        ("dsp", found.used.dsp, "DSP", "DSP slices"), ("bram", found.used.bram_tiles, "BRAM36", "Block RAMs of 36 kbit"),
        ("uram", found.used.uram, "URAM", "UltraRAMs"),
    )  # fmt: skip
    for key, site, unit, title in sites:
        if site is None:
            continue
        job.measure(key, site.used, unit, kind=kind, direction="lower", source=source, part=part, title=title)
        if site.available:
            share, words = 100 * site.used / site.available, f"{title}, share of the part"
            job.measure(f"{key}_percent", share, "%", kind=kind, direction="lower", source=source, part=part, title=words)
    slack, period = found.timing.wns_ns, found.timing.clock_ns
    if slack is not None:
        job.measure("wns_ns", slack, "ns", kind=kind, direction="higher", source=source, part=part, title="Worst slack of the clock")
    if slack is not None and period is not None and period > slack:
        title = "Highest clock frequency"
        job.measure("fmax_mhz", 1000 / (period - slack), "MHz", kind=kind, direction="higher", source=source, part=part, title=title)
    if found.power is not None and found.power.total_w is not None:
        words = f"{source}, confidence {found.power.confidence}" if found.power.confidence else source
        title = "Power that Vivado estimates"
        job.measure("power_w", found.power.total_w, "W", kind="estimate", direction="lower", source=words, part=part, title=title)


STAGE = Stage(
    "vsynth", run, reads=("csynth_project",), writes=("vsynth_reports", "vsynth_report"),
    measures=("lut*", "ff*", "dsp*", "bram*", "uram*", "wns_ns", "fmax_mhz", "power_w"),
    config=("hardware.part", "hardware.clock_ns", "vendor.vsynth", *LIMITS), tools=(VIVADO,), seconds=900,
)  # fmt: skip
