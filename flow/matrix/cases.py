"""The rows of the matrix that are about layers of `flow.quant.layers`, each in all the ways that made a difference to a library."""

from torch import nn

from flow.matrix.networks import (
    Case,
    Options,
    Permute,
    between,
    conv,
    dense,
    function,
    image,
    joined,
    linear,
    plain,
    pool,
    relu,
    series,
    unequal,
)  # fmt: skip

INPUT_MAX = 1.0
DEFAULTS: Options = {"weight_bits": 4, "activation_bits": 5, "input_bits": 6, "latent_bits": 9}
CHANNELS: Options = {"per_channel": True}
FLOOR: Options = {"rounding": "FLOOR"}
MIXED: Options = {"layers": {"linear": {"bits": 3}, "relu": {"bits": 7, "rounding": "FLOOR"}, "last": {"bits": 6}, "output": {"bits": 10}}}
NO_BIAS: Options = {"bias": False}
NORM: Options = {"norm": True}

CASES: tuple[Case, ...] = (
    dense("dense", "Dense"),
    dense("dense_no_bias", "Dense without bias", NO_BIAS),
    dense("dense_per_channel", "Dense, a scale for each output", network=CHANNELS, adjust=unequal("linear")),
    dense("dense_norm", "Dense with batch normalisation (`norm=True`, folded)", NORM),
    dense("dense_floor", "Dense, FLOOR rounding", network=FLOOR),
    dense("dense_mixed", "Dense, mixed precision and rounding", network=MIXED),
    Case("dense_signed", "Dense, signed input", (7,), between(linear(7, 6), relu, linear(6, 4, "last"), signed=True), signed=True),
    series("conv1d", "Conv1D"),
    series("conv1d_stride_pad", "Conv1D, stride 2, padding 1", options={"stride": 2, "padding": 1}),
    series("conv1d_no_bias", "Conv1D without bias", options=NO_BIAS),
    series("conv1d_dilated", "Conv1D, dilation 2", options={"dilation": 2}),
    series("conv1d_grouped", "Conv1D, 2 groups", 4, 6, {"groups": 2}),
    series("conv1d_depthwise", "Conv1D, depthwise", 3, 3, {"groups": 3}),
    series("conv1d_per_channel", "Conv1D, a scale for each channel", network=CHANNELS, adjust=unequal("conv")),
    series("conv1d_norm", "Conv1D with batch normalisation (`norm=True`, folded)", options=NORM),
    image("conv2d", "Conv2D"),
    image("conv2d_pointwise", "Conv2D, 1 x 1", kernel=1),
    image("conv2d_stride", "Conv2D, stride 2", options={"stride": 2}),
    image("conv2d_pad", "Conv2D, padding 1", options={"padding": 1}),
    image("conv2d_stride_pad", "Conv2D, stride 2, padding 1", options={"stride": 2, "padding": 1}),
    image("conv2d_no_bias", "Conv2D without bias", options=NO_BIAS),
    image("conv2d_dilated", "Conv2D, dilation 2", options={"dilation": 2}),
    image("conv2d_grouped", "Conv2D, 2 groups", 4, 6, options={"groups": 2}),
    image("conv2d_depthwise", "Conv2D, depthwise", 3, 3, options={"groups": 3}),
    image("conv2d_per_channel", "Conv2D, a scale for each channel", network=CHANNELS, adjust=unequal("conv")),
    image("conv2d_norm", "Conv2D with batch normalisation (`norm=True`, folded)", options=NORM),
    image("conv2d_floor", "Conv2D, FLOOR rounding", network=FLOOR),
    pool("max_pool1d", "Max pool 1D, 2", (2, 9), lambda layers: layers.max_pool1d(2)),
    pool("max_pool2d", "Max pool 2D, 2 x 2", (2, 6, 8), lambda layers: layers.max_pool2d(2)),
    pool("max_pool2d_overlap", "Max pool 2D, 3 x 3, stride 2, pad 1", (2, 5, 7), lambda layers: layers.max_pool2d(3, stride=2, padding=1)),
    pool("avg_pool1d", "Average pool 1D, 2", (2, 8), lambda layers: layers.avg_pool1d("pool", 3, 2)),
    pool("avg_pool1d_3", "Average pool 1D, 3", (2, 9), lambda layers: layers.avg_pool1d("pool", 3, 3)),
    pool("avg_pool2d", "Average pool 2D, 2 x 2", (2, 4, 6), lambda layers: layers.avg_pool2d("pool", 3, 2)),
    pool("avg_pool2d_3", "Average pool 2D, 3 x 3", (2, 6, 9), lambda layers: layers.avg_pool2d("pool", 3, 3)),
    pool("global_pool1d", "Global average pool 1D, 8 values", (2, 8), lambda layers: layers.avg_pool1d("pool", 3, 8)),
    pool("global_pool2d", "Global average pool 2D, 32 values", (2, 4, 8), lambda layers: layers.avg_pool2d("pool", 3, (4, 8))),
    pool("global_pool2d_35", "Global average pool 2D, 35 values", (2, 5, 7), lambda layers: layers.avg_pool2d("pool", 3, (5, 7))),
    *function("leaky_relu", "Leaky ReLU, slope 1/8", lambda layers: layers.leaky_relu("leaky")),
    *function("tanh", "Tanh", lambda layers: layers.tanh("tanh")),
    *function("sigmoid", "Sigmoid", lambda layers: layers.sigmoid("sigmoid")),
    joined("add", "Sum of two branches, same scale", 0),
    joined("add_scales", "Sum of two branches, scales 4 apart", 2),
    joined("add_residual", "Residual sum (skip connection), scales 2 apart", 1, identity=True),
    joined("add_dense", "Sum of two dense branches, scales 2 apart", 1, dense=True),
    joined("concat", "Concatenation, scales 4 apart", 2, concat=True),
    joined("concat_dense", "Concatenation of two dense branches, scales 2 apart", 1, concat=True, dense=True),
    Case("flatten", "Flatten, Conv2D to Dense", (2, 4, 5), between(conv(2, 2, 3, (3, 2)), relu, plain(nn.Flatten), linear(24, 4))),
    Case("flatten1d", "Flatten, Conv1D to Dense", (2, 9), between(conv(1, 2, 3, 3), relu, plain(nn.Flatten), linear(21, 4))),
    Case("reshape", "Reshape a vector to an image", (12,), between(
        plain(lambda: nn.Unflatten(1, (1, 3, 4))), conv(2, 1, 3, 2), relu, conv(2, 3, 2, 1, "last"))),
    Case("reshape_image", "Reshape rows and columns", (2, 4, 6), between(
        plain(lambda: nn.Unflatten(2, (2, 2))), plain(lambda: nn.Flatten(3)), conv(2, 2, 3, 2), relu, conv(2, 3, 2, 1, "last"))),
    Case("reshape_inside", "Reshape rows and columns behind a convolution", (2, 4, 6), between(
        conv(2, 2, 3, 1), relu, plain(lambda: nn.Unflatten(2, (2, 2))), plain(lambda: nn.Flatten(3)), conv(2, 3, 2, 2, "last"))),
    Case("flatten_rows", "Rows of an image one behind the other, Conv2D to Conv1D", (2, 4, 6), between(
        conv(2, 2, 3, 2), relu, plain(lambda: nn.Flatten(2)), conv(1, 3, 2, 3, "last"))),
    Case("transpose", "Transpose rows and columns", (2, 4, 6), between(
        conv(2, 2, 3, (2, 1)), relu, plain(lambda: Permute(0, 1, 3, 2)), conv(2, 3, 2, (2, 1), "last"))),
    Case("permute", "Permute to channels last, then Dense", (2, 4, 5), between(
        conv(2, 2, 3, (3, 2)), relu, plain(lambda: Permute(0, 2, 3, 1)), plain(nn.Flatten), linear(24, 4))),
)  # fmt: skip
"""In the order of the table."""
