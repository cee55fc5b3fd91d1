"""Draw ``frames.png`` of the model card: noisy frames at several phases, and what the mode changes in them."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .geometry import HARMONICS, PIXELS
from .simulator import CODES, Light, expected_electrons, expose

PHASES = (0, 60, 120, 180, 240, 300)
GAUSS = 10.0


def draw(path: Path) -> None:
    """Write a picture of frames of a plasma at rest in the middle, with a mode of 10 G at six phases."""
    light, waves = Light(), np.zeros((len(PHASES), HARMONICS), dtype=np.complex128)
    still = expose(expected_electrons(light, waves[:1]).repeat(400, axis=0), np.random.default_rng(1)).mean(axis=0)
    waves[:, 0] = light.displacement * GAUSS * np.exp(1j * np.radians(PHASES))
    frames = expose(expected_electrons(light, waves), np.random.default_rng(0)) / (CODES - 1)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(2, len(PHASES))
    for column, phase in enumerate(PHASES):
        shown = frames[column].reshape(PIXELS, PIXELS)
        change = shown - still.reshape(PIXELS, PIXELS) / (CODES - 1)
        full = axes[0, column].imshow(shown, cmap="inferno", vmin=0, vmax=0.16)
        part = axes[1, column].imshow(change, cmap="RdBu_r", vmin=-0.015, vmax=0.015)
        axes[0, column].set_title(f"phase {phase}°", fontsize=9)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(full, ax=axes[0], label="pixel / 4095")
    figure.colorbar(part, ax=axes[1], label="change by the mode")
    figure.savefig(path, dpi=80)
