"""What goes wrong in a detector, each by its definition."""

import dataclasses

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.robustness import dead_channels, gain, hot_channels, miscalibration, pedestal, resolution, salt_pepper_detector, saturation
from tests.robustness import linear

TOP = 64 - linear.SCALE


def quiet(fraction, text):
    assert 0 <= fraction <= 1 and text


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory):
    return linear.make(tmp_path_factory.mktemp("unsigned"), samples=100, signed=False, detector=np.full((1, 1), 0.25, np.float32))


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    return linear.make(tmp_path_factory.mktemp("signed"), samples=100)


@pytest.mark.parametrize(("module", "value"), [(dead_channels, 0.0), (hot_channels, TOP)])
def test_whole_channels_fail(unsigned, module, value):
    """With one module for all samples."""
    counts = []
    for seed in range(300):
        random = np.random.default_rng(seed).random((1, 6))
        few, many = (module.apply(unsigned, random, percent) for percent in (20, 60))
        failed = (few == np.float32(value)).all(axis=0)
        assert np.array_equal(few[:, ~failed], unsigned.x[:, ~failed]), "the others are as they were"
        assert (many[:, failed] == np.float32(value)).all(), "and so it stays at a higher level"
        assert not failed[0], "an input that never changes is no channel"
        counts.append(failed.sum())
    assert np.mean(counts) == pytest.approx(5 * 0.2, abs=0.2)


def test_hot_is_the_largest_word_of_signed_inputs(signed):
    hot = hot_channels.apply(signed, np.zeros((1, 6)), 100)
    assert (hot[:, 1:] == 32 - linear.SCALE).all()


def test_gains(signed):
    assert np.allclose(gain.apply(signed, -1.0, 20), 0.8 * signed.x)
    random = np.array([[0, 1, -1, 2, -2, -20]], np.float32)
    assert np.allclose(miscalibration.apply(signed, random, 10), signed.x * [1, 1.1, 0.9, 1.2, 0.8, 0])


def test_pedestal(unsigned):
    for sign in (1.0, -1.0):
        shift = pedestal.apply(unsigned, sign, 2) - unsigned.x
        assert np.allclose(shift[:, 1:], sign * 0.02 * 64, atol=1e-5) and np.all(shift[:, 0] == 0)


def test_spikes(unsigned):
    """1 % of the channels, up and down, 8 units of 0.25."""
    many = dataclasses.replace(unsigned, x=np.tile(unsigned.x, (400, 1)))
    change = salt_pepper_detector.apply(many, np.random.default_rng(0).random(many.x.shape, dtype=np.float32), 8) - many.x
    assert set(np.unique(np.round(change, 4))) == {-2.0, 0.0, 2.0}
    for sign in (1, -1):
        assert np.mean(sign * change[:, 1:] > 0) == pytest.approx(0.005, rel=0.1)


def test_saturation(signed, unsigned):
    assert np.abs(saturation.apply(signed, 1.0, 95)).max() == pytest.approx(0.05 * 32)
    assert np.allclose(saturation.apply(signed, 1.0, 95), np.clip(signed.x, -1.6, 1.6), atol=2e-4)
    assert np.allclose(saturation.apply(unsigned, 1.0, 80), np.minimum(unsigned.x, 0.2 * TOP), atol=1e-5)
    assert np.all(saturation.apply(unsigned, 1.0, 100) == 0)


@pytest.mark.parametrize("bits", [1, 5, 10])
def test_resolution(signed, unsigned, bits):
    for subject, low, high in ((signed, -32, 32), (unsigned, 0, 64)):
        step = linear.SCALE * 2**bits
        wide = dataclasses.replace(subject, x=np.append(subject.x, [[-100.0] * 6, [100.0] * 6], axis=0).astype(np.float32))
        coarse = resolution.apply(wide, 1.0, bits)
        assert np.allclose(coarse, np.clip(np.round(wide.x / step) * step, low, high - step))
        assert np.array_equal(resolution.apply(dataclasses.replace(subject, x=coarse), 1.0, bits), coarse), (
            "rounding twice is rounding once"
        )
        assert coarse.dtype == np.float32


def test_levels_of_the_resolution(signed):
    """Of 16 bits with a sign, 14 can be lost; bits are whole, and there is nothing to search for between them."""
    config = RobustnessConfig(levels={"resolution": (14, 15, 20)}, tolerance=1e-6)
    metrics = resolution.measure(signed, config, np.random.default_rng(0), quiet)
    assert {key for key in metrics if key.rsplit("_", 1)[1].isdigit()} == {"mse_resolution_14"}
    with pytest.raises(ConfigError, match=r"1\.5 is not a whole number of bits"):
        resolution.measure(signed, RobustnessConfig(levels={"resolution": (1.5,)}), np.random.default_rng(0), quiet)
    assert resolution.measure(signed, RobustnessConfig(levels={"resolution": (16,)}), np.random.default_rng(0), quiet) == {}
