"""The 48 trigger cells of an HGCAL silicon module: where they lie, how they fill the 8x8 image, which ones neighbour.

The module is three rhombic domains of 4x4 cells, turned by 120 degrees against each other. Cell ``16 d + 4 i + j`` is cell
(i, j) of domain d. Sources: the ECON-T autoencoder (Di Guglielmo et al., arXiv:2105.01683) for image and supercells, and
Baldi et al., arXiv:2502.08355, for the cell centres of the energy mover's distance.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS = 48
PITCH = 2.0
"""Distance of two neighbours, in the unit of every length here: half a pitch (1.20840075 cm)."""
PITCH_CM = 2.4168015

ARRANGE: Ints = np.array(
    [
        [28, 29, 30, 31, 0, 4, 8, 12],
        [24, 25, 26, 27, 1, 5, 9, 13],
        [20, 21, 22, 23, 2, 6, 10, 14],
        [16, 17, 18, 19, 3, 7, 11, 15],
        [47, 43, 39, 35, -1, -1, -1, -1],
        [46, 42, 38, 34, -1, -1, -1, -1],
        [45, 41, 37, 33, -1, -1, -1, -1],
        [44, 40, 36, 32, -1, -1, -1, -1],
    ],
    dtype=np.int64,
)
"""Cell shown by each pixel of the 8x8 image, -1 where there is none."""

MASK: NDArray[np.bool_] = ARRANGE >= 0
"""Pixels that show a cell, (8, 8)."""

PIXEL: Ints = np.argsort(np.where(MASK, ARRANGE, CELLS).reshape(-1), kind="stable")[:CELLS]
"""Flat pixel of each cell, (48,): the inverse of `ARRANGE`."""


def _centres() -> Floats:
    half, i, j = math.sqrt(3) / 2, *np.divmod(np.arange(16), 4)
    domains = [  # the seams are a quarter pitch off the lattice; these are the published centres (to 2e-5 cm)
        (half * i, -i / 2 - j),
        (half * (j - 4), i + j / 2 - 4.25),
        (half * (2.25 - i - j), (j - i) / 2 - 5.125),
    ]
    return PITCH * np.concatenate([np.stack(d, axis=1) for d in domains])


CENTRES: Floats = _centres()
"""Centres of the cells, (48, 2), in half pitches."""

DISTANCE: Floats = np.hypot(*(CENTRES[:, None] - CENTRES[None]).transpose(2, 0, 1))
"""Ground distance of the EMD, (48, 48), in half pitches."""


def _supercells() -> Ints:
    """Find the 36 groups of 2x2 cells: all live windows of the image, and three across the seam that the image cuts."""
    windows = [ARRANGE[r : r + 2, c : c + 2] for r in range(7) for c in range(7) if MASK[r : r + 2, c : c + 2].all()]
    # Row 3 of domain 0 and column 3 of domain 2 touch on the module, though not in the image.
    seam = np.stack([ARRANGE[3, 4:], ARRANGE[4:, 3]])
    return np.array([w.reshape(-1) for w in [*windows, *(seam[:, k : k + 2] for k in range(3))]])


SUPERCELLS: Ints = _supercells()
"""Cells of each overlapping 2x2 supercell, (36, 4)."""


def membership(groups: Ints) -> Floats:
    """Return the 0/1 matrix (48, G) that sums cells into groups (G, cells of a group)."""
    matrix = np.zeros((CELLS, len(groups)))
    for column, cells in enumerate(groups):
        matrix[cells, column] = 1.0
    return matrix


def _supercell_weights() -> Floats:
    """Weigh supercells so that each cell counts about once however many supercells it is in."""
    shared = membership(SUPERCELLS).sum(axis=1)[SUPERCELLS]
    # The published weights multiply by 1/4 before they add the excess 1/3 - 1/4 of the three cells in the middle of the module.
    middle = (shared == 3).sum(axis=1)
    weights: Floats = 0.25 * np.where(shared == 3, 0.25, 1 / shared).sum(axis=1) + middle / 12
    return weights


SUPERCELL_WEIGHTS: Floats = _supercell_weights()
"""Weight of each supercell, (36,)."""

DOMAINS: Ints = np.arange(CELLS, dtype=np.int64).reshape(3, 16)
"""Cells of each 4x4 domain, (3, 16)."""


def to_image(cells: Array) -> Array:
    """Place charges (N, 48) into images (N, 1, 8, 8); pixels without a cell are 0."""
    image = np.zeros((len(cells), 64), dtype=np.float32)
    image[:, PIXEL] = cells
    return image.reshape(-1, 1, 8, 8)


def to_cells(image: Array) -> Array:
    """Take the charges (N, 48) out of images (N, 1, 8, 8); what lies in other pixels is ignored."""
    return np.ascontiguousarray(image.reshape(len(image), 64)[:, PIXEL])
