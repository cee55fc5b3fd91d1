"""Axes: limits, linear or logarithmic, and round ticks."""

from dataclasses import dataclass
from math import ceil, floor, log10

from flow.reporting.numbers import significant


@dataclass(frozen=True)
class Scale:
    """A map from data to [0, 1].

    Attributes:
        low: data value at 0.
        high: data value at 1.
        log: logarithmic.
        ticks: position in data and label.
    """

    low: float
    high: float
    log: bool
    ticks: list[tuple[float, str]]

    def __call__(self, value: float) -> float:
        """Return the place of a value; values outside are put on the edge."""
        return min(max(self.beyond(value), 0.0), 1.0)

    def beyond(self, value: float) -> float:
        """Return the place of a value, outside of [0, 1] too; what a logarithm does not have is put on the lower edge."""
        if self.log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low)) if value > 0 else 0.0
        return (value - self.low) / (self.high - self.low)


def _linear_ticks(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / 5
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    places = max(0, -floor(log10(step) + 1e-9))
    values = [k * step for k in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
    big = max(abs(low), abs(high)) >= 1e6 or places > 4
    return [(v, significant(v, 3) if big else f"{v:.{places}f}".replace("-", "−")) for v in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    factors = (1, 2, 5) if high / low < 3000 else (1,)
    values = [f * 10.0**e for e in range(floor(log10(low)), ceil(log10(high)) + 1) for f in factors]
    return [(v, f"{v:g}" if 1e-3 <= v < 1e6 else f"{v:.0e}".replace("e-0", "e−").replace("e+0", "e")) for v in values if low <= v <= high]


def scale(values: list[float], bounds: list[float], log_from: float = 30.0) -> Scale:
    """Make a scale that shows all values and interval ends, with room at both sides.

    It is logarithmic where everything is positive and the values span more than a factor of `log_from` (and less than nine decades).

    Args:
        values: what is drawn, one or more.
        bounds: ends of intervals.
        log_from: from which factor on the scale is logarithmic.
    """
    low, high = min(values + bounds), max(values + bounds)
    if low > high * 1e-9 > 0 and max(values) / min(values) > log_from:
        room = (high / low) ** 0.06
        return Scale(low / room, high * room, True, _log_ticks(low / room, high * room))
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-9 * size else size
    span = span if span > 1e-200 else 1.0
    bottom, top = low - 0.07 * span, high + 0.09 * span
    if 0 <= low < 0.35 * span:
        bottom = 0.0
    return Scale(bottom, top, False, _linear_ticks(bottom, top))
