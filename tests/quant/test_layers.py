"""Quantized layers, in training and in Brevitas, against integer arithmetic in numpy and against each other."""

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import NetworkConfig
from flow.core.errors import ConfigError
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import Scales, calibrate
from flow.quant.layers import FloatLayers, fold_norms
from flow.quant.straight import StraightLayers, load_float, set_shifts, weighted_layers
from flow.quant.training import predict_exactly
from tests.quant import toy

CONFIGS = [
    NetworkConfig(), NetworkConfig(weight_bits=3, rounding="FLOOR"), NetworkConfig(weight_bits=2, activation_bits=5, latent_bits=4),
    NetworkConfig(weight_bits=5, activation_bits=3, input_bits=6, latent_bits=6, bias_bits=11, rounding="FLOOR"),
    NetworkConfig(weight_bits=4, per_channel=True), NetworkConfig(scales="max"), NetworkConfig(scales="learned"),
]  # fmt: skip


def integers(chain, exponents, config, x):
    """The network in integers and exact powers of two: no Brevitas, no torch arithmetic, no float rounding."""

    def codes(values, exponent, low, high):
        return np.clip(np.rint(np.asarray(values, np.float64) * 2.0**-exponent), low, high).astype(np.int64)

    def shrink(total, step, low, high):
        exact = total * 2.0**step
        return np.clip(np.floor(exact) if config.rounding == "FLOOR" else np.rint(exact), low, high).astype(np.int64)

    bias_bits = config.bias_bits or 16

    def layer(module, name, inputs, scale):
        top = 2 ** (config.weight_bits - 1) - 1
        step = np.array(exponents[name])
        weight = codes(module.weight.detach().numpy().reshape(len(module.bias), -1), step.reshape(-1, 1), -top, top)
        bias = codes(module.bias.detach().numpy(), step + scale, -(2 ** (bias_bits - 1)), 2 ** (bias_bits - 1) - 1)
        return inputs @ weight.T + bias, step + scale

    words = codes(x, exponents["input"], 0, 2**config.input_bits - 1)
    padded = np.pad(words[:, 0], ((0, 0), (1, 1), (1, 1)))
    patches = np.stack([padded[:, r : r + 3, c : c + 3].reshape(len(x), 9) for r in (0, 2) for c in (0, 2)], 1)
    total, scale = layer(chain.on_chip[1], "conv", patches, exponents["input"])
    hidden = shrink(np.maximum(total, 0), scale - exponents["relu"], 0, 2**config.hidden_bits - 1)
    flat = hidden.transpose(0, 2, 1).reshape(len(x), 8)
    total, scale = layer(chain.on_chip[4], "dense", flat, exponents["relu"])
    half = 2 ** (config.latent_bits - 1)
    return shrink(total, scale - exponents["out"], -half, half - 1) * 2.0 ** exponents["out"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"w{c.weight_bits}a{c.hidden_bits}{c.rounding}{c.scales}{c.per_channel}")
@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_network_is_integer_arithmetic(config, stretch):
    chain, scales = toy.quantized(config, stretch=stretch)
    x = np.random.default_rng(1).uniform(-0.5, 2.5, (500, 1, 4, 4)).astype(np.float32)
    expected = integers(chain, scales.exponents, config, x)
    assert len(np.unique(expected)) > 5
    assert np.array_equal(predict_exactly(chain.on_chip, x).numpy(), expected)
    assert np.array_equal(predict_exactly(toy.brevitas(chain, config, scales), x).numpy(), expected)


class Everything(nn.Module):
    """One of each layer, on images that are not square."""

    def __init__(self, layers):
        super().__init__()
        self.entry, self.conv, self.relu = layers.input("in", signed=True), layers.conv2d("conv", 1, 4, 3, norm=True), layers.relu("relu")
        self.pool, self.deep = layers.max_pool2d(2), layers.conv2d("deep", 4, 4, (1, 3), padding=1, groups=4, bias=False)
        self.leaky, self.wide = layers.leaky_relu("leaky"), layers.conv2d("wide", 4, 4, 3, padding=2, dilation=2)
        self.add, self.concat, self.tanh = layers.add("add"), layers.concat("concat", signed=True), layers.tanh("tanh")
        self.average, self.line = layers.avg_pool2d("average", 8, 3, signed=True), layers.conv1d("line", 8, 3, 2, norm=True)
        self.sigmoid, self.mean = layers.sigmoid("sigmoid"), layers.avg_pool1d("mean", 3, 2)
        self.flat, self.dense, self.exit = nn.Flatten(), layers.linear("dense", 3, 2, norm=True), layers.output("out")
        self.narrow = layers.max_pool1d(2, stride=1)

    def forward(self, x):
        x = self.pool(self.relu(self.conv(self.entry(x))))
        x = self.concat(x, self.add(x, self.wide(self.leaky(self.deep(x)[:, :, 1:-1]))))
        x = self.average(self.tanh(x)).flatten(2)
        return self.exit(self.dense(self.flat(self.mean(self.narrow(self.sigmoid(self.line(x)))))))


