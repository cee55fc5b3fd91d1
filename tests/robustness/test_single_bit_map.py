"""The map of single bits against a forward pass in numpy integers, on a network small enough to write it down."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.landscape._engine import build_engine
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness import single_bit_map
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp

SIZES, WIDTHS, SAMPLES = (3, 4, 2), (3, 8), 30


def mse(output, target):
    return ((output - target) ** 2).mean(1).astype(np.float64)


SCORE = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))


def quiet(fraction, text):
    """Show nothing."""


def build(folder, score=SCORE, engine=False, **settings):
    """A network of two layers, weights of 3 bits and biases of 8, on inputs that need no rounding."""
    twin = load_twin(write_mlp(folder / "m.onnx", SIZES, bits=WIDTHS[0]))
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 32, (SAMPLES, 3)) / 16).astype(np.float32)
    y = rng.normal(size=(SAMPLES, 2)).astype(np.float32)

    def loss(output, target):
        return (output - target).square().mean(1)

    problem = build_problem(twin, None, loss, *map(torch.from_numpy, (x, y)))
    if engine:
        problem = replace(problem, engine=build_engine(twin, None, loss, problem.x, problem.y, folder))
    return build_subject(twin, None, score, x, y, problem=problem, **settings)


def flipped(code, bit, width):
    """The code with one bit flipped, through its text in two's complement."""
    text = list(format(code % 2**width, f"0{width}b"))
    text[width - 1 - bit] = "10"[int(text[width - 1 - bit])]
    value = int("".join(text), 2)
    return value - 2**width if text[0] == "1" else value


def scores(subject, codes):
    """Score integers w1, b1, w2, b2 without the twin."""
    w1, b1, w2, b2 = codes
    a = np.clip(np.round(subject.x * 16), 0, 31).astype(int)
    h = np.clip(np.round(np.maximum(a @ w1.T * 2 + b1, 0) / 8), 0, 31)
    return mse(np.clip(np.round((h @ w2.T * 2 + b2) / 2), -128, 127) / 64, subject.targets)


