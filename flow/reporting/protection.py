"""What hardening buys: visible errors that remain against the cells that were spent, by method and by which bits come first."""

from collections.abc import Mapping
from dataclasses import dataclass

from flow.reporting.arrays import Array, read
from flow.reporting.numbers import significant
from flow.reporting.result import PointResult
from flow.reporting.scale import scale

START = "harden_"
WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 12, 46
STORES = {"tmr": "triplicated bits", "ecc": "Hamming codes"}
"""Methods that protect a share of the bits of the weight store."""
WHOLE = {"registers": "triplicated registers", "clip": "clipped activations"}
"""Methods that change the network as a whole."""
ORDERS = {"": "most critical bits first", "_random": "bits at random", "_msb": "highest bits first"}
COLOURS = {"tmr": "validation", "ecc": "third", "clip": "warm", "registers": "grey"}
DASHES = {"": "", "_random": "5 4", "_msb": "1.5 3"}
MEASURES = {"visible": "visible errors, % of upsets", "degradation": "degradation per upset"}
COSTS = {"lut": "look-up tables", "ff": "flip-flops"}
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Line:
    """A line in pixels, with dots; `labels` are x, y and words beside a dot, `tips` one for each dot."""

    css: str
    dash: str
    path: str
    dots: list[tuple[float, float]]
    tips: list[str]


