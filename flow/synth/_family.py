"""What a module of an FPGA family provides; `flow.synth.open` dispatches on the family of the part."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from flow.synth._plan import Counts

if TYPE_CHECKING:
    from flow.config import DesignPoint

Row = tuple[str, Callable[[int, re.Match[str]], Counts]]


class Family(Protocol):
    """A module of `flow.synth`.

    Attributes:
        FAMILIES: names of `flow.synth._parts.Part.family` that it is for.
        SIM_LIBRARY: files of Yosys that simulate the cells.
        PRIMITIVES: pattern of names of cells, and what n of them count as.
        DSP_BITS: of the narrowest product of two signals that Yosys maps to a DSP slice, where it may.

    It may also have ``UNITS``, units and titles by id of resources that are not Xilinx's, and ``refine(counts, module, family) -> Counts``,
    which adds what only the connections of a netlist tell.
    """

    @property
    def FAMILIES(self) -> tuple[str, ...]: ...  # noqa: N802 - a constant of a module

    @property
    def SIM_LIBRARY(self) -> tuple[str, ...]: ...  # noqa: N802

    @property
    def PRIMITIVES(self) -> tuple[Row, ...]: ...  # noqa: N802

    @property
    def DSP_BITS(self) -> int: ...  # noqa: N802

    def stages(self, point: "DesignPoint") -> tuple[str, ...]:
        """Return the stages of hardware."""

    def script(
        self, top: str, sources: Mapping[str, str], black_boxes: tuple[str, ...], family: str, options: Mapping[str, bool]
    ) -> str:  # fmt: skip
        """Return the commands of Yosys from reading to mapped cells.

        Args:
            top: module that is mapped.
            sources: Verilog text by relative path.
            black_boxes: modules inside that are mapped in runs of their own.
            family: one of `FAMILIES`.
            options: of the back end.
        """
