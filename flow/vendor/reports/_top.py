"""Which of many reports of C synthesis is about the top."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flow.core.errors import InvalidInput
from flow.vendor.reports._facts import Fact
from flow.vendor.reports.csynth import Csynth

_COMPARED = (
    "version",
    "part",
    "clock_target_ns",
    "clock_estimated_ns",
    "latency_min_cycles",
    "latency_max_cycles",
    "interval_min_cycles",
    "interval_max_cycles",
    "used",
)


def _form(report: Csynth) -> int:
    """Rank the forms of a report: the XML has most, then the text of one module; the summary of all has least."""
    if report.path.suffix == ".xml":
        return int(report.path.stem == "csynth")  # newer tools write the report of the top a second time
    return 1 if report.clock_target_ns is not None or report.latency_max_cycles is not None else 2


def merge_modules(folder: Path, files: Sequence[Csynth], notes: list[str]) -> dict[str, Csynth]:
    """Merge the forms of each module: the XML counts; the text adds the tool, the project and the modules inside.

    Raises:
        InvalidInput: there are different reports of one module in the same form: of several solutions or projects.
    """
    by_module: dict[str, list[Csynth]] = {}
    for report in files:
        by_module.setdefault(report.module, []).append(report)
    merged: dict[str, Csynth] = {}
    for module, reports in by_module.items():
        reports.sort(key=lambda r: (_form(r), len(r.path.parts), r.path))
        best = reports[0]
        for other in reports[1:]:
            differ = [name for name in _COMPARED if None not in (getattr(best, name), getattr(other, name))]
            differ = [name for name in differ if getattr(best, name) != getattr(other, name)]
            a, b = (r.path.relative_to(folder).as_posix() for r in (best, other))
            if differ and _form(best) == _form(other):
                raise InvalidInput(f"{folder}: {a} and {b} are different reports of '{module}'. Give the folder of one solution.")
            if differ and _form(other) < 2:
                notes.append(f"{a} and {b} differ in {', '.join(differ)}; the first is used")
        text = [r for r in reports if r.path.suffix != ".xml"]
        tool = next((r.tool for r in text if r.tool), best.tool)
        project = next((r.project for r in text if r.project), None)
        merged[module] = replace(best, tool=tool, project=project, calls=tuple(dict.fromkeys(c for r in text for c in r.calls)))
    return merged


def _stem(project: str) -> str:
    """Return the name that hls4ml made the name of a project from."""
    return project.removesuffix("_prj")


def _names(modules: Mapping[str, Csynth], facts: Mapping[str, Fact], folder: Path) -> list[str]:
    """Return names that the network may have, the surest first."""
    names = [facts["network"].value] if "network" in facts else []
    if "project" in facts:
        names.append(_stem(facts["project"].value))
    names += [_stem(report.project) for report in modules.values() if report.project]
    for report in modules.values():
        names += [_stem(part) for part in report.path.relative_to(folder.parent).parts[:-1] if part.endswith("_prj")]
    return names


def choose_top(folder: Path, modules: Mapping[str, Csynth], files: Sequence[Csynth], facts: Mapping[str, Fact]) -> str | None:
    """Return the name of the top.

    What says it, the surest first: the project file of HLS; a report called ``csynth``, which only the top has; the name of the
    project; the one module that no other instantiates.

    Raises:
        InvalidInput: nothing says which of several it is.
    """
    if "top" in facts:
        return facts["top"].value
    for report in files:
        if report.path.stem == "csynth":
            return report.module
    for name in _names(modules, facts, folder):
        if name in modules:
            return name
    if not modules:
        return facts["network"].value if "network" in facts else None
    inner = {call for report in modules.values() for call in report.calls}
    outer = [name for name in modules if name not in inner]
    if len(outer) == 1:
        return outer[0]
    some = ", ".join(sorted(outer or modules)[:5])
    raise InvalidInput(f"{folder}: nothing says which of {some} is the top. Give its report, or add vivado_hls.app or hls4ml_config.yml.")


def network_of(folder: Path, modules: Mapping[str, Csynth], facts: Mapping[str, Fact], top: str | None) -> Csynth | None:
    """Return the report of the network that hls4ml wrote, if the top is a wrapper around it."""
    if top is None:
        return None
    report = modules.get(top)
    names = _names({top: report} if report else {}, facts, folder)
    name = next((name for name in names if name in modules), None)
    return modules[name] if name is not None and name != top else None