def plain(subject):
    return [subject.codes[name].numpy() for name in subject.formats]


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return build(tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def truth(subject):
    """Degradations (samples,) by parameter, index in it, and bit."""
    codes, found = plain(subject), {}
    clean = scores(subject, codes)
    for k, (name, array) in enumerate(zip(subject.formats, codes, strict=True)):
        for index in np.ndindex(array.shape):
            for bit in range(WIDTHS[k % 2]):
                faulty = [a.copy() for a in codes]
                faulty[k][index] = flipped(int(array[index]), bit, WIDTHS[k % 2])
                found[name, index, bit] = scores(subject, faulty) - clean
    return found


@pytest.fixture(scope="module")
def config():
    return RobustnessConfig(map_samples=SAMPLES, tolerance=0.05, environment="leo_sram")


def measured(subject, config, seed=1):
    subject.records.clear()
    return single_bit_map.measure(subject, config, np.random.default_rng(seed), quiet), dict(subject.records)


@pytest.fixture(scope="module")
def result(subject, config):
    return measured(subject, config)


def places(subject, records):
    """Parameter, index and bit of each row of the records."""
    names, shapes = records["single_bit_map_names"], records["single_bit_map_shapes"]
    tensors, words = records["single_bit_map_tensor"], records["single_bit_map_word"]
    for tensor, word, place in zip(tensors, words, records["single_bit_map_place"], strict=True):
        shape = tuple(n for n in shapes[tensor] if n)
        first = words[tensors == tensor].min()
        yield str(names[tensor]), tuple(int(i) for i in np.unravel_index(word - first, shape)), int(place)


def test_every_bit_against_brute_force(subject, truth, result):
    metrics, records = result
    keys = list(places(subject, records))
    assert sorted(keys) == sorted(truth)
    assert len(keys) == (12 + 8) * 3 + (4 + 2) * 8
    assert np.allclose(records["single_bit_map_degradation"], [truth[key].mean() for key in keys], atol=1e-6)
    assert np.allclose(records["single_bit_map_changed"], [(np.abs(truth[key]) > 1e-7).mean() for key in keys])
    assert metrics["mse_single_bit_map_1"].value == pytest.approx(np.mean(list(truth.values())), rel=1e-5)
    assert list(records["single_bit_map_roles"]) == ["weight", "bias", "weight", "bias"]
    assert list(records["single_bit_map_widths"]) == [3, 8, 3, 8]


@pytest.mark.parametrize("layer", [None, 0, 1])
def test_shares_against_brute_force(subject, truth, config, result, layer):
    metrics, _ = result
    layers = {name: f"_layer_{form.layer}" for name, form in subject.formats.items()}
    group = "" if layer is None else list(dict.fromkeys(layers.values()))[layer]
    mine = np.array([values for (name, _, _), values in truth.items() if group in ("", layers[name])])
    drop = config.tolerance * subject.clean.mean()
    for key, flags in {"matter": np.abs(mine) > 1e-7, "visible": mine.mean(1, keepdims=True) >= drop}.items():
        metric = metrics[f"mse_single_bit_map_1{group}_{key}"]
        assert metric.value == pytest.approx(100 * flags.any(1).mean())
        assert 0 <= metric.ci[0] <= metric.value <= metric.ci[1] <= 100
    assert metrics[f"mse_single_bit_map_1{group}"].value == pytest.approx(mine.mean(), rel=1e-5)


def test_the_worst_bit_is_named(subject, truth, result):
    metric = result[0]["mse_single_bit_map_1_worst"]
    name, index, bit = max(truth, key=lambda key: truth[key].mean())
    assert metric.value == pytest.approx(truth[name, index, bit].mean(), rel=1e-5)
    form = subject.formats[name]
    said = re.search(r"bit (\d+)( \(sign\))? of (\w+) (\d+) \[([\d, ]+)\] of (\w+)$", metric.source)
    assert (int(said[1]), bool(said[2])) == (bit, bit == form.bits - 1)
    assert (said[3], said[6]) == (form.role, form.layer)
    assert tuple(int(i) for i in said[5].split(",")) == index
    assert int(said[4]) == np.ravel_multi_index(index, subject.codes[name].shape)


@pytest.mark.parametrize("settings", [{"engine": True}, {"memory": 1}, {"scratch": True}])
def test_engine_memory_and_scratch_change_nothing(tmp_path, config, result, settings):
    if "scratch" in settings:
        settings = {"scratch": tmp_path}
        measured(build(tmp_path, **settings), config)  # the second run finds what this one kept
    metrics, records = measured(build(tmp_path, **settings), config)
    assert metrics == result[0]
    assert all(np.array_equal(records[key], array) for key, array in result[1].items())


def test_many_bits_have_few_samples_or_no_map(subject, config, monkeypatch):
    monkeypatch.setattr(single_bit_map, "MOST", 108 * 5)
    assert measured(subject, config)[0] == measured(subject, config.model_copy(update={"map_samples": 5}))[0]
    monkeypatch.setattr(single_bit_map, "MOST", 108 * 2 - 1)
    assert measured(subject, config) == ({}, {})


def test_blocks_change_nothing(subject, config, result, monkeypatch):
    monkeypatch.setattr(single_bit_map, "BLOCK", 7)
    metrics, _ = measured(subject, config)
    assert {key: metric.ci for key, metric in metrics.items()} == {key: pytest.approx(metric.ci) for key, metric in result[0].items()}


def test_a_score_that_falls(tmp_path, config, result):
    """A degradation is the same whichever way the score points."""
    turned = replace(SCORE, direction="higher", per_sample=lambda output, target: -mse(output, target))
    metrics, _ = measured(build(tmp_path, turned), config)
    assert {key: (m.value, m.ci) for key, m in metrics.items()} == {key: (m.value, m.ci) for key, m in result[0].items()}


def test_time_to_a_visible_error(subject, truth, config, result):
    visible = sum(values.mean() >= config.tolerance * subject.clean.mean() for values in truth.values())
    metric, share = result[0]["upset_days_to_visible_leo_sram"], result[0]["mse_single_bit_map_1_visible"]
    assert metric.value == pytest.approx(1 / (4.04e-7 * visible))
    assert metric.ci == pytest.approx([1 / (4.04e-7 * len(truth) * end / 100) for end in share.ci[::-1]])
    assert (metric.kind, metric.direction, metric.unit) == ("estimate", "higher", "days")
    assert re.match(rf"4.04e-07 upsets per bit and day \(.*\); {visible} of {len(truth)} bits; {SAMPLES} samples$", metric.source)
    assert [str(name) for name in result[1]["upset_names"]] == ["leo_sram"]
    assert result[1]["upset_days"] == pytest.approx([metric.value])


def test_nothing_visible_has_no_time(tmp_path, config):
    """A score that no flip changes, at 0: every degradation is as large as the visible one, and no bit is visible."""
    metrics, records = measured(build(tmp_path, replace(SCORE, per_sample=lambda output, target: np.zeros(len(output)))), config)
    assert metrics["mse_single_bit_map_1_visible"].value == metrics["mse_single_bit_map_1_matter"].value == 0
    assert not any(key.startswith("upset_") for key in metrics)
    assert np.isinf(records["upset_days"]).all()


def test_an_unknown_environment_is_refused_before_the_work(subject, config):
    with pytest.raises(ConfigError, match=r"'mars' is none of .*leo_sram"):
        single_bit_map.measure(subject, config.model_copy(update={"environment": "mars"}), np.random.default_rng(0), None)


def test_intervals_cover(truth):
    """Bits of many strengths, some of which matter to few samples: intervals of 40 of 2,000 samples against all of them."""
    rng = np.random.default_rng(0)
    size = rng.exponential(size=(150, 1)) ** 3 * 0.05
    values = size * rng.exponential(size=(150, 2000)) * (rng.random((150, 2000)) < rng.random((150, 1)) ** 2)
    clean = rng.uniform(0.5, 1.5, 2000)

    def figures(picks):
        found = single_bit_map.BitMap(SimpleNamespace(total=150), values[:, picks], clean[picks], 0.1)
        return found, (100 * found.visible(found.means, found.threshold).mean(), found.means.max())

    _, whole = figures(np.arange(2000))
    hits = np.zeros(2)
    for _ in range(100):
        found, now = figures(rng.choice(2000, 40, replace=False))
        _, visible, worst = single_bit_map.resampled(found, np.ones((150, 1)), rng)
        for k, again in enumerate((visible[:, 0], worst)):
            low, high = single_bit_map.bootstrap_interval(now[k], again)
            hits[k] += low <= whole[k] <= high
    assert (hits >= 89).all(), hits  # 95 % would be less once in 250 times