@dataclass(frozen=True)
class Chart:
    """Remaining visible errors against a cost, in pixels."""

    title: str
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    labels: list[tuple[float, float, str, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Row:
    """A row of the table: method, what is protected, cells more and their share of the network, visible errors and degradation left."""

    method: str
    share: str
    cells: list[tuple[str, str]]
    left: list[tuple[str, str]]


@dataclass(frozen=True)
class Protection:
    """The hardened designs of a point.

    Attributes:
        name: of the point.
        charts: one for each cost.
        key: colour, dash and words of each line.
        orders: words for the columns of what remains.
        rows: of the table.
        network: words for the unprotected network and store.
    """

    name: str
    charts: list[Chart]
    key: list[tuple[str, str, str]]
    orders: list[str]
    rows: list[Row]
    network: list[str]


def _values(arrays: Arrays, name: str) -> list[float]:
    found = arrays.get(f"{START}{name}")
    return [] if found is None else [float(v) for v in found.astype(float).reshape(-1)]


def _first(arrays: Arrays, name: str) -> float | None:
    return next(iter(_values(arrays, name)), None)


def _measure(arrays: Arrays) -> str:
    """Choose what is drawn: visible errors, or the degradation where the first share of the bits leaves no visible error."""
    known = [values for method in STORES if (values := _values(arrays, f"{method}_visible"))]
    return "degradation" if known and all(values[0] == 0 for values in known) else "visible"


def _lines(arrays: Arrays, cost: str, what: str) -> list[tuple[str, str, list[tuple[float, float, float]]]]:
    """Return method, order, and (cost, what remains, share) of each design, the bare store first."""
    bare = _first(arrays, f"bare_{what}")
    found = []
    for method in STORES:
        spent, shares = _values(arrays, f"{method}_{cost}"), _values(arrays, f"{method}_share")
        for order in ORDERS:
            left = _values(arrays, f"{method}_{what}{order}")
            if spent and len(spent) == len(left) == len(shares):
                start = [(0.0, bare, 0.0)] if bare is not None else []
                found.append((method, order, [*start, *zip(spent, left, shares, strict=True)]))
    for method in WHOLE:
        spent_, left_, network = _first(arrays, f"{method}_{cost}"), _first(arrays, f"{method}_{what}"), _first(arrays, f"network_{cost}")
        if spent_ is not None and left_ is not None and network is not None:
            found.append((method, "", [(spent_ - network, left_, 1.0)]))
    return found


def _chart(arrays: Arrays, cost: str, unit: str) -> Chart | None:
    what = _measure(arrays)
    lines = _lines(arrays, cost, what)
    if not lines:
        return None
    x_scale = scale([0.0, *(x for _, _, dots in lines for x, _, _ in dots)], [], 1e99)
    y_scale = scale([0.0, *(y for _, _, dots in lines for _, y, _ in dots)], [], 1e99)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + x_scale(x) * (right - LEFT), 1), round(bottom - y_scale(y) * (bottom - TOP), 1)

    drawn, labels = list[Line](), list[tuple[float, float, str, str]]()
    for method, order, dots in lines:
        places = [at(x, y) for x, y, _ in dots]
        tips = [_tip(method, order, cost, what, dot) for dot in dots]
        path = "M" + "L".join(f"{x} {y}" for x, y in places) if len(places) > 1 else ""
        drawn.append(Line(COLOURS[method], DASHES[order], path, places, tips))
        if not order and method in STORES:
            labels += [
                (x + 6, y - 5, f"{100 * share:.3g} %", COLOURS[method]) for (x, y), (_, _, share) in zip(places, dots, strict=True) if share
            ]
    x_ticks = [(at(value, 0)[0], text) for value, text in x_scale.ticks]
    y_ticks = [(at(0, value)[1], text) for value, text in y_scale.ticks]
    return Chart(
        f"{'Visible errors' if what == 'visible' else 'Degradation'} against {COSTS[cost]}", f"{COSTS[cost]} spent",
        MEASURES[what] + (f" [{unit}]" if unit and what == "degradation" and len(unit) < 18 else ""), x_ticks, y_ticks, drawn,
        _legible(labels, right),
    )  # fmt: skip


def _legible(labels: list[tuple[float, float, str, str]], right: float) -> list[tuple[float, float, str, str]]:
    """Keep the labels that do not lie on one that was placed before; those at the edge go to the left of their dot."""
    kept = list[tuple[float, float, str, str]]()
    for x, y, text, css in labels:
        wide = 7.6 * len(text)
        start = x if x + wide < right else x - 12 - wide
        if all(abs(y - other) >= 12 or start + wide < place or place + 7.6 * len(words) < start for place, other, words, _ in kept):
            kept.append((round(start, 1), y, text, css))
    return kept


def _tip(method: str, order: str, cost: str, what: str, dot: tuple[float, float, float]) -> str:
    x, y, share = dot
    if method in WHOLE:
        return f"{WHOLE[method]}\n{x:+.0f} {COSTS[cost]}\n{MEASURES[what]}: {significant(y, 3)}"
    bits = f"{100 * share:.3g} % of the bits, {ORDERS[order]}" if share else "no protection"
    return f"{STORES[method]}: {bits}\n{x:.0f} {COSTS[cost]}\n{MEASURES[what]}: {significant(y, 3)}"


def _relative(value: float, whole: float | None) -> str:
    return f"{100 * value / whole:.3g} %" if whole else "–"


def _left(arrays: Arrays, method: str, order: str, k: int) -> tuple[str, str]:
    visible, worse = (_values(arrays, f"{method}_{what}{order}") for what in MEASURES)
    return f"{significant(visible[k], 3)} %" if k < len(visible) else "–", significant(worse[k], 3) if k < len(worse) else ""


def _rows(arrays: Arrays, orders: list[str]) -> list[Row]:
    network = {cost: _first(arrays, f"network_{cost}") for cost in COSTS}
    rows = []
    for method, words in STORES.items():
        for k, share in enumerate(_values(arrays, f"{method}_share")):
            spent = {cost: _values(arrays, f"{method}_{cost}") for cost in COSTS}
            cells = [(f"{v[k]:.0f}", _relative(v[k], network[cost])) if k < len(v) else ("–", "") for cost, v in spent.items()]
            rows.append(Row(words, f"{100 * share:.3g} %", cells, [_left(arrays, method, order, k) for order in orders]))
    for method, words in WHOLE.items():
        cells = []
        for cost in COSTS:
            value, whole = _first(arrays, f"{method}_{cost}"), network[cost]
            known = value is not None and whole is not None
            cells.append((f"{value - whole:.0f}", _relative(value - whole, whole)) if known and value is not None and whole else ("–", ""))
        if any(text != "–" for text, _ in cells):
            rows.append(Row(words, "all", cells, [_left(arrays, method, "", 0), *[("–", "")] * (len(orders) - 1)]))
    return rows


def _network(arrays: Arrays, unit: str) -> list[str]:
    words = []
    lut, ff = _first(arrays, "network_lut"), _first(arrays, "network_ff")
    if lut is not None and ff is not None:
        words.append(f"The unprotected network has {lut:.0f} look-up tables and {ff:.0f} flip-flops")
    store = [_first(arrays, f"bare_{name}") for name in ("lut", "ff", "visible", "degradation")]
    if store[0] is not None and store[1] is not None:
        words.append(f"the store of its weights, without protection, {store[0]:.0f} and {store[1]:.0f}")
    if store[2] is not None and store[3] is not None:
        words.append(
            f"of the upsets of that store {significant(store[2], 3)} % are visible, with a mean degradation of "
            f"{significant(store[3], 3)} {unit}".strip()
        )
    after, before = _first(arrays, "registers_changed"), _first(arrays, "registers_bare_changed")
    if after is not None and before is not None:
        shares = f"{significant(before, 3)} % to {significant(after, 3)} %"
        words.append(f"triplicated registers take the upsets of registers that change an output from {shares}")
    clean = _first(arrays, "clip_clean")
    if clean is not None:
        words.append(f"clipping costs clean samples {significant(clean, 3)} {unit}".strip())
    return words


def protection(result: PointResult) -> Protection | None:
    """Draw what hardening buys; None if nothing was hardened."""
    arrays = read(result.shapes, START)
    methods = [m for m in (*STORES, *WHOLE) if f"{START}{m}_lut" in arrays]
    if not methods:
        return None
    unit = next((m.unit for name, m in result.metrics.items() if name.endswith("_single_bit_map_1")), "")
    drawn = [chart for cost in COSTS if (chart := _chart(arrays, cost, unit)) is not None]
    orders = [order for order in ORDERS if any(f"{START}{m}_visible{order}" in arrays for m in methods)] or [""]
    key = [(COLOURS[m], DASHES[o], f"{STORES[m]}, {ORDERS[o]}") for m, o, _ in _lines(arrays, "lut", "visible") if m in STORES]
    key += [(COLOURS[m], "dot", WHOLE[m]) for m in WHOLE if f"{START}{m}_visible" in arrays]
    return Protection(result.name, drawn, key, [ORDERS[order] for order in orders], _rows(arrays, orders), _network(arrays, unit))
