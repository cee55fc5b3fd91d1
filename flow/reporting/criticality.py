"""The map of single bits as pictures: parameter by parameter, what each deployed bit does when it flips alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from flow.reporting.arrays import Array, Floats, read
from flow.reporting.bitmap import data_uri
from flow.reporting.numbers import significant
from flow.reporting.result import PointResult
from flow.reporting.scale import Scale, scale
from flow.reporting.shapes import places_of, representatives

START = "single_bit_map_"
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 800, 66, 74, 6, 20
COLUMNS = 256
"""Words side by side."""
STRIPS = 12
"""Strips of words, one below the other; a parameter that needs more shows the worst of several words in a column."""
CELL, ROW = 16.0, 8.0
"""The largest width and the height of a bit, in pixels."""
DECADES = 4
"""Between the most harmful bit and the lowest colour."""
BARS, BAR_ROW = 360, 14
LONGEST = 26
"""Letters beside a bar."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bar:
    """A bar in pixels: its words, place, length, and the number behind it."""

    words: str
    y: float
    length: float
    text: str


@dataclass(frozen=True)
class Bars:
    """Bars below each other."""

    title: str
    bars: list[Bar]
    height: float
    left: int
    width: int = BARS


@dataclass(frozen=True)
class Picture:
    """The bits of a parameter.

    Attributes:
        title: which parameter.
        words: size, number format, and how it is drawn.
        image: address that holds the image.
        wide: of the image, in pixels.
        height: of the drawing.
        marks: beside each strip: place, words at the left (a bit) and at the right (numbers of the words).
        worst: place of the worst bit, if it is here.
        bars: mean degradation by bit place.
    """

    title: str
    words: str
    image: str
    wide: float
    height: float
    marks: list[tuple[float, str, str]]
    worst: tuple[float, float] | None
    bars: Bars
    left: int = LEFT
    top: int = TOP
    width: int = WIDTH


@dataclass(frozen=True)
class Row:
    """A row of the table of parameters."""

    name: str
    words: int
    bits: int
    mean: str
    worst: str
    matter: str
    visible: str
    share: float


@dataclass(frozen=True)
class BitMapView:
    """The map of a point.

    Attributes:
        name: of the point.
        roles: why it is drawn.
        words: what the map says, in sentences.
        pictures: one for each parameter.
        rows: one for each parameter, and one for all.
        ticks: places on the bar of colours, from 0 to 1, and labels.
        log: the colours are on a logarithmic scale.
        threshold: place of the visible degradation on it, or None: beyond.
        unit: of the degradation.
    """

    name: str
    roles: list[str]
    words: list[str]
    pictures: list[Picture]
    rows: list[Row]
    ticks: list[tuple[float, str]]
    log: bool
    threshold: float | None
    unit: str


@dataclass(frozen=True)
class _Map:
    """The arrays of a map: by bit (B,), and by parameter."""

    harm: Floats
    changed: Floats
    word: Ints
    place: Ints
    tensor: Ints
    names: list[str]
    roles: list[str]
    widths: Ints
    signed: NDArray[np.bool_]
    shapes: list[tuple[int, ...]]
    threshold: float

    @property
    def visible(self) -> NDArray[np.bool_]:
        return np.asarray((self.harm >= self.threshold) & (self.harm > 0))

    def table(self, k: int) -> Floats:
        """Return the degradations of a parameter, (words, bits), the lowest bit first."""
        return np.asarray(self.harm[self.tensor == k].reshape(-1, int(self.widths[k])))


def _arrays(found: Mapping[str, Array]) -> _Map | None:
    """Read a map; None if the point has none."""
    if f"{START}degradation" not in found:
        return None
    f = {name.removeprefix(START): values for name, values in found.items()}
    shapes = [tuple(int(n) for n in row if n > 0) or (1,) for row in f["shapes"]]
    harm, changed = (f[key].astype(np.float64) for key in ("degradation", "changed"))
    word, place, tensor, widths = (f[key].astype(np.int64) for key in ("word", "place", "tensor", "widths"))
    names, roles = ([str(text) for text in f[key]] for key in ("layers", "roles"))
    return _Map(
        harm, changed, word, place, tensor, names, roles, widths, f["signed"].astype(bool), shapes, float(f["threshold"].astype(np.float64))
    )


