"""All reports of one project, found and merged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from flow.core.errors import MissingInput
from flow.vendor.reports._facts import Fact, read_facts
from flow.vendor.reports._find import find, kind_of_file
from flow.vendor.reports._source import read_text
from flow.vendor.reports._top import choose_top, merge_modules, network_of
from flow.vendor.reports.cosim import Cosim, has_cosim, read_cosim
from flow.vendor.reports.csynth import Csynth, read_csynth
from flow.vendor.reports.export import Export, read_export
from flow.vendor.reports.figures import Figure, of_project
from flow.vendor.reports.power import Power, read_power
from flow.vendor.reports.timing import Timing, read_timing
from flow.vendor.reports.utilization import Utilization, read_utilization

Report = TypeVar("Report", Cosim, Export, Utilization, Timing, Power)


@dataclass(frozen=True)
class Project:
    """What the reports of one project say. Whatever has no report is None or empty.

    Attributes:
        folder: the folder that was searched; files are named relative to it.
        top: module that was synthesised.
        csynth: estimates for the top.
        network: estimates for the network that hls4ml wrote, if the top is a wrapper around it; None if it is the top itself.
        modules: estimates for all modules, one for each.
        cosim: results of co-simulation.
        exports: reports of exported designs, at most one for each provenance class.
        utilization: counts, at most one for each provenance class.
        timing: slacks, at most one for each provenance class.
        power: power, at most one for each provenance class.
        facts: from the configuration, the project file and the logs.
        notes: what is odd: files that contradict each other.
    """

    folder: Path
    top: str | None = None
    csynth: Csynth | None = None
    network: Csynth | None = None
    modules: tuple[Csynth, ...] = ()
    cosim: Cosim | None = None
    exports: tuple[Export, ...] = ()
    utilization: tuple[Utilization, ...] = ()
    timing: tuple[Timing, ...] = ()
    power: tuple[Power, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def _first(self, *choices: tuple[str | float | None, Path] | None) -> Fact | None:
        return next((Fact(str(value), path) for choice in choices if choice for value, path in [choice] if value is not None), None)

    def _vivado(self) -> list[Utilization | Timing | Power]:
        return [*self.utilization, *self.timing, *self.power]

    @property
    def summary(self) -> dict[str, Fact]:
        """Tools with their versions, part, top and clock period that was asked for (ns), each from the best file that has it."""
        fact = {key: (f.value, f.path) for key, f in self.facts.items()}
        base = self.csynth or self.network or next(iter(self.modules), None)
        exports = self.exports[:1]
        found = {
            "top": self._first((base.module, base.path) if base and base is self.csynth else None, fact.get("top"), fact.get("network")),
            "hls_tool": self._first((base.tool, base.path) if base else None, fact.get("hls_tool")),
            "hls_version": self._first((base.version, base.path) if base else None, fact.get("hls")),
            "vivado_version": self._first(
                *((r.version, r.path) for r in self._vivado()), *((e.version, e.path) for e in exports), fact.get("vivado")
            ),
            "hls4ml_version": self._first(fact.get("hls4ml")),
            "part": self._first(
                (base.part, base.path) if base else None,
                *((e.part, e.path) for e in exports),
                fact.get("part"),
                *((r.device, r.path) for r in self._vivado()),
            ),
            "clock_target_ns": self._first(
                (base.clock_target_ns, base.path) if base else None, *((e.clock_required_ns, e.path) for e in exports), fact.get("clock")
            ),
        }
        return {key: value for key, value in found.items() if value is not None}

    def figures(self) -> tuple[Figure, ...]:
        """All figures, from estimates to the routed design."""
        return tuple(of_project(self))

    def relative(self, path: Path) -> str:
        """Return the name of a file relative to the folder."""
        return path.relative_to(self.folder).as_posix()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document; the provenance class is called ``class`` there, absent values are left out."""
        figures: list[dict[str, Any]] = []
        for figure in self.figures():
            row = {"name": figure.name, "value": figure.value, "unit": figure.unit, "class": figure.kind, "module": figure.module}
            extra = {"available": figure.available, "percent": figure.percent}
            row |= {"source": figure.source, "file": self.relative(figure.path)}
            figures.append(row | {key: value for key, value in extra.items() if value is not None})
        facts: dict[str, dict[str, Any]] = {
            key: {"value": float(fact.value) if key.endswith("_ns") else fact.value, "file": self.relative(fact.path)}
            for key, fact in self.summary.items()
        }
        run = self.cosim.run if self.cosim else None
        cosim = {"status": run.status, "language": run.language, "file": self.relative(self.cosim.path)} if self.cosim and run else None
        return {"facts": facts, "figures": figures, "cosim": cosim, "modules": [m.module for m in self.modules], "notes": list(self.notes)}


