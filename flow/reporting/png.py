"""Pareto plots as PNG, with the object interface of matplotlib: no global state, no display."""

from io import BytesIO
from typing import Any

from flow.core.metric import Metric
from flow.reporting.panels import Dot, Panel
from flow.reporting.scale import Scale, scale
from flow.reporting.svg import Key, blend

MARKERS = ("o", "s", "^", "D", "v", "P", "p")


def _errors(metrics: list[Metric]) -> tuple[list[float], list[float]]:
    ends = [metric.ci or (metric.value, metric.value) for metric in metrics]
    below = [max(m.value - low, 0.0) for m, (low, _) in zip(metrics, ends, strict=True)]
    return below, [max(high - m.value, 0.0) for m, (_, high) in zip(metrics, ends, strict=True)]


def _dots(axes: Any, dots: list[Dot], marker: str, colour: str) -> None:  # noqa: ANN401  # matplotlib has no types
    x, y, best = [dot.x for dot in dots], [dot.y for dot in dots], dots[0].front
    has_x, has_y = any(metric.ci for metric in x), any(metric.ci for metric in y)
    axes.errorbar(
        [m.value for m in x], [m.value for m in y], yerr=_errors(y) if has_y else None, xerr=_errors(x) if has_x else None,
        fmt=marker, color=colour, capsize=2, elinewidth=1, markersize=7, alpha=1.0 if best else 0.35, zorder=3 if best else 2,
        markeredgecolor="black" if best else colour, markeredgewidth=0.7,
    )  # fmt: skip


def _cloud(axes: Any, panel: Panel, key: Key, colours: list[str]) -> None:  # noqa: ANN401
    alike: dict[tuple[str, str, bool], list[Dot]] = {}
    for dot in panel.dots:
        marker = MARKERS[key.regularizers.index(dot.regularizer) % len(MARKERS)]
        alike.setdefault((marker, colours[key.bits.index(dot.bits)], dot.front), []).append(dot)
    for (marker, colour, _), dots in alike.items():
        _dots(axes, dots, marker, colour)


def _axis(metrics: list[Metric]) -> Scale:
    return scale([m.value for m in metrics], [end for m in metrics if m.ci is not None for end in m.ci])


def render(columns: list[Panel], key: Key) -> bytes:
    """Draw panels side by side.

    Args:
        columns: the same score against different costs, one or more.
        key: colours and markers of the study.

    Returns:
        The PNG file; the same bytes for the same panels and the same matplotlib.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(5.2 * len(columns) + 1.4, 3.9), dpi=110)
    FigureCanvasAgg(figure)
    colours = blend(len(key.bits), 0.0, 0.74)
    for position, panel in enumerate(columns):
        axes = figure.add_subplot(1, len(columns), position + 1)
        line = panel.front
        axes.step([d.x.value for d in line], [d.y.value for d in line], where="post", color="0.35", linewidth=1.2, zorder=1)
        _cloud(axes, panel, key, colours)
        if _axis([d.x for d in panel.dots]).log:
            axes.set_xscale("log")
        if _axis([d.y for d in panel.dots]).log:
            axes.set_yscale("log")
        axes.set_xlabel(_text(panel.x_title), fontsize=8)
        axes.set_ylabel(_text(panel.y_title), fontsize=8, wrap=True)
        axes.tick_params(labelsize=8)
        axes.grid(True, alpha=0.25)
    handles = [Line2D([], [], marker="o", linestyle="", color=c, label=f"{b} bits") for b, c in zip(key.bits, colours, strict=True)]
    handles += [
        Line2D([], [], marker=MARKERS[k % len(MARKERS)], linestyle="", color="0.4", label=_text(name))
        for k, name in enumerate(key.regularizers)
    ]
    figure.legend(handles=handles, loc="center right", fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.09, right=0.86, bottom=0.14, top=0.96, wspace=0.28)
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _text(text: str) -> str:
    """Keep matplotlib from reading a formula into a name."""
    return text.replace("$", r"\$")
