"""Small QONNX networks of every layer kind, and what onnxruntime computes with them."""

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model

from tests.qonnx_models import Builder


class Layers(Builder):
    """Layers with random weights in the form that the repairs give them."""

    def __init__(self, *shape, seed=0):
        super().__init__(*shape)
        self.rng = np.random.default_rng(seed)

    def uniform(self, *shape, bits=4, scale=0.125):
        return self.weight(self.rng.uniform(-1, 1, shape), bits, scale)

    def bias(self, n):
        return self.weight(self.rng.uniform(-0.5, 0.5, n), 8, 2.0**-7, narrow=0)

    def input(self, signed=0):
        return self.quant("x", 5, 2.0**-4, signed=signed)

    def conv(self, y, c_in, c_out, *kernel, stride=1, pad=0, group=1):
        rank = len(kernel)
        settings = {"kernel_shape": kernel, "strides": [stride] * rank, "pads": [pad] * 2 * rank, "group": group}
        return super().conv(y, self.uniform(c_out, c_in // group, *kernel), self.bias(c_out), **settings)

    def dense(self, y, n_in, n_out):
        return self.node("Add", self.node("MatMul", y, self.uniform(n_in, n_out)), self.bias(n_out))

    def relu(self, y):
        return self.quant(self.node("Relu", y), 4, 0.25, signed=0)

    def signed(self, y):
        return self.quant(y, 5, 0.125)

    def pool(self, y, *kernel, stride=None, pad=0):
        return self.node("MaxPool", y, kernel_shape=kernel, strides=[stride] * 2 if stride else kernel, pads=[pad] * 4)

    def table(self, y, op, bits=6):
        """Tanh and its quantizers, or sigmoid and its."""
        tanh = op == "Tanh"
        word = self.quant(y, bits, 2.0 ** (3 if tanh else 4) / 2**bits)
        return self.quant(self.node(op, word), bits, 2.0 ** (tanh - bits), signed=int(tanh))

    def reshape(self, y, *shape):
        return self.node("Reshape", y, self.constant([1, *shape], np.int64))

    def flat(self, y):
        return self.reshape(y, -1)

    def output(self, y):
        return self.quant(y, 8, 2.0**-5)


def everything(path, seed=0):
    """Signed 2x4x5 input -> all layers between images, a fork into sum and concatenation, two tables -> 4 outputs."""
    b = Layers(2, 4, 5, seed=seed)
    x = b.relu(b.conv(b.input(signed=1), 2, 3, 3, 3, pad=1))
    deep = b.signed(b.node("LeakyRelu", b.conv(x, 3, 3, 3, 3, pad=1, group=3), alpha=0.125))
    y = b.signed(b.node("Add", x, deep))
    y = b.signed(b.node("Concat", y, b.relu(b.conv(x, 3, 2, 1, 1)), axis=1))
    y = b.pool(b.relu(b.conv(y, 5, 3, 2, 3)), 2, 2, pad=1)
    y = b.table(b.conv(y, 3, 3, 1, 1), "Tanh")
    return b.save(path, b.output(b.dense(b.table(b.dense(b.flat(y), 12, 5), "Sigmoid"), 5, 4)))


def codes(shape, count, signed=0, seed=0):
    """Inputs on the grid of `Layers.input`."""
    return np.random.default_rng(seed).integers(-16 * signed, 32 - 16 * signed, (count, *shape)) / 16.0


def clean(path):
    return cleanup_model(ModelWrapper(str(path)))


def execute(graph, x):
    """Outputs of a graph, sample by sample."""
    source, target = graph.graph.input[0].name, graph.graph.output[0].name
    return np.concatenate([execute_onnx(graph, {source: v[None].astype(np.float32)})[target] for v in x]).astype(np.float64)
