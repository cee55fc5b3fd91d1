import numpy as np
import pytest

from flow.reporting.claims.bootstrap import DRAWS, effect, interval, mean, mean_ratio, rank_correlation, weights
from flow.reporting.correlation import holm

stats = pytest.importorskip("scipy.stats")


def vectors(n=12, seed=1):
    rng = np.random.default_rng(seed)
    z = rng.integers(3, 9, n).astype(float)
    return z + rng.standard_normal(n), np.exp(0.3 * z + rng.standard_normal(n)), z


def groups(count, each=1):
    return [f"{k:03d}" for k in range(count) for _ in range(each)]


def alone(statistic, n):
    return float(statistic(np.ones((1, n)))[0])


def test_spearman_is_that_of_scipy_with_and_without_ties():
    x, y, z = vectors()
    for a, b in ((x, y), (x, z), (z, y)):
        assert alone(rank_correlation(a, b), 12) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def test_weights_are_repeated_points():
    """A draw with weights is the study in which points are there several times, or not at all."""
    x, y, z = vectors(20)
    w = np.random.default_rng(2).integers(0, 4, (5, 20)).astype(float)
    found = rank_correlation(x, y, z)(w)
    for row, rho in zip(w.astype(int), found, strict=True):
        again = alone(rank_correlation(*(np.repeat(v, row) for v in (x, y, z))), row.sum())
        assert rho == pytest.approx(again, abs=1e-9)


def test_partial_is_the_closed_form_of_three_correlations():
    x, y, z = vectors()
    a, b, c = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (a - b * c) / np.sqrt((1 - b * b) * (1 - c * c))
    assert alone(rank_correlation(x, y, z), 12) == pytest.approx(expected, abs=1e-9)


def test_partial_given_two_is_that_of_least_squares_residuals():
    x, y, z = vectors(30)
    u = z + np.random.default_rng(5).standard_normal(30)
    fixed = np.stack([np.ones(30), stats.rankdata(z), stats.rankdata(u)], axis=1)
    left = [r - fixed @ np.linalg.lstsq(fixed, r, rcond=None)[0] for r in (stats.rankdata(x), stats.rankdata(y))]
    assert alone(rank_correlation(x, y, z, u), 30) == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-9)
    assert alone(rank_correlation(x, y, z, 2 * z, u), 30) == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-9), "the same twice"


def test_what_the_third_variable_explains_is_gone():
    rng = np.random.default_rng(3)
    z = np.repeat(np.arange(5.0), 12)
    x, y = z + 0.1 * rng.standard_normal(60), z + 0.1 * rng.standard_normal(60)
    plain, given = (effect(rank_correlation(x, y, *g), groups(60), "rho") for g in ((), (z,)))
    assert plain.low > 0.85 and plain.p < 1e-6
    assert given.low < 0 < given.high and given.p > 0.05


def test_nothing_to_correlate_has_no_effect():
    x, y, z = vectors()
    assert effect(rank_correlation(x, np.ones(12)), groups(12), "rho") is None
    assert effect(rank_correlation(x, z, z), groups(12), "rho") is None
    assert effect(rank_correlation(x[:5], y[:5]), groups(5), "rho") is None, "too few configurations"
    assert effect(mean(x[:4]), groups(2, 2)) is None


def test_the_interval_of_a_mean_is_that_of_student_over_configurations():
    values = np.random.default_rng(7).standard_normal(24)
    found = effect(mean(values), groups(8, 3))
    means = values.reshape(8, 3).mean(axis=1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(means.mean(), rel=1e-4) and (found.points, found.clusters) == (24, 8)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.05 * (expected.high - expected.low))
    assert found.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue, abs=0.03)


def test_interval_and_p_value_agree():
    rng = np.random.default_rng(8)
    for _ in range(50):
        values = 0.5 + rng.standard_normal(12)
        found = effect(mean(values), groups(12), threshold=0.2)
        assert (found.p < 0.05) == (not found.low <= 0.2 <= found.high)


def test_a_ratio_is_a_geometric_mean_and_never_negative():
    top = np.array([1.0, 4.0, 2.0, 8.0])
    found = effect(mean_ratio(top, np.ones(4)), groups(4), "ratio", 1.0)
    assert found.value == pytest.approx(64**0.25, rel=1e-5) and 0 < found.low < found.value < found.high


def test_the_same_figure_everywhere_has_no_width():
    found = effect(mean(np.full(6, 0.25)), groups(6))
    assert (found.value, found.low, found.high, found.p) == (0.25, 0.25, 0.25, 0.0)
    assert effect(mean(np.zeros(6)), groups(6)).p == 1.0


def test_draws_keep_configurations_whole_and_are_the_same_every_time():
    labels = ["b", "a", "b", "c", "a", "b"]
    w = weights(labels)
    assert w.shape == (DRAWS, 6) and (w[:, 0] == w[:, 2]).all() and (w[:, 1] == w[:, 4]).all()
    assert w[:, [0, 1, 3]].sum(axis=1).tolist() == [3.0] * DRAWS
    assert (weights(labels) == w).all()


def covered(simulate, truth, runs=200):
    hits = [found.low <= truth <= found.high for found in (simulate(np.random.default_rng(k)) for k in range(runs)) if found]
    assert len(hits) > 0.9 * runs
    return np.mean(hits)


@pytest.mark.parametrize("count", [4, 12])
def test_intervals_of_a_mean_difference_cover(count):
    """The difference varies between configurations and within them; intervals over points that ignore this cover too rarely."""

    def values(rng):
        return 1 + np.repeat(rng.standard_normal(count), 3) + 0.3 * rng.standard_normal(3 * count)

    assert 0.90 <= covered(lambda rng: effect(mean(values(rng)), groups(count, 3)), 1.0) <= 0.99
    assert covered(lambda rng: effect(mean(values(rng)), groups(3 * count)), 1.0) < 0.88


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_intervals_of_a_rank_correlation_cover(rho):
    def simulate(rng):
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 12).T
        return effect(rank_correlation(*(np.repeat(v, 3) + 0.01 * rng.standard_normal(36) for v in (x, y))), groups(12, 3), "rho")

    assert 0.90 <= covered(simulate, 6 / np.pi * np.arcsin(rho / 2)) <= 1.0


def test_a_statistic_that_most_draws_lack_has_no_interval():
    values = np.full(1 + DRAWS, np.nan)
    values[:200] = np.linspace(0, 1, 200)
    assert interval(values, 9, 9) is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([]) == []
