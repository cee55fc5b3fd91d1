"""The regression, the figures and the pieces of a screening, against closed forms, dense refits and simulations."""

import numpy as np
import pytest
from scipy import stats

from flow.config import DesignPoint, LandscapeConfig, NetworkConfig, ScreenConfig, TrainConfig
from flow.core.errors import ConfigError
from flow.core.state import Failure, Result, State
from flow.screening import figures
from flow.screening.regression import PENALTIES, LeftOut, Samples, Scaling, fit, left_out_errors
from flow.screening.twins import Candidate, check_metrics, configuration, cost, short_epochs, short_twin


def groups_of(configurations=10, seeds=3):
    return np.repeat(np.arange(configurations), seeds)


def samples(rng, signal, groups, scores=6):
    """One landscape score carries the signal, which neither the bits nor the task score know; noise is shared within a configuration."""
    n, count = len(groups), groups.max() + 1
    hidden = rng.normal(size=count)[groups]
    base = np.stack([rng.choice([4.0, 6.0, 8.0], count)[groups], np.exp(0.1 * rng.normal(size=n))], axis=1)
    features = np.exp(rng.normal(size=(count, scores))[groups] + 0.2 * rng.normal(size=(n, scores)))
    features[:, 0] = np.exp(hidden + 0.05 * rng.normal(size=n))
    y = signal * hidden + 0.3 * rng.normal(size=count)[groups] + 0.1 * rng.normal(size=n)
    return Samples(base, features, y[:, None], groups)


def dense_ridge(x, y, penalty):
    """Coefficients (p,) and intercept from the normal equations."""
    z = np.column_stack([np.ones(len(x)), x])
    return np.linalg.solve(z.T @ z + penalty * np.diag([0.0, *np.ones(x.shape[1])]), z.T @ y)


def test_left_out_errors_are_those_of_refits():
    rng, groups = np.random.default_rng(0), np.array([0, 0, 1, 1, 1, 2, 3, 3, 4, 4])
    x, y, penalties = rng.normal(size=(10, 4)), rng.normal(size=(10, 2)), np.array([0.1, 3.0])
    u, d, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    errors = left_out_errors(u, d**2 / (d**2 + penalties[:, None]), y, groups)
    for a, penalty in enumerate(penalties):
        for group in range(5):
            mine = groups == group
            beta = dense_ridge(x[~mine], y[~mine], penalty)
            np.testing.assert_allclose(errors[a, mine], y[mine] - np.column_stack([np.ones(mine.sum()), x[mine]]) @ beta, atol=1e-10)


def test_fit_is_the_dense_ridge_with_the_best_penalty():
    """The baseline on scaled features; the penalty is the one of the smallest error over refits."""
    data = samples(np.random.default_rng(3), 1.0, groups_of(6))
    data = Samples(data.scores[:, :2], data.scores[:, 2:], data.y, data.groups)
    model, x = fit(data, (0.0,)), Scaling.of(data.base)(data.base)
    errors = []
    for penalty in len(x) * PENALTIES:
        rest = [(data.groups != g, data.groups == g) for g in range(6)]
        parts = [data.y[b, 0] - np.column_stack([np.ones(b.sum()), x[b]]) @ dense_ridge(x[a], data.y[a, 0], penalty) for a, b in rest]
        errors.append(np.square(np.concatenate(parts)).mean())
    beta = dense_ridge(x, data.y[:, 0], len(x) * PENALTIES[int(np.argmin(errors))])
    np.testing.assert_allclose(model.coefficients[:2, 0], beta[1:], atol=1e-10)
    np.testing.assert_allclose(model.predict(data.base, data.scores)[:, 0], np.column_stack([np.ones(len(x)), x]) @ beta, atol=1e-10)
    assert not model.coefficients[2:].any()


