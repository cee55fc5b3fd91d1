"""Built-in wafers: a shower and pile-up model of one silicon module, in numpy only.

Each wafer is one module of the electromagnetic section of a high-granularity endcap calorimeter, with its own distance from the
beam, trigger layer and event. What is modelled:

- Pile-up: a Poisson number of charged particles and photons per module, falling with the square of the distance from the beam,
  of a number of overlaid collisions that differs from event to event. Soft photons shower; charged particles leave a track of
  about one MIP in a cell or start a shower at a random depth.
- Signal in a part of the events: a narrow group of one or more particles, a third of them hadrons, with a falling spectrum of
  transverse momentum, somewhere on or beside the module.
- Showers: gamma-shaped longitudinal profile, core and tail of the radial profile that widen with depth, and charge in separate
  spots whose number and size fluctuate (Grindhammer, Rudowicz, Peters, NIM A290 (1990) 469; Grindhammer, Peters,
  hep-ex/0001020). Hadronic showers are the same, later, longer and wider.
- Read-out: 35 counts per transverse MIP, Gaussian noise, whole counts, suppression of cells below a threshold.

What is not: decay chains and the underlying event, magnetic field, correlation between layers or modules of one event, neutrons,
dead channels, cell thickness, response and non-linearity, timing. Rates and noise were set by hand so that occupancy, total
charge and clustering lie between those of fully simulated wafers without and with pile-up; the model card has the comparison, and
`plots.compare` repeats it. No quantity was fitted, and nothing here says how a real detector performs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import CELLS, CENTRES, PITCH, PITCH_CM, Floats, Ints

LAYERS = 14
"""Trigger layers of the electromagnetic section, every second one; a wafer lies in one of them with equal probability."""
DEPTH_X0 = 25.5
"""Thickness of the section in radiation lengths."""
FIRST_LAYER_CM = 322.0
"""Distance of the first layer from the collisions, along the beam; cm."""
LAYER_STEP_CM = 2.3
"""Distance of two trigger layers; cm."""
CRITICAL_GEV = 0.0085
"""Critical energy of the absorber, about that of a mixture of lead, copper and tungsten; GeV."""
COUNTS_PER_MIP = 35.0
"""ADC counts per minimum-ionising particle, times the sine of the polar angle (the charge is a transverse one)."""
MIPS_PER_GEV = 60.0
"""MIPs in one trigger layer per GeV that showers between it and the next."""

INNER_CM, OUTER_CM = 36.0, 130.0
"""Distance of the modules from the beam, uniform in area; cm."""
DISC_CM = 12.0
"""Particles are drawn in a disc of this radius around the module, so that showers beside it leak in; cm."""

CHARGED_PER_ETA = 4.0
"""Charged particles of one collision per unit of pseudorapidity."""
PHOTONS_PER_ETA = 5.0
"""Photons of one collision per unit of pseudorapidity."""
MEAN_CHARGED_PT, MEAN_PHOTON_PT = 0.8, 0.4
"""Mean transverse momenta in pile-up, exponential; GeV."""
MOST_PILE_UP = 200.0
"""Overlaid collisions are uniform up to here, and none in the share `WITHOUT_PILE_UP` of the events."""
WITHOUT_PILE_UP = 0.1
WITH_SIGNAL = 0.5
"""Share of the wafers with a group of energetic particles."""
LOWEST_PT, HIGHEST_PT = 1.5, 60.0
"""Range of the transverse momentum of such a group, whose spectrum falls with its square; GeV."""
INTERACTION_X0 = 30.0
"""Mean depth at which a hadron starts to shower; radiation lengths."""
NOISE_COUNTS = 0.6
"""Standard deviation of the noise of a trigger cell; ADC counts."""
THRESHOLD_COUNTS = 3.0
"""Cells below are suppressed; ADC counts."""
MOST_SPOTS = 150
"""Mean number of spots of a shower in a layer beyond which each spot gets more charge instead."""
BATCH = 4000
"""Wafers made at a time, which bounds the memory."""

_RASTER_CM = 0.1
_CELL_RADIUS_CM = PITCH_CM * np.sqrt(np.sqrt(3) / (2 * np.pi))
"""Radius of a circle of a cell's area: a spot further than this from every centre missed the module."""


