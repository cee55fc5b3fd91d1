"""Times in a unit that fits."""

from dataclasses import replace

from flow.core.metric import Metric

UNITS = (("million years", 365.25e6), ("years", 365.25), ("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440), ("seconds", 1 / 86400))


def duration(days: float, unit: tuple[str, float] | None = None) -> str:
    """Write a time in the unit in which it is a number of two or so figures.

    >>> duration(3.25), duration(0.05), duration(40000.0)
    ('3.25 days', '1.2 hours', '110 years')
    """
    name, size = unit or unit_of(days)
    return f"{three(days / size)} {name}"


def unit_of(days: float) -> tuple[str, float]:
    """Choose the unit of a time: the largest of which there are two."""
    return next((unit for unit in UNITS if days >= 2 * unit[1]), UNITS[-1])


def three(value: float) -> str:
    """Write three figures at most, without zeros behind the point."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}" if value < 1e7 else f"{value:.2e}"


def fitting(metric: Metric) -> Metric:
    """Return a metric in days in the unit that fits it, and any other as it is."""
    if metric.unit != "days":
        return metric
    name, size = unit_of(metric.value)
    ci = None if metric.ci is None else (metric.ci[0] / size, metric.ci[1] / size)
    return replace(metric, value=metric.value / size, unit=name, ci=ci)
