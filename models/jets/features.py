"""The 16 high-level features of a jet, in numpy.

They are those of the public jet-tagging set of hls4ml (Duarte et al., arXiv:1804.06913), in its order and as the program that made it
defines them (Coleman et al., arXiv:1709.08705): shares of energy and number of constituents of the whole jet; mass and ratios of energy
correlation functions of the groomed jet.

A correlation function of N particles sums, over all sets of N constituents, the product of their shares z of the transverse momentum
and of distances R = sqrt(dy^2 + dphi^2) in rapidity and azimuth, each to the power b:

- e2 with the one distance and e3 with all three: Larkoski, Salam, Thaler, arXiv:1305.0007.
- 1e3 with the smallest of the three, 2e3 with the two smallest: Moult, Necib, Thaler, arXiv:1609.07483.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEATURES = (
    "zlogz", "c1_b0", "c1_b1", "c1_b2", "c2_b1", "c2_b2", "d2_b1", "d2_b2", "d2_a1_b1", "d2_a1_b2", "m2_b1", "m2_b2", "n2_b1", "n2_b2",
    "mass_mmdt", "multiplicity",
)  # fmt: skip
"""Names of the columns; the mass is in GeV, all others are pure numbers."""
CLASSES = ("g", "q", "w", "z", "t")
"""Gluon, light quark, W boson, Z boson, top quark."""


def z_log_z(energy: Floats) -> Floats:
    """Return sum x log x of the shares x of each jet's energy, (B, n) -> (B,); jets with fewer constituents are filled with 0."""
    share = energy / energy.sum(axis=1, keepdims=True)
    total: Floats = (share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return total


def _distances(rapidity: Floats, phi: Floats) -> Floats:
    """Return all distances in rapidity and azimuth, (B, n) twice -> (B, n, n)."""
    turn = np.abs(phi[:, :, None] - phi[:, None, :]) % (2 * np.pi)
    return np.hypot(rapidity[:, :, None] - rapidity[:, None, :], np.minimum(turn, 2 * np.pi - turn))


def _three_points(z: Floats, r: Floats) -> Floats:
    """Return 1e3 and 2e3, each for b = 1 and 2, (4, B), from shares (B, n) and distances (B, n, n)."""
    second, first = np.tril_indices(z.shape[1], -1)  # pairs i < j in the order of j: those of the first k constituents come first
    pair, weight = r[:, first, second], z[:, first] * z[:, second]
    total = np.zeros((4, len(z)))
    for k in range(2, z.shape[1]):
        n = k * (k - 1) // 2
        a, b, c = r[:, k].take(first[:n], axis=1), r[:, k].take(second[:n], axis=1), pair[:, :n]
        low, high = np.minimum(a, b), np.maximum(a, b)
        middle, low = np.maximum(low, np.minimum(high, c)), np.minimum(low, c)
        two = low * middle
        total += z[:, k] * np.stack([np.einsum("bn,bn->b", weight[:, :n], v) for v in (low, low * low, two, two * two)])
    return total


def correlators(pt: Floats, rapidity: Floats, phi: Floats) -> Floats:
    """Return the 13 ratios `FEATURES[1:14]` of groomed jets, (B, 13).

    C1 = e2 and C2 = e3 / e2^2 (arXiv:1305.0007); D2 = e3 / e2^3, and with powers a of the angles in e3 and b in e2
    e3 / e2^(3a/b), so that d2_a1_b1 is d2_b1 (Larkoski, Moult, Neill, arXiv:1409.6298); M2 = 1e3 / e2 and N2 = 2e3 / e2^2
    (arXiv:1609.07483). A ratio is 0 if no two constituents are apart.

    Args:
        pt: transverse momenta (B, n); jets with fewer constituents are filled with 0.
        rapidity: rapidities (B, n), finite; what stands beside a momentum of 0 does not matter.
        phi: azimuths (B, n) in rad, finite.
    """
    z = pt / pt.sum(axis=1, keepdims=True)
    r = _distances(rapidity, phi)
    zz = z[:, :, None] * z[:, None, :]
    e2_0 = (1 - (z * z).sum(axis=1)) / 2
    e2_1, e2_2 = ((zz * power).sum(axis=(1, 2)) / 2 for power in (r, r * r))
    # A sum over triples of a product over their three pairs is the trace of a cubed matrix, over 6.
    e3_1, e3_2 = (np.einsum("bij,bij->b", m @ m, m) / 6 for m in (np.sqrt(zz) * r, np.sqrt(zz) * r * r))
    low_1, low_2, two_1, two_2 = _three_points(z, r)
    e3 = np.stack([e3_1, e3_2, e3_1, e3_2, e3_1, e3_1, low_1, low_2, two_1, two_2])
    e2 = np.stack([e2_1**2, e2_2**2, e2_1**3, e2_2**3, e2_1**3, e2_2**1.5, e2_1, e2_2, e2_1**2, e2_2**2])
    ratios = np.divide(e3, e2, out=np.zeros_like(e3), where=e2 > 0)
    return np.concatenate([np.stack([e2_0, e2_1, e2_2]), ratios]).T
