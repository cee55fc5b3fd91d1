"""What the fast estimate costs and how far it is from the open back end: on the networks of its calibration, each left out once."""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.estimate_data import draw
from flow.estimate import features, model
from flow.rtl.lower import lower

TITLE = "fast estimate against the open back end"
SEEDS, QUICK = 12, 2


def run(quick: bool) -> Iterator[str]:
    """Return the lines of two tables: errors, and processor time."""
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
        start = time.process_time()
        found = features.features(graph, features.levels_per_stage(part, clock_ns, None))
        for figure in model.TERMS:
            model.law(figure).predict(found)
        counted.append(time.process_time() - start)
        start = time.process_time()
        lower(graph)
        traced.append(time.process_time() - start)
    for name, seconds in (("counted", counted[1:]), ("traced", traced[1:])):
        yield f"{name:16}{1000 * float(np.median(seconds)):.1f} ms a network, at most {1000 * max(seconds):.1f} ms"
    yield ""


def _half(e: model.Estimate) -> float:
    """Return how far the upper end of an interval is above the value."""
    return e.high / e.value - 1
