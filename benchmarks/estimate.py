"""What the fast estimate costs and how far it is from the open back end: on the networks of its calibration, each left out once."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.compare import METHOD, Entry, software
from benchmarks.estimate_data import draw
from benchmarks.memory import peak_mib
from flow.estimate import features, model
from flow.rtl.graph import Graph
from flow.rtl.lower import lower

TITLE = "fast estimate against the open back end"
SEEDS, QUICK = 12, 2


def _entry(counted: Sequence[float], traced: Sequence[float], peaks: Sequence[float | None]) -> Entry:
    """Return the figures of the estimate against lowering the same networks, with which the open back end begins."""
    ratios = np.array(traced) / np.array(counted)
    low, middle, high = (float(value) for value in np.quantile(ratios, [0.1, 0.5, 0.9]))
    return Entry("estimate", {
        "ours_s": float(np.median(counted)), "peer_s": float(np.median(traced)),
        "peer": "lowering the network to operations of the RTL, ours", "ratio": middle, "ratio_low": low, "ratio_high": high,
        "work": "hardware cost of a network: all figures of the fast estimate; peer: only the first step of the open back end",
        "ours_mib": peaks[0], "peer_mib": peaks[1], "baseline": "competent", "rounds": len(counted), **METHOD, "software": software(),
    })  # fmt: skip


def run(quick: bool) -> Iterator[str | Entry]:
    """Return the lines of two tables, errors and processor time, and an entry."""
    table = model.calibration()
    yield f"{len(table.features)} networks, {table.source}"
    yield f"{'':16}{'inside of 95 %':>16}{'median error':>14}{'largest':>9}{'half width':>12}"
    for mode, terms in (("counted", model.TERMS), ("traced", model.TRACED)):
        for figure in model.TERMS if mode == "counted" else ("lut", "lut6_packed"):
            left = model.validate(table, figure, terms[figure])
            width = np.median([_half(model.fit(table, figure, terms[figure]).predict(f)) for f in table.features])
            inside, name = f"{left.inside} of {left.networks}", figure if mode == "counted" else f"{figure}, traced"
            yield f"{name:16}{inside:>16}{left.median_error:>13.0%} {left.worst_error:>8.0%} {width:>+11.0%}"
    counted, traced = [], []
    for seed in range(QUICK if quick else SEEDS):
        graph, part, clock_ns = draw(seed)

        def count(graph: Graph = graph, part: str = part, clock_ns: float = clock_ns) -> None:
            found = features.features(graph, features.levels_per_stage(part, clock_ns, None))
            for figure in model.TERMS:
                model.law(figure).predict(found)

        start = time.process_time()
        count()
        counted.append(time.process_time() - start)
        start = time.process_time()
        lower(graph)
        traced.append(time.process_time() - start)
    for name, seconds in (("counted", counted[1:]), ("traced", traced[1:])):
        yield f"{name:16}{1000 * float(np.median(seconds)):.1f} ms a network, at most {1000 * max(seconds):.1f} ms"
    yield _entry(counted[1:], traced[1:], [peak_mib(count), peak_mib(lambda: lower(graph))])
    yield ""


def _half(e: model.Estimate) -> float:
    """Return how far the upper end of an interval is above the value."""
    return e.high / e.value - 1
