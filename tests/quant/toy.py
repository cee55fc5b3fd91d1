"""A small convolutional network, its data, and the same network in integers."""

import numpy as np
import torch
from torch import nn

from flow.config import NetworkConfig, TrainConfig
from flow.model import Dataset, Score
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import calibrate
from flow.quant.layers import FloatLayers
from flow.quant.straight import StraightLayers, load_float
from flow.quant.training import Chain, Task, seeded

INPUT_MAX = 2.0


def on_chip(layers):
    """Images (N, 1, 4, 4) -> (N, 3)."""
    return nn.Sequential(
        layers.input("input"), layers.conv2d("conv", 1, 2, 3, stride=2, padding=1), layers.relu("relu"), nn.Flatten(),
        layers.linear("dense", 8, 3), layers.output("out"),
    )  # fmt: skip


def dataset(seed=0, samples=96):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(16, 2)) / 4

    def split(n):
        x = rng.uniform(0, INPUT_MAX, (n, 1, 4, 4)).astype(np.float32)
        return x, (x.reshape(n, 16) @ matrix).astype(np.float32)

    pairs = {name: split(n) for name, n in (("train", samples), ("validation", 40), ("test", 60))}
    return Dataset({k: x for k, (x, y) in pairs.items()}, {k: y for k, (x, y) in pairs.items()})


def loss(output, target):
    return (output - target).square().mean(1)


def floats(config=None, seed=0):
    """The float chain and the layers that built it."""
    layers = FloatLayers(config or NetworkConfig())
    with seeded(np.random.default_rng(seed)):
        chain = Chain(on_chip(layers), nn.Linear(3, 2))
    return chain, layers


def quantized(config=None, seed=0, stretch=1.0):
    """The quantized chain with the float weights, and the scales; `stretch` > 1 makes weights exceed their range."""
    config = config or NetworkConfig()
    chain, layers = floats(config, seed)
    scales = calibrate(chain.on_chip, layers, torch.from_numpy(dataset().x["train"]), INPUT_MAX)
    with torch.random.fork_rng():
        result = Chain(on_chip(StraightLayers(config, scales)), nn.Linear(3, 2))
    load_float(result, chain.state_dict())
    for name, parameter in result.on_chip.named_parameters():
        if name.endswith("weight"):
            parameter.data *= stretch
    return result, scales


def brevitas(chain, config, scales):
    """The on-chip part of a quantized chain in Brevitas."""
    with torch.random.fork_rng():
        network = on_chip(BrevitasLayers(config, scales))
    network.load_state_dict(chain.on_chip.state_dict(), strict=False)
    return network.eval()


SCORE = Score("mse", "MSE", "", "lower", lambda o, t: np.square(o - t).mean(1).astype(np.float64), lambda t: t.mean(0))
TASK = Task(loss, SCORE)
TRAIN = TrainConfig(batch=32, learning_rate=0.02, patience=50)
