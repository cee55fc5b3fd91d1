"""The section on robustness: degradation curves, the map of single bits, the time to a visible error, registers and protection."""

from dataclasses import dataclass
from math import isfinite

from flow.reporting.arrays import read
from flow.reporting.catalog import task_score, title
from flow.reporting.criticality import BitMapView, bit_maps, map_json
from flow.reporting.degradation import FEW, Chart, Series, all_series, charts, tolerance
from flow.reporting.perturbation import levels, of_curve
from flow.reporting.protection import START as HARDENED
from flow.reporting.protection import Protection, protection
from flow.reporting.result import PointResult
from flow.reporting.shapes import representatives
from flow.reporting.svg import Key
from flow.reporting.upsets import REGISTER_START, REGISTERS, Registers, Times, registers, times
from flow.reporting.upsets import START as DAYS

NEW = (DAYS, HARDENED, "register_")


@dataclass(frozen=True)
class Figures:
    """A row of the table of whole curves: perturbation, unit of its strengths, and by line area and critical strength with their ranges."""

    title: str
    unit: str
    cells: list[tuple[tuple[str, str], tuple[str, str]]]


@dataclass(frozen=True)
class Robustness:
    """All that is drawn.

    Attributes:
        words: how to read the curves.
        series: what the lines are, for the key.
        main: the curves that stand for all.
        more: the others, by what they act on.
        table: figures of whole curves.
        maps: of the points that are drawn.
        times: to a visible error by an upset of weights and biases, and of pipeline registers, or None.
        registers: of the points that are drawn.
        protection: of the points that are drawn.
    """

    words: str
    series: list[Series]
    main: list[Chart]
    more: dict[str, list[Chart]]
    table: list[Figures]
    maps: list[BitMapView]
    times: tuple[Times | None, Times | None]
    registers: list[Registers]
    protection: list[Protection]


def _words(points: list[PointResult], task: str) -> str:
    clean = next((title(task, p.metrics[task]) for p in points if task in p.metrics), task)
    shares = sorted({share for p in points if (share := tolerance(p)) is not None})
    percent = " or ".join(f"{100 * share:g} %" for share in shares)
    band = "the band is the 95 % interval" if len(points) <= FEW else "the band goes from the lowest to the highest point"
    line = "A line is a design point" if len(points) <= FEW else "A line is the median of the points of one weight width"
    visible = (
        f" The dashed line is a drop of {percent} of the clean score, from which on it is visible; a triangle marks that strength, which "
        "may have been searched for between the dots."
    )
    return (
        f"How much worse {clean} becomes under perturbations of rising strength: perturbed less clean score, of the same samples (the "
        f"other way round where higher is better). {line}, {band}.{visible if shares else ''}"
    )


def _table(shown: list[Chart], series: list[Series], ids: dict[str, list[str]]) -> list[Figures]:
    rows = []
    for chart in shown:
        stem = ids[chart.kind][0].rpartition(f"_{chart.kind}_")[0] + f"_{chart.kind}"
        cells = [(s.texts(f"{stem}_area"), s.texts(f"{stem}_critical")) for s in series]
        if any(text != "–" for cell in cells for text, _ in cell):
            rows.append(Figures(chart.title, chart.unit, cells))
    return rows


def faults_json(result: PointResult) -> dict[str, object]:
    """Return the numbers behind the drawings that are no metrics: by parameter, by register, and by hardened design."""
    arrays = {}
    for name, values in sorted(read(result.shapes, (REGISTERS, HARDENED)).items()):
        # What JSON has no number for, a mean over no draws, becomes None.
        arrays[name] = [value if not isinstance(value, float) or isfinite(value) else None for value in values.reshape(-1).tolist()]
    by_parameter = map_json(result)
    return {**({"single_bit_map": by_parameter} if by_parameter else {}), **arrays}


def robustness(results: list[PointResult], key: Key) -> Robustness | None:
    """Collect what there is to draw; None if no point was measured with whole curves, a map of bits, registers or protection."""
    ranked = [result for result in results if result.ranked]
    whole = any(of_curve(n, r.metrics) is not None for r in ranked for n in r.metrics if n.endswith("_area"))
    if not (whole or any(name.startswith(NEW) or "_single_bit_map_" in name for r in ranked for name in r.metrics)):
        return None
    task, series = task_score(ranked) or "", all_series(results, key)
    main, more = charts(results, key)
    shown = [*main, *(chart for some in more.values() for chart in some)]
    roles = representatives(results)
    chosen = [result for result in ranked if result.name in roles]
    return Robustness(
        _words(ranked, task), series, main, more, _table(shown, series, levels(ranked)), bit_maps(results),
        (times(results, list(roles)), times(results, list(roles), REGISTER_START)),
        [one for one in map(registers, chosen) if one is not None], [one for one in map(protection, chosen) if one is not None],
    )  # fmt: skip
