"""Points that are made so that a claim holds, does not hold, or cannot be told."""

from collections.abc import Callable

import numpy as np

from flow.core.metric import Metric
from flow.reporting.result import PointResult

WIDTHS, REGULARIZERS, SEEDS = (3, 4, 6, 8), ("", "jacobian", "orthogonality"), (0, 1, 2)
Make = Callable[[int, str, int, np.random.Generator], dict[str, float]]


def study(make: Make, seed=0, widths=WIDTHS, regularizers=REGULARIZERS, direction="lower", half=0.0, trivial=9.0) -> list[PointResult]:
    """Make a point for each width, regularizer and seed; ``make`` gives values by id, ``emd`` is the task score."""
    rng, points = np.random.default_rng(seed), []
    for bits in widths:
        for name in regularizers:
            for number in SEEDS:
                values = {"emd": 1.0 + 0.01 * rng.standard_normal(), "emd_trivial": trivial, **make(bits, name, number, rng)}
                metrics = {
                    key: Metric(v, direction=direction if key == "emd" else "lower", ci=(v - half, v + half) if half else None)
                    for key, v in values.items()
                }
                config = {
                    "model": "models/econ_t", "name": f"w{bits}-{name}-s{number}", "seed": number, "network": {"weight_bits": bits},
                    "regularizers": {name: 0.1} if name else {}, "landscape": {"connectivity_epochs": 30},
                }  # fmt: skip
                points.append(PointResult(str(config["name"]), "ok", config=config, metrics=metrics))
    return points
