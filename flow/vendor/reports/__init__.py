"""Readers of the reports of Vivado HLS, Vitis HLS and Vivado.

Each takes a file and returns a frozen dataclass whose fields name their units; a figure that the report does not have is None, never 0.
`read_project` finds and merges all reports of a project. Whatever the file is, the only errors are
`flow.core.errors.MissingInput` (it is not there) and `flow.core.errors.InvalidInput` (it is something else, cut off or damaged).
"""

from flow.vendor.reports.cosim import Cosim, CosimRun, read_cosim
from flow.vendor.reports.csynth import Csynth, Resources, read_csynth
from flow.vendor.reports.export import Export, read_export
from flow.vendor.reports.figures import Figure
from flow.vendor.reports.power import Power, read_power
from flow.vendor.reports.project import Project, read_project
from flow.vendor.reports.timing import Timing, read_timing
from flow.vendor.reports.utilization import Site, Utilization, read_utilization

__all__ = [
    "Cosim",
    "CosimRun",
    "Csynth",
    "Export",
    "Figure",
    "Power",
    "Project",
    "Resources",
    "Site",
    "Timing",
    "Utilization",
    "read_cosim",
    "read_csynth",
    "read_export",
    "read_power",
    "read_project",
    "read_timing",
    "read_utilization",
]
