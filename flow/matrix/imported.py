"""Networks as other exporters write them, straight in ONNX: operators that the layers of `flow.quant.layers` never export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
OPSET = 17
INPUT_BITS = 6
WEIGHT_SCALE = 2.0**-3
Numbers = float | Sequence[int] | NDArray[np.float64]
Fill = Callable[["Network", str], str]


class Network:
    """An ONNX graph that grows from its input, which is quantized.

    Args:
        shape: of one sample.
        rng: draws the weights.
        batch: samples that the file takes at once.
    """

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator, batch: int = 1) -> None:
        self.shape, self.rng, self.batch = shape, rng, batch
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Numbers, dtype: type = np.float32) -> str:
        """Add an initializer and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", domain: str = "", outputs: int = 1, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node and return its first output."""
        name = name or f"{op}_{len(self.nodes)}"
        made = [f"{name}_out{i or ''}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain, **attributes))
        return made[0]

    def quant(
        self,
        x: str,
        bits: int,
        scale: Numbers,
        signed: int = 1,
        *,
        zero: float = 0,
        narrow: int = 0,
        rounding: str = "ROUND",
        name: str = "",
    ) -> str:
        """Quantize a tensor."""
        settings = (self.constant(v) for v in (scale, zero, bits))
        return self.node("Quant", x, *settings, name=name, domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode=rounding)

    def weight(self, *shape: int, scale: Numbers = WEIGHT_SCALE) -> str:
        """Draw weights of 4 bits."""
        return self.quant(self.constant(self.rng.uniform(-1, 1, shape)), 4, scale, narrow=1)

    def conv(self, x: str, c_in: int, c_out: int, kernel: tuple[int, ...] = (1, 1), name: str = "", scale: Numbers = WEIGHT_SCALE) -> str:
        """Convolve with random weights."""
        ones = [1] * len(kernel)
        weight = self.weight(c_out, c_in, *kernel, scale=scale)
        return self.node(
            "Conv", x, weight, name=name, kernel_shape=kernel, strides=ones, dilations=ones, pads=[0] * 2 * len(kernel), group=1
        )

    def model(self, fill: Fill) -> onnx.ModelProto:
        """Return the file: input quantizer, what `fill` makes of it, output quantizer."""
        y = fill(self, self.quant("x", INPUT_BITS, 2.0**-INPUT_BITS, 0))
        y = self.quant(y, 9, 2.0**-6)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, *self.shape])
        out = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "network", [x], [out], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@dataclass(frozen=True)
class Imported:
    """One row of the matrix about a file from elsewhere.

    Attributes:
        id: unique.
        title: what people call it.
        shape: of one input sample.
        fill: makes the layers between the two outer quantizers.
        layer: the node that the row is about.
        approximate: lower it although it cannot be exact.
    """

    id: str
    title: str
    shape: tuple[int, ...]
    fill: Fill
    layer: str = "layer"
    approximate: bool = False

    def model(self, seed: int, batch: int = 1) -> onnx.ModelProto:
        """Make the file; equal seeds give equal weights."""
        return Network(self.shape, np.random.default_rng(seed), batch).model(self.fill)


def _around(shape: tuple[int, ...], middle: Fill, kernel: tuple[int, ...] = (1, 1)) -> tuple[tuple[int, ...], Fill]:
    """Put a convolution with ReLU before an operator, and a quantizer and a 1 x 1 convolution behind it."""

    def fill(net: Network, x: str) -> str:
        x = net.node("Relu", net.conv(x, shape[0], 3, kernel))
        y = net.quant(middle(net, net.quant(x, 5, 2.0**-4, 0)), 7, 2.0**-6, 0)
        return net.conv(y, 3, 2, (1,) * len(kernel))

    return shape, fill


def _average(size: int) -> Fill:
    return lambda net, x: net.node("AveragePool", x, name="layer", kernel_shape=[size, size], strides=[size, size])


def _mean(net: Network, x: str) -> str:
    return net.node("ReduceMean", x, name="layer", axes=[2, 3], keepdims=1)


def _max1d(net: Network, x: str) -> str:
    return net.node("MaxPool", x, name="layer", kernel_shape=[2], strides=[2])


def _norm(net: Network, x: str) -> str:
    ranges = ((0.5, 1.5), (0.0, 0.5), (-0.5, 0.5), (0.5, 1.5))  # gain, shift, mean, variance
    return net.node("BatchNormalization", x, *(net.constant(net.rng.uniform(*ends, 3)) for ends in ranges), name="layer")


def _convolved_norm(net: Network, x: str) -> str:
    return net.node("Relu", _norm(net, net.conv(x, 3, 3)))


def _transposed(net: Network, x: str) -> str:
    return net.node("ConvTranspose", x, net.weight(3, 3, 2, 2), name="layer", kernel_shape=[2, 2], strides=[2, 2])


def _resize(net: Network, x: str) -> str:
    return net.node("Resize", x, "", net.constant([1, 1, 2, 2]), name="layer", mode="nearest")