def read_project(folder: Path) -> Project:
    """Find and merge the reports of a project.

    Args:
        folder: of an hls4ml project, of a solution, or any that has reports in it or below it; or one report.

    Raises:
        MissingInput: there is no such folder or file, or no report in it.
        InvalidInput: a report is cut off, damaged or something else, or there are reports of several projects.
    """
    if folder.is_dir():
        return _merge(folder, find(folder))
    if not folder.exists():
        raise MissingInput(f"{folder}: there is no such file or folder.")
    return _merge(folder.parent, {kind_of_file(folder): [folder]})


def _merge(folder: Path, found: Mapping[str, Sequence[Path]]) -> Project:
    """Read all files and choose."""
    notes: list[str] = []
    facts = read_facts(found)
    files = [read_csynth(path) for path in found.get("csynth", ())]
    modules = merge_modules(folder, files, notes)
    top = choose_top(folder, modules, files, facts)
    csynth = modules.get(top) if top else None
    network = network_of(folder, modules, facts, top)
    if top and csynth is None and modules:
        notes.append(f"there is no report of the top '{top}', only of {', '.join(sorted(modules)[:3])}")
    name = top or ""
    joined = [path for path in found.get("csynth", ()) if path.suffix == ".rpt" and has_cosim(read_text(path))]
    cosims = [read_cosim(path) for path in (*found.get("cosim", ()), *joined)]
    project = Project(
        folder,
        top,
        csynth,
        network,
        tuple(modules[key] for key in sorted(modules)),
        next(iter(_ranked(cosims, name)), None),
        tuple(_choose(folder, map(read_export, found.get("export", ())), name, notes)),
        tuple(_choose(folder, map(read_utilization, found.get("utilization", ())), name, notes)),
        tuple(_choose(folder, map(read_timing, found.get("timing", ())), name, notes)),
        tuple(_choose(folder, map(read_power, found.get("power", ())), name, notes)),
        facts,
    )
    return _with_notes(project, notes)


def _ranked(reports: Iterable[Report], top: str) -> list[Report]:
    """Sort: about the top itself first, inner runs of Vivado and reports by hierarchy, which say less, last; near ones first."""

    def rank(report: Report) -> tuple[bool, bool, bool, int, Path]:
        name, runs = report.path.name, any(part.endswith(".runs") for part in report.path.parts)
        return "hierarch" in name, not name.startswith((f"{top}_", "vivado_synth")), runs, len(report.path.parts), report.path

    return sorted(reports, key=rank)


_WORTH: dict[type, Callable[[Any], object]] = {
    Export: lambda r: (r.used.lut, r.used.ff, r.used.dsp),
    Utilization: lambda r: tuple(site and site.used for site in (r.lut, r.ff, r.dsp)),
    Timing: lambda r: (r.wns_ns, r.whs_ns),
    Power: lambda r: r.total_w,
}


def _choose(folder: Path, reports: Iterable[Report], top: str, notes: list[str]) -> list[Report]:
    """Choose one report for each provenance class, and note those that say something else."""
    chosen: dict[str, Report] = {}
    for report in _ranked(reports, top):
        kind = getattr(report, "kind", "")
        first = chosen.setdefault(kind, report)
        worth = _WORTH[type(report)]
        if worth(first) != worth(report):
            a, b = (r.path.relative_to(folder).as_posix() for r in (first, report))
            notes.append(f"{a} and {b} differ ({kind}); the first is used")
    return [chosen[kind] for kind in ("mapped", "routed") if kind in chosen]


def _same_part(one: str, other: str) -> bool:
    """Compare parts as HLS, hls4ml and Vivado write them: with or without hyphens, ``xc`` and the grade of temperature."""
    a, b = (name.lower().replace("-", "").removeprefix("xc") for name in (one, other))
    return a.startswith(b) or b.startswith(a)


def _with_notes(project: Project, notes: list[str]) -> Project:
    """Add notes about figures that contradict each other."""
    summary = project.summary
    part, clock = summary.get("part"), summary.get("clock_target_ns")
    for fact in (project.facts.get("part"), *(Fact(r.device, r.path) for r in project._vivado() if r.device)):
        if part and fact and not _same_part(part.value, fact.value):
            a, b = project.relative(part.path), project.relative(fact.path)
            notes.append(f"{a} is for the part {part.value}, {b} for {fact.value}")
    asked = project.facts.get("clock")
    if clock and asked and float(clock.value) != float(asked.value):
        a, b = project.relative(clock.path), project.relative(asked.path)
        notes.append(f"{a} has a clock period of {clock.value} ns, {b} one of {asked.value} ns")
    for export in project.exports:
        for counts in project.utilization:
            lut = counts.lut.used if counts.lut else None
            if counts.kind == export.kind and None not in (lut, export.used.lut) and lut != export.used.lut:
                a, b = project.relative(counts.path), project.relative(export.path)
                notes.append(f"{a} has {lut} LUT, {b} {export.used.lut}; the first is used")
    return replace(project, notes=tuple(dict.fromkeys(notes)))