@dataclass(frozen=True)
class _Particles:
    """Particles at a trigger layer, all arrays (P,): wafer, place relative to its centre, energy, kind and depth of the start."""

    wafer: Ints
    x: Floats
    y: Floats
    gev: Floats
    hadron: NDArray[np.bool_]
    charged: NDArray[np.bool_]
    start: Floats


def _raster() -> tuple[Ints, float]:
    """Return the cell under each point of a fine grid (`CELLS`: none) around the middle of the module, and minus its first place."""
    centres = CENTRES * (PITCH_CM / PITCH)
    centres = centres - centres.mean(axis=0)
    low = float(np.abs(centres).max() + 2 * PITCH_CM)
    axis = np.arange(-low, low, _RASTER_CM) + _RASTER_CM / 2
    x, y = np.meshgrid(axis, axis, indexing="ij")
    distance = np.hypot(x[..., None] - centres[:, 0], y[..., None] - centres[:, 1])
    return np.where(distance.min(axis=2) < _CELL_RADIUS_CM, distance.argmin(axis=2), CELLS).astype(np.int64), low


_GRID, _GRID_LOW = _raster()


def _cell_at(x: Floats, y: Floats) -> Ints:
    """Return the cell under each place, `CELLS` where there is none."""
    i, j = (np.clip((v + _GRID_LOW) / _RASTER_CM, 0, len(_GRID) - 1).astype(np.int64) for v in (x, y))
    return _GRID[i, j]


