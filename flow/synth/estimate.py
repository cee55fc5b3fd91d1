"""A fast estimate of what the open back end would find: no Verilog, no synthesis, milliseconds a point; for searches over thousands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow.config import DesignPoint

TITLE = "fast estimate from the weights, with its interval (no synthesis)"


def stages(point: "DesignPoint") -> tuple[str, ...]:
    """Return the stages of hardware."""
    return ("estimate",)
