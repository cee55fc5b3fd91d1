"""Numbers for people: three or four significant digits, intervals as ±."""

from collections.abc import Iterable
from math import floor, log10

from flow.core.metric import Metric


def _exponent(value: float) -> int:
    return floor(log10(abs(value))) if value else 0


def significant(value: float, digits: int = 4) -> str:
    """Write a number with a sensible count of digits; whole numbers are exact.

    >>> significant(1234.0), significant(0.0123456), significant(3.2e9)
    ('1234', '0.01235', '3.200e+09')
    """
    if float(value).is_integer() and abs(value) < 10_000_000:
        return str(int(value))
    exponent = _exponent(value)
    if not -5 < exponent < 7:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def half_width(metric: Metric) -> float | None:
    """Return the larger half of the 95 % interval; None without an interval."""
    return None if metric.ci is None else max(metric.ci[1] - metric.value, metric.value - metric.ci[0], 0.0)


def value_and_error(metric: Metric) -> tuple[str, str]:
    """Write the value and the half-width of its interval to the same place, two digits of the half-width.

    >>> value_and_error(Metric(1.23456, ci=(1.21, 1.25)))
    ('1.235', '0.025')

    Returns:
        The value and the half-width; the second is empty without an interval.
    """
    half = half_width(metric)
    if half is None:
        return significant(metric.value), ""
    top = max(abs(metric.value), half)
    if half == 0 or not -4 <= _exponent(top) < 6:
        return significant(metric.value), significant(half, 2)
    places = max(0, min(1 - _exponent(half), 4 - _exponent(top)))
    shown = f"{half:.{places}f}"
    return f"{metric.value:.{places}f}", shown if float(shown) else significant(half, 1)


def plus_minus(metric: Metric) -> str:
    """Write ``value ± half-width``, or the value alone."""
    value, error = value_and_error(metric)
    return f"{value} ± {error}" if error else value


def with_unit(metric: Metric) -> str:
    """Write ``value ± half-width unit``."""
    return f"{plus_minus(metric)} {metric.unit}".strip()


def signed(value: float) -> str:
    """Write a correlation or difference with its sign, with a true minus."""
    return f"{value:+.2f}".replace("-", "−")


def p_value(value: float) -> str:
    """Write a p-value with two digits, not below a thousandth.

    >>> p_value(0.0001), p_value(0.0342)
    ('<0.001', '0.034')
    """
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def listing(items: Iterable[str], most: int = 8) -> str:
    """Join texts with commas; after `most` of them only the count goes on.

    >>> listing(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    texts = list(items)
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
