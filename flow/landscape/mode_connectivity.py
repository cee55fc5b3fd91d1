"""Mode connectivity: what a path between networks that differ in the seed loses.

The barrier of a path L(t), t in [0, 1], is max_t [L(t) - (1 - t) L(0) - t L(1)], never below 0, on `STEPS` equal steps. Three paths:

``linear``
    The straight line between the float parameters, every point of it quantized (`flow.landscape._curve` says with which scales).
``aligned``
    The same after the channels of the second network were brought into the order of the first (`flow.landscape._alignment`).
``curve``
    A Bezier curve between the two as they are, trained (Garipov et al., arXiv:1802.10026) with straight-through gradients through the
    quantizers. It is trained on every other sample, and its barrier is that of the samples between them.

Baldi et al., arXiv:2502.08355, plot mc = (L(0) + L(1)) / 2 - L(t*), t* = argmax_t |L(t) - (L(0) + L(1)) / 2|: 0 is connected, a
barrier is negative. Their released code never trains the curve, so its figures are those of the straight line, ``mode_connectivity_mc``.

Losses are in the unit of the model's loss. All figures are means over pairs of seeds. Pairs share networks, so they are not independent:
the interval is from the jackknife over networks; where there are only two, it is over samples. Cost: a forward pass for each of the 26
points of each path, and for a pair `connectivity_epochs` passes forward and backward over half of the samples: 4 s of one core for a pair
of ECON-T networks and 1,024 samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flow.config import LandscapeConfig
from flow.core.metric import Direction, Metric
from flow.core.stage import Progress
from flow.landscape._alignment import align
from flow.landscape._curve import Ends, bernstein, straight, train
from flow.landscape._pairs import Pair, over_pairs, pairs, plural
from flow.landscape._problem import Floats, Problem
from flow.statistics import mean_interval

TITLE = "Mode connectivity"
STEPS = 25  # odd: the middle, where the formats change, is between two points
EPOCHS = (0, 1, 3, 10, 30)
T = np.linspace(0, 1, STEPS + 1)


def rises(losses: Floats) -> Floats:
    """Return how much each sample loses (N,) where a path is worst; the mean is the barrier. `losses` are (T, N)."""
    above = losses - (1 - T)[:, None] * losses[0] - T[:, None] * losses[-1]
    return np.asarray(above[above.mean(axis=1).argmax()])


def dips(losses: Floats) -> Floats:
    """Return what each sample contributes (N,) to the mc of Baldi et al.; `losses` are (T, N)."""
    below = (losses[0] + losses[-1]) / 2 - losses
    return np.asarray(below[np.abs(below.mean(axis=1)).argmax()])


@dataclass
class _Figure:
    """What each pair contributes to one metric, by sample, and the path of the mean loss that it is from."""

    samples: dict[Pair, Floats] = field(default_factory=dict)
    paths: dict[Pair, Floats] = field(default_factory=dict)

    def metric(self, title: str, direction: Direction, words: str) -> Metric:
        value, ci = over_pairs({pair: float(values.mean()) for pair, values in self.samples.items()})
        over = "interval over seeds"
        if ci is None:
            ((_, only),) = self.samples.items()
            ci, over = mean_interval(only)[1], "interval over samples"
        if direction == "lower":
            ci = max(0.0, ci[0]), ci[1]
        count = len(next(iter(self.samples.values())))
        source = f"{plural(len(self.samples), 'pair')}, {STEPS + 1} points, {count} samples, {words}{over}"
        return Metric(value, direction=direction, ci=ci, source=source, title=title)


def _trained(ends: Ends, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[int, Floats]:
    """Return the losses (T, N / 2) along a curve by the epochs that it was trained."""
    fit, held = (replace(ends, first=ends.first.subset(slice(i, None, 2)), second=ends.second.subset(slice(i, None, 2))) for i in (0, 1))
    found = {}

    def seen(epoch: int, nodes: Floats) -> None:
        progress(epoch / config.connectivity_epochs, f"{TITLE}, epoch {epoch} of {config.connectivity_epochs}")
        if epoch in (*EPOCHS, config.connectivity_epochs):
            found[epoch] = held.losses(T, bernstein(T, len(nodes)) @ nodes)

    train(fit, straight(ends, config.connectivity_bends), config.connectivity_epochs, rng, seen)
    return found


def compare(problems: Sequence[Problem], config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``mode_connectivity_{linear,aligned,mc}``, ``_curve``, and ``_curve_<epochs>``, the barrier of the curve so far."""
    found: dict[str, _Figure] = {}
    every = pairs(len(problems))

    def note(name: str, pair: Pair, losses: Floats, samples: Floats) -> None:
        figure = found.setdefault(name, _Figure())
        figure.samples[pair], figure.paths[pair] = samples, losses.mean(axis=1)

    for k, pair in enumerate(every):

        def tell(fraction: float, text: str, k: int = k) -> None:
            progress((k + 0.1 + 0.9 * fraction) / len(every), text)

        progress(k / len(every), f"{TITLE}, pair {k + 1} of {len(every)}")
        first, second = (problems[i] for i in pair)
        ends = Ends(first, second, np.arange(len(first.point)))
        losses = ends.losses(T, bernstein(T, 2) @ ends.points)
        note("linear", pair, losses, rises(losses))
        note("mc", pair, losses, dips(losses))
        aligned = replace(ends, order=align(first, first.point, second.point, rng))
        losses = aligned.losses(T, bernstein(T, 2) @ aligned.points)
        note("aligned", pair, losses, rises(losses))
        if config.connectivity_epochs and len(first.x) > 1:
            for epoch, path in _trained(ends, config, rng, tell).items():
                name = "curve" if epoch == config.connectivity_epochs else f"curve_{epoch}"
                note(name, pair, path, rises(path))
    _record(problems[0], found)
    return {f"mode_connectivity_{name}": _metric(name, figure, config) for name, figure in found.items()}


def _metric(name: str, figure: _Figure, config: LandscapeConfig) -> Metric:
    if name == "mc":
        return figure.metric("Mode connectivity mc of the straight line (Baldi et al.)", "none", "")
    if not name.startswith("curve"):
        return figure.metric(f"Barrier between seeds, {'straight line' if name == 'linear' else 'aligned channels'}", "lower", "")
    epochs = name.partition("_")[2] or str(config.connectivity_epochs)
    words = f"curve of {config.connectivity_bends} points trained on others, "
    return figure.metric(f"Barrier between seeds, curve after {plural(int(epochs), 'epoch')}", "lower", words)


def _record(problem: Problem, found: dict[str, _Figure]) -> None:
    """Leave the mean loss along each path (pairs, T), to be drawn."""
    records = {name: np.array(list(figure.paths.values())) for name, figure in found.items() if name != "mc"}
    problem.records.update({f"mode_connectivity_{name}": paths for name, paths in {"t": T, **records}.items()})