def test_targets_do_not_disturb_each_other():
    rng, data = np.random.default_rng(1), samples(np.random.default_rng(2), 1.0, groups_of(5))
    other = rng.normal(size=(len(data.y), 3))
    both = fit(Samples(data.base, data.scores, np.concatenate([data.y, other], axis=1), data.groups))
    np.testing.assert_allclose(both.predict(data.base, data.scores)[:, :1], fit(data).predict(data.base, data.scores), atol=1e-12)


@pytest.mark.parametrize("part", ["y", "scores", "base"])
def test_nothing_of_a_configuration_leaks_into_its_prediction(part):
    """Neither targets nor features of the other seeds of a configuration change what is predicted for one of its points."""
    data = samples(np.random.default_rng(5), 1.0, groups_of(8))
    before, ends = LeftOut(data).predictions(), LeftOut(data).intervals(data.base[:3], data.scores[:3], 0)
    changed = {name: getattr(data, name).copy() for name in ("base", "scores", "y")}
    changed[part][1:3] *= 1e3  # seeds 1 and 2 of configuration 0; seed 0 stays
    disturbed = LeftOut(Samples(**changed, groups=data.groups))
    assert disturbed.predictions()[0] == before[0]
    np.testing.assert_array_equal(disturbed.intervals(data.base[:3], data.scores[:3], 0), ends)
    assert not np.allclose(disturbed.predictions()[3:], before[3:]), "the others do see it"


def test_constant_and_wild_features_do_no_harm():
    data = samples(np.random.default_rng(7), 1.0, groups_of(8))
    flat = Samples(data.base, np.concatenate([data.scores, np.full((24, 1), 7.0), np.zeros((24, 1))], axis=1), data.y, data.groups)
    np.testing.assert_allclose(fit(flat).predict(flat.base, flat.scores), fit(data).predict(data.base, data.scores), atol=1e-9)
    wild = data.scores.copy()
    wild[:, 1] = np.where(np.arange(24) == 0, 1e30, wild[:, 1])
    assert np.abs(LeftOut(Samples(data.base, wild, data.y, data.groups)).predictions()).max() < 10


def test_a_perfect_predictor_has_rank_correlation_one():
    groups = groups_of(9)
    x = np.exp(np.random.default_rng(0).normal(size=(27, 1)))
    data = Samples(np.ones((27, 1)), x, np.log(x), groups)
    standings = LeftOut(data).standings()
    assert figures.spearman(standings, data.y)[0] == pytest.approx(1, abs=0.01)
    assert figures.recall(standings[:, 0], data.y[:, 0]) == pytest.approx(1)
    assert np.isnan(figures.spearman(LeftOut(data, (0.0,)).standings(), data.y)[0]), "a constant baseline has no rank correlation"
    assert figures.recall(LeftOut(data, (0.0,)).standings()[:, 0], data.y[:, 0]) == pytest.approx(7 / 27), "which is random choice"


def test_spearman_and_partial_against_scipy_and_the_closed_form():
    rng = np.random.default_rng(4)
    x, y, z = rng.integers(0, 6, (30, 3)).astype(float), rng.normal(size=30), rng.normal(size=30)
    y += x[:, 0]
    r_xy = [stats.spearmanr(column, y).statistic for column in x.T]
    np.testing.assert_allclose(figures.spearman(x, y[:, None]), r_xy)
    r_xz, r_yz = np.array([stats.spearmanr(c, z).statistic for c in x.T]), stats.spearmanr(y, z).statistic
    expected = (r_xy - r_xz * r_yz) / np.sqrt((1 - r_xz**2) * (1 - r_yz**2))
    np.testing.assert_allclose(figures.partial(x, y, z[:, None]), expected)
    assert np.isnan(figures.partial(z[:, None], y, z[:, None])[0])


def test_recall_of_a_random_order_is_what_random_choice_gives():
    rng, y = np.random.default_rng(0), np.arange(36.0)
    mean = np.mean([figures.recall(rng.permutation(36).astype(float), y) for _ in range(4000)])
    assert mean == pytest.approx(figures.quarter(36) / 36, abs=0.01)


