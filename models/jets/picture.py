"""Draw ``features.png`` of the model card: histograms of six features, class by class."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from flow.model import Array

from .columns import Ints
from .features import CLASSES, FEATURES, Floats

PANELS = {
    "mass_mmdt": ("groomed mass (GeV)", 0, 250, 63),
    "multiplicity": ("multiplicity", 0, 180, 46),
    "zlogz": ("sum z log z", -5, -1, 41),
    "d2_b1": ("D2, b = 1", 0, 3, 41),
    "n2_b1": ("N2, b = 1", 0, 0.5, 41),
    "c1_b1": ("C1, b = 1", 0, 0.25, 41),
}
"""Words for the axis, its ends, and the number of edges of the bins."""
STYLES = {"g": ("#0072b2", "-"), "q": ("#e69f00", "--"), "w": ("#009e73", "-"), "z": ("#cc79a7", "-"), "t": ("#444444", "-.")}


def shares(x: Array, labels: Ints, feature: str) -> tuple[Floats, dict[str, Floats]]:
    """Return the edges of a panel's bins, and the share of each class's jets in each bin, from features (N, 16) and classes (N,)."""
    _, low, high, edges = PANELS[feature]
    bins = np.linspace(low, high, edges)
    column = x[:, FEATURES.index(feature)]
    counts = {kind: np.histogram(column[labels == number], bins)[0] for number, kind in enumerate(CLASSES)}
    return bins, {kind: count / max(int((labels == number).sum()), 1) for number, (kind, count) in enumerate(counts.items())}


def draw(x: Array, labels: Ints, path: Path) -> None:
    """Write the picture of features (N, 16), not standardised, and classes (N,), as `files.read` and `generator.generate` return them."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    for axis, (feature, (words, low, high, _)) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        bins, heights = shares(x, labels, feature)
        for kind, height in heights.items():
            axis.stairs(100 * height, bins, color=STYLES[kind][0], linestyle=STYLES[kind][1], linewidth=1.4, label=kind)
        axis.set(xlabel=words, ylabel="jets in a bin (%)", xlim=(low, high), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[1].legend(frameon=False)
    figure.savefig(path, dpi=80)
