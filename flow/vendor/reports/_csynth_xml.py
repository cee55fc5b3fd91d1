"""The XML form of a report of C synthesis, the same from Vivado HLS 2016.4 to Vitis HLS 2025.2 but for the name of the DSP blocks."""

import re
from pathlib import Path

from flow.vendor.reports._source import cut_off, not_a_report
from flow.vendor.reports._tables import decimal, whole
from flow.vendor.reports._xml import Elements
from flow.vendor.reports.csynth import Csynth, Resources

_VERSION = re.compile(r"[0-9]{4}\.[0-9]+(\.[0-9]+)?")
FIRST_VITIS = (2020, 2)


def tool_of(version: str | None) -> str | None:
    """Return the name of the tool; the XML does not say it, but Vivado HLS ended with 2020.1 and Vitis HLS took over."""
    if version is None:
        return None
    year, minor = version.split(".")[:2]
    return "Vitis HLS" if (int(year), int(minor)) >= FIRST_VITIS else "Vivado HLS"


def _resources(elements: Elements, name: str) -> Resources:
    """Read one list of resources."""
    text = {key: elements.text.get(f"profile/AreaEstimates/{name}/{key}") for key in ("LUT", "FF", "DSP", "DSP48E", "BRAM_18K", "URAM")}
    dsp = text["DSP48E"] if text["DSP"] is None else text["DSP"]
    return Resources(whole(text["LUT"]), whole(text["FF"]), whole(dsp), whole(text["BRAM_18K"]), whole(text["URAM"]))


def read_profile(path: Path) -> Csynth:
    """Read the XML form.

    Raises:
        MissingInput: it is not there.
        InvalidInput: it is something else, cut off or damaged.
    """
    elements = Elements(path).read()
    text = elements.text
    if "profile" not in text:
        raise not_a_report(path, "a report of C synthesis", f"its root is <{next(iter(elements.attributes), '')}>, not <profile>")
    for section in ("UserAssignments", "PerformanceEstimates", "AreaEstimates"):
        if f"profile/{section}" not in text:
            raise cut_off(path, f"<{section}> is missing")
    module = text.get("profile/UserAssignments/TopModelName")
    if not module:
        raise cut_off(path, "<TopModelName> is missing")
    version = text.get("profile/ReportVersion/Version")
    version = version if version and _VERSION.fullmatch(version) else None
    timing, latency = "profile/PerformanceEstimates/SummaryOfTimingAnalysis", "profile/PerformanceEstimates/SummaryOfOverallLatency"
    units = {text.get("profile/UserAssignments/unit", "ns"), text.get(f"{timing}/unit", "ns")}
    if units != {"ns"}:
        raise not_a_report(path, "a report of C synthesis that is known", f"its times are in {', '.join(sorted(units))}, not ns")
    if text.get(f"{latency}/unit", "clock cycles") != "clock cycles":
        raise not_a_report(path, "a report of C synthesis that is known", "its latency is not in clock cycles")
    return Csynth(
        path=path,
        module=module,
        tool=tool_of(version),
        version=version,
        part=text.get("profile/UserAssignments/Part") or None,
        clock_target_ns=decimal(text.get("profile/UserAssignments/TargetClockPeriod")),
        clock_estimated_ns=decimal(text.get(f"{timing}/EstimatedClockPeriod")),
        clock_uncertainty_ns=decimal(text.get("profile/UserAssignments/ClockUncertainty")),
        latency_min_cycles=whole(text.get(f"{latency}/Best-caseLatency")),
        latency_max_cycles=whole(text.get(f"{latency}/Worst-caseLatency")),
        interval_min_cycles=whole(text.get(f"{latency}/Interval-min")),
        interval_max_cycles=whole(text.get(f"{latency}/Interval-max")),
        used=_resources(elements, "Resources"),
        available=_resources(elements, "AvailableResources"),
    )
