"""Which programs of AMD/Xilinx there are, in which versions, and how they are called.

High-level synthesis has had three front ends: ``vivado_hls`` up to 2020.1, ``vitis_hls`` from 2020.1 to 2024.1, and ``vitis-run`` for
all that came after. hls4ml's C++ is made for Vitis HLS; Vivado HLS before 2018.2 is refused, as hls4ml does.
"""

from flow.core.tool import OneOf, Tool

VERSION = r"(?:\bv|\bVersion )(20\d\d\.\d+(?:\.\d+)?)"
INSTALL = (
    "Install AMD Vitis (or Vivado) and source its settings64.sh, or point HLSCAPE_LAUNCHER at a container or a batch system that has it."
)


def _program(name: str, version: str, minimum: tuple[int, int], maximum: tuple[int, ...] = ()) -> Tool:
    return Tool(name, ((name,),), INSTALL, (version,), VERSION, minimum, maximum, launched=True)


VITIS_RUN = _program("vitis-run", "--version", (2024, 1))
VITIS_HLS = _program("vitis_hls", "-version", (2020, 1), (2024, 1))
VIVADO_HLS = _program("vivado_hls", "-version", (2018, 2), (2020, 1))
VIVADO = _program("vivado", "-version", (2018, 2))
HLS = OneOf("high-level synthesis", (), INSTALL, programs=(VITIS_RUN, VITIS_HLS, VIVADO_HLS), launched=True)


def arguments(program: str, script: str) -> tuple[str, ...]:
    """Return the arguments with which a program executes a Tcl script.

    Args:
        program: name of one of the tools of this module.
        script: its file, in the working folder.
    """
    return {
        VITIS_RUN.name: ("--mode", "hls", "--tcl", script),
        VITIS_HLS.name: ("-f", script),
        VIVADO_HLS.name: ("-f", script),
        VIVADO.name: ("-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", script),
    }[program]