def _in_disc(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    r, phi = DISC_CM * np.sqrt(rng.random(count)), rng.random(count) * 2 * np.pi
    return r * np.cos(phi), r * np.sin(phi)


def _pile_up(radius: Floats, sine: Floats, rng: np.random.Generator) -> _Particles:
    """Draw soft particles of the overlaid collisions for wafers at `radius` (N,), in cm."""
    collisions = np.where(rng.random(len(radius)) < WITHOUT_PILE_UP, 0.0, rng.random(len(radius)) * MOST_PILE_UP)
    per_eta = collisions * (DISC_CM / radius) ** 2 / 2
    counts = [rng.poisson(rate * per_eta) for rate in (CHARGED_PER_ETA, PHOTONS_PER_ETA)]
    wafer = np.concatenate([np.repeat(np.arange(len(radius)), n) for n in counts])
    charged = np.arange(len(wafer)) < counts[0].sum()
    x, y = _in_disc(len(wafer), rng)
    pt = rng.exponential(1.0, len(wafer)) * np.where(charged, MEAN_CHARGED_PT, MEAN_PHOTON_PT)
    start = np.where(charged, rng.exponential(INTERACTION_X0, len(wafer)), 0.0)
    return _Particles(wafer, x, y, pt / sine[wafer], charged, charged, start)


def _signal(radius: Floats, sine: Floats, rng: np.random.Generator) -> _Particles:
    """Draw groups of energetic particles for a part of the wafers."""
    hit = np.flatnonzero(rng.random(len(radius)) < WITH_SIGNAL)
    jet = rng.random(len(hit)) < 0.5
    size = 1 + np.where(jet, rng.poisson(4.0, len(hit)), 0)
    axis_x, axis_y = _in_disc(len(hit), rng)
    pt = 1 / rng.uniform(1 / HIGHEST_PT, 1 / LOWEST_PT, len(hit))  # falls as 1/pt^2
    of = np.repeat(np.arange(len(hit)), size)
    wafer = hit[of]
    spread = 0.06 * radius[wafer] * (size[of] > 1)
    share = rng.exponential(1.0, len(of))
    share /= np.bincount(of, share, len(hit))[of]
    hadron = rng.random(len(of)) < 1 / 3
    charged = hadron | (rng.random(len(of)) < 0.3)
    start = np.where(hadron, rng.exponential(INTERACTION_X0, len(of)), 0.0)
    x, y = (a[of] + spread * rng.standard_normal(len(of)) for a in (axis_x, axis_y))
    return _Particles(wafer, x, y, pt[of] * share / sine[wafer], hadron, charged, start)


def _join(a: _Particles, b: _Particles) -> _Particles:
    return _Particles(*(np.concatenate([getattr(a, f), getattr(b, f)]) for f in _Particles.__dataclass_fields__))


def _profile(p: _Particles, depth: Floats) -> tuple[Floats, Floats]:
    """Return the MIPs (P,) that each shower leaves at its wafer's `depth` (N,) in X0, and the depth in units of its maximum."""
    log_y = np.log(np.maximum(p.gev / CRITICAL_GEV, 5.0))
    peak = np.maximum(log_y - 0.858, 0.5) * np.where(p.hadron, 1.6, 1.0)
    shape = np.maximum(0.21 + 0.52 * log_y, 1.6) - 1
    tau = np.maximum(depth[p.wafer] - p.start, 0.0) / peak
    # Gamma density with its maximum at `peak`; the normalisation is Stirling's formula.
    rise = np.exp(shape * (np.log(np.maximum(tau, 1e-9)) + 1 - tau))
    density = rise * np.sqrt(shape / (2 * np.pi)) / (peak * (1 + 1 / (12 * shape)))
    visible = np.where(p.hadron, 0.6, 1.0)
    return np.minimum(p.gev, 2000.0) * visible * density * (DEPTH_X0 / LAYERS) * MIPS_PER_GEV, tau


def _spots(p: _Particles, depth: Floats, rng: np.random.Generator) -> tuple[Ints, Floats, Floats, Floats]:
    """Break showers and tracks into spots: wafer, x, y and charge in MIPs, each (S,)."""
    mean, tau = _profile(p, depth)
    count = rng.poisson(np.minimum(mean, MOST_SPOTS))
    of = np.repeat(np.arange(len(count)), count)
    charge = rng.exponential(1.0, len(of)) * (mean / np.minimum(np.maximum(mean, 1e-9), MOST_SPOTS))[of]
    # Radial profile 2 r R^2 / (r^2 + R^2)^2 of core and tail.
    core = rng.random(len(of)) < np.clip(0.97 - 0.12 * tau, 0.5, 0.95)[of]
    scale = np.where(core, (0.4 + 0.3 * tau)[of], (2.2 + 0.5 * tau)[of]) * np.where(p.hadron, 2.0, 1.0)[of]
    u, phi = rng.random(len(of)), rng.random(len(of)) * 2 * np.pi
    r = np.minimum(scale * np.sqrt(u / (1 - u)), 30.0)
    track = np.flatnonzero(p.charged & (depth[p.wafer] < np.where(p.hadron, p.start, 1.0)))
    # Moyal's approximation of the Landau distribution, with its maximum at one MIP.
    mip = np.clip(1.0 - 0.12 * np.log(rng.standard_normal(len(track)) ** 2), 0.3, 10.0)
    return (
        np.concatenate([p.wafer[of], p.wafer[track]]),
        np.concatenate([p.x[of] + r * np.cos(phi), p.x[track]]),
        np.concatenate([p.y[of] + r * np.sin(phi), p.y[track]]),
        np.concatenate([charge, mip]),
    )


def _batch(count: int, rng: np.random.Generator) -> Floats:
    """Generate wafers (count, 48) in counts; some are empty."""
    radius: Floats = np.sqrt(rng.uniform(INNER_CM**2, OUTER_CM**2, count))
    layer = rng.integers(0, LAYERS, count).astype(np.float64)
    sine: Floats = radius / np.sqrt(radius**2 + (FIRST_LAYER_CM + layer * LAYER_STEP_CM) ** 2)
    depth: Floats = (layer + 0.5) * (DEPTH_X0 / LAYERS)
    particles = _join(_pile_up(radius, sine, rng), _signal(radius, sine, rng))
    wafer, x, y, charge = _spots(particles, depth, rng)
    index = wafer * (CELLS + 1) + _cell_at(x, y)
    mips = np.bincount(index, charge, count * (CELLS + 1)).reshape(count, CELLS + 1)[:, :CELLS]
    counts = np.floor(COUNTS_PER_MIP * mips * sine[:, None] + NOISE_COUNTS * rng.standard_normal((count, CELLS)))
    return np.where(counts >= THRESHOLD_COUNTS, counts, 0.0)


def wafers(count: int, rng: np.random.Generator) -> Floats:
    """Generate `count` wafers, (count, 48), in ADC counts; see the module for the model. Empty ones are among them."""
    sizes = [min(BATCH, count - first) for first in range(0, count, BATCH)]
    return np.concatenate([_batch(size, rng) for size in sizes]) if sizes else np.zeros((0, CELLS))
