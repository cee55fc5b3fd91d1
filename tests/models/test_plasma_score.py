import importlib

import numpy as np
import pytest

from flow.model import load_model

SCORE = load_model("plasma").score
score = importlib.import_module(SCORE.per_sample.__module__)


def components(gauss, degrees):
    gauss, phase = np.asarray(gauss, float), np.radians(np.asarray(degrees, float))
    return (np.stack([gauss * np.sin(phase), gauss * np.cos(phase)], axis=1) / 20).astype(np.float32)


def extras(output, target):
    return SCORE.extras(output, target, np.random.default_rng(0))


def test_amplitude_error_ignores_the_phase():
    got = SCORE.per_sample(components([10, 7, 0, 25], [0, 90, 5, -170]), components([12, 7, 4, 5], [90, -90, 0, 10]))
    np.testing.assert_allclose(got, [2, 0, 4, 20], atol=1e-5)


def test_output_that_is_not_finite_scores_badly():
    output, target = components([10, 10, 10], [0, 0, 0]), components([10, 10, 10], [0, 0, 0])
    output[1, 0], output[2, 1] = np.nan, np.inf
    got = SCORE.per_sample(output, target)
    assert got[0] == 0
    assert (got[1:] > 1e30).all()
    assert np.isfinite(got).all()
    assert extras(output, target) == {}
    np.testing.assert_allclose(np.abs(score.phase_errors(output, target)), [0, 180, 180])


def test_trivial_is_the_best_constant():
    rng = np.random.default_rng(0)
    target = components(rng.exponential(8, 501), rng.uniform(-180, 180, 501))
    best = SCORE.trivial(target)
    assert best.shape == (2,)

    def error(constant):
        return SCORE.per_sample(np.broadcast_to(constant, target.shape).astype(np.float32), target).mean()

    assert error(best) <= min(error([0, a]) for a in np.linspace(0, 2, 400)) + 1e-6
    assert error(best) == pytest.approx(error([-best[1], 0]))


@pytest.mark.parametrize(("out", "true", "error"), [(179, -179, -2), (-179, 179, 2), (10, 350, 20), (-90, 90, 180), (45, 40, 5)])
def test_phase_error_is_wrapped(out, true, error):
    got = score.phase_errors(components([10], [out]), components([10], [true]))
    assert abs(got[0]) == pytest.approx(abs(error), abs=1e-4)
    if abs(error) < 180:
        assert got[0] == pytest.approx(error, abs=1e-4)


def test_extras_by_closed_form():
    """Errors of phase -2, 4, 6, 0 degrees and of amplitude 1, -1, 3, 1 G; modes below 3 and above 30 G do not count."""
    target = components([10, 3.01, 29.9, 20, 2.9, 30.1], [180, 20, -40, 0, 0, 0])
    output = components([11, 2.01, 32.9, 21, 9, 9], [178, 24, -34, 0, 90, 90])
    got = extras(output, target)
    assert got["phase_error"].value == pytest.approx(3, abs=1e-4)
    assert got["phase_spread"].value == pytest.approx(np.std([-2, 4, 6, 0]), abs=1e-4)
    assert got["amplitude_spread"].value == pytest.approx(np.std([1, -1, 3, 1]), abs=1e-4)
    assert [got[k].unit for k in ("phase_error", "phase_spread", "amplitude_spread")] == ["degrees", "degrees", "G"]
    assert got["phase_error"].direction == "lower"
    assert all("4 test samples of 3 to 30 G" in m.source for m in got.values())
    assert extras(output[4:], target[4:]) == {}


def test_intervals_cover_the_truth():
    """Of many draws of 400 Gaussian errors about 95 % have the true figure in their interval."""
    rng = np.random.default_rng(1)
    truth = {"phase_error": 8 * np.sqrt(2 / np.pi), "phase_spread": 8.0, "amplitude_spread": 2.0}
    hits = dict.fromkeys(truth, 0)
    for _ in range(300):
        target = components(np.full(400, 15.0), np.full(400, 170.0))
        got = extras(components(15 + 2 * rng.standard_normal(400), 170 + 8 * rng.standard_normal(400)), target)
        for name in hits:
            low, high = got[name].ci
            hits[name] += low <= truth[name] <= high
    assert all(0.90 < h / 300 < 0.985 for h in hits.values()), hits


def test_perfect_output():
    target = components([5, 10, 20], [0, 100, -100])
    got = extras(target, target)
    assert {k: (m.value, m.ci) for k, m in got.items()} == dict.fromkeys(got, (0.0, (0.0, 0.0)))
    assert SCORE.per_sample(target, target).max() == 0
