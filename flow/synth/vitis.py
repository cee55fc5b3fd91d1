"""The vendor's way: hls4ml's C++ through Vitis HLS (or Vivado HLS), its RTL through Vivado, out of context.

What is done is in `flow.vendor.plans`, as data; `flow.vendor.tools` says with which programs in which versions.
"""

from typing import TYPE_CHECKING

from flow.core.tool import Tool
from flow.vendor.tools import HLS, VIVADO

if TYPE_CHECKING:
    from flow.config import DesignPoint

TITLE = "Vitis HLS or Vivado HLS, then Vivado (they must be installed)"
TOOLS: tuple[Tool, ...] = (HLS, VIVADO)


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware: ``csynth``, and what ``vendor.cosim`` and ``vendor.vsynth`` ask for."""
    cosim = ("cosim",) if point.vendor.cosim else ()
    return ("csynth", *cosim, *(() if point.vendor.vsynth == "off" else ("vsynth",)))
