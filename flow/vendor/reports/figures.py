"""The figures of a project as one flat list, each with its unit, its provenance class and the file it is from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.metric import Kind
from flow.vendor.reports.cosim import Cosim
from flow.vendor.reports.csynth import Csynth, Resources
from flow.vendor.reports.export import Export
from flow.vendor.reports.power import Power
from flow.vendor.reports.timing import Timing
from flow.vendor.reports.utilization import Site, Utilization

if TYPE_CHECKING:
    from flow.vendor.reports.project import Project

# Two of BRAM_18K are one of BRAM36: the names differ, so that the two are never taken for each other.
UNITS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram_18k": "BRAM_18K", "bram_tiles": "BRAM36", "uram": "URAM"}


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        name: for example ``lut``, ``latency_min``, ``wns``.
        value: the number.
        unit: for example ``LUT``, ``cycles``, ``ns``, ``W``.
        kind: provenance class: ``csynth``, ``mapped``, ``routed``; ``estimate`` for power, ``measured`` for simulated cycles.
        module: module or netlist that it is about; empty if the report does not say it.
        source: tool with its version.
        path: the file.
        available: how many the part has.
    """

    name: str
    value: float
    unit: str
    kind: Kind
    module: str
    source: str
    path: Path
    available: float | None = None

    @property
    def percent(self) -> float | None:
        """Share of what is available, %; None if that is not known or there is none of it."""
        return 100 * self.value / self.available if self.available else None


def source(tool: str | None, version: str | None) -> str:
    """Return the tool with its version."""
    return " ".join(word for word in (tool, version) if word)


def of_csynth(report: Csynth) -> Iterator[Figure]:
    """Yield estimates of C synthesis."""
    origin = source(report.tool, report.version)
    cycles = (
        ("latency_min", report.latency_min_cycles, "cycles"),
        ("latency_max", report.latency_max_cycles, "cycles"),
        ("ii_min", report.interval_min_cycles, "cycles"),
        ("ii_max", report.interval_max_cycles, "cycles"),
        ("clock_estimated", report.clock_estimated_ns, "ns"),
    )
    for name, value, unit in cycles:
        if value is not None:
            yield Figure(name, value, unit, "csynth", report.module, origin, report.path)
    yield from _counts(report.used, report.available, "csynth", report.module, origin, report.path)


def _counts(used: Resources, available: Resources, kind: Kind, module: str, origin: str, path: Path) -> Iterator[Figure]:
    for name in ("lut", "ff", "dsp", "bram_18k", "uram"):
        value = getattr(used, name)
        if value is not None:
            yield Figure(name, value, UNITS[name], kind, module, origin, path, getattr(available, name))


def of_cosim(report: Cosim, module: str, origin: str) -> Iterator[Figure]:
    """Yield cycles that were counted in simulation of the RTL."""
    run = report.run
    for name in ("latency_min", "latency_avg", "latency_max", "interval_min", "interval_avg", "interval_max"):
        value = getattr(run, f"{name}_cycles", None)
        if value is not None:
            yield Figure(f"cosim_{name.replace('interval', 'ii')}", value, "cycles", "measured", module, origin, report.path)


def of_utilization(report: Utilization) -> Iterator[Figure]:
    """Yield counts of a netlist."""
    for name in ("lut", "ff", "dsp", "bram_tiles", "uram"):
        site: Site | None = getattr(report, name)
        if site is not None:
            origin = source(report.tool, report.version)
            yield Figure(name, site.used, UNITS[name], report.kind, report.design or "", origin, report.path, site.available)


def of_export(report: Export, counts: bool) -> Iterator[Figure]:
    """Yield what an exported design has; the counts only where there is no report of utilisation, which has more."""
    origin = source(report.tool, report.version)
    if counts:
        yield from _counts(report.used, Resources(), report.kind, "", origin, report.path)
    if report.clock_synth_ns is not None:
        yield Figure("clock_achieved", report.clock_synth_ns, "ns", "mapped", "", origin, report.path)
    if report.clock_routed_ns is not None:
        yield Figure("clock_achieved", report.clock_routed_ns, "ns", "routed", "", origin, report.path)


def of_timing(report: Timing) -> Iterator[Figure]:
    """Yield slacks."""
    values = (("wns", report.wns_ns), ("tns", report.tns_ns), ("whs", report.whs_ns), ("clock_period", report.clock_ns))
    for name, value in values:
        if value is not None:
            origin = source(report.tool, report.version)
            yield Figure(name, value, "ns", report.kind, report.design or "", origin, report.path)


def of_power(report: Power) -> Iterator[Figure]:
    """Yield power, which Vivado estimates from assumed switching, whatever the netlist; the source says which."""
    origin = f"{source(report.tool, report.version)}, {report.kind} netlist".lstrip(", ")
    for name, value in (("power", report.total_w), ("power_dynamic", report.dynamic_w), ("power_static", report.static_w)):
        if value is not None:
            yield Figure(name, value, "W", "estimate", report.design or "", origin, report.path)


def of_project(project: "Project") -> Iterator[Figure]:
    """Yield all figures of a project, from estimates to the routed design."""
    for csynth in (project.csynth, project.network):
        if csynth is not None:
            yield from of_csynth(csynth)
    if project.cosim is not None:
        tool = project.csynth or project.network
        yield from of_cosim(project.cosim, project.top or "", source(tool.tool, tool.version) if tool else "")
    for kind in ("mapped", "routed"):
        utilization = next((u for u in project.utilization if u.kind == kind), None)
        if utilization is not None:
            yield from of_utilization(utilization)
        for export in project.exports:
            if export.kind == kind:
                yield from of_export(export, counts=utilization is None)
        for timing in project.timing:
            if timing.kind == kind:
                yield from of_timing(timing)
        for power in project.power:
            if power.kind == kind:
                yield from of_power(power)
