"""A number with its unit, its uncertainty and where it comes from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["measured", "estimate", "csynth", "mapped", "routed"]
Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Metric:
    """One number of a design point.

    Attributes:
        value: finite; a measurement that does not exist is absent, never 0 or NaN.
        unit: for example ``LUT``, ``ns``, ``cycles``, ``TC pitch / 2``; empty for a pure number.
        kind: provenance class. ``measured``: counted on data or in simulation. Hardware cost is
            ``estimate < csynth < mapped < routed``; two classes are never compared with each other.
        direction: which way is better.
        ci: 95 % confidence interval ``(low, high)`` of a sampled figure.
        source: tool or method with its version.
        part: the FPGA part a hardware cost belongs to.
        title: words for a table or an axis.
    """

    value: float
    unit: str = ""
    kind: Kind = "measured"
    direction: Direction = "none"
    ci: tuple[float, float] | None = None
    source: str = ""
    part: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse what is not a finite number.

        Raises:
            ValueError: for NaN or infinity.
        """
        if not all(math.isfinite(v) for v in (self.value, *(self.ci or ()))):
            raise ValueError(f"metric {self.title!r} is not finite: {self.value}, {self.ci}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document; the provenance class is called ``class`` there."""
        document = asdict(self)
        document["class"] = document.pop("kind")
        document["ci"] = list(self.ci) if self.ci is not None else None
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Metric":
        """Read what `to_json` wrote."""
        fields = {k: v for k, v in document.items() if k not in ("class", "ci")}
        ci = document["ci"]
        return cls(**fields, kind=document["class"], ci=None if ci is None else (ci[0], ci[1]))

    @property
    def tool(self) -> str:
        """Who counted, if it is a matter of who counts: the first word of the source of a cost that a synthesis tool gives.

        >>> Metric(7, kind="mapped", source="yosys 0.70").tool
        'yosys'
        """
        return self.source.partition(" ")[0] if self.kind in ("csynth", "mapped", "routed") else ""

    @property
    def axis(self) -> tuple[str, str, str, str]:
        """What must be the same for two metrics to stand on one axis: unit, provenance class, part and tool."""
        return self.unit, self.kind, self.part, self.tool

    def comparable(self, other: "Metric") -> bool:
        """Tell whether the two may stand on one axis: a LUT of Yosys is not one of Vivado."""
        return self.axis == other.axis