def _wrap(words: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Choose how many columns a strip has, and how many words a column stands for; whole outputs to a strip where they fit."""
    each = max(1, ceil(words / (COLUMNS * STRIPS)))
    columns, inner = ceil(words / each), max(1, int(np.prod(shape[1:], dtype=np.int64)))
    if columns <= COLUMNS:
        return columns, each
    if each == 1 and inner <= COLUMNS:
        return inner * (COLUMNS // inner), each
    strips = ceil(columns / COLUMNS)
    return ceil(columns / strips), each


def _bit(place: int, bits: int, signed: bool) -> str:
    return "sign" if signed and place == bits - 1 else "MSB" if place == bits - 1 else "LSB" if place == 0 else f"bit {place}"


def _picture(found: _Map, k: int, colours: Scale, worst: int) -> Picture:
    """Draw a parameter; a strip has a row for each bit, the sign at the top, and strips are a row apart."""
    table, bits, signed = found.table(k), int(found.widths[k]), bool(found.signed[k])
    columns, each = _wrap(len(table), found.shapes[k])
    strips = ceil(len(table) / (columns * each))
    padded = np.full((strips * columns * each, bits), -np.inf)
    padded[: len(table)] = table
    cells = padded.reshape(strips, columns, each, bits).max(axis=2)
    cells = np.where(np.isfinite(cells), cells, np.nan)
    grid = np.full((strips, bits + 1, columns), np.nan)
    grid[:, :bits] = cells.transpose(0, 2, 1)[:, ::-1]
    rows = grid.reshape(-1, columns)[:-1]
    wide = min(CELL * columns, WIDTH - LEFT - RIGHT)
    marks = []
    for s in range(strips):
        top, first = TOP + s * (bits + 1) * ROW, s * columns * each
        last = min(first + columns * each, len(table)) - 1
        marks.append((round(top + ROW / 2, 1), _bit(bits - 1, bits, signed), f"{first}–{last}" if last > first else str(first)))
        marks += [(round(top + (bits - 0.5) * ROW, 1), "LSB", "")] if bits > 1 else []
    at = None
    inside = worst - int(np.argmax(found.tensor == k))
    if found.tensor[worst] == k:
        word, place = divmod(inside, bits)
        strip, column = divmod(word // each, columns)
        at = (round(LEFT + (column + 0.5) * wide / columns, 1), round(TOP + (strip * (bits + 1) + bits - place - 0.5) * ROW, 1))
    several = f"; each column is the worst of {each} words" if each > 1 else ""
    words = f"{' × '.join(map(str, found.shapes[k]))}, {bits} bits each{', signed' if signed else ''}{several}"
    places = np.where(np.isnan(rows), np.nan, places_of(np.nan_to_num(rows, nan=colours.low), colours))
    means = [(_bit(place, bits, signed), float(table[:, place].mean())) for place in reversed(range(bits))]
    return Picture(
        f"{found.names[k]}, {found.roles[k]}", words, data_uri(places), round(wide, 1), TOP + len(rows) * ROW + BOTTOM, marks, at,
        bars("Mean by bit place", means),
    )  # fmt: skip


def bars(title: str, values: list[tuple[str, float]]) -> Bars:
    """Draw bars from 0; what is below has none."""
    most = max((value for _, value in values), default=0.0)
    names = [words if len(words) <= LONGEST else f"…{words[1 - LONGEST :]}" for words, _ in values]
    left = 14 + 7 * max(map(len, names), default=0)
    room = BARS - left - 70
    drawn = [
        Bar(name, k * BAR_ROW + 2, round(max(value, 0.0) / most * room if most > 0 else 0.0, 1), significant(value, 3).replace("-", "−"))
        for k, (name, (_, value)) in enumerate(zip(names, values, strict=True))
    ]
    return Bars(title, drawn, len(values) * BAR_ROW + 4, left)


def _row(name: str, words: int, harm: Floats, changed: Floats, visible: NDArray[np.bool_]) -> Row:
    share = 100 * float(visible.mean())
    return Row(
        name, words, len(harm), significant(float(harm.mean()), 3), significant(float(harm.max()), 3),
        f"{significant(100 * float((changed > 0).mean()), 3)} %", f"{significant(share, 3)} %", round(share, 2),
    )  # fmt: skip


def _where(found: _Map, worst: int) -> str:
    k = int(found.tensor[worst])
    word = int(found.word[worst]) - int(found.word[found.tensor == k].min())
    index = ", ".join(str(int(i)) for i in np.unravel_index(word, found.shapes[k]))
    bit = _bit(int(found.place[worst]), int(found.widths[k]), bool(found.signed[k]))
    return f"{bit if bit != 'sign' else 'sign bit'} of {found.roles[k]} {word} [{index}] of {found.names[k]}"


def _colours(found: _Map) -> Scale:
    top = float(found.harm.max())
    positive = found.harm[found.harm > 0]
    low = max(float(positive.min()), top * 10.0**-DECADES)
    return scale([min(low, top / 11), top], [], 10.0)


def bit_map(result: PointResult, roles: list[str]) -> BitMapView | None:
    """Draw the map of a point; None if it has none."""
    found = _arrays(read(result.shapes, START))
    if found is None:
        return None
    metric = next((m for name, m in result.metrics.items() if name.endswith("_single_bit_map_1")), None)
    unit = metric.unit if metric is not None else ""
    of_unit = f" {unit}" if unit else ""
    rows = [
        _row(f"{found.names[k]}, {found.roles[k]}", len(found.table(k)), found.harm[mine], found.changed[mine], found.visible[mine])
        for k in range(len(found.names))
        if (mine := found.tensor == k).any()
    ]
    rows.append(_row("all", len(np.unique(found.word)), found.harm, found.changed, found.visible))
    total, seen = len(found.harm), int(found.visible.sum())
    source = f" ({metric.source})" if metric is not None and metric.source else ""
    words = [
        f"{seen} of {total} bits ({significant(100 * seen / total, 3)} %) are visible when they flip alone: they cost "
        f"{significant(found.threshold, 3)}{of_unit} or more; {int((found.changed > 0).sum())} change the score of some sample{source}."
    ]
    worst = int(np.argmax(found.harm))
    if found.harm[worst] <= 0:
        return BitMapView(result.name, roles, [*words, "No bit makes the mean score worse."], [], rows, [], False, None, unit)
    words.append(f"The worst bit, in a ring, is the {_where(found, worst)}: {significant(float(found.harm[worst]), 3)}{of_unit}.")
    colours = _colours(found)
    pictures = [_picture(found, k, colours, worst) for k in range(len(found.names)) if (found.tensor == k).any()]
    ticks = [(round(colours(value), 4), text) for value, text in colours.ticks]
    threshold = round(colours(found.threshold), 4) if colours.low <= found.threshold <= colours.high else None
    return BitMapView(result.name, roles, words, pictures, rows, ticks, colours.log, threshold, unit)


def map_json(result: PointResult) -> list[dict[str, object]]:
    """Return the map of a point by parameter: mean and largest degradation, share of visible bits, and the mean by place of the bit."""
    found = _arrays(read(result.shapes, START))
    if found is None:
        return []
    tables = [(k, found.table(k), found.visible[found.tensor == k]) for k in range(len(found.names)) if (found.tensor == k).any()]
    return [
        {
            "layer": found.names[k], "role": found.roles[k], "words": len(table), "bits": int(found.widths[k]),
            "mean": float(table.mean()), "worst": float(table.max()), "visible_percent": 100 * float(visible.mean()),
            "mean_by_place_from_lowest": [float(value) for value in table.mean(axis=0)],
        }
        for k, table, visible in tables
    ]  # fmt: skip


def bit_maps(results: list[PointResult]) -> list[BitMapView]:
    """Draw the maps of the points that are drawn of a study."""
    by_name = {result.name: result for result in results}
    drawn = [bit_map(by_name[name], roles) for name, roles in representatives(results).items()]
    return [one for one in drawn if one is not None]