def everything(config, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = FloatLayers(config)
        network = Everything(layers)
        x = torch.randn(64, 1, 8, 26).clamp(-3.9, 3.9)
        network.train()
        for _ in range(5):
            network(x)
        network.eval()
        before = network(x)
        fold_norms(network)
        assert torch.allclose(network(x), before, atol=1e-6), "folding does not change the network"
        scales = calibrate(network, layers, x, 4.0)
        straight, exported = Everything(StraightLayers(config, scales)), Everything(BrevitasLayers(config, scales)).eval()
    load_float(straight, network.state_dict())
    exported.load_state_dict(network.state_dict(), strict=False)
    return network, straight, exported, x.numpy(), scales


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(weight_bits=8), NetworkConfig(rounding="FLOOR", per_channel=True), NetworkConfig(scales="learned"),
     NetworkConfig(layers={"conv": {"bits": 3}, "tanh": {"bits": 5, "rounding": "FLOOR"}, "in": {"bits": 6}})],
    ids=["8 bits", "per channel", "learned", "mixed"],
)  # fmt: skip
def test_every_layer_is_the_same_in_brevitas(config):
    for seed in range(2):
        network, straight, exported, x, scales = everything(config, seed)
        ours = predict_exactly(straight, x)
        assert len(ours.unique()) > 8
        assert torch.equal(ours, predict_exactly(exported, x))
        if config.weight_bits == 8:
            assert float((ours - predict_exactly(network, x)).abs().mean()) < 0.2 * float(ours.std())
    assert scales.exponents["average_factor"] == -3 - 8
    assert weighted_layers(straight)["conv"].bits == config.layers.get("conv", config).model_dump().get("bits", config.weight_bits)


def test_all_builds_have_the_same_parameters():
    floats, layers = toy.floats()
    chain, scales = toy.quantized()
    shapes = {name: p.shape for name, p in floats.named_parameters()}
    assert {name: p.shape for name, p in chain.named_parameters()} == shapes, "and no scale is a parameter"
    assert {name: p.shape for name, p in toy.brevitas(chain, NetworkConfig(), scales).named_parameters()} == {
        name.removeprefix("on_chip."): shape for name, shape in shapes.items() if name.startswith("on_chip")
    }
    assert list(layers.sites) == list(scales.exponents) == ["input", "conv", "relu", "dense", "out"]
    assert {k: s.bits for k, s in layers.sites.items()} == {"input": 8, "conv": 6, "relu": 6, "dense": 6, "out": 9}


def test_weights_of_another_network_are_refused():
    chain, _ = toy.quantized()
    with pytest.raises(ConfigError, match="do not fit the network"):
        load_float(chain, {"on_chip.1.weight": torch.zeros(2, 1, 3, 3)})
    with pytest.raises(ConfigError, match="more"):
        load_float(chain, {**chain.state_dict(), "more": torch.zeros(1)})


def layer(config, exponent):
    layers = StraightLayers(config, Scales({"i": 0, "l": exponent}, {"l": "i"}))
    return nn.Sequential(layers.input("i"), layers.linear("l", 50, 20))[1]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("exponent", [-9, -1, 3])
def test_weights_are_codes_in_the_narrow_range_times_the_scale(bits, exponent):
    dense = layer(NetworkConfig(weight_bits=bits), exponent)
    dense.weight.data = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 2.0 ** (exponent + bits)
    codes, top = dense.codes(), 2 ** (bits - 1) - 1
    assert float(dense.scale()) == 2.0**exponent
    assert torch.equal(codes, codes.round())
    assert (codes.min(), codes.max()) == (-top, top)
    assert torch.equal(codes, torch.round(dense.weight.detach() / 2.0**exponent).clamp(-top, top))
    assert torch.equal(dense.quantized_weight(), codes * 2.0**exponent)


def test_gradient_stops_where_a_weight_is_clipped():
    dense = layer(NetworkConfig(weight_bits=3), 0)
    dense.weight.data = torch.tensor([[2.2, 5.0, -7.0]])
    dense.quantized_weight().sum().backward()
    assert dense.weight.grad.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("learned", [False, True])
def test_gradients_are_those_of_the_twin(learned):
    """Both engines have the straight-through gradient of round-then-clamp."""
    from flow.twin.quantizer import Format, quantize_ste

    dense = layer(NetworkConfig(weight_bits=4, scales="learned" if learned else "mse"), -2)
    dense.weight.data = torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    other = dense.weight.detach().clone().requires_grad_()
    factor = torch.randn(20, 50, generator=torch.Generator().manual_seed(2))
    (dense.quantized_weight() * factor).sum().backward()
    (quantize_ste(other, Format(4, 0.25, True, narrow=True)) * factor).sum().backward()
    assert torch.equal(dense.weight.grad, other.grad)
    assert (other.grad == 0).any()


