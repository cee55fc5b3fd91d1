"""Small networks that others might have trained, and their data files."""

import numpy as np
import torch

from flow.twin import load_twin
from tests.qonnx_models import Builder

GOOD = 21  # with this seed each output of the network is the largest one of many inputs


def write_signed(path, seed=0, weight_scale=0.125):
    """Signed image (2, 4, 5) -> convolution -> Relu -> dense layer -> 3 signed outputs."""
    rng, b = np.random.default_rng(seed), Builder(2, 4, 5)
    y = b.quant("x", 6, 2.0**-4)
    kernel = b.quant(b.constant(rng.uniform(-1, 1, (3, 2, 3, 3))), 4, weight_scale, narrow=1)
    bias = b.weight(rng.uniform(-0.5, 0.5, 3), 8, 2.0**-7, 0)
    y = b.node("Conv", y, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    y = b.quant(b.node("Relu", y), 5, 2.0**-3, signed=0)
    y = b.node("Flatten", y)
    y = b.node("Gemm", y, b.weight(rng.uniform(-1, 1, (3, 18))), b.weight(rng.uniform(-0.2, 0.2, 3), 8, 2.0**-6, 0), transB=1)
    return b.save(path, b.quant(y, 8, 2.0**-4))


def inputs(twin, count=240, seed=0):
    form = twin.input_format
    low, high = form.low * form.scale, (form.high + 1) * form.scale
    return np.random.default_rng(seed).uniform(low, high, (count, *twin.input_shape)).astype(np.float32)


def outputs(twin, x):
    return twin(twin.params, torch.from_numpy(x)).detach().numpy()


def write_data(path, network, targets="classes", count=240):
    """Data file whose targets are what the network says, with noise."""
    twin, rng = load_twin(network), np.random.default_rng(1)
    x = inputs(twin, count)
    y = outputs(twin, x)
    wrong = rng.random(count) < 0.1
    kinds = {"classes": np.where(wrong, 0, y.argmax(1)), "values": y + rng.normal(0, 0.05, y.shape)}
    np.savez(path, x=x, **({} if targets == "none" else {"y": kinds[targets]}))
    return path
