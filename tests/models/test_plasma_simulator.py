import importlib

import numpy as np
import pytest

from flow.model import load_model

simulator = importlib.import_module(load_model("plasma").load.__module__.replace(".data", ".simulator"))
LIGHT = simulator.Light()


def waves(gauss, degrees):
    """Displacement by a mode of these amplitudes and phases, (N, 3)."""
    mode = 0.5e-3 * np.asarray(gauss) * np.exp(1j * np.radians(degrees))
    return np.stack([mode, 0 * mode, 0 * mode], axis=1)


def around(series, angles):
    """Evaluate Fourier coefficients (7, nodes) at helical angles, (nodes, angles)."""
    order = np.arange(1, 4)[:, None] * angles
    return series.T @ np.concatenate([np.ones((1, len(angles))), *(np.stack([np.cos(o), np.sin(o)]) for o in order)])


def test_phase_advance_turns_the_picture():
    angles, step = np.linspace(0, 2 * np.pi, 50), 0.8
    first, second = simulator.coefficients(LIGHT, waves([12, 12], np.degrees([0.3, 0.3 + step]))).reshape(2, 7, -1)
    np.testing.assert_allclose(around(second, angles + step), around(first, angles), atol=2e-3)
    assert abs(around(second, angles) - around(first, angles)).max() > 0.1


def test_phase_can_be_read_from_the_change_of_the_picture():
    """Of a small mode the change is a combination of two pictures that differ, with cosine and sine of the phase."""
    degrees = np.arange(0, 360, 30)
    still = simulator.expected_electrons(LIGHT, waves([0], [0]))
    change = simulator.expected_electrons(LIGHT, waves(np.ones(12), degrees)) - still
    np.testing.assert_allclose(change[6:], -change[:6], atol=0.03 * abs(change).max())
    axes = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
    fitted, *_ = np.linalg.lstsq(axes, change, rcond=None)
    np.testing.assert_allclose(axes @ fitted, change, atol=0.03 * abs(change).max())
    shape = np.corrcoef(fitted)
    assert abs(shape[0, 1]) < 0.5
    assert 0.5 < np.linalg.norm(fitted[0]) / np.linalg.norm(fitted[1]) < 2


def test_change_grows_with_the_amplitude_and_vanishes_without():
    series = simulator.coefficients(LIGHT, waves([0, 0, 1, 2], [0, 90, 50, 50])).reshape(4, 7, -1)
    assert abs(series[:2, 1:]).max() < 1e-12
    np.testing.assert_allclose(series[0], series[1], atol=1e-12)
    np.testing.assert_allclose(series[3, 1:3], 2 * series[2, 1:3], rtol=0.02, atol=5e-4)


def test_surfaces_move_outwards_by_the_displacement():
    """Of the profile at the crest (helical angle = phase), between nodes: e(rho) becomes e(rho - displacement)."""
    rho = np.linspace(0, simulator.EDGE, simulator.NODES)
    moved = around(simulator.coefficients(LIGHT, waves([10], [40])).reshape(7, -1), np.radians([40.0]))[:, 0]
    want = simulator.emissivity(LIGHT, rho - 5e-3 / 0.15 * np.where(rho < 1, rho**2, np.maximum(rho, 1) ** -4.0))
    np.testing.assert_allclose(moved, want, atol=0.01)
    still = simulator.emissivity(LIGHT, rho)
    assert rho[moved.argmax()] > rho[still.argmax()]


def test_noise_is_poisson_and_read_noise():
    rng = np.random.default_rng(0)
    for electrons in (300.0, 1600.0, 6000.0):
        codes = simulator.expose(np.full(400_000, electrons), rng)
        gain = simulator.ELECTRONS_PER_CODE
        assert codes.mean() == pytest.approx(electrons / gain, rel=2e-3)
        assert codes.var() == pytest.approx((electrons + simulator.READ_NOISE**2) / gain**2 + 1 / 12, rel=0.01)


def test_converter_saturates():
    rng = np.random.default_rng(0)
    assert (simulator.expose(np.full(1000, 1e6), rng) == 4095).all()
    dark = simulator.expose(np.zeros(1000), rng)
    assert dark.dtype == np.uint16
    assert dark.min() == 0
    assert dark.max() < 6 * simulator.READ_NOISE / simulator.ELECTRONS_PER_CODE


def test_wandering_has_unit_variance_and_its_correlation_time():
    step = simulator.EVERY / simulator.FRAME_RATE
    got = simulator._wander(400_000, 20 * step, np.random.default_rng(0))
    assert got.mean() == pytest.approx(0, abs=0.03)
    assert got.var() == pytest.approx(1, abs=0.04)
    # of a critically damped process: (1 + t) exp(-t)
    assert np.mean(got[20:] * got[:-20]) / got.var() == pytest.approx(2 / np.e, abs=0.03)
    starts = np.array([simulator._wander(1, 1e-4, r)[0] for r in np.random.default_rng(1).spawn(4000)])
    assert starts.var() == pytest.approx(1, abs=0.1)


def test_mode_grows_rotates_and_saturates(monkeypatch):
    monkeypatch.setattr(simulator, "EVERY", 1)
    monkeypatch.setattr(simulator, "FREQUENCY_SPREAD", 0.0)
    monkeypatch.setattr(simulator, "FREQUENCY", (5e3, 5e3))
    modes = [simulator.mode(360, r) for r in np.random.default_rng(3).spawn(200)]
    advance = np.diff(np.unwrap([m.phase for m in modes], axis=1), axis=1)
    np.testing.assert_allclose(advance, 2 * np.pi * 5e3 / 120e3)
    amplitude = np.array([m.amplitude for m in modes])
    assert amplitude.min() > 0
    assert amplitude.max() < simulator.LARGEST
    assert np.median(amplitude[:, -1]) == pytest.approx(simulator.AMPLITUDE, rel=0.15)
    assert 0.8 < ((amplitude >= 3) & (amplitude <= 30)).mean() < 0.95


def test_shot_repeats_itself():
    first, again, other = (simulator.shot(3, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first[0].shape == (3, 32, 32)
    assert (first[0] == again[0]).all()
    assert (first[1].phase == again[1].phase).all()
    assert (first[0] != other[0]).any()


def test_pixels_have_the_published_mean_and_standard_deviation():
    pixels = np.stack([simulator.shot(1, r)[0] for r in np.random.default_rng(0).spawn(200)]) / 4095
    assert pixels.mean() == pytest.approx(0.066927, rel=0.04)
    assert pixels.std() == pytest.approx(0.030739, rel=0.05)


def test_picture_is_small(tmp_path):
    picture = importlib.import_module(simulator.__name__.replace(".simulator", ".picture"))
    picture.draw(tmp_path / "frames.png")
    assert 10_000 < (tmp_path / "frames.png").stat().st_size < 80_000
    assert (load_model("plasma").folder / "frames.png").stat().st_size < 80_000
