"""Frames of a rotating helical mode as a fast camera sees them, in numpy only.

The recordings of HBT-EP were never published, so these frames stand in for them. What is modelled:

- Mode: one n = 1 external kink (m/n = 3/1) that grows, saturates and rotates; amplitude and frequency wander. It displaces the flux
  surfaces in proportion to its magnetic field; how far a gauss moves them differs a little from shot to shot.
- Light: a hollow shell of Balmer-alpha emission at the edge, brighter where the neutral gas is denser, that moves with the flux
  surfaces, and light that walls scatter into all pixels. Higher helical harmonics fluctuate and disturb the picture.
- Camera: perspective, line integrals that end at the central column, vignetting, Poisson noise of the electrons, Gaussian read noise,
  12-bit conversion with saturation. Brightness, profile, gas and position of the plasma differ from shot to shot.

What is not: motion blur (a frame lasts a fifteenth of a turn at 8 kHz), other n = 1 modes, flux surfaces that are not round, noise of
the magnetic sensors that give the labels, position drift within a shot, port edges, hot pixels. Parameters marked 'assumed' were set by
hand; mean and standard deviation of the pixels are the only figures adjusted to the recordings, and nothing here says how well the mode
of the real device can be tracked.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from .geometry import EDGE, HARMONICS, MINOR_RADIUS, NODES, PIXELS, POLOIDAL, Floats, Plasma, Waves, projection, vignetting

FRAME_RATE = 120e3
"""frames/s; Wei et al., arXiv:2312.00128."""
EVERY = 12
"""Of the frames of a shot one in so many is kept, so that 30 of them cover 3 ms and differ from each other; a choice."""

AMPLITUDE, AMPLITUDE_SPREAD = 9.0, 0.5
"""G at the sensors, and natural logarithm; median and spread of the saturated amplitude over shots; assumed, so that most frames have
the 3 to 30 G that the published code evaluates."""
LARGEST = 35.0
"""G; larger amplitudes saturate smoothly; assumed."""
GROWTH = 150e-6
"""s; time in which the mode grows by e; assumed."""
ONSET = (-3e-3, 1.5e-3)
"""s after the first frame; the mode has half its saturated amplitude at a time that is uniform in this range; assumed."""
FREQUENCY, FREQUENCY_SPREAD = (3e3, 8e3), 0.7e3
"""Hz; the rotation is uniform in the range over shots and wanders by the spread within one; assumed (some kHz are usual there)."""
WANDER = 300e-6
"""s; correlation time of amplitude and frequency; assumed."""
AMPLITUDE_WANDER = 0.3
"""Natural logarithm; spread of the amplitude within a shot; assumed."""

DISPLACEMENT, DISPLACEMENT_SPREAD = 0.5e-3, 0.1
"""m/G at the edge, and its relative spread over shots (it depends on the edge safety factor); assumed."""
FLUCTUATION = 1e-3
"""m; root mean square of the displacement at the edge by each higher helical harmonic (6/2, 9/3); assumed."""
FLUCTUATION_TIME = 30e-6
"""s; their correlation time; assumed."""

SHELL, INNER_WIDTH, OUTER_WIDTH = 0.90, 0.35, 0.12
"""Minor radius of the brightest shell and its Gaussian widths inside and outside, in units of a; assumed."""
CORE = 0.25
"""Emissivity on the axis, where the shell's is 1; assumed."""
SHELL_SPREAD, WIDTH_SPREAD = 0.02, 0.1
"""Spread over shots, in units of a and relative; assumed."""
ASYMMETRY, GLOW = 0.25, 0.2
"""Largest unevenness of the neutral gas poloidally and toroidally; assumed."""
POSITION_SPREAD, SIZE_SPREAD = 0.015, 0.04
"""m, and relative; spread over shots of the magnetic axis, both ways, and of the minor radius; assumed."""

ELECTRONS = 2655.0
"""Electrons that one m of the brightest shell gives in a pixel on the axis; set so that pixels / 4095 have the mean 0.0669."""
SCATTERED = 0.25
"""Light that walls scatter, in units of the mean direct light; set so that pixels / 4095 have the standard deviation 0.0307."""
BRIGHTNESS_SPREAD, BRIGHTNESS_WANDER = 0.2, 0.05
"""Natural logarithm; spread of the brightness over shots and within one; assumed."""
ELECTRONS_PER_CODE = 6.0
"""Conversion gain; assumed: 12 bits for a pixel that holds 25,000 electrons."""
READ_NOISE = 25.0
"""Electrons; assumed."""
CODES = 4096
"""12 bits."""

Codes = NDArray[np.uint16]
_ANGLES = 24


@dataclass(frozen=True)
class Mode:
    """The mode at the moments of the frames, all (N,): amplitude in G, phase in rad from -pi to pi."""

    amplitude: Floats
    phase: Floats


@dataclass(frozen=True)
class Light:
    """What differs between shots.

    Attributes:
        plasma: its position, and the gas.
        shell: minor radius of the brightest shell, in units of a.
        width: factor on the widths of the shell.
        displacement: m/G at the edge.
        brightness: relative.
    """

    plasma: Plasma = field(default_factory=Plasma)
    shell: float = SHELL
    width: float = 1.0
    displacement: float = DISPLACEMENT
    brightness: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        """Draw those of one shot."""
        outward, upward, larger = rng.normal(0.0, [POSITION_SPREAD, POSITION_SPREAD, SIZE_SPREAD])
        asymmetry, glow = rng.uniform(0.0, ASYMMETRY), rng.uniform(0.0, GLOW)
        facing, glow_zeta = rng.uniform(-np.pi, np.pi, 2)
        shell, width = rng.normal(SHELL, SHELL_SPREAD), np.exp(rng.normal(0.0, WIDTH_SPREAD))
        moved, bright = np.exp(rng.normal(0.0, [DISPLACEMENT_SPREAD, BRIGHTNESS_SPREAD]))
        return cls(Plasma(outward, upward, np.exp(larger), asymmetry, facing, glow, glow_zeta), shell, width, DISPLACEMENT * moved, bright)


