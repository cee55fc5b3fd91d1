"""Whole networks with every operator, and weights with a scale for each channel."""

import numpy as np
import pytest
import torch

from flow.quant.repairs import channel_scales
from flow.robustness._bits import bit_space
from flow.twin import describe, load_twin
from tests.qonnx_models import Builder
from tests.quant.repairs import networks as net
from tests.quant.repairs.reference import evaluate, words

EXPONENTS = (-5, -3, -4)


def load(model, tmp_path, **options):
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return load_twin(tmp_path / "m.onnx", **options)


def curves():
    """Tanh and sigmoid between quantizers, a joint, a slope and averages."""
    b, x = net.start(2, 4, 4, signed=1)
    entry = b.quant(x, 5, 0.25)
    y = b.quant(b.node("Relu", b.node("Tanh", entry)), 6, 2.0**-6, signed=0)
    z = b.quant(b.node("Sigmoid", entry), 7, 2.0**-7, signed=0, rounding_mode="FLOOR")
    y = b.node(
        "Concat", y, z, b.node("LeakyRelu", b.conv(entry, b.weight(net.values(3, 2, 1, 1)), kernel_shape=[1, 1]), alpha=0.125), axis=1
    )
    y = b.node("AveragePool", b.quant(y, 8, 2.0**-5), kernel_shape=[2, 2], strides=[2, 2])
    return net.finish(
        b, b.node("ReduceMean", b.node("Pad", y, b.constant([0, 0, 0, 0, 0, 0, 2, 2], np.int64)), b.constant([2, 3], np.int64))
    )


NETWORKS = [
    curves(), net.gemm(bias=True), net.conv_channels(), net.dilated(), net.grouped(), net.norm("Conv"), net.norm("", image=False),
    net.arithmetic((2, 3, 3), np.reshape([0.5, -1.25], (2, 1, 1))), net.concat(), net.token_product(), net.series(),
    net.global_pool_1d(), net.squeeze(), net.pool("AveragePool", (3, 5, 6), [2, 4]), net.reduction("ReduceMax", (3, 3, 5), [2, 3], 0),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(NETWORKS)))
def test_equals_onnx_runtime_and_does_not_depend_on_the_batch(i, tmp_path):
    """ONNX Runtime computes tanh in float32, which is off by more than its rounding for none of these codes."""
    twin = load(NETWORKS[i], tmp_path)
    x = words(150, twin.input_shape, signed=twin.input_format.signed)
    with torch.no_grad():
        got = twin(twin.params, torch.from_numpy(x))
        ones = torch.cat([twin(twin.params, torch.from_numpy(row[None])) for row in x[:5]])
    assert got.dtype == torch.float32 == twin.dtype
    assert len(got.unique()) > 10
    assert np.array_equal(got.flatten(1).numpy(), evaluate(NETWORKS[i], x))
    assert torch.equal(ones, got[:5])


def test_tanh_is_rounded_once(tmp_path):
    """Every code of a 10-bit table, against Python's own double precision."""
    b, x = net.start(1, signed=1)
    entry = b.quant(x, 10, 2.0**-7)
    table = load(b.model(b.quant(b.node("Tanh", entry), 24, 2.0**-23)), tmp_path)
    codes = np.arange(-512, 512) / 128
    with torch.no_grad():
        layer = table.layers(table.params, torch.from_numpy(codes[:, None]))
    inside, out = (layer[n].double().numpy().ravel() for n in ("Quant_1", "Quant_3"))
    expected = np.clip(np.round(np.tanh(inside) * 2.0**23), -(2**23), 2**23 - 1) / 2.0**23
    assert len(np.unique(inside)) > 60
    assert (out == expected).all()
    assert (np.round(np.tanh(inside.astype(np.float32)).astype(np.float64) * 2.0**23) / 2.0**23 != expected).any(), "float32 is not enough"


def test_hessian_and_vmap_of_every_kind(tmp_path):
    twin = load(curves(), tmp_path)
    x = torch.from_numpy(words(4, twin.input_shape, signed=True))
    (name,) = twin.params

    def loss(weight):
        return twin({name: weight}, x).square().sum()

    weight = twin.params[name]
    hessian = torch.func.hessian(loss)(weight)
    assert hessian.isfinite().all()
    assert float(hessian.abs().max()) > 0
    many = torch.stack([weight, 0.5 * weight, weight.flip(0)])
    got = torch.func.vmap(lambda w: twin({name: w}, x))(many)
    assert torch.equal(got, torch.stack([twin({name: w}, x) for w in many]))
    slopes = torch.func.vmap(torch.func.grad(loss))(many)
    assert torch.allclose(slopes[1], torch.func.grad(loss)(many[1]))
    assert torch.func.grad(lambda x: twin(twin.params, x).sum())(x).abs().max() > 0


def test_a_constant_window_is_no_parameter(tmp_path):
    assert not load(net.bare_window(), tmp_path).params


# --- a scale for each channel


@pytest.fixture
def channels(tmp_path):
    return load(net.conv_channels(), tmp_path)


def weight_of(twin):
    return next(name for name, form in twin.weights.items() if form.role == "weight")