def _softmax(net: Network, x: str) -> str:
    return net.node("Softmax", x, name="layer", axis=1)


def _lstm(net: Network, x: str) -> str:
    series = net.node("Transpose", x, perm=[2, 0, 1])
    weights = (net.constant(net.rng.uniform(-1, 1, (1, 12, 3))) for _ in range(2))
    states = net.node("LSTM", series, *weights, name="layer", hidden_size=3)
    return net.node("Squeeze", net.node("Transpose", states, perm=[2, 3, 0, 1]), net.constant([3], np.int64))


def _thirds(net: Network, x: str) -> str:
    return net.conv(x, 3, 3, name="layer", scale=1 / 6)


def _thirds_by_channel(net: Network, x: str) -> str:
    return net.conv(x, 3, 3, name="layer", scale=np.reshape([1 / 6, 1 / 7, 1 / 9], (3, 1, 1, 1)))


def _zero_point(net: Network, x: str) -> str:
    return net.quant(x, 5, 2.0**-4, 0, zero=3.0, name="layer")


def _ceil(net: Network, x: str) -> str:
    return net.quant(x, 4, 2.0**-3, 0, rounding="CEIL", name="layer")


def _nodes(net: Network, x: str) -> str:
    value = numpy_helper.from_array(net.rng.uniform(-1, 1, (3, 3, 1, 1)).astype(np.float32))
    weight = net.quant(net.node("Constant", value=value), 4, WEIGHT_SCALE, narrow=1)
    return net.node("Conv", x, weight, name="layer", kernel_shape=[1, 1])


def _turned(net: Network, x: str) -> str:
    flat = net.node("Flatten", x, axis=1)
    product = net.node("MatMul", flat, net.node("Transpose", net.weight(6, 36), perm=[1, 0]), name="layer")
    return net.node("Reshape", product, net.constant([-1, 3, 1, 2], np.int64))


def _floats(net: Network, x: str) -> str:
    return net.node("Conv", x, net.constant(net.rng.uniform(-1, 1, (3, 3, 1, 1))), name="layer", kernel_shape=[1, 1])


IMPORTED: tuple[Imported, ...] = (
    Imported("import_average", "AveragePool, 2 x 2", *_around((2, 4, 6), _average(2))),
    Imported("import_average_3", "AveragePool, 3 x 3", *_around((2, 6, 9), _average(3))),
    Imported("import_average_3_allowed", "AveragePool, 3 x 3, allow_approximate", *_around((2, 6, 9), _average(3)), approximate=True),
    Imported("import_global_average", "GlobalAveragePool, 16 values", *_around(
        (2, 2, 8), lambda net, x: net.node("GlobalAveragePool", x, name="layer"))),
    Imported("import_global_average_15", "GlobalAveragePool, 15 values", *_around(
        (2, 3, 5), lambda net, x: net.node("GlobalAveragePool", x, name="layer"))),
    Imported("import_mean", "ReduceMean over an image of 16 values", *_around((2, 2, 8), _mean)),
    Imported("import_max1d", "MaxPool 1D", *_around((2, 8), _max1d, (1,))),
    Imported("import_norm", "BatchNormalization with float parameters behind Conv", *_around((2, 3, 4), _convolved_norm)),
    Imported("import_norm_allowed", "BatchNormalization with float parameters behind Conv, allow_approximate",
             *_around((2, 3, 4), _convolved_norm), approximate=True),
    Imported("import_norm_alone_allowed", "BatchNormalization with float parameters behind a quantizer, allow_approximate",
             *_around((2, 3, 4), _norm), approximate=True),
    Imported("import_scale", "Weight scale 1/6", *_around((2, 3, 4), _thirds)),
    Imported("import_scale_allowed", "Weight scale 1/6, allow_approximate", *_around((2, 3, 4), _thirds), approximate=True),
    Imported("import_scales_allowed", "Weight scales 1/6, 1/7, 1/9 by channel, allow_approximate", *_around((2, 3, 4), _thirds_by_channel),
             approximate=True),
    Imported("import_constant_nodes", "Weights in Constant nodes", *_around((2, 3, 4), _nodes)),
    Imported("import_turned", "Weights transposed behind their quantizer", *_around((2, 3, 4), _turned)),
    Imported("import_floats", "Weights without quantizer", *_around((2, 3, 4), _floats)),
    Imported("import_zero_point", "Quantizer with a zero point", *_around((2, 3, 4), _zero_point)),
    Imported("import_ceil", "Quantizer that rounds up (CEIL)", *_around((2, 3, 4), _ceil)),
    Imported("import_conv_transpose", "ConvTranspose", *_around((2, 3, 4), _transposed)),
    Imported("import_resize", "Resize", *_around((2, 3, 4), _resize)),
    Imported("import_softmax", "Softmax", *_around((2, 3, 4), _softmax)),
    Imported("import_lstm", "LSTM", *_around((2, 8), _lstm, (1,))),
)  # fmt: skip
"""In the order of the table."""
