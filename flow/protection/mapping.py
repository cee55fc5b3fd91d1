"""Maps Verilog in a stage as stage ``synth`` does: the same plan, part and options, and nothing twice that did not change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import MissingInput
from flow.core.stage import Job
from flow.core.tool import YOSYS
from flow.rtl.ports import Manifest, Port
from flow.synth import open as back_end
from flow.synth._cache import Pieces
from flow.synth._netlist import Module, parse
from flow.synth._parts import find_part
from flow.synth._plan import Command, Counts, Report

NOTHING = Port("none", 1, ())


@dataclass(frozen=True)
class Mapped:
    """What Yosys made of a design.

    Attributes:
        report: resources by module.
        modules: netlists by name.
    """

    report: Report
    modules: Mapping[str, Module]


def design(top: str, inside: tuple[str, ...] = ()) -> Manifest:
    """Return what the plan needs to know of a design that is no network."""
    return Manifest(top, "clk", 0, 1, NOTHING, NOTHING, (), inside, "", "")


def map_design(job: Job, name: str, sources: Mapping[str, str], manifest: Manifest) -> Mapped:
    """Map a design.

    Args:
        job: runs Yosys and keeps what it leaves; declares ``hardware.part`` and ``hardware.dsp``.
        name: of the folder, which no other design has.
        sources: Verilog text by relative path.
        manifest: names the modules that are mapped in runs of their own, and the top one.

    Raises:
        FlowError: Yosys is missing or fails.
    """
    hardware = job.point.hardware
    plan = back_end.plan_with(sources, manifest, find_part(hardware.part), {"dsp": hardware.dsp})
    work = job.work / name
    plan.write(work)
    pieces, version = Pieces(job.pieces), YOSYS.read_version()

    def call(command: Command) -> None:
        job.progress(0.3, f"{name}: {command.name}")
        if not pieces.restore(command, version, plan.files, work):
            job.run_tool(YOSYS, list(command.args), cwd=work)
            pieces.keep(command, version, plan.files, work)

    plan.execute(call)
    modules: dict[str, Module] = {}
    for one in (*manifest.stages, manifest.top):
        file = f"{one}{back_end.NETLIST}"
        modules |= {module.name: module for module in parse((work / file).read_text(), file)}
    return Mapped(back_end.read(work), modules)


def read_netlist(folder: Path) -> dict[str, Module]:
    """Read what stage ``synth`` wrote.

    Raises:
        MissingInput: its back end left no netlists.
    """
    names = json.loads((folder / "netlist.json").read_text())["modules"]
    if not names:
        raise MissingInput(f"{folder}: the back end of synthesis left no netlist. Set hardware.backend = 'open', or harden no registers.")
    modules: dict[str, Module] = {}
    for name in names:
        modules |= {module.name: module for module in parse((folder / f"{name}.v").read_text(), f"{name}.v")}
    return modules


def cost(job: Job, method: str, total: Counts, network: Counts, tool: str, words: str) -> dict[str, NDArray[Any]]:
    """Record what a hardened network takes more than the network without, ``harden_<method>_lut`` and others.

    Args:
        job: records the metrics.
        method: part of their ids.
        total: resources of the hardened network.
        network: of the unprotected one.
        tool: who counted both.
        words: what was done, for a person.

    Returns:
        The totals, for the report.
    """
    source, records = f"{tool}, less the network without", dict[str, NDArray[Any]]()
    for key, whole, before, unit, title in (
        ("lut", total.lut, network.lut, "LUT", "Look-up tables"),
        ("lut6_packed", total.lut6_packed, network.lut6_packed, "LUT6", "Look-up tables, packed in pairs"),
        ("ff", total.ff, network.ff, "FF", "Flip-flops"),
    ):  # fmt: skip
        if whole is not None and before is not None:
            job.measure(
                f"harden_{method}_{key}", whole - before, unit, kind="mapped", direction="lower", source=source,
                part=job.point.hardware.part, title=f"{title} for {words}",
            )  # fmt: skip
            records[f"harden_{method}_{key}"] = np.array([whole])
    if network.lut:
        job.measure(
            f"harden_{method}_lut_percent", 100 * (total.lut - network.lut) / network.lut, "%", kind="mapped", direction="lower",
            source=source, part=job.point.hardware.part, title=f"Look-up tables for {words}, share of the network's",
        )  # fmt: skip
    return records


def times(counts: Counts, number: int) -> Counts:
    """Return the look-up tables, packed ones and flip-flops of so many modules."""
    packed = None if counts.lut6_packed is None else counts.lut6_packed * number
    return Counts(lut=counts.lut * number, ff=counts.ff * number, lut6_packed=packed)
