"""Networks of every kind for the tests of the compiled engine: twin, head, loss, inputs and targets."""

import io

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from flow.config import NetworkConfig
from flow.model import load_model
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import calibrate
from flow.quant.export import export
from flow.quant.layers import FloatLayers
from flow.quant.training import seeded
from flow.twin import load_twin
from tests.qonnx_models import Builder, write_convolutions, write_mlp
from tests.quant import toy

SAMPLES = 70  # no multiple of the lanes


def squared(output, target):
    return (output - target).flatten(1).square().mean(1)


def uniform(*shape, low=0.0, high=1.5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (SAMPLES, *shape)).astype(np.float32))


def made(make):
    with seeded(np.random.default_rng(0)):
        return make()


def exported(folder, on_chip, size, x, input_max):
    """An untrained network of our layers, exported as a trained one is."""
    config = NetworkConfig(weight_bits=5)
    layers = FloatLayers(config)
    chip = made(lambda: on_chip(layers, size))
    scales = calibrate(chip, layers, x, input_max)
    network = made(lambda: on_chip(BrevitasLayers(config, scales), size))
    network.load_state_dict(chip.state_dict(), strict=False)
    export(network, x[:1], folder / "m.onnx", io.StringIO())
    return load_twin(folder / "m.onnx")


def model_case(name, shape, target, signed=False):
    def build(folder):
        model = load_model(name)
        x = uniform(*shape, low=-model.input_max if signed else 0, high=model.input_max)
        twin = exported(folder, model.on_chip, "small", x, model.input_max)
        return twin, made(lambda: model.off_chip("small")), model.loss, x, x if target is None else target()

    return build


def one_hot(classes):
    return functional.one_hot(torch.arange(SAMPLES) % classes, classes).float()


def mlp(folder):
    return load_twin(write_mlp(folder / "m.onnx", (4, 5, 3))), None, squared, uniform(4), uniform(3, seed=1)


def curved_head(folder):
    head = made(
        lambda: nn.Sequential(
            nn.Linear(3, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 7), nn.ELU(), nn.Linear(7, 6), nn.Softplus(), nn.SiLU(),
            nn.LeakyReLU(0.1), nn.Softmax(dim=1),
        )
    )  # fmt: skip
    twin = load_twin(write_mlp(folder / "m.onnx", (4, 5, 3)))
    return twin, head, lambda o, t: functional.smooth_l1_loss(o, t, reduction="none").sum(1) + (o.clamp(0, 1) - t).abs().amax(1), *(
        uniform(4), uniform(6, seed=1),
    )  # fmt: skip


def brevitas_with_image(folder):
    head = made(
        lambda: nn.Sequential(
            nn.Linear(5, 24), nn.ReLU(inplace=True), nn.Unflatten(1, (6, 2, 2)), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2),
            nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 3, padding=1, stride=1), nn.Sigmoid(),
        )
    )  # fmt: skip
    twin = load_twin(write_convolutions(folder / "net.onnx", "FLOOR", 1.4))
    x = uniform(1, 8, 8)
    return twin, head, lambda o, t: functional.mse_loss(o, t, reduction="none").mean((1, 2, 3)), x, x / 2


def toy_network(folder):
    network = toy.brevitas(*(lambda chain, scales: (chain, NetworkConfig(), scales))(*toy.quantized(NetworkConfig())))
    x = torch.from_numpy(toy.dataset().x["test"])
    export(network, x[:1], folder / "toy.onnx", io.StringIO())
    return load_twin(folder / "toy.onnx"), None, toy.loss, x, uniform(3)[: len(x)]


