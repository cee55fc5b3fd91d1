"""Stuck bits against numpy integers, and against the flips that they are."""

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.robustness import stuck_at
from flow.robustness.stuck_at import StuckSets
from tests.robustness.test_single_bit_map import SAMPLES, WIDTHS, build, flipped, plain, quiet, scores


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stuck"))


def measured(subject, *levels, **settings):
    config = RobustnessConfig(**{"flip_samples": SAMPLES, "trials": 400, "levels": {"stuck_at": list(levels)}} | settings)
    return stuck_at.measure(subject, config, np.random.default_rng(0), quiet)


@pytest.mark.parametrize(("value", "code"), [("zero", 0), ("one", -1)])
def test_all_bits_at_once(subject, value, code):
    """There is one set of all bits; its codes are all zero, or all ones, which is -1."""
    total, codes = subject.space().total, plain(subject)
    expected = scores(subject, [np.full_like(array, code) for array in codes]) - scores(subject, codes)
    metric = measured(subject, total, trials=5)[f"mse_stuck_at_{value}_{total}"]
    assert metric.value == pytest.approx(expected.mean(), rel=1e-5)


def test_single_bits_against_brute_force(subject):
    """All single bits in numpy integers; the interval holds their mean, and the figure is off by what the draws allow."""
    codes, found = plain(subject), {"zero": [], "one": []}
    clean = scores(subject, codes)
    for k, array in enumerate(codes):
        for i in range(array.size):
            for bit in range(WIDTHS[k % 2]):
                faulty = [a.copy() for a in codes]
                faulty[k].flat[i] = flipped(int(array.flat[i]), bit, WIDTHS[k % 2])
                one = int(array.flat[i]) >> bit & 1
                harm = (scores(subject, faulty) - clean).mean()
                found["zero"].append(harm if one else 0.0)
                found["one"].append(0.0 if one else harm)
    metrics, every = measured(subject, 1, trials=800), np.arange(108)[:, None]
    for at, (value, harms) in enumerate(found.items()):
        sets, metric = StuckSets(subject.space(), 1, 0, at), metrics[f"mse_stuck_at_{value}_1"]
        variance = np.mean(sets.weights(every) * np.square(harms)) - np.mean(harms) ** 2
        assert abs(metric.value - np.mean(harms)) < 3 * np.sqrt(variance / 400)
        assert metric.ci[0] < np.mean(harms) < metric.ci[1]
        assert variance < np.var(harms), "drawing by place pays"
    assert abs(np.mean(found["zero"]) / np.mean(found["one"]) - 1) > 0.1, "the two differ"


@pytest.mark.parametrize("at", [0, 1])
def test_weights_make_sets_uniform(subject, at):
    """The chance of each bit times its weight is that of a uniform draw; what is drawn by place changes."""
    space = subject.space()
    sets, every = StuckSets(space, 1, 3, at), np.arange(108)[:, None]
    chances = 1 / 3 / 108 + 2 / 3 * sets.chances
    assert np.allclose(chances * sets.weights(every), 1 / 108)
    changes = (space.stuck(every, at) != space.words).any(axis=1)
    assert np.array_equal(sets.chances > 0, changes)
    counts = np.bincount(sets.bits(np.arange(2000))[:, 0], minlength=108)
    assert np.square((counts - 2000 * chances) / np.sqrt(2000 * chances)).sum() < 108 + 5 * np.sqrt(2 * 108)


def test_memory_changes_nothing(subject, tmp_path):
    assert measured(subject, 2, 9, trials=20) == measured(build(tmp_path, memory=1), 2, 9, trials=20)


def test_levels_that_are_refused(subject):
    with pytest.raises(ConfigError, match=r"stuck_at = .* whole numbers"):
        measured(subject, 0.5)
