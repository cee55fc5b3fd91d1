"""Networks with arbitrary scales: what becomes of them, and how far they move."""

import numpy as np
import pytest
import torch

from flow.core.errors import InvalidInput
from flow.quant.approximate import approximate, rounded
from flow.twin import load_twin
from tests.qonnx_models import Builder
from tests.quant.repairs import networks as net
from tests.quant.repairs.reference import words


def twins(model, tmp_path):
    """Return the twin of the network as it is, and that of its approximation."""
    (tmp_path / "original.onnx").write_bytes(model.SerializeToString())
    changed = approximate(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return load_twin(tmp_path / "original.onnx", approximate=True), load_twin(tmp_path / "m.onnx"), changed


def outputs(twin, x):
    with torch.no_grad():
        return twin(twin.params, torch.from_numpy(x)).double().numpy()


def floating(channels=True):
    """Scales that are no powers of two: of the input, a weight, a bias and an activation."""
    b = Builder(2, 4, 4)
    x = b.quant("x", 6, 0.11, signed=0)
    scale = np.reshape([0.11, 0.07, 0.19], (3, 1, 1, 1)) if channels else 0.13
    w = b.quant(b.constant(net.values(3, 2, 2, 2)), 4, scale, narrow=1)
    y = b.conv(x, w, b.quant(b.constant(net.values(3, seed=1)), 16, 0.0113), kernel_shape=[2, 2])
    y = b.quant(b.node("Relu", y), 7, 0.11, signed=0)
    y = b.node("MatMul", b.node("Flatten", y), b.quant(b.constant(net.values(27, 2, seed=2)), 4, 0.14, narrow=1))
    return b.model(b.quant(y, 14, 0.003))


@pytest.mark.parametrize("channels", [True, False])
def test_scales_become_powers_of_two_and_no_range_shrinks(channels, tmp_path):
    before, after, changed = twins(floating(channels), tmp_path)
    assert changed == 6
    for name, form in before.activation_formats.items():
        new = after.activation_formats[name]
        assert (new.bits, new.scale) == (form.bits + 1, 2.0 ** np.floor(np.log2(form.scale)))
        assert new.high * new.scale >= form.high * form.scale
    for (old, form), (name, new) in zip(before.weights.items(), after.weights.items(), strict=True):
        scale = np.array(form.scales or form.scale).reshape(form.channels)
        step = np.array(new.scales or new.scale).reshape(new.channels)
        assert ((step <= scale / 4) & (step > scale / 8)).all()
        assert new.bits <= form.bits + 3
        value = before.codes(before.params)[old].numpy() * scale
        assert np.abs(after.codes(after.params)[name].numpy() * step - value).max() <= step.max() / 2


def test_the_error_is_small(tmp_path):
    before, after, _ = twins(floating(), tmp_path)
    x = np.random.default_rng(3).uniform(0, 6, (500, 2, 4, 4))
    expected, got = outputs(before, x), outputs(after, x)
    assert np.unique(expected).size > 500
    assert 0 < np.sqrt(np.square(got - expected).mean()) < 0.05 * expected.std()


def test_an_exact_network_stays_as_it_is(tmp_path):
    for model in (net.series(), net.norm("Conv"), net.conv_channels()):
        before = model.SerializeToString()
        assert approximate(model) == 0
        assert model.SerializeToString() == before


def test_it_is_done_once():
    model = floating()
    assert approximate(model) > 0
    assert approximate(model) == 0


@pytest.mark.parametrize("make", [
    lambda: net.pool("AveragePool", (3, 5, 6), [3, 3], strides=[2, 1]), lambda: net.reduction("ReduceMean", (2, 3, 5), [2, 3], 0),
    lambda: net.reduction("GlobalAveragePool", (2, 7)),
])  # fmt: skip
def test_averages_get_a_factor_of_16_bits(make, tmp_path):
    """Only the two codes beside a rounding edge can differ."""
    before, after, changed = twins(make(), tmp_path)
    assert changed == 1
    assert not after.weights, "the factor is a constant and no weight: it is not trained, and no memory holds it"
    x = words(300, after.input_shape, signed=True)
    error = np.abs(outputs(after, x) - outputs(before, x))
    assert error.max() <= 2.0**-6
    assert (error == 0).mean() > 0.9


@pytest.mark.parametrize("kind", ["Conv", "Gemm", "MatMul", ""])
def test_norms_are_folded(kind, tmp_path):
    before, after, changed = twins(net.norm(kind, factor=(0.31, -0.127, 2.3), image=kind == "Conv"), tmp_path)
    assert changed == 1
    x = words(300, after.input_shape)
    expected, got = outputs(before, x), outputs(after, x)
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()
    assert "BatchNormalization" not in [node.op for node in after.nodes]
    if kind:
        weight = next(f for f in after.weights.values() if f.role == "weight")
        assert weight.bits == 7
        assert len(weight.scales) == 3


def test_slopes():
    b, x = net.start(3, signed=1)
    model = net.finish(b, b.node("LeakyRelu", x, alpha=0.01))
    assert approximate(model) == 1
    slope = next(a.f for n in model.graph.node for a in n.attribute if a.name == "alpha")
    assert slope == rounded(0.01) != np.float32(0.01)
    assert abs(slope / 0.01 - 1) < 2.0**-16


def test_a_zero_point_is_still_refused(tmp_path):
    b = Builder(3)
    model = b.model(b.quant(b.quant("x", 4, 0.3), 4, 0.3, zero=2.0))
    with pytest.raises(InvalidInput, match="zero point"):
        twins(model, tmp_path)
