"""Pareto plots in pixels, for the template that writes them as inline SVG."""

from dataclasses import dataclass, replace

from flow.core.metric import Metric
from flow.reporting.panels import Dot, Panel
from flow.reporting.scale import Scale, scale

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 10, 46
LABEL_HEIGHT = 12
SHAPES = (
    "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
    "M-4.6 -4.6H4.6V4.6H-4.6Z",
    "M0 -6L5.8 4.4H-5.8Z",
    "M0 -6.6L5.6 0L0 6.6L-5.6 0Z",
    "M0 6L5.8 -4.4H-5.8Z",
    "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "M0 -6.4L6.1 -2L3.8 5.2H-3.8L-6.1 -2Z",
)
VIRIDIS = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141),
    (39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37),
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A point in pixels: `bar_x` and `bar_y` are the ends of the error bars, or None; `shape` is a number of `SHAPES`."""

    x: float
    y: float
    bar_x: tuple[float, float] | None
    bar_y: tuple[float, float] | None
    shape: int
    colour: int
    front: bool
    label: str
    words: str
    point: int


@dataclass(frozen=True)
class Drawing:
    """A plot in pixels; ticks are positions and labels, `line` is the path of the front."""

    panel: Panel
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    line: str
    marks: list[Mark]
    log_x: bool
    log_y: bool


@dataclass(frozen=True)
class Key:
    """Colours and markers of a study.

    Attributes:
        bits: weight bits, in order; the place is the number of the colour.
        regularizers: names, in order; the place is the number of the marker.
        points: number of each point, for links.
    """

    bits: list[int | None]
    regularizers: list[str]
    points: dict[str, int]

    def marker(self, regularizer: str) -> int:
        """Return the number of a marker; after seven they repeat."""
        return self.regularizers.index(regularizer) % len(SHAPES)

    def shape(self, regularizer: str) -> str:
        """Return the path of a marker."""
        return SHAPES[self.marker(regularizer)]


def blend(count: int, low: float, high: float) -> list[str]:
    """Return `count` colours between two places of the viridis map, which stays ordered for colour-blind readers and in grey.

    >>> blend(2, 0.0, 1.0)
    ['#440154', '#fde725']
    """
    colours = []
    for k in range(count):
        place = (low + (high - low) * (k / max(count - 1, 1))) * (len(VIRIDIS) - 1)
        left = min(int(place), len(VIRIDIS) - 2)
        mixed = (round(a + (b - a) * (place - left)) for a, b in zip(VIRIDIS[left], VIRIDIS[left + 1], strict=True))
        colours.append("#" + "".join(f"{channel:02x}" for channel in mixed))
    return colours


def _axis(metrics: list[Metric]) -> Scale:
    return scale([m.value for m in metrics], [end for m in metrics if m.ci is not None for end in m.ci])


def _legible(marks: list[Mark]) -> list[Mark]:
    """Take away labels that would lie on one that was placed before; the colour says the same."""
    kept: list[Mark] = []
    for i, m in enumerate(marks):
        wide = 9 * len(m.label)
        if m.label and any(abs(m.x - k.x) < max(wide, 9 * len(k.label)) and abs(m.y - k.y) < LABEL_HEIGHT for k in kept):
            marks[i] = replace(m, label="")
        elif m.label:
            kept.append(m)
    return marks


def draw(panel: Panel, key: Key) -> Drawing:
    """Place everything of a panel on a canvas of `WIDTH` x `HEIGHT`."""
    x_scale, y_scale = _axis([dot.x for dot in panel.dots]), _axis([dot.y for dot in panel.dots])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def px(value: float) -> float:
        return round(LEFT + x_scale(value) * (right - LEFT), 1)

    def py(value: float) -> float:
        return round(bottom - y_scale(value) * (bottom - TOP), 1)

    def mark(dot: Dot) -> Mark:
        bar_x = None if dot.x.ci is None else (px(dot.x.ci[0]), px(dot.x.ci[1]))
        bar_y = None if dot.y.ci is None else (py(dot.y.ci[0]), py(dot.y.ci[1]))
        label = str(dot.bits) if dot.front and dot.bits is not None else ""
        colour, number = key.bits.index(dot.bits), key.points[dot.name]
        return Mark(
            px(dot.x.value), py(dot.y.value), bar_x, bar_y, key.marker(dot.regularizer), colour, dot.front, label, dot.words, number
        )

    line = ""
    for dot in panel.front:
        x, y = px(dot.x.value), py(dot.y.value)
        line += f"H{x}V{y}" if line else f"M{x} {y}"
    marks = _legible(sorted(map(mark, panel.dots), key=lambda m: m.front))
    x_ticks = [(px(v), text) for v, text in x_scale.ticks]
    y_ticks = [(py(v), text) for v, text in y_scale.ticks]
    return Drawing(panel, WIDTH, HEIGHT, LEFT, right, TOP, bottom, x_ticks, y_ticks, line, marks, x_scale.log, y_scale.log)