def _wander(count: int, time: float, rng: np.random.Generator) -> Floats:
    """Return a stationary Gaussian process of unit variance at the kept frames (count,), critically damped within `time` s."""
    keep = np.exp(-EVERY / FRAME_RATE / time)
    settled = round(10 * FRAME_RATE / EVERY * time) + 1
    gain = np.sqrt((1 - keep**2) ** 3 / (1 + keep**2))
    process: Floats = lfilter([gain], [1.0, -2 * keep, keep**2], rng.standard_normal(settled + count))
    return process[settled:]


def mode(count: int, rng: np.random.Generator) -> Mode:
    """Draw the mode of one shot at `count` kept frames."""
    time = np.arange(count) * (EVERY / FRAME_RATE)
    onset = rng.uniform(*ONSET)
    saturated = AMPLITUDE * np.exp(rng.normal(0.0, AMPLITUDE_SPREAD) + AMPLITUDE_WANDER * _wander(count, WANDER, rng))
    amplitude = LARGEST * np.tanh(saturated / (1 + np.exp(-np.clip((time - onset) / GROWTH, -50, 50))) / LARGEST)
    hertz = rng.uniform(*FREQUENCY) + FREQUENCY_SPREAD * _wander(count, WANDER, rng)
    phase = rng.uniform(0.0, 2 * np.pi) + 2 * np.pi * EVERY / FRAME_RATE * np.cumsum(hertz)
    return Mode(amplitude, np.angle(np.exp(1j * phase)))


def emissivity(light: Light, rho: Floats) -> Floats:
    """Return the emissivity at rest relative to the brightest shell, at minor radii in units of a, any shape."""
    distance = rho - light.shell
    width = light.width * np.where(distance < 0, INNER_WIDTH, OUTER_WIDTH)
    core: Floats = CORE * np.clip(1 - (rho / light.shell) ** 2, 0, None)
    shell: Floats = np.exp(-((distance / width) ** 2))
    return core + shell


def coefficients(light: Light, displacement: Waves) -> Floats:
    """Return the emissivity of displaced flux surfaces as the coefficients that `projection` takes, (N, (2 HARMONICS + 1) NODES).

    Args:
        light: profile.
        displacement: complex amplitudes at the edge of the harmonics 1 to HARMONICS, (N, HARMONICS) in m; harmonic k moves a surface
            outwards by the real part of amplitude exp(-i k angle).
    """
    rho, order = np.linspace(0.0, EDGE, NODES), np.arange(1, HARMONICS + 1)
    m = POLOIDAL * order[:, None]
    # As of a kink: rho^(m-1) within the plasma; outside it falls as the field of the mode does.
    radial = np.where(rho < 1, rho, 1.0) ** (m - 1) * np.where(rho > 1, rho, 1.0) ** -(m + 1.0) / MINOR_RADIUS
    turn = np.exp(-1j * order[:, None] * np.arange(_ANGLES) * (2 * np.pi / _ANGLES))
    moved = np.einsum("nk,kj,ka->nja", displacement, radial, turn, optimize=True).real
    series = np.fft.rfft(emissivity(light, np.abs(rho[:, None] - moved)), axis=2) / _ANGLES
    parts = [series[..., 0].real]
    for k in order:
        parts += [2 * series[..., k].real, -2 * series[..., k].imag]
    return np.stack(parts, axis=1).reshape(len(displacement), -1)


def expose(light: Floats, rng: np.random.Generator) -> Codes:
    """Turn expected electrons, any shape, into 12-bit codes: Poisson noise, read noise, rounding, saturation at both ends."""
    electrons = rng.poisson(light) + READ_NOISE * rng.standard_normal(light.shape)
    return np.clip(np.rint(electrons / ELECTRONS_PER_CODE), 0, CODES - 1).astype(np.uint16)


def expected_electrons(light: Light, displacement: Waves) -> Floats:
    """Return the expected electrons (N, 1024) of frames with a displacement as in `coefficients`."""
    direct = coefficients(light, displacement) @ projection(light.plasma).T * vignetting()
    total: Floats = ELECTRONS * light.brightness * (direct + SCATTERED * direct.mean(axis=1, keepdims=True))
    return total


def shot(count: int, rng: np.random.Generator) -> tuple[Codes, Mode]:
    """Simulate `count` kept frames of one shot: codes (count, 32, 32) and the mode."""
    light, moving = Light.draw(rng), mode(count, rng)
    waves = np.zeros((count, HARMONICS), dtype=np.complex128)
    waves[:, 0] = light.displacement * moving.amplitude * np.exp(1j * moving.phase)
    for k in range(1, HARMONICS):
        real, imaginary = (_wander(count, FLUCTUATION_TIME, rng) for _ in range(2))
        waves[:, k] = FLUCTUATION * (real + 1j * imaginary)
    flicker = np.exp(BRIGHTNESS_WANDER * _wander(count, WANDER, rng))
    return expose(expected_electrons(light, waves) * flicker[:, None], rng).reshape(count, PIXELS, PIXELS), moving
