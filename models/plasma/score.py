"""Task score: how far amplitude and phase of the mode are off (Wei et al., arXiv:2312.00128; Baldi et al., arXiv:2502.08355)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flow.core.metric import Metric
from flow.model import Array, Score
from flow.statistics import mean_interval

from .network import GAUSS

LOWEST, HIGHEST = 3.0, 30.0
"""G; errors of the phase, and spreads, count where the true amplitude is in this range, as in the published code."""

Floats = NDArray[np.float64]
_NORMAL = 1.959964


def _mode(components: Array) -> tuple[Floats, Floats]:
    """Return amplitude (N,) in G and phase (N,) in rad of sine and cosine components (N, 2) in units of `GAUSS`; NaN if not finite."""
    finite = np.isfinite(components.sum(axis=1, keepdims=True, dtype=np.float64))
    sine, cosine = np.where(finite, GAUSS * components.astype(np.float64), np.nan).T
    return np.hypot(sine, cosine), np.arctan2(sine, cosine)


def per_sample(output: Array, target: Array) -> Floats:
    """Return the absolute error of the amplitude in G of each sample, (N, 2) twice -> (N,).

    An output that is not finite scores the largest float32, so a broken network cannot look good.
    """
    error = np.abs(_mode(output)[0] - _mode(target)[0])
    return np.where(np.isfinite(error), error, float(np.finfo(np.float32).max))


def phase_errors(output: Array, target: Array) -> Floats:
    """Return the error of the phase in degrees, from -180 to 180, of the samples whose true amplitude counts; 180 if not finite."""
    amplitude, phase = _mode(target)
    keep = (amplitude >= LOWEST) & (amplitude <= HIGHEST)
    error = _mode(output[keep])[1] - phase[keep]
    wrapped = np.degrees(np.angle(np.exp(1j * np.where(np.isfinite(error), error, np.pi))))
    return np.asarray(wrapped, dtype=np.float64)


def trivial(target: Array) -> Array:
    """Return the constant output (2,) with the smallest error of the amplitude on targets (N, 2).

    The error does not see the phase, and the median amplitude has the smallest mean absolute deviation.
    """
    return np.array([0.0, np.median(_mode(target)[0]) / GAUSS], dtype=np.float32)


def _spread(values: Floats) -> tuple[float, tuple[float, float]]:
    """Return the standard deviation and its 95 % interval, from the fourth moment, for many samples of any distribution."""
    away = values - values.mean()
    spread = float(np.sqrt((away**2).mean()))
    half = _NORMAL * float(np.sqrt(np.var(away**2) / len(values))) / (2 * spread) if spread > 0 else 0.0
    return spread, (max(spread - half, 0.0), spread + half)


def extras(output: Array, target: Array, generator: np.random.Generator) -> Mapping[str, Metric]:
    """Measure the error of the phase, and how far errors of amplitude and phase spread, over amplitudes that count.

    Nothing is returned when fewer than two samples have such an amplitude, or when an output is not finite.
    """
    amplitude = _mode(target)[0]
    keep = (amplitude >= LOWEST) & (amplitude <= HIGHEST)
    if keep.sum() < 2 or not np.isfinite(output).all():
        return {}
    phase = phase_errors(output, target)
    mean, ci = mean_interval(np.abs(phase))
    moved, moved_ci = _spread(_mode(output[keep])[0] - amplitude[keep])
    turned, turned_ci = _spread(phase)
    where = f"{keep.sum()} test samples of {LOWEST:g} to {HIGHEST:g} G"
    return {
        "phase_error": Metric(mean, "degrees", direction="lower", ci=ci, source=f"{where}, Student's t", title="phase error"),
        "phase_spread": Metric(turned, "degrees", ci=turned_ci, source=where, title="standard deviation of the phase error"),
        "amplitude_spread": Metric(moved, "G", ci=moved_ci, source=where, title="standard deviation of the amplitude error"),
    }


SCORE = Score(
    id="amplitude_error", title="amplitude error", unit="G", direction="lower", per_sample=per_sample, trivial=trivial, extras=extras
)  # fmt: skip
