"""Small graphs, each with something that hls4ml cannot read."""

import numpy as np
from onnx import helper

from tests.qonnx_models import Builder


def start(*shape, signed=0):
    b = Builder(*shape)
    return b, b.quant("x", 6, 2.0**-3, signed=signed)


def values(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def finish(b, y):
    """Return the graph with an output quantizer that keeps most values apart."""
    return b.model(b.quant(y, 12, 2.0**-6))


def channel_weight(b, *shape, axis=0, exponents=(-5, -3, -4)):
    """A 4-bit weight whose channels have scales of their own."""
    scale = np.exp2(np.resize(exponents, shape[axis])).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return b.quant(b.constant(values(*shape)), 4, scale, narrow=1)


def constant_nodes():
    """As some exporters write a file: no initializers."""
    model = gemm(bias=True)
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        model.graph.initializer.remove(tensor)
    return model


def gemm(bias=False, trans=1):
    b, x = start(4)
    shape = (3, 4) if trans else (4, 3)
    ends = [b.weight(values(3, seed=1), 8, 2.0**-7)] if bias else []
    return finish(b, b.node("Gemm", x, channel_weight(b, *shape, axis=1 - trans), *ends, transB=trans))


def conv_channels():
    b, x = start(2, 4, 5)
    bias = b.quant(b.constant(values(3, seed=1)), 8, np.exp2([-7, -5, -6]), narrow=0)
    return finish(b, b.conv(x, channel_weight(b, 3, 2, 2, 2), bias, kernel_shape=[2, 2]))


def equal_channels():
    b, x = start(2, 4, 5)
    return finish(b, b.conv(x, channel_weight(b, 3, 2, 2, 2, exponents=(-3,)), kernel_shape=[2, 2]))


def dilated(rank=2):
    b, x = start(2, *(7, 8)[:rank])
    w = b.weight(values(3, 2, *(2, 3)[:rank]))
    return finish(b, b.conv(x, w, kernel_shape=[2, 3][:rank], dilations=[3, 2][:rank], pads=[1] * 2 * rank, strides=[1, 2][:rank]))


def grouped(groups=2, outputs=6, inputs=4):
    b, x = start(inputs, 4, 5)
    w = b.weight(values(outputs, inputs // groups, 2, 2))
    return finish(b, b.conv(x, w, b.weight(values(outputs, seed=1), 8, 2.0**-7), kernel_shape=[2, 2], group=groups))


def pool(op, shape, kernel, **settings):
    b, x = start(*shape, signed=1)
    return finish(b, b.node(op, x, kernel_shape=kernel, **settings))


def reduction(op, shape, axes=None, keepdims=1):
    b, x = start(*shape, signed=1)
    if axes is None:
        return finish(b, b.node(op, x))
    return finish(b, b.node(op, x, b.constant(axes, np.int64), keepdims=keepdims))


def global_pool_1d():
    """As the exporter writes AdaptiveAvgPool1d."""
    b, x = start(3, 8)
    y = b.node("ReduceMean", b.node("Unsqueeze", x, b.constant([-2], np.int64)), b.constant([-1, -2], np.int64), keepdims=1)
    return finish(b, b.node("Squeeze", y, b.constant([-2], np.int64)))


def flatten():
    b, x = start(2, 3, 4)
    y = b.node("Flatten", b.node("Identity", x), axis=1)
    return finish(b, b.node("MatMul", y, b.weight(values(24, 3))))


def squeeze():
    b, x = start(3, 4)
    return finish(b, b.node("Squeeze", b.node("Unsqueeze", x, b.constant([2], np.int64)), b.constant([2], np.int64)))


def concat(n=4):
    b, x = start(2, 3, 3)
    parts = [x, *(b.quant(b.conv(x, b.weight(values(i + 1, 2, 1, 1, seed=i)), kernel_shape=[1, 1]), 5, 0.25) for i in range(n - 1))]
    return finish(b, b.node("Concat", *parts, axis=1))


def arithmetic(shape, constant):
    """Every operation with a constant, in both orders where they are allowed."""
    b, x = start(*shape)
    y = b.node("Sub", b.node("Mul", b.constant(constant), x), b.weight(constant, 5, 0.125))
    return finish(b, b.node("Add", b.node("Div", y, b.constant(4.0)), b.constant(constant)))


def bare_window():
    """An average over 3 x 3 with a constant factor of 7 bits."""
    b, x = start(2, 4, 5)
    return finish(b, b.conv(x, b.constant(np.full((2, 1, 3, 3), 57 / 512)), kernel_shape=[3, 3], group=2))


def norm(kind, bias=True, factor=(0.5, -0.25, 2.0), image=True):
    """Batch normalisation with factors on a short grid, behind a layer of some kind or behind nothing."""
    b, x = start(*(3, 4, 4) if image else (3,))
    w = channel_weight(b, *(3, 3, 2, 2) if image else (3, 3), axis=1 if kind == "MatMul" else 0)
    ends = [b.weight(values(3, seed=1), 8, 2.0**-7)] if bias else []
    if kind == "Conv":
        x = b.conv(x, w, *ends, kernel_shape=[2, 2])
    elif kind == "Gemm":
        x = b.node("Gemm", x, w, *ends, transB=1)
    elif kind == "MatMul":
        x = b.node("MatMul", x, w)
        x = b.node("Add", x, *ends) if bias else x
    mean, offset, variance = [0.5, 0.25, -1.0], [0.125, 0.0, 1.0], [4.0, 1.0, 0.25]
    gain = np.multiply(factor, np.sqrt(variance))
    parameters = [b.constant(v) for v in (gain, offset, mean, variance)]
    return finish(b, b.node("BatchNormalization", x, *parameters, epsilon=0.0))


def token_product():
    """A matrix product on the last axis of a series."""
    b, x = start(5, 3)
    y = b.node("Add", b.node("MatMul", x, b.weight(values(3, 4))), b.constant(0.5))
    return finish(b, y)


def series():
    """A 1-d network with every layer that minds the axes."""
    b, x = start(2, 12)
    y = b.conv(
        x, channel_weight(b, 3, 2, 3), b.weight(values(3, seed=1), 8, 2.0**-7), kernel_shape=[3], pads=[2, 1], strides=[2], dilations=[1]
    )
    y = b.quant(b.node("Relu", y), 6, 2.0**-4, signed=0)
    y = b.node("MaxPool", y, kernel_shape=[2], strides=[1], pads=[1, 0])
    z = b.conv(y, b.weight(values(3, 1, 3, seed=2)), kernel_shape=[3], group=3, pads=[1, 1])
    y = b.quant(b.node("Add", b.quant(z, 6, 2.0**-4), y), 6, 2.0**-3)
    y = b.node(
        "Concat",
        y,
        b.node("Pad", b.node("AveragePool", y, kernel_shape=[2], strides=[2]), b.constant([0, 0, 1, 0, 0, 2], np.int64)),
        axis=-1,
    )
    y = b.node("Transpose", b.quant(y, 8, 2.0**-4), perm=[0, 2, 1])
    y = b.node("Reshape", y, b.constant([1, 3, 13], np.int64))
    y = b.node("MaxPool", y, kernel_shape=[3], strides=[3])
    return finish(b, b.node("Gemm", b.node("Flatten", y, axis=1), b.weight(values(2, 12, seed=3)), transB=1))


def series_out():
    b, x = start(2, 7)
    return finish(b, b.node("MaxPool", x, kernel_shape=[3], strides=[2]))
