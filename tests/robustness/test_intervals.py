"""Intervals over rows and columns: closed forms, coverage where the truth is known, and when sampling ends."""

import numpy as np
import pytest
from scipy import stats

from flow.robustness._intervals import crossed_mean, crossed_quantile, sample_until, weighted_quantile
from flow.statistics import mean_interval


def normal(rng, rows, columns, spread=(1.0, 0.5, 2.0)):
    """A table of three independent normal effects around 0."""
    row, column, both = (rng.normal(size=shape) * s for shape, s in zip(((rows, 1), (1, columns), (rows, columns)), spread, strict=True))
    return row + column + both


def test_the_width_is_that_of_the_three_components():
    """Of a large table with known variances; a t quantile of many degrees of freedom is 1.96."""
    tables = [normal(np.random.default_rng(seed), 400, 300) for seed in range(20)]
    widths = [high - low for _, (low, high) in map(crossed_mean, tables)]
    expected = 2 * 1.96 * (1 / 400 + 0.25 / 300 + 4 / 120_000) ** 0.5
    assert np.mean(widths) == pytest.approx(expected, rel=0.05)
    assert np.std([table.mean() for table in tables]) * 4 == pytest.approx(expected, rel=0.5)


def test_rows_alone_are_student_t_moved_for_skewness():
    rows = np.random.default_rng(0).gamma(4, size=200)
    mean, (low, high) = crossed_mean(np.repeat(rows[:, None], 5, axis=1))
    assert mean == pytest.approx(rows.mean())
    half = mean_interval(rows)[1][1] - rows.mean()
    skewness = stats.skew(rows, bias=False) / 200**0.5
    shift = half / 1.972 * skewness * (1 / 6 + 1.972**2 / 3)  # first order of Hall's transformation
    assert (high - low) / 2 == pytest.approx(half, rel=0.02)
    assert (high + low) / 2 - mean == pytest.approx(shift, rel=0.1)
    assert shift > 0.002


def test_a_constant_has_no_width_and_two_rows_are_enough():
    assert crossed_mean(np.full((7, 4), 2.5)) == (2.5, (2.5, 2.5))
    mean, (low, high) = crossed_mean(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert low < mean == 1.5 < high


@pytest.mark.parametrize("effects", ["normal", "exponential", "rare"])
def test_it_covers(effects):
    """500 tables of 120 rows and 40 columns; a row is rare with 1/15, so that about eight rows have all of the effect."""
    rng, covered, below = np.random.default_rng(1), 0, 0
    for _ in range(500):
        row = {
            "normal": rng.normal(size=120), "exponential": rng.exponential(size=120) - 1, "rare": (rng.random(120) < 1 / 15) - 1 / 15,
        }[effects]  # fmt: skip
        table = row[:, None] + 0.05 * rng.normal(size=40) + row[:, None] * rng.normal(size=(120, 40))
        low, high = crossed_mean(table)[1]
        covered += low <= 0 <= high
        below += high < 0
    assert 460 <= covered <= 490  # 475 are expected; 490 and 460 are three standard errors away
    assert below <= 25, "misses are on both sides"


def rising(table, seen):
    def rows(count):
        seen.append(count)
        return table[:count]

    return rows


def test_sampling_ends_at_the_width_or_at_the_most():
    table, seen = 10 + normal(np.random.default_rng(0), 400, 50, (8.0, 0.1, 1.0)), []
    found = sample_until(rising(table, seen), 400, 0.1)
    assert seen == [100, 150, 225, 337][: len(seen)]
    assert len(seen) > 1
    assert (found.why, len(found.table)) == ("enough for 10 % of the mean", seen[-1])
    assert (found.interval[1] - found.interval[0]) / 2 <= 0.1 * found.mean
    assert (found.mean, found.interval) == crossed_mean(table[: seen[-1]])
    assert sample_until(rising(table, seen), 120, 0.001).why == "as many as are allowed"
    assert seen[-2:] == [100, 120]
    assert sample_until(rising(table, seen), 7, 0.9).why == "enough for 90 % of the mean"
    assert seen[-1] == 7
    nothing = sample_until(rising(np.zeros((400, 3)), seen), 200, 0.5)
    assert (nothing.why, len(nothing.table)) == ("as many as are allowed", 200), "that no fault did harm is no reason to stop"


def test_weighted_quantiles_are_those_of_repeated_rows():
    rng = np.random.default_rng(0)
    values, counts = rng.normal(size=(30, 4)), rng.integers(1, 5, (30, 4))
    for share in (0.05, 0.5, 0.95, 1.0):
        found = weighted_quantile(values, counts.astype(float), share)
        repeated = [np.quantile(np.repeat(v, c), share, method="inverted_cdf") for v, c in zip(values.T, counts.T, strict=True)]
        assert found.tolist() == repeated


def test_quantile_over_rows_and_columns():
    """Of row means that are uniform numbers in [0, 1], of which those below 1/2 count twice: the 90 % quantile is at 0.85."""
    rng = np.random.default_rng(0)
    rows = rng.random(3000)
    weights = np.where(rows < 0.5, 4 / 3, 2 / 3)
    value, (low, high) = crossed_quantile(rows[:, None] + 0.1 * rng.normal(size=(3000, 60)), weights, 0.9, np.random.default_rng(1))
    assert value == pytest.approx(0.85, abs=0.02)
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 * (0.9 * 0.1 / 3000) ** 0.5 * 1.5, rel=0.5)
