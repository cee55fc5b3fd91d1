import itertools

import numpy as np
import pytest

from flow.reporting.correlation import holm, partial, ranks, spearman


def vectors(n=12, seed=1):
    rng = np.random.default_rng(seed)
    z = rng.integers(3, 9, n).astype(float)
    return z + rng.standard_normal(n), np.exp(0.3 * z + rng.standard_normal(n)), z


def test_ranks_give_ties_their_mean():
    assert ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_spearman_is_that_of_scipy_with_and_without_ties():
    stats = pytest.importorskip("scipy.stats")
    x, y, z = vectors()
    for a, b in ((x, y), (x, z), (z, y)):
        assert spearman(a, b).rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def test_p_value_is_that_of_all_shuffles():
    x, y, _ = vectors(8, 5)
    rx, ry = ranks(x) - 4.5, ranks(y) - 4.5
    orders = np.array(list(itertools.permutations(range(8))))
    exact = np.mean(np.abs(rx[orders] @ ry) >= abs(rx @ ry) - 1e-9)
    assert 0.02 < exact < 0.9
    assert spearman(x, y).p == pytest.approx(exact, abs=0.02)


def test_a_perfect_relation_has_rho_one_and_a_p_above_zero():
    x = np.arange(10.0)
    found = spearman(x, -(x**3))
    assert found.rho == -1 and 0 < found.p < 0.001


def test_partial_is_the_closed_form_of_three_correlations():
    x, y, z = vectors()
    a, b, c = spearman(x, y).rho, spearman(x, z).rho, spearman(y, z).rho
    assert partial(x, y, z).rho == pytest.approx((a - b * c) / np.sqrt((1 - b * b) * (1 - c * c)), abs=1e-9)


def test_what_the_third_variable_explains_is_gone():
    rng = np.random.default_rng(3)
    z = np.repeat(np.arange(5.0), 12)
    x, y = z + 0.1 * rng.standard_normal(60), z + 0.1 * rng.standard_normal(60)
    assert spearman(x, y).rho > 0.9 and spearman(x, y).p < 0.001
    assert abs(partial(x, y, z).rho) < 0.35 and partial(x, y, z).p > 0.01


def test_results_do_not_change_from_call_to_call():
    assert spearman(*vectors()[:2]) == spearman(*vectors()[:2])


def test_too_few_points_and_constants_have_no_correlation():
    x, y, z = vectors()
    assert spearman(x[:7], y[:7]) is None and partial(x[:7], y[:7], z[:7]) is None
    assert spearman(x, np.ones(12)) is None
    assert partial(x, y, np.ones(12)) is None
    assert partial(x, z, z) is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([]) == []