def test_gradient_of_a_learned_scale():
    """LSQ (Esser et al., arXiv:1902.08153): d q / d s = round(w / s) - w / s inside the range, the clamped code outside; s = 2^e."""
    dense = layer(NetworkConfig(weight_bits=3, scales="learned"), -1)
    dense.weight.data = torch.tensor([[0.3, -1.1, 7.0]])
    dense.quantized_weight().sum().backward()
    expected = (1 - 0.6) + (-2 + 2.2) + 3
    assert float(dense.log_scale.grad) == pytest.approx(expected * 0.5 * np.log(2), rel=1e-5)


def test_learned_scales_are_frozen_as_integers():
    config = NetworkConfig(scales="learned")
    scales = toy.quantized(config)[1]
    layers = StraightLayers(config, scales)
    network = toy.on_chip(layers)
    with torch.no_grad():
        network[1].log_scale += 1.4
        network[2].log_scale -= 0.6
    expected = {**scales.exponents, "conv": scales.exponents["conv"] + 1, "relu": scales.exponents["relu"] - 1}
    assert layers.exponents() == expected
    assert not any("log_scale" in name for name, _ in network[0].named_parameters()), "the input words belong to the host"


def test_double_backward():
    """The Jacobian penalty differentiates a gradient."""
    chain, _ = toy.quantized()
    x = torch.from_numpy(toy.dataset().x["test"]).requires_grad_()
    (g,) = torch.autograd.grad(chain(x).sum(), x, create_graph=True)
    g.square().sum().backward()
    assert chain.on_chip[1].weight.grad.abs().max() > 0


def test_shifts_are_added_to_the_quantized_weights():
    chain, _ = toy.quantized()
    x = torch.rand(5, 1, 4, 4)
    before, name = chain(x), "4"
    dense = weighted_layers(chain.on_chip)[name]
    shift = torch.zeros_like(dense.weight)
    shift[0, 0] = 3.0
    set_shifts(chain.on_chip, {name: shift})
    wanted = dense.quantized_weight() + shift
    hidden = chain.on_chip[:4](x)
    assert torch.equal(chain.on_chip[4](hidden), nn.functional.linear(hidden, wanted, dense.quantized_bias()))
    set_shifts(chain.on_chip, {})
    assert torch.equal(chain(x), before)


VALUES = torch.tensor([-9.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 3.5, 900.0]) * 2.0**-3
HALF_TO_EVEN = [-9, -2, -1, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4]
DOWN = [-9, -2, -1, -1, -1, 0, 0, 0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("make", [StraightLayers, BrevitasLayers])
@pytest.mark.parametrize(("rounding", "expected"), [("ROUND", HALF_TO_EVEN), ("FLOOR", DOWN)])
def test_rounding_and_clipping(make, rounding, expected):
    config = NetworkConfig(activation_bits=4, latent_bits=4, input_bits=4, rounding=rounding)
    layers = make(config, Scales({"r": -3, "o": -3, "i": -3, "s": -3}, {}))

    def codes(module):
        return (module.eval()(VALUES) * 8).int().tolist()

    assert codes(layers.relu("r")) == [*(max(c, 0) for c in expected), 15]
    assert codes(layers.output("o")) == [*(max(c, -8) for c in expected), 7], "the output has its lowest code"
    assert codes(layers.input("i")) == [*(max(c, 0) for c in HALF_TO_EVEN), 15], "the host always rounds half to even"
    assert codes(layers.input("s", signed=True)) == [*(max(c, -8) for c in HALF_TO_EVEN), 7]


@pytest.mark.parametrize(("size", "exact"), [(1, True), (2, True), (3, False), (4, True), (5, False), (7, False)])
def test_factor_of_an_average_pool(size, exact):
    layers = FloatLayers(NetworkConfig())
    pool = layers.avg_pool2d("p", 2, size)
    got = float(pool(torch.ones(1, 2, size, size)).flatten()[0])
    assert got == 1.0 if exact else abs(got - 1) < 2**-8
    whole = layers.avg_pool2d("q", 2, (size, 4))(torch.ones(1, 2, size, 4))
    assert whole.shape == (1, 2, 1, 1)
    assert float(whole[0, 0]) == pytest.approx(1.0, abs=2**-8)


def test_names():
    layers = FloatLayers(NetworkConfig(layers={"conv": {"bits": 3}}))
    layers.linear("dense", 2, 2)
    with pytest.raises(ConfigError, match="two layers named 'dense'"):
        layers.relu("dense")
    with pytest.raises(ConfigError, match=r"network\.layers\.conv: there is no such layer\. Layers of this network: dense\."):
        layers.check_names()
