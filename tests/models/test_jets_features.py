import importlib
import itertools

import numpy as np
import pytest

from flow.model import load_model

features = importlib.import_module(load_model("jets").load.__module__.replace(".data", ".features"))
NAMES = features.FEATURES[1:14]


def jets(sizes, seed=0, spread=0.3):
    """Random jets across the seam of the azimuth, filled with zeros to the largest."""
    rng = np.random.default_rng(seed)
    longest = max(sizes)
    pt, y, phi = np.zeros((3, len(sizes), longest))
    for row, n in enumerate(sizes):
        pt[row, :n] = rng.exponential(1.0, n) + 0.01
        y[row, :n] = rng.normal(0.4, spread, n)
        phi[row, :n] = (rng.normal(np.pi, spread, n) + np.pi) % (2 * np.pi) - np.pi
    return pt, y, phi


def by_hand(pt, y, phi):
    """The thirteen ratios of one jet, in loops over pairs and triples."""
    kept = [i for i in range(len(pt)) if pt[i] > 0]
    total = sum(pt[i] for i in kept)

    def distance(i, j):
        turn = abs(phi[i] - phi[j])
        return np.hypot(y[i] - y[j], min(turn, 2 * np.pi - turn))

    def sum_over(count, angles, power):
        value = 0.0
        for group in itertools.combinations(kept, count):
            r = sorted(distance(i, j) for i, j in itertools.combinations(group, 2))
            value += np.prod([pt[i] / total for i in group]) * np.prod(r[:angles]) ** power
        return value

    e2 = {b: sum_over(2, 1, b) for b in (0, 1, 2)}
    e3 = {b: sum_over(3, 3, b) for b in (1, 2)}
    low, two = ({b: sum_over(3, angles, b) for b in (1, 2)} for angles in (1, 2))
    return [
        e2[0], e2[1], e2[2], e3[1] / e2[1] ** 2, e3[2] / e2[2] ** 2, e3[1] / e2[1] ** 3, e3[2] / e2[2] ** 3, e3[1] / e2[1] ** 3,
        e3[1] / e2[2] ** 1.5, low[1] / e2[1], low[2] / e2[2], two[1] / e2[1] ** 2, two[2] / e2[2] ** 2,
    ]  # fmt: skip


def test_ratios_equal_loops():
    pt, y, phi = jets([2, 3, 7, 12, 12])
    got = features.correlators(pt, y, phi)
    assert got.shape == (5, 13)
    np.testing.assert_allclose(got, [by_hand(*j) for j in zip(pt, y, phi, strict=True)], rtol=1e-9, atol=1e-13)


def test_padding_order_and_place_do_not_matter():
    pt, y, phi = jets([9, 9], seed=1)
    plain = features.correlators(pt, y, phi)
    order = np.random.default_rng(2).permutation(9)
    np.testing.assert_allclose(features.correlators(pt[:, order], y[:, order], phi[:, order]), plain, rtol=1e-9)
    np.testing.assert_allclose(features.correlators(7 * pt, y + 2, phi + 1.5), plain, rtol=1e-9)
    padded = [np.pad(v, ((0, 0), (0, 4)), constant_values=c) for v, c in ((pt, 0.0), (y, 9.0), (phi, -3.0))]
    np.testing.assert_allclose(features.correlators(*padded), plain, rtol=1e-9)


def test_two_particles_by_closed_form():
    z, r = 0.3, 0.25
    got = dict(zip(NAMES, features.correlators(np.array([[z, 1 - z]]), np.array([[0.0, r]]), np.zeros((1, 2)))[0], strict=True))
    assert got["c1_b0"] == pytest.approx(z * (1 - z))
    assert got["c1_b1"] == pytest.approx(z * (1 - z) * r)
    assert got["c1_b2"] == pytest.approx(z * (1 - z) * r * r)
    assert all(got[name] == 0 for name in NAMES[3:])


def test_equilateral_triangle_by_closed_form():
    r = 0.4
    y, phi = np.array([[0, r, r / 2]]), np.array([[0, 0, r * np.sqrt(3) / 2]])
    got = dict(zip(NAMES, features.correlators(np.ones((1, 3)), y, phi)[0], strict=True))
    expected = {  # three pairs of 1/9, one triple of 1/27
        "c1_b0": 1 / 3, "c1_b1": r / 3, "c1_b2": r**2 / 3, "c2_b1": r / 3, "c2_b2": r**2 / 3, "d2_b1": 1.0, "d2_b2": 1.0, "d2_a1_b1": 1.0,
        "d2_a1_b2": 3**1.5 / 27, "m2_b1": 1 / 9, "m2_b2": 1 / 9, "n2_b1": 1 / 3, "n2_b2": 1 / 3,
    }  # fmt: skip
    assert got == pytest.approx(expected)


def test_jets_without_extent_have_no_ratio():
    one = features.correlators(np.array([[3.0, 0.0]]), np.array([[0.1, 5.0]]), np.zeros((1, 2)))
    assert (one == 0).all()
    same = features.correlators(np.full((1, 4), 0.5), np.full((1, 4), 0.2), np.full((1, 4), 3.0))
    assert same[0, 0] == pytest.approx(6 / 16)  # b = 0 counts pairs
    assert (same[0, 1:] == 0).all()


def test_z_log_z():
    energy = np.array([[1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    expected = [-np.log(4), 0.0, 0.75 * np.log(0.75) + 0.25 * np.log(0.25)]
    np.testing.assert_allclose(features.z_log_z(energy), expected, atol=1e-15)
