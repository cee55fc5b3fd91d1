"""Random flips: sets and weights in closed form, the mean against all bits, and its interval against the exhaustive truth."""

import itertools
import re

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness import bit_flip
from flow.robustness._bits import BitSpace
from flow.robustness._faults import Sets, sample_faults
from flow.robustness._intervals import sample_until
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp
from tests.robustness.test_oracles import QUIET, SCORE


def build(path, sizes, bits, samples, score=SCORE):
    """A network whose targets are its own outputs with some noise, as those of a trained one."""
    twin = load_twin(write_mlp(path, sizes, bits=bits))
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 32, (samples, sizes[0])) / 16).astype(np.float32)
    y = twin(twin.params, torch.from_numpy(x)).detach().numpy() + 0.1 * rng.normal(size=(samples, sizes[-1]))
    y = y.astype(np.float32)
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), torch.from_numpy(x), torch.from_numpy(y))
    return build_subject(twin, None, score, x, y, problem=problem)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return build(tmp_path_factory.mktemp("flip") / "m.onnx", (3, 4, 2), 3, 40)


def exhaustive(subject):
    space = subject.space()
    return subject.degradations(space, space.flipped(np.arange(space.total)[:, None]), len(subject.x))


def tiny():
    """Two weights of two bits and a bias of three."""
    return BitSpace(
        ("w", "b"), ((2,), (1,)), (), np.zeros(3, np.int64), np.array([2, 2, 3]), np.ones(3, bool), np.array([0, 2, 4]), np.array([0, 0, 1])
    )


@pytest.mark.parametrize("flips", [1, 2, 3])
def test_sets_are_drawn_as_often_as_their_weights_say(flips):
    """Every set is found, and its share of the draws times its weight is that of a uniform draw."""
    sets = Sets(tiny(), flips, 5)
    assert sets.chances == pytest.approx(np.array([1 / 12, 2 / 12, 1 / 12, 2 / 12, 1 / 14, 2 / 14, 4 / 14]))
    bits = sets.bits(np.arange(6000))
    weights = sets.weights(bits)
    assert weights.max() <= 3
    found, at, counts = np.unique(np.sort(bits, axis=1), axis=0, return_inverse=True, return_counts=True)
    possible = list(itertools.combinations(range(7), flips))
    assert found.tolist() == [list(one) for one in possible]
    shares = np.bincount(at.ravel(), weights) / len(bits)
    assert (np.abs(shares * len(possible) - 1) < 4.5 / np.sqrt(counts)).all()


def test_a_set_depends_on_its_trial_alone():
    sets = Sets(tiny(), 3, 5)
    alone = np.concatenate([sets.bits(np.array([trial])) for trial in (4, 9)])
    assert np.array_equal(sets.bits(np.arange(12))[[4, 9]], alone)
    assert not np.array_equal(Sets(tiny(), 3, 6).bits(np.arange(12)), sets.bits(np.arange(12)))


def test_all_bits_flip_at_once_and_one_more_is_refused(subject):
    space, total = subject.space(), subject.space().total
    assert total == (12 + 8) * 3 + 6 * 8, "biases are flipped as well"

    def flip(count):
        config = RobustnessConfig(trials=5, flip_samples=10)
        return sample_faults(subject, config, "all", Sets(space, count, 0), space.flipped, config.trials, QUIET["progress"])

    found, weights = flip(total)
    assert weights == pytest.approx(np.ones(5))
    assert len(set(found.table.mean(axis=1).round(12))) == 1
    with pytest.raises(ConfigError, match=f"{total} bits only"):
        flip(total + 1)


def test_figures_against_all_single_bits(subject):
    truth = exhaustive(subject).mean(axis=1)
    config = RobustnessConfig(flips=(1,), trials=1500, flip_samples=40, relative_error=0.01)
    metrics = bit_flip.measure(subject, config, np.random.default_rng(1), **QUIET)
    mean, quantile = metrics["mse_flip_1"], metrics["mse_flip_1_p95"]
    assert mean.value == pytest.approx(truth.mean(), rel=0.1)
    assert mean.ci[0] < mean.value < mean.ci[1]
    assert np.quantile(truth, 0.92) <= quantile.value <= np.quantile(truth, 0.98)
    assert quantile.ci[0] <= quantile.value <= quantile.ci[1]
    means, weights = (subject.records[f"bit_flip_1_{name}"] for name in ("means", "weights"))
    assert (means * weights).mean() == pytest.approx(mean.value)


def test_keys_are_exact_and_sources_say_how_many(subject):
    config = RobustnessConfig(flips=(10, 1, 30), trials=120, flip_samples=8, relative_error=0.3)
    metrics = bit_flip.measure(subject, config, np.random.default_rng(1), **QUIET)
    levels = {f"mse_flip_{flips}{end}" for flips in (1, 10, 30) for end in ("", "_p95")}
    assert set(metrics) - levels <= {"mse_flip_area", "mse_flip_critical"}
    assert levels < set(metrics)
    for key in levels:
        assert re.match(r"\d+ sets of bits \((as many as are allowed|enough for 30 % of the mean)\), .*; 8 samples", metrics[key].source)
    by_level = [metrics[f"mse_flip_{flips}"].value for flips in (1, 10, 30)]
    points = np.trapezoid([0.0, *by_level], [0, 1, 10, 30]) / 30
    assert metrics["mse_flip_area"].value == pytest.approx(points)
    other = bit_flip.measure(subject, config.model_copy(update={"flips": (1,)}), np.random.default_rng(1), **QUIET)
    assert other["mse_flip_1"] == metrics["mse_flip_1"], "the first level is the same whatever the others are"
    levels = config.model_copy(update={"levels": {"bit_flip": (2.0,)}})
    assert "mse_flip_2" in bit_flip.measure(subject, levels, np.random.default_rng(1), **QUIET)
    with pytest.raises(ConfigError, match="needs two of them"):
        bit_flip.measure(subject, config.model_copy(update={"flip_samples": 1}), np.random.default_rng(1), **QUIET)
    with pytest.raises(ConfigError, match="whole numbers"):
        bit_flip.levels_of(config.model_copy(update={"levels": {"bit_flip": (2.5,)}}), "bit_flip")


def worst(output, target):
    return np.abs(output - target).max(1).astype(np.float64)


@pytest.mark.parametrize(
    ("sizes", "bits", "score", "most", "relative"),
    [((6, 8, 4), 6, SCORE, 300, 0.3), ((5, 8, 3), 8, Score("worst", "worst", "u", "lower", worst, lambda t: t.mean(0)), 150, 0.4)],
    ids=["mse", "worst"],
)
def test_intervals_cover_the_exhaustive_truth(tmp_path, sizes, bits, score, most, relative):
    """Bits and samples are drawn 200 times from all bits and 1,000 samples; most campaigns end before their last trial."""
    subject = build(tmp_path / "m.onnx", sizes, bits, 1000, score)
    table, space, rng = exhaustive(subject), subject.space(), np.random.default_rng(7)
    covered, made = 0, []
    for repetition in range(200):
        sets, columns = Sets(space, 1, repetition), rng.integers(0, 1000, 64)
        drawn = sets.bits(np.arange(most))
        weighted = table[drawn[:, 0]][:, columns] * sets.weights(drawn)[:, None]
        found = sample_until(lambda count, all_=weighted: all_[:count], most, relative)
        covered += found.interval[0] <= table.mean() <= found.interval[1]
        made.append(len(found.table))
    assert 184 <= covered <= 196
    assert len(set(made)) > 1
