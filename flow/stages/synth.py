"""Stage ``synth``: the Verilog -> resources of an FPGA part, with a synthesis back end."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core import plugins
from flow.core.stage import Job, Stage
from flow.core.tool import YOSYS

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.synth._parts import Part
    from flow.synth._plan import Report


def check(point: "DesignPoint") -> None:
    """Refuse a part that is not known.

    Raises:
        ConfigError: with the parts that are known.
    """
    from flow.synth._parts import find_part

    find_part(point.hardware.part)


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the code of the back end."""
    file = plugins.load("synth", point.hardware.backend).__file__
    return {"backend": Path(file)} if file else {}


def run(job: Job) -> None:
    """Plan, run, read.

    Raises:
        FlowError: the back end's program is missing, fails, or leaves no report.
    """
    from flow.rtl.ports import Manifest
    from flow.synth._parts import find_part
    from flow.synth._plan import Command

    hardware, folder = job.point.hardware, job.input("verilog")
    backend, part = plugins.load("synth", hardware.backend), find_part(hardware.part)
    manifest = Manifest.load(folder / "manifest.json")
    plan = backend.plan({name: (folder / name).read_text() for name in manifest.sources}, manifest, part)
    work = job.work / "synth"
    plan.write(work)
    tools, done, total = {t.name: t for t in backend.TOOLS}, [0], sum(map(len, plan.groups))

    def call(command: Command) -> None:
        job.run_tool(tools[command.tool], list(command.args), cwd=work)
        done[0] += 1
        job.progress(0.05 + 0.9 * done[0] / total, f"{command.name} is mapped")

    job.progress(0.05, f"{total} modules")
    plan.execute(call)
    report: Report = backend.read(work)
    job.output("synth_report").write_text(json.dumps({"part": hardware.part, **report.to_json()}, indent=1, sort_keys=True) + "\n")
    _measure(job, report, part)


def _measure(job: Job, report: "Report", part: "Part") -> None:
    total, name = report.total, job.point.hardware.part
    for key, value, unit, title in (
        ("lut", total.lut, "LUT", "Look-up tables"), ("ff", total.ff, "FF", "Flip-flops"), ("dsp", total.dsp, "DSP", "DSP slices"),
        ("bram", total.bram, "BRAM36", "Block RAMs of 36 kbit"), ("carry", total.carry, "CARRY4", "Carry primitives of 4 bits"),
        ("lut_percent", 100 * total.lut / part.lut, "%", "Look-up tables, share of the part"),
        ("ff_percent", 100 * total.ff / part.ff, "%", "Flip-flops, share of the part"),
        ("dsp_percent", 100 * total.dsp / part.dsp, "%", "DSP slices, share of the part"),
    ):  # fmt: skip
        job.measure(key, value, unit, kind="mapped", direction="lower", source=report.tool, part=name, title=title)


STAGE = Stage(
    "synth", run, reads=("verilog",), writes=("synth_report",),
    measures=("lut", "ff", "dsp", "bram", "carry", "lut_percent", "ff_percent", "dsp_percent"),
    config=("hardware.backend", "hardware.part"), tools=(YOSYS,), packages=(), sources=sources, check=check, seconds=60,
)  # fmt: skip
