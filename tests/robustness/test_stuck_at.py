"""Stuck bits against numpy integers, and against the flips that they are."""

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.robustness import stuck_at
from flow.robustness._campaign import new_seed
from flow.robustness.bit_flip import Sets
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
    metrics = measured(subject, 1)
    for value, harms in found.items():
        metric = metrics[f"mse_stuck_at_{value}_1"]
        assert metric.ci[0] < np.mean(harms) < metric.ci[1]
    assert abs(np.mean(found["zero"]) / np.mean(found["one"]) - 1) > 0.1, "the two differ"


def test_both_values_of_one_bit_are_its_flip(subject):
    """The same sets are stuck at zero and at one, so both together are the flips of these sets."""
    metrics, space = measured(subject, 1, trials=60), subject.space()
    sets = Sets(space, 1, new_seed(np.random.default_rng(0)))
    bits = sets.bits(np.arange(60))
    flips = subject.degradations(space, space.flipped(bits), SAMPLES).mean(axis=1) * sets.weights(bits)
    assert metrics["mse_stuck_at_zero_1"].value + metrics["mse_stuck_at_one_1"].value == pytest.approx(flips.mean())


def test_memory_changes_nothing(subject, tmp_path):
    assert measured(subject, 2, 9, trials=20) == measured(build(tmp_path, memory=1), 2, 9, trials=20)


def test_levels_that_are_refused(subject):
    with pytest.raises(ConfigError, match=r"stuck_at = .* whole numbers"):
        measured(subject, 0.5)