def windows(folder):
    """Grouped, dilated and strided convolutions, pooling of all kinds, a sum of two branches."""
    rng, b = np.random.default_rng(3), Builder(2, 9, 8)
    y = b.quant("x", 5, 2.0**-4, signed=0)
    y = b.conv(
        y, b.weight(rng.uniform(-1, 1, (4, 1, 3, 3))), b.weight(rng.uniform(-1, 1, 4)), kernel_shape=[3, 3], group=2, pads=[1, 1, 1, 1]
    )
    y = b.quant(b.node("LeakyRelu", y, alpha=0.125), 6, 2.0**-3)
    left = b.conv(y, b.weight(rng.uniform(-1, 1, (3, 4, 2, 2))), kernel_shape=[2, 2], dilations=[2, 1], strides=[2, 2])
    left = b.quant(left, 6, 2.0**-2)
    right = b.node("MaxPool", y, kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    right = b.node("AveragePool", right, kernel_shape=[1, 2], strides=[1, 1])
    right = b.quant(right, 6, 2.0**-2)
    flat = [b.node("Flatten", v) for v in (left, right, b.node("GlobalMaxPool", y), b.node("ReduceMax", y, b.constant([2], np.int64)))]
    y = b.node("Concat", *flat, axis=1)
    y = b.node("Sub", b.node("Mul", y, b.constant(0.5)), b.constant(0.25))
    twin = load_twin(b.save(folder / "w.onnx", b.quant(y, 8, 2.0**-4)))
    x = uniform(2, 9, 8)
    outputs = int(twin(twin.params, x[:1]).shape[1])
    return twin, made(lambda: nn.Linear(outputs, 2)), squared, x, uniform(2, seed=5)


def curved_chip(folder):
    """Sigmoid and Tanh on chip, which are computed in double precision, and a convolution of a series."""
    rng, b = np.random.default_rng(4), Builder(2, 12)
    y = b.quant("x", 6, 2.0**-4, signed=1)
    y = b.conv(y, b.weight(rng.uniform(-1, 1, (3, 2, 3))), kernel_shape=[3], strides=[2], pads=[1, 1])
    y = b.quant(y, 8, 2.0**-4)
    y = b.node("Concat", b.quant(b.node("Sigmoid", y), 10, 2.0**-10, signed=0), b.quant(b.node("Tanh", y), 10, 2.0**-9), axis=1)
    y = b.node("MatMul", b.node("Flatten", y), b.weight(rng.uniform(-1, 1, (36, 4))))
    return load_twin(b.save(folder / "c.onnx", b.quant(y, 12, 2.0**-8))), None, squared, uniform(2, 12, low=-1.9), uniform(4, seed=6)


def wide(folder):
    """Sums that only double precision holds."""
    b, rng = Builder(6), np.random.default_rng(5)
    y = b.quant("x", 16, 2.0**-12)
    y = b.quant(b.node("Gemm", y, b.weight(rng.uniform(-1, 1, (5, 6)), 16, 2.0**-15), transB=1), 20, 2.0**-16)
    twin = load_twin(b.save(folder / "wide.onnx", b.node("Gemm", y, b.weight(rng.uniform(-1, 1, (3, 5)), 12, 2.0**-11), transB=1)))
    assert twin.dtype == torch.float64
    return twin, made(lambda: nn.Linear(3, 2)), squared, uniform(6, low=-3, high=3), uniform(2, seed=7)


class Strange(nn.Module):
    """Numbers made of parameters alone, products of two numbers that both change with the sample, and layers that are rare."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 4)
        self.gain, self.table = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4, 4))
        self.norm, self.mix = nn.BatchNorm2d(2, affine=False), nn.Conv2d(2, 2, 1, bias=False)

    def forward(self, x):
        wide = functional.hardtanh(self.first(x)).reshape(-1, 2, 2, 2)
        wide = functional.avg_pool2d(functional.pad(self.mix(self.norm(wide)), (1, 1, 1, 1)), 2, stride=1, padding=0)
        y = self.second(functional.elu(wide[:, :, 1:, 1:]).flatten(1) + self.first(x))
        other = functional.softmax(y, dim=1) * self.gain.exp().square()
        y = (y.unsqueeze(1) @ (self.table * self.table).unsqueeze(0).expand(len(x), 4, 4)).squeeze(1)
        return torch.cat([y, torch.bmm(other.unsqueeze(2), y.unsqueeze(1)).mean(2)], dim=1)


def strange(folder):
    twin = load_twin(write_mlp(folder / "m.onnx", (4, 5, 3)))

    def loss(output, target):
        both = torch.cat([output, target], dim=1)
        far = torch.where(both > 0.5, both.pow(3), both.abs().sqrt()) / (1 + target.sum(1, keepdim=True))
        near = torch.minimum(both, both.flip(1)).amin(1) - (both == 0).float().sum(1) + both.exp().log().sum(1)
        inner = functional.huber_loss(output, target, reduction="none").matmul(torch.linspace(0, 1, 8))
        return far.sum(1) + 0.1 * near + inner + (2 - output).reciprocal().clamp(max=3).clamp(min=-1).mean(1) + both @ torch.ones(16)

    return twin, made(Strange), loss, uniform(4), uniform(8, seed=1)


CASES = {
    "strange": strange,
    "mlp": mlp, "curved head": curved_head, "image": brevitas_with_image, "toy": toy_network, "windows": windows,
    "curved chip": curved_chip, "wide": wide,
    "econ_t": model_case("econ_t", (1, 8, 8), None),
    "jets": model_case("jets", (16,), lambda: one_hot(5), signed=True),
    "plasma": model_case("plasma", (1, 32, 32), lambda: uniform(2, low=-1)),
}  # fmt: skip
