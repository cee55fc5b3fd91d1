"""Degradation curves whose area and critical level are known, and intervals that cover them."""

import dataclasses

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.robustness._curve import (
    BLOCK,
    CLOSE,
    DECIBEL,
    LINEAR,
    ROUNDS,
    area_under,
    crossing,
    curve,
    near_critical,
    resampled_means,
)  # fmt: skip
from tests.robustness import linear

CONFIG = RobustnessConfig(tolerance=0.25)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """Every clean score is 4: the targets are 2 away."""
    made = linear.make(tmp_path_factory.mktemp("curve"), samples=200, offset=2.0)
    return dataclasses.replace(made, clean=np.full(200, 4.0))


def figures(subject, levels, values, rng=None, **options):
    return curve(subject, CONFIG, "k", "words", "u", levels, values, rng or np.random.default_rng(0), "200 samples", **options)


def test_a_curve_without_spread(subject):
    """0, 0.5 at 1, 2.5 at 3: the area is (0.25 + 3) / 3, and 25 % of 4 is reached at 1.5."""
    found = figures(subject, (1.0, 3.0), np.stack([np.full(200, 0.5), np.full(200, 2.5)]))
    assert list(found) == ["mse_k_1", "mse_k_3", "mse_k_area", "mse_k_critical"]
    assert [m.value for m in found.values()] == pytest.approx([0.5, 2.5, 3.25 / 3, 1.5])
    for key, metric in found.items():
        assert metric.ci == pytest.approx((metric.value, metric.value))
        assert (metric.unit, metric.direction) == (("u", "higher") if key == "mse_k_critical" else ("u", "lower"))
    assert found["mse_k_area"].title == "MSE degradation, words, mean over strengths up to 3 u"
    assert found["mse_k_critical"].title == "Strength of words that costs 25 % of MSE"


def test_decibels_fall(subject):
    """Noise of amplitude a costs 10 a: 20 dB are 0.1, and 1 is reached there; the area is by amplitude."""
    levels = (40.0, 20.0, 14.0)
    values = np.stack([np.full(200, 10 * 10 ** (-level / 20)) for level in levels])
    found = figures(subject, levels, values, axis=DECIBEL)
    assert list(found) == ["mse_k_40", "mse_k_20", "mse_k_14", "mse_k_area", "mse_k_critical"]
    assert found["mse_k_area"].value == pytest.approx(5 * 10 ** (-14 / 20))
    assert found["mse_k_critical"].value == pytest.approx(20)
    assert found["mse_k_critical"].direction == "lower"
    noisy = figures(subject, levels, values + 0.3 * np.random.default_rng(1).normal(size=(1, 200)), axis=DECIBEL)["mse_k_critical"]
    assert 17 < noisy.ci[0] < noisy.value < noisy.ci[1] < 23


@pytest.mark.parametrize("height", [0.0, 0.9])
def test_a_curve_that_does_not_get_there_has_no_critical_level(subject, height):
    assert "mse_k_critical" not in figures(subject, (1.0, 2.0), np.full((2, 200), height))


def test_without_a_clean_score_nothing_is_relative(subject):
    perfect = dataclasses.replace(subject, clean=np.zeros(200))
    assert "mse_k_critical" not in figures(perfect, (1.0, 2.0), np.ones((2, 200)))
    assert near_critical(perfect, CONFIG, (1.0, 2.0), np.ones((2, 200)), lambda level: np.ones(200)) == {}


def test_an_interval_of_the_critical_level_ends_at_the_last_one(subject):
    values = np.random.default_rng(0).normal(1.02, 1.0, (1, 200)) * np.array([[0.5], [1.0]])
    metric = figures(subject, (1.0, 2.0), values)["mse_k_critical"]
    assert metric.ci[1] == 2.0
    assert "bound: 2 u" in metric.source


def test_area_and_crossing_against_fine_steps():
    rng = np.random.default_rng(0)
    strengths, means = (0.5, 2.0, 3.0, 7.0), rng.normal(1, 1, (50, 4))
    fine = np.linspace(0, 7, 70_001)
    for row, area, at in zip(means, area_under(strengths, means), crossing(strengths, means, 0.8), strict=True):
        heights = np.interp(fine, [0, *strengths], [0, *row])
        assert area == pytest.approx(heights.mean(), abs=1e-3)
        above = np.flatnonzero(heights >= 0.8)
        assert at == pytest.approx(fine[above[0]], abs=2e-4) if len(above) else np.isinf(at)
    drops = rng.uniform(0.1, 2, 50)
    one_by_one = [crossing(strengths, row[None], drop)[0] for row, drop in zip(means, drops, strict=True)]
    assert np.array_equal(crossing(strengths, means, drops), one_by_one)