def test_shuffles_move_whole_configurations():
    groups = np.array([0, 0, 1, 1, 1, 2, 2])
    orders = figures.shuffles(groups, np.random.default_rng(0), 50)
    for order in orders.T:
        sources = [set(groups[order[groups == g]]) for g in range(3)]
        assert sorted(s.pop() for s in sources) == [0, 1, 2]
        assert not any(sources)


def _correlation(data, rng):
    columns = np.concatenate([data.y, data.y[:, 0][figures.shuffles(data.groups, rng, 40)]], axis=1)
    ranks = LeftOut(Samples(data.base, data.scores, columns, data.groups)).standings()
    found = figures.spearman(ranks, columns)
    draws = figures.bootstrap(lambda rows: figures.spearman(ranks[rows, :1], columns[rows, :1]), data.groups, rng)
    return found[0], figures.widened(found[0], figures.percentiles(draws)[0], found[1:], correlation=True)


def test_noise_is_not_predicted_and_signal_is(monkeypatch):
    """Of 40 studies of noise about 38 intervals should cover 0, and the mean must not lean to one side, as it does without a tournament."""
    monkeypatch.setattr(figures, "RESAMPLES", 100)
    rng, groups = np.random.default_rng(11), groups_of(8, 2)
    noise = [_correlation(samples(rng, 0.0, groups, 3), rng) for _ in range(40)]
    covers = [ci is None or ci[0] <= 0 <= ci[1] for _, ci in noise]
    assert sum(covers) >= 35
    assert abs(np.nanmean([rho for rho, _ in noise])) < 0.17  # three standard errors
    clear = [_correlation(samples(rng, 2.0, groups_of(12, 2), 3), rng) for _ in range(5)]
    assert all(ci is not None and ci[0] > 0 for _, ci in clear)


@pytest.mark.parametrize("signal", [0.0, 1.5])
def test_prediction_intervals_cover_new_configurations(signal):
    """80 % intervals of 100 studies, for a configuration that was not among them."""
    rng, groups = np.random.default_rng(8), groups_of(11, 2)
    inside = []
    for _ in range(100):
        data = samples(rng, signal, groups, 2)
        known = data.subset(groups < 10)
        ends = LeftOut(known).intervals(data.base[-1:], data.scores[-1:])[0]
        inside.append(ends[0] <= data.y[-1, 0] <= ends[1])
    assert 0.68 <= np.mean(inside) <= 0.96  # three standard errors below; with few configurations they are rather too wide


def test_few_configurations_have_no_interval_of_a_high_level():
    data = samples(np.random.default_rng(0), 1.0, groups_of(8, 2), 2)
    assert np.isinf(LeftOut(data).intervals(data.base[:1], data.scores[:1], level=0.9)).all()
    assert np.isfinite(LeftOut(data).intervals(data.base[:1], data.scores[:1])).all()


def test_an_interval_excludes_zero_only_if_shuffles_hardly_reach_it():
    null = np.linspace(-0.6, 0.6, 2001)  # 5 % are beyond 0.57
    for value, excluded in ((0.56, False), (0.58, True), (-0.56, False), (-0.58, True)):
        for correlation in (False, True):
            low, high = figures.widened(value, (value - 0.01, value + 0.01), null, correlation)
            assert (low > 0 or high < 0) == excluded
    assert figures.widened(0.9, (-0.5, 0.99), null) == (-0.5, pytest.approx(1.47))
    assert figures.widened(np.nan, None, null) is None


def test_partial_interval_is_never_narrower_than_that_of_fisher():
    assert figures.partial_interval(0.5, (0.49, 0.51), 28) == pytest.approx(np.tanh(np.arctanh(0.5) + np.array([-1, 1]) * 1.959964 / 5))
    assert figures.partial_interval(0.5, (-0.9, 0.95), 28) == (-0.9, 0.95)
    assert figures.partial_interval(0.5, (0.4, 0.6), 3) is None


