"""Flips of the released code against their defect in closed form, and against flips of one integer."""

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.model import Score
from flow.reporting.catalog import perturbed
from flow.robustness import _pylandscape as released
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp


def mse(output, target):
    return ((output - target) ** 2).mean(1).astype(np.float64)


SCORE = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))
CONFIG = RobustnessConfig(flips=(1, 4), trials=40, flip_samples=20)


@pytest.fixture
def subject(tmp_path):
    rng = np.random.default_rng(0)
    twin = load_twin(write_mlp(tmp_path / "m.onnx", (3, 4, 2), bits=4))
    x = (rng.integers(0, 32, (30, 3)) / 16).astype(np.float32)
    return build_subject(twin, None, SCORE, x, rng.normal(size=(30, 2)).astype(np.float32))


def codes(weights, bits):
    return released.quantize(weights, bits).codes.flatten().tolist()


def test_the_largest_weight_has_the_largest_code():
    weights = torch.tensor([[7.0, 3.4, -1.0], [0.0, -14.0, 2.0]], dtype=torch.float64)
    assert codes(weights, 4) == [4, 2, 0, 0, -7, 1]  # scale 2; halves are rounded to even


def test_a_convolution_has_a_scale_for_each_channel():
    weights = torch.tensor([[[7.0, 1.0]], [[70.0, 10.0]]], dtype=torch.float64)
    assert codes(weights, 4) == [7, 1, 7, 1]
    assert released.quantize(weights[:, 0], 4).codes.flatten().tolist() == [1, 0, 7, 1]


def test_a_flip_of_the_largest_weight_moves_all_others():
    weights = torch.tensor([[7.0, 3.0, -2.0, 1.0]], dtype=torch.float64)
    flipped = released.flip_bit(weights, 4, 2)  # 7 = 0111 becomes 0011 = 3, the scale 3/7
    assert flipped.flatten().tolist() == [3.0, 3.0, -2.0, 1.0]
    assert codes(flipped, 4) == [7, 7, -5, 2], "the weight that was hit has its old integer, the other three a new one"


def test_the_lowest_code_is_out_of_range_and_scales_the_rest():
    weights = torch.tensor([[7.0, 0.0, -6.0, 2.0]], dtype=torch.float64)
    flipped = released.flip_bit(weights, 4, 7)  # 0 becomes 1000 = -8, the scale 8/7
    assert flipped.flatten().tolist() == [7.0, -8.0, -6.0, 2.0]
    assert codes(flipped, 4) == [6, -7, -5, 2]


def test_bits_count_through_all_tensors_and_a_bit_may_be_flipped_back():
    weights = {"a": torch.tensor([[7.0, 4.0]], dtype=torch.float64), "b": torch.tensor([[3.0, 1.0]], dtype=torch.float64)}
    widths = {"a": 4, "b": 3}
    moved = released.attack(weights, widths, np.array([4, 8 + 3]))
    assert moved["a"].tolist() == [[7.0, 5.0]] and moved["b"].tolist() == [[3.0, 0.0]]
    assert released.attack(weights, widths, np.array([4, 4]))["a"].tolist() == [[7.0, 4.0]]
    assert weights["a"].tolist() == [[7.0, 4.0]]


def test_more_integers_change_than_bits_are_flipped(subject):
    metrics = released.measure(subject, CONFIG, np.random.default_rng(0), lambda fraction, text: None)
    for flips in CONFIG.flips:
        metric = metrics[f"pylandscape_flips_n{flips}_integers"]
        assert metric.ci[0] > flips, "a flip of one integer at a frozen scale changes as many as bits at most"
        assert metric.value <= 3 * 4 + 4 * 2 and metric.unit == "weights"


def test_without_flips_nothing_changes(subject):
    names = [name for name, form in subject.formats.items() if form.role == "weight"]
    clean = {name: released.quantize(subject._twin.params[name].double(), 4) for name in names}
    again = released._scores(subject, clean, 20)
    assert again.shape == (20,) and np.array_equal(again, released._scores(subject, clean, 20))
    x = np.clip(np.round(subject.x[:20] * 16), 0, 31) / 16
    biases = [subject._twin.quantized(subject._twin.params)[name].numpy() for name in subject.formats if name not in names]
    w1, w2 = (clean[name].values.numpy() for name in names)
    h = np.clip(np.round(np.maximum(x @ w1.T + biases[0], 0) * 16), 0, 31) / 16
    y = np.clip(np.round((h @ w2.T + biases[1]) * 64), -128, 127) / 64
    np.testing.assert_allclose(again, mse(y, subject.targets[:20]), rtol=1e-3)


def test_the_change_is_positive_where_the_score_gets_worse(subject, tmp_path):
    turned = Score("gain", "gain", "u", "higher", lambda o, t: -mse(o, t), lambda t: t.mean(0))
    other = build_subject(subject._twin, None, turned, subject.x, subject.targets)
    ours, theirs = (released.trials(s, 4, CONFIG, np.random.default_rng(0))[0] for s in (subject, other))
    np.testing.assert_allclose(ours, theirs)
    assert ours.std() > 0


def test_figures_cannot_be_taken_for_degradations(subject):
    before = {name: value.clone() for name, value in subject._twin.params.items()}
    metrics = released.measure(subject, CONFIG, np.random.default_rng(0), lambda fraction, text: None)
    assert set(metrics) == {f"pylandscape_flips_n{n}_{what}" for n in (1, 4) for what in ("integers", "change")}
    for name, metric in metrics.items():
        assert perturbed(name, {**metrics, "mse": metric}) is None
        assert metric.title.endswith("as the released code of Baldi et al. computes it") and metric.direction == "none"
        assert metric.ci[0] <= metric.value <= metric.ci[1] and "40 sets" in metric.source
    assert all(torch.equal(value, before[name]) for name, value in subject._twin.params.items())
    assert metrics == released.measure(subject, CONFIG, np.random.default_rng(0), lambda fraction, text: None)
