"""The synthetic reports of this folder, and who reads which."""

from pathlib import Path

from flow.vendor.reports import read_cosim, read_csynth, read_export, read_power, read_timing, read_utilization

DATA = Path(__file__).parent / "data"
READERS = {
    "*csynth.*": read_csynth,
    "*_cosim.rpt": read_cosim,
    "*_export.rpt": read_export,
    "*utilization*.rpt": read_utilization,
    "vivado_synth.rpt": read_utilization,
    "*timing*.rpt": read_timing,
    "*power*.rpt": read_power,
}
ALL = {path: read for pattern, read in READERS.items() for path in sorted(DATA.glob(pattern))}
