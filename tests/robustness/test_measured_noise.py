"""Recorded noise: what is drawn against the records, degradations against inputs perturbed by hand, and the key of the stage."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.core.plan import key_document
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.points import build_point
from flow.robustness import measured_noise
from flow.robustness._subject import build_subject
from flow.stages.robustness import STAGE
from flow.twin import load_twin
from tests.qonnx_models import write_mlp

UNIT = np.random.default_rng(5).choice([0.125, 0.25], (40, 1)).astype(np.float32)


def mse(output, target):
    return ((output - target) ** 2).mean(1).astype(np.float64)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    twin = load_twin(write_mlp(tmp_path_factory.mktemp("m") / "m.onnx", (4, 6, 2), bits=5))
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1.9, (40, 4)).astype(np.float32), rng.normal(size=(40, 2)).astype(np.float32)
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), torch.from_numpy(x), torch.from_numpy(y))
    score = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))
    return build_subject(twin, None, score, x, y, problem=problem, detector=UNIT, detector_unit="counts")


def measure(subject, path, records, seed=1, **settings):
    np.save(path / "noise.npy", records)
    config = RobustnessConfig(noise_file=str(path / "noise.npy"), noise_draws=4, **settings)
    return measured_noise.measure(subject, config, np.random.default_rng(seed), lambda fraction, text: None)


@pytest.mark.parametrize("fit", ["bootstrap", "covariance"])
@pytest.mark.parametrize("unit", ["input", "detector"])
def test_a_noise_that_is_always_the_same(fit, unit, subject, tmp_path):
    """A shift of each input, so nothing is left to chance: the same as inputs perturbed by hand."""
    shift = np.array([0.5, 0, -0.25, 0.125], np.float32)
    metrics = measure(subject, tmp_path, np.tile(shift, (9, 1)), noise_fit=fit, noise_unit=unit, levels={"measured_noise": (2.0, 1.0)})
    assert list(metrics)[:3] == ["mse_measured_noise_1", "mse_measured_noise_2", "mse_measured_noise_area"]
    for level in (1, 2):
        by_hand = subject.x + level * shift * (UNIT if unit == "detector" else 1)
        expected = subject.score_inputs(by_hand) - subject.clean
        metric = metrics[f"mse_measured_noise_{level}"]
        assert metric.value == pytest.approx(expected.mean(), abs=1e-9)
        assert metric.value != 0
        assert metric.ci[1] - metric.ci[0] == pytest.approx(2 * 2.0227 * expected.std(ddof=1) / 40**0.5, rel=1e-4)
        assert f"{fit} of all 9 records" in metric.source


def test_whole_records_are_drawn(tmp_path):
    records = np.random.default_rng(2).normal(size=(30, 5)).astype(np.float32)
    drawn = measured_noise.bootstrap(records)(20_000, np.random.default_rng(3))
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    assert np.array_equal(rows, np.unique(records, axis=0)), "each is one of them, with all its channels"
    assert abs(counts - 20_000 / 30).max() < 5 * (20_000 / 30) ** 0.5


@pytest.mark.parametrize("count", [3, 5, 6, 400], ids=str)
def test_normal_numbers_have_mean_and_covariance_of_the_records(count):
    """With few records the covariance is singular, and all that is drawn lies in the plane of the records."""
    rng = np.random.default_rng(4)
    records = (rng.normal(size=(count, 5)) @ rng.normal(size=(5, 5)) + [3, 0, -1, 0, 2]).astype(np.float32)
    records[:, 4] = records[:, 0] - records[:, 1]  # never more than four dimensions
    drawn = measured_noise.normal(records)(200_000, np.random.default_rng(5)).astype(np.float64)
    expected = np.cov(records.T.astype(np.float64))
    tolerance = 0.02 * np.sqrt(np.outer(np.diag(expected), np.diag(expected))).max()
    assert np.allclose(np.cov(drawn.T), expected, atol=tolerance)
    assert np.allclose(drawn.mean(0), records.mean(0, dtype=np.float64), atol=5 * np.sqrt(np.diag(expected)).max() / 200_000**0.5)
    span = np.linalg.svd(records - records.mean(0))[2][: min(count - 1, 4)]
    centred = drawn[:1000] - records.mean(0)
    assert np.abs(centred - centred @ span.T @ span).max() < 1e-4
    assert np.median(np.abs((centred / np.sqrt(np.diag(expected)))[:, 0])) == pytest.approx(0.6745, abs=0.08), "normal, as is its median"


def test_covariance_of_more_records_than_a_piece():
    records = np.random.default_rng(6).normal(2, 1, (10_000, 3)).astype(np.float32)
    covariance = measured_noise._covariance(records, records.mean(axis=0, dtype=np.float64))
    assert np.allclose(covariance, np.cov(records.T.astype(np.float64)), atol=1e-12)


def test_few_records_and_default_levels(subject, tmp_path):
    metrics = measure(subject, tmp_path, np.random.default_rng(8).normal(0, 0.1, (4, 4)), noise_fit="covariance")
    assert {f"mse_measured_noise_{level}" for level in ("0.25", "0.5", "1", "2", "4", "area")} <= set(metrics)
    assert "40 samples, 4 draws; covariance of all 4 records, fewer than inputs" in metrics["mse_measured_noise_1"].source
    same = measure(subject, tmp_path, np.random.default_rng(8).normal(0, 0.1, (4, 4)), noise_fit="covariance")
    assert same == metrics


def test_without_a_file_nothing_is_measured(subject):
    assert measured_noise.measure(subject, RobustnessConfig(), np.random.default_rng(0), lambda fraction, text: None) == {}


def test_units_that_cannot_be(subject, tmp_path):
    records = np.random.default_rng(9).normal(0, 10, (60, 4))
    with pytest.raises(InvalidInput, match=r"root mean square is \d+.* more than the whole range of their words, 2\..*'detector' units"):
        measure(subject, tmp_path, records)
    assert measure(subject, tmp_path, records, noise_unit="detector"), "an eighth or a quarter of it is not too much"
    with pytest.raises(InvalidInput, match=r"If its numbers are in 'input' units"):
        measure(subject, tmp_path, 10 * records, noise_unit="detector")
    with pytest.raises(ConfigError, match="have no detector unit"):
        measure(dataclasses.replace(subject, detector=None), tmp_path, records, noise_unit="detector")
    with pytest.raises(InvalidInput, match="a record has 3 numbers, but the network has 4 inputs"):
        measure(subject, tmp_path, records[:, :3])


def test_the_key_has_the_content_of_the_file_and_not_its_name(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 4)))
    np.save(tmp_path / "other.npy", np.ones((9, 4)))
    shutil.copy(tmp_path / "a.npy", tmp_path / "moved.dat")

    def key(name, **settings):
        given = {"noise_file": str(tmp_path / name), **settings} if name else settings
        return key_document(STAGE, build_point({"model": "econ_t", "robustness": given}, "here"), dict.fromkeys(STAGE.reads, ""))

    assert key("a.npy") == key("moved.dat")
    assert key("a.npy") != key("other.npy")
    assert key("a.npy") != key(None)
    assert key("a.npy") != key("a.npy", noise_unit="detector")
    assert key("a.npy") != key("a.npy", noise_fit="covariance")
