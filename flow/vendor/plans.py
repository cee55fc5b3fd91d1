"""What the vendor's programs are to do, as pure data: Tcl scripts and commands."""

import re
from dataclasses import dataclass

from flow.core.errors import ConfigError
from flow.synth._plan import BuildPlan, Command
from flow.vendor.tools import VIVADO, VIVADO_HLS, arguments

SOLUTION = "solution1"  # where hls4ml and everybody else looks for reports
MOST_ELEMENTS = 4096  # of a partitioned array; the default of Vivado HLS is 1024, and its unrolling stops at this number anyway
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
UTILIZATION, HIERARCHY, TIMING, POWER = "utilization.rpt", "utilization_hierarchical.rpt", "timing.rpt", "power.rpt"


@dataclass(frozen=True)
class Target:
    """What is built, for what.

    Attributes:
        top: top-level function or module.
        part: full name of the part.
        clock_ns: target period.
        uncertainty: share of it that high-level synthesis leaves free, in percent.
    """

    top: str
    part: str
    clock_ns: float
    uncertainty: float = 27.0

    def __post_init__(self) -> None:
        """Refuse what must not stand in a script.

        Raises:
            ConfigError: a name with other characters than those of parts and functions.
        """
        for key, value in (("name", self.top), ("hardware.part", self.part)):
            if not WORD.fullmatch(value):
                raise ConfigError(f"{key} = {value!r}: only letters, digits, '_', '-' and '.' can be given to the vendor's tools.")


def _hls_project(target: Target, program: str, version: str) -> str:
    """Return the Tcl that makes the project of high-level synthesis, as hls4ml's own script does.

    Vivado HLS partitions no array of more than 1024 elements unless it is told; Vitis HLS has no such option ([HLS 200-642]).
    """
    options = [f"config_compile -name_max_length 80\nset_part {{{target.part}}}\nconfig_schedule -enable_dsp_full_reg=false"]
    if program == VIVADO_HLS.name:
        options = [
            f"config_array_partition -maximum_size {MOST_ELEMENTS}\nconfig_compile -name_max_length 80\nset_part {{{target.part}}}",
            "catch {config_schedule -enable_dsp_full_reg=false}",
        ]
    return f"""# {program} {version}
open_project -reset {target.top}_prj
set_top {target.top}
add_files firmware/{target.top}.cpp -cflags "-std=c++0x"
add_files -tb {target.top}_test.cpp -cflags "-std=c++0x -DRTL_SIM"
add_files -tb firmware/weights
add_files -tb tb_data
open_solution -reset "{SOLUTION}"
{chr(10).join(options)}
create_clock -period {target.clock_ns:g} -name default
set_clock_uncertainty {target.uncertainty:g}% default
csynth_design
"""


def _one(name: str, program: str, script: str) -> BuildPlan:
    file = f"{name}.tcl"
    return BuildPlan({file: script}, ((Command(name, program, arguments(program, file)),),))


def csynth_plan(target: Target, program: str, version: str) -> BuildPlan:
    """Plan high-level synthesis, to be executed in a copy of the hls4ml project.

    Args:
        target: what, for what.
        program: ``vitis-run``, ``vitis_hls`` or ``vivado_hls``.
        version: of it.
    """
    return _one("csynth", program, _hls_project(target, program, version) + "exit\n")


def cosim_plan(target: Target, program: str, version: str) -> BuildPlan:
    """Plan the simulation of the RTL with the C++ testbench, to be executed in a copy of the hls4ml project.

    A solution has absolute paths in it and cannot be carried from one folder into another, so it is synthesized again. The
    testbench writes the outputs of the RTL to ``tb_data/rtl_cosim_results.log``.
    """
    return _one("cosim", program, _hls_project(target, program, version) + "cosim_design -rtl verilog -trace_level none\nexit\n")


def vsynth_plan(target: Target, version: str, route: bool, top: str = "") -> BuildPlan:
    """Plan an out-of-context run of Vivado on the Verilog in ``rtl/``.

    Args:
        target: what, for what.
        version: of Vivado.
        route: go on to a routed design; else only to a mapped one, optimised as hls4ml's own script does.
        top: module; empty: named as the function.
    """
    clock = f"create_clock -period {target.clock_ns:g} -name ap_clk [get_ports ap_clk]\n"
    steps = "opt_design\nplace_design\nphys_opt_design\nroute_design"
    if not route:
        steps = "opt_design -retarget -propconst -sweep -bram_power_opt -shift_register_opt"
    script = f"""# {VIVADO.name} {version}
create_project -in_memory -part {{{target.part}}}
add_files rtl
foreach script [glob -nocomplain rtl/*.tcl] {{ source $script }}
read_xdc -mode out_of_context clock.xdc
synth_design -mode out_of_context -top {top or target.top} -part {{{target.part}}}
{steps}
report_utilization -file {UTILIZATION}
report_utilization -hierarchical -file {HIERARCHY}
report_timing_summary -file {TIMING}
report_power -file {POWER}
exit
"""
    plan = _one("vsynth", VIVADO.name, script)
    return BuildPlan({**plan.files, "clock.xdc": clock}, plan.groups)