def test_partial_correlation_of_noise_covers_zero(monkeypatch):
    monkeypatch.setattr(figures, "RESAMPLES", 300)
    rng, groups, covers = np.random.default_rng(9), groups_of(12), []
    for _ in range(12):
        data = samples(rng, 0.0, groups, 10)

        def compute(rows, data=data):
            return figures.partial(data.scores[rows], data.y[rows, 0], data.base[rows])

        covers += [ci[0] <= 0 <= ci[1] for ci in figures.percentiles(figures.bootstrap(compute, groups, rng))]
    assert np.mean(covers) > 0.88


@pytest.mark.parametrize(
    ("before", "after", "budget", "expected"),
    [(15, 15, 0.1, (1, 2)), (40, 20, 0.1, (4, 2)), (0, 5, 0.1, (0, 1)), (4, 4, 0.1, (0, 1)), (10, 10, 1.0, (10, 10)), (30, 1, 0.1, (2, 1))],
)
def test_short_epochs_keep_to_the_budget(before, after, budget, expected):
    point = DesignPoint(model="toy", train=TrainConfig(pretrain_epochs=before, epochs=after))
    assert short_epochs(point, budget) == expected
    assert sum(expected) <= max(1, round(budget * (before + after), 6))


def test_short_twin_differs_in_epochs_and_asks_for_no_more_than_is_needed():
    point = DesignPoint(model="toy", name="p", network=NetworkConfig(weight_bits=4), landscape=LandscapeConfig(samples=99))
    twin = short_twin(point, ScreenConfig(metrics=("hessian_trace", "gradient_norm_chip")))
    assert twin.train == TrainConfig(pretrain_epochs=1, epochs=2)
    assert twin.landscape == LandscapeConfig(samples=99, metrics=("gradient_norm", "hessian_trace"))
    assert (twin.name, twin.network) == ("p-short", point.network)
    assert short_twin(point, ScreenConfig()).landscape == point.landscape


def test_a_configuration_is_everything_but_the_seed():
    point = DesignPoint(model="toy", name="a", seed=0)
    assert configuration(point) == configuration(point.model_copy(update={"name": "b", "seed": 1}))
    assert configuration(point) != configuration(point.model_copy(update={"network": NetworkConfig(weight_bits=4)}))


def test_unknown_metrics_are_refused_early():
    check_metrics(["hessian_trace", "sharpness_mean_1", "some_eigenvalue"])
    with pytest.raises(ConfigError, match=r"'sharpnes_mean_1' is no landscape score.*sharpness"):
        check_metrics(["sharpnes_mean_1"])


def test_imported_networks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="trained already"):
        short_twin(DesignPoint(onnx="f.onnx", data={"path": "d.npz"}), ScreenConfig())


def timed(key, **seconds):
    return State({stage: Result(stage, f"{stage} {key if stage != 'pretrain' else ''}", "ok", seconds=s) for stage, s in seconds.items()})


def test_cost_counts_shared_results_once_and_points_that_had_both():
    point = DesignPoint(model="toy")
    candidates = [
        Candidate(point, timed("a", pretrain=1.0, train=2.0, landscape=5.0), timed("b", pretrain=10.0, train=20.0, robustness=30.0)),
        Candidate(point, timed("c", pretrain=1.0, train=2.0, landscape=5.0), timed("d", pretrain=10.0, train=20.0, robustness=30.0)),
        Candidate(point, timed("e", pretrain=1.0, train=99.0, landscape=5.0), None),
        Candidate(point, Failure("", "", "no"), timed("f", pretrain=10.0, train=99.0, robustness=30.0)),
    ]
    found = cost(candidates, ScreenConfig())
    assert found["training_share"] == pytest.approx((1 + 2 + 2) / (10 + 20 + 20)), "they start from the same float network"
    assert found["screening_share"] == pytest.approx(15 / 110)
    assert found["with_landscape_share"] is None, "no full training has a landscape"
    assert found["epochs"] == {"short": 3, "full": 30, "share": pytest.approx(0.1)}
