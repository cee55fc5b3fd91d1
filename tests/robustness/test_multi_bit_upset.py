"""Clusters of neighbouring bits: which they are, that weights make them uniform, and all of them by brute force."""

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.robustness import multi_bit_upset
from flow.robustness._campaign import Campaign
from flow.robustness.multi_bit_upset import Clusters
from tests.robustness.test_single_bit_map import SAMPLES, WIDTHS, build, flipped, plain, quiet, scores


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return build(tmp_path_factory.mktemp("clusters"))


def measured(subject, seed=0, **settings):
    config = RobustnessConfig(**{"flip_samples": SAMPLES, "trials": 400} | settings)
    return multi_bit_upset.measure(subject, config, np.random.default_rng(seed), quiet)


def every_cluster(subject, size):
    """Mean degradation of each cluster, in numpy integers: bits of all words in a row, the lowest bit of each first."""
    codes = plain(subject)
    clean = scores(subject, codes)
    row = [(k, i, bit) for k, array in enumerate(codes) for i in range(array.size) for bit in range(WIDTHS[k % 2])]
    result = []
    for start in range(len(row) - size + 1):
        faulty = [array.copy() for array in codes]
        for k, i, bit in row[start : start + size]:
            faulty[k].flat[i] = flipped(int(faulty[k].flat[i]), bit, WIDTHS[k % 2])
        result.append((scores(subject, faulty) - clean).mean())
    return np.array(result)


@pytest.mark.parametrize("size", [2, 5])
def test_every_cluster_against_brute_force(subject, size):
    truth, space = every_cluster(subject, size), subject.space()
    starts = np.arange(len(truth))[:, None]
    campaign = Campaign(subject, space, "all", lambda trials: space.flipped(starts[trials] + np.arange(size)), SAMPLES)
    assert np.allclose(campaign.run(len(truth), quiet).mean(axis=1), truth, atol=1e-6)
    metric = measured(subject, levels={"multi_bit_upset": [size]})[f"mse_multi_bit_upset_{size}"]
    assert metric.ci[0] < truth.mean() < metric.ci[1]
    clusters = Clusters(space, size, 0)
    chances, weights = 1 / 3 / len(truth) + 2 / 3 * clusters.chances, clusters.weights(starts + np.arange(size))
    variance = np.sum(chances * np.square(weights * truth)) - truth.mean() ** 2
    assert abs(metric.value - truth.mean()) < 3 * np.sqrt(variance / 400)
    assert variance < truth.var(), "drawing by place pays"


@pytest.mark.parametrize("size", [1, 3, 108])
def test_weights_make_clusters_uniform(subject, size):
    """The chance of each cluster times its weight is that of a uniform draw; drawn are neighbours, as often as that chance says."""
    clusters = Clusters(subject.space(), size, 7)
    total = subject.space().total
    assert total == 108
    every = np.arange(total - size + 1)[:, None] + np.arange(size)
    chances = 1 / 3 / len(every) + 2 / 3 * clusters.chances
    assert np.allclose(chances * clusters.weights(every), 1 / len(every))
    drawn = clusters.bits(np.arange(2000))
    assert (np.diff(drawn, axis=1) == 1).all()
    counts = np.bincount(drawn[:, 0], minlength=len(every))
    assert np.square((counts - 2000 * chances) / np.sqrt(2000 * chances)).sum() < len(every) + 5 * np.sqrt(2 * len(every))
    assert np.array_equal(clusters.bits(np.array([5, 900])), drawn[[5, 900]]), "a trial does not depend on the others"


def test_memory_changes_nothing(subject, tmp_path):
    few = measured(subject, trials=20)
    assert few == measured(build(tmp_path, memory=1), trials=20)
    assert set(few) >= {"mse_multi_bit_upset_2", "mse_multi_bit_upset_3", "mse_multi_bit_upset_4", "mse_multi_bit_upset_area"}
    assert "20 clusters" in few["mse_multi_bit_upset_3"].source


@pytest.mark.parametrize(("level", "why"), [(2.5, "whole"), (109, "108 bits only")])
def test_levels_that_are_refused(subject, level, why):
    with pytest.raises(ConfigError, match=why):
        measured(subject, levels={"multi_bit_upset": [2, level]})
