"""Stage ``synth``: the Verilog -> resources of an FPGA part, with a synthesis back end."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core import plugins
from flow.core.errors import ConfigError
from flow.core.stage import Job, Stage
from flow.core.tool import YOSYS

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.rtl.ports import Manifest
    from flow.synth._parts import Part
    from flow.synth._plan import Report


def check(point: "DesignPoint") -> None:
    """Refuse a part that is not known, and an option that the back end does not have.

    Raises:
        ConfigError: with the parts that are known.
    """
    from flow.synth._parts import find_part

    find_part(point.hardware.part)
    if point.hardware.dsp and "dsp" not in getattr(plugins.load("synth", point.hardware.backend), "OPTIONS", ()):
        raise ConfigError(f"hardware.dsp = true: the back end '{point.hardware.backend}' has no such option. Leave it out.")


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the code of the back end."""
    file = plugins.load("synth", point.hardware.backend).__file__
    return {"backend": Path(file)} if file else {}


def run(job: Job) -> None:
    """Plan, run what was not done before, read.

    Raises:
        FlowError: the back end's program is missing, fails, or leaves no report.
    """
    from flow.rtl.ports import Manifest
    from flow.synth._cache import Pieces
    from flow.synth._parts import find_part
    from flow.synth._plan import Command
    from flow.synth.open import FAMILIES

    hardware, folder = job.point.hardware, job.input("verilog")
    backend, part = plugins.load("synth", hardware.backend), find_part(hardware.part)
    manifest = Manifest.load(folder / "manifest.json")
    request = ({name: (folder / name).read_text() for name in manifest.sources}, manifest, part)
    options = {name: getattr(hardware, name) for name in getattr(backend, "OPTIONS", ())}
    plan = backend.plan_with(*request, options) if options else backend.plan(*request)
    work = job.work / "synth"
    plan.write(work)
    tools, done, total = {t.name: t for t in backend.TOOLS}, [0], sum(map(len, plan.groups))
    pieces, versions = Pieces(job.pieces), {t.name: t.read_version() for t in backend.TOOLS}

    def call(command: Command) -> None:
        known = pieces.restore(command, versions[command.tool], plan.files, work)
        if not known:
            job.run_tool(tools[command.tool], list(command.args), cwd=work)
            pieces.keep(command, versions[command.tool], plan.files, work)
        done[0] += 1
        job.progress(0.05 + 0.9 * done[0] / total, f"{command.name} {'did not change' if known else 'is mapped'}")

    job.progress(0.05, f"{total} modules")
    plan.execute(call)
    report: Report = backend.read(work)
    _write_netlist(job.output("netlist"), work, getattr(backend, "NETLIST", None), manifest)
    others: Mapping[str, tuple[str, str]] = getattr(FAMILIES[part.family], "UNITS", {})
    document = {"part": hardware.part, "units": {key: unit for key, (unit, _) in others.items()}, **report.to_json()}
    job.output("synth_report").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    _measure(job, report, part, others)


def _write_netlist(folder: Path, work: Path, suffix: str | None, manifest: "Manifest") -> None:
    """Write one file a mapped module, and what is in them; nothing but that if the back end leaves no netlists."""
    folder.mkdir()
    found = {path.name.removesuffix(suffix): path for path in sorted(work.glob(f"*{suffix}"))} if suffix else {}
    for name, path in found.items():
        shutil.copyfile(path, folder / f"{name}.v")
    (folder / "netlist.json").write_text(json.dumps({"top": manifest.top, "modules": sorted(found)}, indent=1) + "\n")


def _measure(job: Job, report: "Report", part: "Part", others: Mapping[str, tuple[str, str]]) -> None:
    """Record the totals; `others` are units and titles of a family that has cells of its own."""
    total, name = report.total, job.point.hardware.part
    for key, value, unit, title in (
        ("lut", total.lut, "LUT", "Look-up tables"), ("lut6_packed", total.lut6_packed, "LUT6", "Look-up tables, packed in pairs"),
        ("ff", total.ff, "FF", "Flip-flops"), ("dsp", total.dsp, "DSP", "DSP slices"),
        ("bram", total.bram, "BRAM36", "Block RAMs of 36 kbit"), ("carry", total.carry, "CARRY4", "Carry primitives of 4 bits"),
        ("carry8", total.carry8, "CARRY8", "Carry chains in primitives of 8 bits"),
        ("lut_percent", 100 * total.lut / part.lut, "%", "Look-up tables, share of the part"),
        ("ff_percent", 100 * total.ff / part.ff, "%", "Flip-flops, share of the part"),
        ("dsp_percent", 100 * total.dsp / part.dsp, "%", "DSP slices, share of the part"),
    ):  # fmt: skip
        if value is not None:
            unit, title = others.get(key, (unit, title))  # noqa: PLW2901 - as said above
            job.measure(key, value, unit, kind="mapped", direction="lower", source=report.tool, part=name, title=title)


STAGE = Stage(
    "synth", run, reads=("verilog",), writes=("synth_report", "netlist"),
    measures=("lut", "lut6_packed", "ff", "dsp", "bram", "carry", "carry8", "lut_percent", "ff_percent", "dsp_percent"),
    config=("hardware.backend", "hardware.part", "hardware.dsp"), tools=(YOSYS,), packages=(), sources=sources, check=check, seconds=30,
)  # fmt: skip