SHAPES = {
    "straight": lambda s: 0.7 * s, "square": lambda s: 0.2 * s**2, "root": lambda s: 2.9 * s**0.5, "bent": lambda s: 4 * s**2 / (1 + s**2),
    "late": lambda s: 3 / (1 + np.exp(-6 * (s - 3))) - 3 / (1 + np.exp(18)), "early": lambda s: 3 * (1 - np.exp(-8 * s)),
}  # fmt: skip


@pytest.mark.parametrize("axis", [LINEAR, DECIBEL])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_critical_level_of_a_bent_curve_is_searched_for(subject, shape, axis):
    """With levels 1 and 5 alone, straight lines are wrong by up to a factor of 3."""
    height, asked = SHAPES[shape], []

    def measure(level):
        asked.append(level)
        return np.full(200, height(axis.strength(level)))

    levels = [axis.level(strength) for strength in (1.0, 5.0)]
    values = [np.full(200, height(strength)) for strength in (1.0, 5.0)]
    further = near_critical(subject, CONFIG, levels, values, measure, axis)
    assert list(further) == asked and len(asked) <= ROUNDS
    found = figures(subject, levels, values, axis=axis, further=further)
    fine = np.linspace(0, 5, 500_001)
    truth = fine[np.argmax(height(fine) >= 1.0)]
    assert axis.strength(found["mse_k_critical"].value) == pytest.approx(truth, rel=2 * CLOSE)
    without = figures(subject, levels, values, axis=axis)
    assert found["mse_k_area"] == without["mse_k_area"], "the area is that of the levels that were asked for"
    assert [k for k in found if k.split("_")[-1] not in ("area", "critical")] == list(without)[: len(levels)]


def test_resamples_share_samples_and_draws():
    """Two rows that differ by 1 do so in every resample; so do two tables, and a table of equal draws is its row."""
    rng = np.random.default_rng(0)
    row, table = rng.normal(size=30), rng.normal(size=(8, 30))
    means = resampled_means([row, row + 1, table, table + 1, np.tile(row, (8, 1))], np.random.default_rng(1))
    assert means.shape == (1000, 5)
    assert np.allclose(means[:, 1] - means[:, 0], 1) and np.allclose(means[:, 3] - means[:, 2], 1)
    assert np.allclose(means[:, 4], means[:, 0])
    assert means[:, 0].std() == pytest.approx(row.std() / 30**0.5, rel=0.1)
    assert means[:, 0].mean() == pytest.approx(row.mean(), abs=0.02)
    many = np.random.default_rng(2).normal(size=BLOCK // 100)  # more than one block
    assert resampled_means([many], np.random.default_rng(3)).std() == pytest.approx(many.std() / len(many) ** 0.5, rel=0.1)


def simulated(rng, slope, draws=0, samples=200):
    """Degradations at levels 1, 2, 3: `slope` at 1 on average, with effects of samples, of draws, and of both."""
    by_sample, noise = rng.gamma(4, 0.25, samples), rng.normal(0, 0.3, (max(draws, 1), samples))
    by_draw = rng.gamma(4, 0.25, (max(draws, 1), 1))
    table = slope * (by_sample * by_draw + noise)
    return [level * (table if draws else table[0] / by_draw[0]) for level in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize("draws", [0, 40])
def test_intervals_cover(subject, draws):
    """Of 200 repetitions, 92 to 98 % have the truth inside; the mean degradation at level s is 0.5 s."""
    truth = {"mse_k_1": 0.5, "mse_k_area": 0.75, "mse_k_critical": 2.0}
    inside = dict.fromkeys(truth, 0)
    for seed in range(200):
        rng = np.random.default_rng([draws, seed])
        found = figures(subject, (1.0, 2.0, 3.0), simulated(rng, 0.5, draws), rng)
        for key, value in truth.items():
            inside[key] += found[key].ci[0] <= value <= found[key].ci[1]
    assert all(184 <= count <= 196 for count in inside.values()), inside
