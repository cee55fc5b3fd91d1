"""Lines of sight of a fast camera that looks tangentially into a torus, and the matrix that integrates light along them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Waves = NDArray[np.complex128]

MAJOR_RADIUS = 0.92
"""m; http://sites.apam.columbia.edu/HBT-EP/pages/about_hbtep.html."""
MINOR_RADIUS = 0.15
"""m; the same."""
POLOIDAL, TOROIDAL = 3, 1
"""m and n of the mode, which is the external kink just below an edge safety factor of 3."""
STRAIGHT = 0.28
"""Field lines are straight in the poloidal angle theta - STRAIGHT sin(theta); a/R (1 + beta_p + l_i/2) (Merezhkin, Sov. J. Plasma Phys. 4
(1978) 152), where the bracket of 1.7 is assumed."""

PIXELS = 32
"""Side of the image, as the published network reads it."""
CAMERA_RADIUS, CAMERA_HEIGHT = 1.35, 0.03
"""m from the axis of the torus and above its midplane; assumed."""
TANGENCY_RADIUS = 0.86
"""m; smallest radius on the central line of sight; assumed."""
HALF_FIELD = 0.18
"""Tangent of half the field of view; assumed, so that the cross-section fills the picture."""
COLUMN_RADIUS = 0.70
"""m; lines of sight end at the wall around the central column; assumed."""
STEP = 0.01
"""m between points on a line of sight."""
LONGEST = 2.2
"""m; no line of sight is longer within the vessel."""

EDGE = 1.3
"""Nothing shines at more than this times the minor radius from the magnetic axis."""
NODES = 40
"""Radii at which the emissivity is given, from 0 to EDGE; linear between them."""
HARMONICS = 3
"""Helical harmonics: emissivity is a Fourier series in the helical angle up to this order."""
_MARGIN = 0.045


@dataclass(frozen=True)
class Points:
    """Points on the lines of sight near the plasma, all (S,): pixel, radius and height in m, exp(i toroidal angle)."""

    pixel: Ints
    radius: Floats
    height: Floats
    toroidal: Waves


@dataclass(frozen=True)
class Plasma:
    """Where the plasma is, and where the gas is that it makes shine.

    Attributes:
        outward: m that the magnetic axis is further out than `MAJOR_RADIUS`.
        upward: m that it is above the midplane.
        size: minor radius, of `MINOR_RADIUS`.
        asymmetry: how much the neutral gas at the poloidal angle `facing` exceeds the mean.
        facing: rad.
        glow: how much the gas at the toroidal angle `glow_zeta` (near a limiter or gas valve) exceeds the mean.
        glow_zeta: rad.
    """

    outward: float = 0.0
    upward: float = 0.0
    size: float = 1.0
    asymmetry: float = 0.0
    facing: float = 0.0
    glow: float = 0.0
    glow_zeta: float = 0.0


def directions() -> Floats:
    """Return unit vectors of the lines of sight (1024, 3), row by row from the top left pixel."""
    sine = TANGENCY_RADIUS / CAMERA_RADIUS
    cosine = np.sqrt(1 - sine**2)
    ahead, right, up = np.array([-cosine, sine, 0.0]), np.array([sine, cosine, 0.0]), np.array([0.0, 0.0, 1.0])
    offset = HALF_FIELD * ((np.arange(PIXELS) + 0.5) * 2 / PIXELS - 1)
    rays = ahead + offset[None, :, None] * right - offset[:, None, None] * up
    flat: Floats = (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3)
    return flat


def vignetting() -> Floats:
    """Return the share of light that reaches each pixel (1024,): the fourth power of the cosine of the angle to the optical axis."""
    axis = directions().mean(axis=0)
    share: Floats = (directions() @ axis / np.linalg.norm(axis)) ** 4
    return share


@lru_cache(maxsize=1)
def points() -> Points:
    """Return the points that any plasma can light up; a midpoint rule with `STEP` between them."""
    along = (np.arange(round(LONGEST / STEP)) + 0.5) * STEP
    place = np.array([CAMERA_RADIUS, 0.0, CAMERA_HEIGHT]) + along[:, None] * directions()[:, None, :]
    radius, height = np.hypot(place[..., 0], place[..., 1]), place[..., 2]
    free = np.logical_and.accumulate(radius > COLUMN_RADIUS, axis=1)
    near = np.hypot(radius - MAJOR_RADIUS, height) < EDGE * MINOR_RADIUS + _MARGIN
    pixel, step = np.nonzero(free & near)
    x, y = place[pixel, step, 0], place[pixel, step, 1]
    return Points(pixel, radius[pixel, step], height[pixel, step], (x + 1j * y) / radius[pixel, step])


def helical(plasma: Plasma, at: Points) -> tuple[Floats, Waves, Floats]:
    """Return minor radius / a, exp(i helical angle) and density of the neutral gas (mean 1) at points, each (S,).

    The helical angle m theta* - n zeta, with theta* = theta - STRAIGHT sin(theta), is constant along a field line of q = m/n.
    """
    across: Waves = at.radius - MAJOR_RADIUS - plasma.outward + 1j * (at.height - plasma.upward)
    radius = np.abs(across)
    poloidal = across / radius
    bend = np.exp(-1j * POLOIDAL * STRAIGHT * poloidal.imag)
    gas = 1 + plasma.asymmetry * (poloidal * np.exp(-1j * plasma.facing)).real
    gas *= 1 + plasma.glow * (at.toroidal * np.exp(-1j * plasma.glow_zeta)).real
    return radius / (MINOR_RADIUS * plasma.size), _power(poloidal, POLOIDAL) * bend * _power(at.toroidal, TOROIDAL).conj(), gas


def _power(wave: Waves, order: int) -> Waves:
    """Return the power by multiplication, which is ten times faster than that of numpy."""
    return wave if order == 1 else wave * _power(wave, order - 1)


def projection(plasma: Plasma) -> Floats:
    """Return the matrix (1024, (2 HARMONICS + 1) NODES) that turns emissivity into line integrals, in m, without vignetting.

    Columns are the coefficients of 1, cos(angle), sin(angle), cos(2 angle), ... at each of the `NODES` radii.
    """
    at = points()
    rho, wave, gas = helical(plasma, at)
    position = np.minimum(rho * ((NODES - 1) / EDGE), NODES - 1)  # nothing shines at the last node
    node = np.minimum(position.astype(np.int64), NODES - 2)
    upper = STEP * gas * (position - node)
    lower = STEP * gas - upper
    index, size = at.pixel * NODES + node, PIXELS * PIXELS * NODES

    def integrate(turn: Floats) -> Floats:
        total = np.bincount(index, lower * turn, size) + np.bincount(index + 1, upper * turn, size)
        return np.asarray(total, dtype=np.float64).reshape(-1, NODES)

    waves = [_power(wave, k) for k in range(1, HARMONICS + 1)]
    turns = [np.ones_like(rho), *(part for w in waves for part in (w.real, w.imag))]
    return np.stack([integrate(t) for t in turns], axis=1).reshape(PIXELS * PIXELS, -1)
