import importlib

import numpy as np
import pytest

from flow.model import load_model

SCORE = load_model("jets").score
score = importlib.import_module(SCORE.per_sample.__module__)
CLASSES = ("g", "q", "w", "z", "t")


def sample(n=400, seed=0, separation=1.5):
    """Logits of a mediocre network, and one-hot targets."""
    rng = np.random.default_rng(seed)
    target = np.eye(5, dtype=np.float32)[rng.integers(0, 5, n)]
    return (rng.normal(0, 1, (n, 5)) + separation * target).astype(np.float32), target


def test_accuracy():
    target = np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]
    output = np.array([[1, 0, 0, 0, 0], [9, 8, 0, 0, 0], [-5, -6, -1, -2, -3], [2, 2, 2, 2, 2]], dtype=np.float32)
    assert SCORE.per_sample(output, target).tolist() == [1.0, 0.0, 1.0, 0.0]
    assert (SCORE.id, SCORE.unit, SCORE.direction) == ("accuracy", "", "higher")
    assert SCORE.per_sample(output[:0], target[:0]).shape == (0,)


def test_output_that_is_not_finite_is_wrong():
    target = np.eye(5, dtype=np.float32)
    for bad in (np.nan, np.inf):
        assert (SCORE.per_sample(np.full((5, 5), bad, dtype=np.float32), target) == 0).all()
    metrics = SCORE.extras(np.full((20, 5), np.nan, dtype=np.float32), np.tile(target, (4, 1)), np.random.default_rng(0))
    assert {metrics[f"auc_{k}"].value for k in CLASSES} == {0.5}


def test_trivial_is_the_most_frequent_class():
    target = np.eye(5, dtype=np.float32)[[3, 3, 1]]
    constant = SCORE.trivial(target)
    assert constant.tolist() == [0, 0, 0, 1, 0]
    assert SCORE.per_sample(np.broadcast_to(constant, (3, 5)), target).mean() == pytest.approx(2 / 3)


def pairs(signal, background):
    """Kernel of the Mann-Whitney statistic, (m, n)."""
    return (signal[:, None] > background) + 0.5 * (signal[:, None] == background)


@pytest.mark.parametrize("levels", [3, 1000])
def test_auc_and_its_variance_by_brute_force(levels):
    rng = np.random.default_rng(levels)
    signal, background = rng.integers(1, levels + 1, 40) * 1.0, rng.integers(0, levels, 90) * 1.0
    value, (low, high) = score.auc(signal, background)
    kernel = pairs(signal, background)
    assert value == pytest.approx(kernel.mean())
    variance = kernel.mean(axis=1).var(ddof=1) / 40 + kernel.mean(axis=0).var(ddof=1) / 90
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * variance**0.5)


def test_interval_of_the_auc_covers():
    # Normal scores one deviation apart: AUC = Phi(1 / sqrt 2).
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        low, high = score.auc(rng.normal(1, 1, 60), rng.normal(0, 1, 120))[1]
        covered += low <= 0.7602499 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_auc_of_extremes():
    up, down = np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0])
    assert score.auc(up, down) == (1.0, (1.0, 1.0))
    assert score.auc(down, up)[0] == 0.0
    assert score.auc(np.zeros(5), np.zeros(7))[0] == 0.5


def test_rejection_by_brute_force():
    rng = np.random.default_rng(2)
    signal, background = rng.normal(1, 1, 301), rng.normal(0, 1, 900)
    value, _ = score.rejection(signal, background, rng)
    assert value == pytest.approx(900 / (background >= np.median(signal)).sum())


def test_interval_of_the_rejection_is_the_bootstrap():
    rng = np.random.default_rng(3)
    signal, background = rng.normal(1, 1, 200), rng.normal(0, 1, 500)
    shares = []
    for _ in range(4000):
        cut = np.sort(rng.choice(signal, 200))[::-1][99]
        shares.append((rng.choice(background, 500) >= cut).mean())
    low, high = np.quantile(shares, [0.025, 0.975])
    got = np.array([score.rejection(signal, background, np.random.default_rng(s))[1] for s in range(20)]).mean(axis=0)
    np.testing.assert_allclose(got, [1 / high, 1 / low], rtol=0.03)


def test_ties_pass_together():
    signal, background = np.array([2.0, 2.0, 2.0, 1.0]), np.repeat([2.0, 0.0], 50)
    assert score.rejection(signal, background, np.random.default_rng(0))[0] == pytest.approx(2.0)


def test_no_rejection_where_hardly_any_background_passes():
    rng = np.random.default_rng(0)
    signal = np.linspace(1, 2, 50)
    assert score.rejection(signal, np.linspace(-1, 0, 100), rng) is None
    assert score.rejection(signal, np.append(np.linspace(-1, 0, 99), 3.0), rng) is None  # one may be none in another sample


def test_extras():
    output, target = sample()
    got = SCORE.extras(output, target, np.random.default_rng(0))
    assert set(got) == {f"{what}_{k}" for what in ("auc", "rejection") for k in CLASSES}
    p = np.exp(output.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    for number, kind in enumerate(CLASSES):
        own = target[:, number] == 1
        metric = got[f"auc_{kind}"]
        assert metric.value == pytest.approx(pairs(p[own, number], p[~own, number]).mean())
        assert metric.ci[0] < metric.value < metric.ci[1]
        assert metric.direction == "higher"
        cut = got[f"rejection_{kind}"]
        assert cut.ci[0] < cut.value < cut.ci[1]
    assert got == SCORE.extras(output, target, np.random.default_rng(0))


def test_extras_do_not_saturate():
    """Softmax of these logits is 1 for all but rounding, and yet they can be ordered."""
    target = np.eye(5, dtype=np.float32)[[0, 0, 1, 1]]
    output = np.zeros((4, 5), dtype=np.float32)
    output[:, 0] = [60, 59, 58, 57]
    assert SCORE.extras(output, target, np.random.default_rng(0))["auc_g"].value == 1.0


def test_class_that_is_missing_has_no_figures():
    output, target = sample(100)
    target = np.roll(target[target[:, 4] == 0], 0, axis=1)
    got = SCORE.extras(output[: len(target)], target, np.random.default_rng(0))
    assert "auc_t" not in got
    assert "auc_g" in got
    assert SCORE.extras(output[:0], target[:0], np.random.default_rng(0)) == {}
