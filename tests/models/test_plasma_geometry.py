import importlib
import math

import numpy as np
import pytest
from scipy.integrate import quad

from flow.model import load_model

geometry = importlib.import_module(load_model("plasma").load.__module__.replace(".data", ".geometry"))
simulator = importlib.import_module(geometry.__name__.replace(".geometry", ".simulator"))

PLASMA = geometry.Plasma(outward=0.012, upward=-0.007, asymmetry=0.2, facing=1.1, glow=0.15, glow_zeta=-0.4)
LIGHT = simulator.Light(plasma=PLASMA, shell=0.88)


def brightness(s, direction, moved, phase):
    """Emissivity at s m along a line of sight, from the definitions, in scalars."""
    x, y, z = geometry.CAMERA_RADIUS + s * direction[0], s * direction[1], geometry.CAMERA_HEIGHT + s * direction[2]
    radius, zeta = math.hypot(x, y), math.atan2(y, x)
    across, up = radius - 0.92 - PLASMA.outward, z - PLASMA.upward
    theta, rho = math.atan2(up, across), math.hypot(across, up) / 0.15
    angle = 3 * (theta - 0.28 * math.sin(theta)) - zeta
    displacement = moved / 0.15 * (rho**2 if rho < 1 else rho**-4) * math.cos(phase - angle)
    gas = (1 + 0.2 * math.cos(theta - 1.1)) * (1 + 0.15 * math.cos(zeta + 0.4))
    return gas * float(simulator.emissivity(LIGHT, abs(rho - displacement))) if rho < geometry.EDGE else 0.0


def wall(direction):
    """Distance at which a line of sight meets the central column, if it does."""
    a, b = direction[0] ** 2 + direction[1] ** 2, geometry.CAMERA_RADIUS * direction[0]
    root = b * b - a * (geometry.CAMERA_RADIUS**2 - geometry.COLUMN_RADIUS**2)
    return (-b - math.sqrt(root)) / a if root > 0 else geometry.LONGEST


@pytest.mark.parametrize(("row", "column"), [(16, 16), (8, 12), (22, 24), (16, 1), (28, 8)])
def test_image_is_the_integral_along_the_line_of_sight(row, column):
    pixel, moved, phase = row * 32 + column, 5e-3, 0.7
    waves = np.array([[moved * np.exp(1j * phase), 0, 0]])
    got = (simulator.coefficients(LIGHT, waves) @ geometry.projection(PLASMA).T)[0, pixel]
    direction = geometry.directions()[pixel]
    want, _ = quad(brightness, 0.0, wall(direction), args=(direction, moved, phase), limit=500, epsrel=1e-5)
    assert want > 0.05
    assert got == pytest.approx(want, rel=0.01)


def test_lines_of_sight_are_centred_and_end_at_the_column():
    directions = geometry.directions().reshape(32, 32, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=2), 1.0)
    middle = directions[15:17, 15:17].mean(axis=(0, 1))
    nearest = geometry.CAMERA_RADIUS * abs(middle[1]) / math.hypot(middle[0], middle[1])
    assert nearest == pytest.approx(geometry.TANGENCY_RADIUS, rel=1e-3)
    assert (directions[0, :, 2] > 0).all()
    assert (directions[31, :, 2] < 0).all()
    at = geometry.points()
    assert at.radius.min() > geometry.COLUMN_RADIUS
    blocked = np.array([wall(d) < geometry.LONGEST for d in geometry.directions()])
    zeta = np.angle(at.toroidal)
    behind = np.arccos(geometry.COLUMN_RADIUS / geometry.CAMERA_RADIUS)
    assert blocked[:3].all()
    assert zeta[blocked[at.pixel]].max() < behind < zeta.max()


def test_helical_angle_turns_three_times_poloidally_and_once_toroidally():
    turn = np.linspace(0, 2 * np.pi, 400)
    one = np.ones_like(turn)
    pixel = np.zeros(400, dtype=np.int64)
    poloidal = geometry.Points(pixel, 0.92 + 0.1 * np.cos(turn), 0.1 * np.sin(turn), one + 0j)
    toroidal = geometry.Points(pixel, 1.0 * one, 0.02 * one, np.exp(1j * turn))
    for at, turns in ((poloidal, 3), (toroidal, -1)):
        rho, wave, gas = geometry.helical(geometry.Plasma(), at)
        np.testing.assert_allclose(abs(wave), 1.0)
        np.testing.assert_allclose(rho, rho[0])
        assert (gas == 1).all()
        assert np.unwrap(np.angle(wave))[[0, -1]] @ [-1, 1] == pytest.approx(turns * 2 * np.pi)


def test_vignetting_falls_from_the_middle():
    share = geometry.vignetting().reshape(32, 32)
    assert share.max() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(share, share[:, ::-1], rtol=1e-9)
    corner = math.sqrt(1 / (1 + 2 * (geometry.HALF_FIELD * 31 / 32) ** 2))
    assert share[0, 0] == pytest.approx(corner**4, rel=1e-6)