def test_codes_have_the_width_of_their_channel(channels):
    name = weight_of(channels)
    weight, bias = channels.weights[name], next(f for f in channels.weights.values() if f.role == "bias")
    assert (weight.bits, bias.bits) == (4, 8)
    assert (weight.scale, weight.scales, weight.channels, weight.exponents) == (
        2.0**-5,
        tuple(2.0**e for e in EXPONENTS),
        (3, 1, 1, 1),
        (-5, -3),
    )
    codes = channels.codes(channels.params)
    value = channels.params[name].numpy()
    by_hand = np.clip(np.round(value / np.exp2(EXPONENTS).reshape(3, 1, 1, 1)), -7, 7)
    assert np.array_equal(codes[name].numpy(), by_hand)
    x = torch.from_numpy(words(50, channels.input_shape))
    assert torch.equal(channels.forward_codes(codes, x), channels(channels.params, x))
    many = {n: torch.stack([c, c.flip(1), -c] if c.dim() > 1 else [c] * 3) for n, c in codes.items()}
    got = torch.func.vmap(channels.forward_codes, (0, None))(many, x)
    assert torch.equal(got[2], channels.forward_codes({n: c[2] for n, c in many.items()}, x))


def test_a_flipped_bit_moves_a_weight_by_the_scale_of_its_channel(channels):
    codes = channels.codes(channels.params)
    name = weight_of(channels)
    space = bit_space(codes, channels.weights, ("weight",))
    assert space.total == codes[name].numel() * 4
    for one, exponent in ((0, -5), (8, -3), (16, -4)):  # the first weight of each of three filters of 2 x 2 x 2
        for b in range(3):
            flipped = space.codes(space.flipped(np.array([[4 * one + b]]))[0])
            before, after = (channels.weights[name].steps(torch.zeros(1)) * c[name] for c in (codes, flipped))
            moved = (after - before).abs().ravel()
            assert moved[one] == 2.0 ** (exponent + b)
            assert (moved != 0).sum() == 1


def test_the_gradient_is_clipped_by_channel(channels):
    name = weight_of(channels)
    x = torch.from_numpy(words(20, channels.input_shape))
    wide = {n: 3 * v for n, v in channels.params.items()}
    grad = torch.func.grad(lambda p: channels(p, x).sum())(wide)[name]
    outside = (wide[name] / torch.exp2(torch.tensor(EXPONENTS)).reshape(3, 1, 1, 1)).round().abs() > 7
    assert outside.any()
    assert (grad[outside] == 0).all()
    assert (grad[~outside] != 0).any()


def test_the_repair_makes_wider_codes_of_the_same_values(channels, tmp_path):
    model = net.conv_channels()
    assert channel_scales.apply(model) == 2
    wide = load(model, tmp_path)
    x = torch.from_numpy(words(100, channels.input_shape))
    assert torch.equal(wide(wide.params, x), channels(channels.params, x))
    assert [f.scales for f in wide.weights.values()] == [(), ()]
    assert [f.bits for f in wide.weights.values()] == [8, 6]


# --- not exact


def test_any_scale_in_the_approximate_twin(tmp_path):
    """A float network by hand in numpy, and the same file is refused otherwise."""
    b = Builder(1, 3, 3)
    x = b.quant("x", 6, 0.1, signed=0)
    scale = np.array([0.03, 0.07])
    value = net.values(2, 1, 3, 3)
    y = b.conv(x, b.quant(b.constant(value), 5, scale.reshape(2, 1, 1, 1)), kernel_shape=[3, 3])
    twin = load(
        b.model(b.quant(b.node("ReduceMean", y, b.constant([1, 2, 3], np.int64), keepdims=0), 16, 0.001)), tmp_path, approximate=True
    )
    data = np.random.default_rng(2).uniform(0, 6, (200, 1, 3, 3))
    word = np.round(data / 0.1).clip(0, 63) * 0.1
    weight = np.round(value / scale.reshape(2, 1, 1, 1)).clip(-16, 15) * scale.reshape(2, 1, 1, 1)
    mean = np.einsum("nchw,ochw->no", word, weight).mean(1)
    assert twin.dtype == torch.float64
    got = twin(twin.params, torch.from_numpy(data)).numpy()
    assert np.abs(got - mean).max() <= 0.0005 + 1e-6
    assert len(np.unique(got)) > 100


def test_describe_shows_all_that_computes(tmp_path):
    (tmp_path / "m.onnx").write_bytes(net.series().SerializeToString())
    rows = describe(tmp_path / "m.onnx")
    assert [r["op"].split()[0] for r in rows] == [
        "Quant", "Conv", "Relu", "Quant", "MaxPool", "Conv", "Quant", "Add", "Quant", "AveragePool", "Pad", "Concat", "Quant", "MaxPool",
        "Gemm", "Quant",
    ]  # fmt: skip
    assert (rows[1]["weight_bits"], rows[1]["scale_exponent"], rows[1]["shape"], rows[1]["bias_bits"]) == (4, "-5..-3", "3x2x3", 8)
    assert (rows[4]["parameters"], rows[4]["weight_bits"]) == (0, None)
