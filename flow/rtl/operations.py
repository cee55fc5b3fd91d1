"""What each kind of layer becomes in alkaid, exact to the last bit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from alkaid.trace import FVArray
from alkaid.trace.ops import relu
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from flow.core.errors import InvalidInput
from flow.rtl.graph import Array, FixedType, Layer

Traced = Any  # alkaid's FVArray; alkaid has no types
TABLES: Mapping[str, Callable[[Array], Array]] = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
MOST_TABLE_BITS = 12
BLOCK = 4096  # nonzero weights


def to_type(value: Traced, kept: FixedType) -> Traced:
    """Quantize an array of traced values."""
    words = np.array([_to_type(v, kept) for v in np.asarray(value).ravel()], object)
    return FVArray(words.reshape(value.shape), value.solver_options, value.hwconf)


def _to_type(v: Traced, kept: FixedType) -> Traced:
    """Quantize one value.

    alkaid is wrong for constants, and rounds to even wrongly where the result has few codes or one half more makes the grid coarser.
    """
    step = 2.0**-kept.fraction
    if kept.rounding == "RND_CONV" and v.step < step:
        if kept.saturation != "WRAP":
            low, high = (code * step for code in kept.range)
            v, kept = v.max_of(low).min_of(high), replace(kept, saturation="WRAP")
        if v.high > v.low and (v.high - v.low < 4 * step or (v + step / 2).step != v.step):
            odd = v.quantize(0, 1 - kept.fraction, kept.fraction)
            v, kept = v + (step / 2 - v.step) + odd * (v.step / step), replace(kept, rounding="TRN")
    if v.low == v.high:
        return v.from_const(float(kept.quantize(np.array(v.low))), hwconf=v.hwconf)
    return v.quantize(int(kept.signed), kept.integer - kept.signed, kept.fraction, kept.saturation, kept.rounding)


def _refuse(layer: Layer, why: str) -> InvalidInput:
    return InvalidInput(f"layer '{layer.name}' ({layer.kind}): {why}")


def _sum(layer: Layer, value: Traced, product: Traced) -> Traced:
    """Add the bias and pass through the accumulator: exact in any order as long as it drops no fraction bits."""
    kernel, bias = layer.weights["weight"], layer.weights.get("bias")
    total = product if bias is None else product + bias[0]
    kept = layer.accumulator
    if kept is not None:
        need = max(int(v.kif[2]) for v in np.asarray(value).ravel()) + kernel[1].fraction
        need = max(need, bias[1].fraction if bias else need)
        if kept.fraction < need or kept.saturation != "WRAP":
            why = f"its accumulator {kept} must wrap and have {need} fraction bits, or the order of the sum matters. Widen it."
            raise _refuse(layer, why)
        total = to_type(total, kept)
    return to_type(total, layer.type)


Part = tuple[NDArray[np.intp], NDArray[np.intp]]


def _parts(matrix: Array) -> list[Part]:
    """Cut a matrix into parts, each the indices of its rows and of its columns, that hold every nonzero element.

    Columns that have no row in common (the groups of a convolution) come apart, and many columns are taken some at a time: the time of
    alkaid's solver grows with more than the square of the size, while larger parts save almost no adder.
    """
    used = matrix != 0
    edges = coo_array((used[used], (np.nonzero(used)[0], np.nonzero(used)[1] + len(matrix))), shape=(sum(matrix.shape),) * 2)
    group = connected_components(edges, directed=False)[1][len(matrix) :]
    parts = []
    for label in np.unique(group):
        columns = np.flatnonzero(group == label)
        block = np.cumsum(used[:, columns].sum(axis=0)) // BLOCK
        parts += [columns[block == i] for i in np.unique(block)]
    return [(np.flatnonzero(used[:, columns].any(axis=1)), columns) for columns in parts]


def _products(vectors: list[Traced], matrix: Array) -> Traced:
    """Multiply vectors (n) by a matrix (n, m).

    One by one, for alkaid multiplies a vector of constants (all padding) rightly, but not a matrix with such a row.
    """
    parts = _parts(matrix)
    back = np.argsort(np.concatenate([columns for _, columns in parts]))
    return np.stack([np.concatenate([_times(v, matrix, part) for part in parts])[back] for v in vectors])


def _times(vector: Traced, matrix: Array, part: Part) -> Traced:
    rows, columns = part
    return vector[rows] @ matrix[np.ix_(rows, columns)] if len(rows) else vector[:1].repeat(len(columns)) * 0.0


def _dense(layer: Layer, inputs: list[Traced]) -> Traced:
    if inputs[0].ndim != 1:
        raise _refuse(layer, f"an input of shape {inputs[0].shape} must be flattened first.")
    return _sum(layer, inputs[0], _products([inputs[0]], layer.weights["weight"][0])[0])


def _image(layer: Layer, value: Traced) -> Traced:
    """Return (H, W, C) values; a line (W, C) has a height of 1."""
    if layer.attributes.get("data_format", "channels_last") != "channels_last":
        raise _refuse(layer, "convert the network to channels last first.")
    return value.reshape((-1, *value.shape[-2:]))


def _padded(layer: Layer, value: Traced) -> Traced:
    top, bottom, left, right = (layer.attributes.get(f"pad_{side}", 0) for side in ("top", "bottom", "left", "right"))
    return np.pad(_image(layer, value), ((top, bottom), (left, right), (0, 0)))


def _windows(layer: Layer, image: Traced, size: tuple[int, int], above: int = 0, before: int = 0) -> list[Traced]:
    """Return what each output pixel sees of an image with so many missing rows above it and columns before it."""
    down, right = layer.attributes.get("stride_height", 1), layer.attributes["stride_width"]
    height, width = (1, *layer.shape)[-3:-1]
    corners = [(y * down - above, x * right - before) for y in range(height) for x in range(width)]
    return [image[max(y, 0) : y + size[0], max(x, 0) : x + size[1]] for y, x in corners]


def _conv(layer: Layer, inputs: list[Traced]) -> Traced:
    image, kernel = _padded(layer, inputs[0]), layer.weights["weight"][0]
    kernel = kernel.reshape((-1, *kernel.shape[-3:]))
    if layer.kind.startswith("Depthwise"):
        kernel = with_zeros(kernel, image.shape[-1])
    *size, channels, filters = kernel.shape
    if {layer.attributes.get(f"dilation_{axis}", 1) for axis in ("height", "width")} != {1} or image.shape[-1] != channels:
        raise _refuse(layer, "dilation and groups cannot be lowered.")
    windows = [window.reshape(-1) for window in _windows(layer, image, (size[0], size[1]))]
    return _sum(layer, inputs[0], _products(windows, kernel.reshape(-1, filters)).reshape(layer.shape))


def with_zeros(kernel: Array, channels: int) -> Array:
    """Turn the kernel (kh, kw, 1, out) of a depthwise convolution into that of an ordinary one."""
    filters = kernel.shape[-1]
    full = np.zeros((*kernel.shape[:2], channels, filters))
    full[:, :, np.arange(filters) * channels // filters, np.arange(filters)] = kernel[:, :, 0]
    return full


def _zero_padding(layer: Layer, inputs: list[Traced]) -> Traced:
    return to_type(_padded(layer, inputs[0]).reshape(layer.shape), layer.type)


def _pooling(layer: Layer, inputs: list[Traced]) -> Traced:
    a = layer.attributes
    if a["pool_op"] != "max":
        raise _refuse(layer, "only the maximum can be lowered. Use a depthwise convolution for an average.")
    size = (a.get("pool_height", 1), a["pool_width"])
    windows = _windows(layer, _image(layer, inputs[0]), size, a.get("pad_top", 0), a["pad_left"])
    return to_type(np.stack([np.amax(w, axis=(0, 1)) for w in windows]).reshape(layer.shape), layer.type)


def _activation(layer: Layer, inputs: list[Traced]) -> Traced:
    name, value = layer.attributes["activation"], inputs[0]
    if name in TABLES:
        return _table(layer, value)
    if name == "leakyrelu":
        slope = layer.attributes["activ_param"]
        return to_type(np.where(np.signbit(value), value * slope, value), layer.type)
    if name not in ("relu", "linear"):
        raise _refuse(layer, f"'{name}' cannot be lowered to RTL; known are relu, linear, leakyrelu, {', '.join(TABLES)}.")
    return to_type(relu(value) if name == "relu" else value, layer.type)


def _table(layer: Layer, value: Traced) -> Traced:
    """Look up a function of one word, computed in double precision and rounded once."""
    bits = max(int(sum(v.kif)) for v in np.asarray(value).ravel())
    if bits > MOST_TABLE_BITS:
        raise _refuse(layer, f"its input has {bits} bits; a table has at most 2^{MOST_TABLE_BITS} entries. Give it fewer bits.")
    return value.apply(lambda x: layer.type.quantize(TABLES[layer.attributes["activation"]](x))).quantize()


def _scale(layer: Layer, inputs: list[Traced]) -> Traced:
    """Multiply and add constants, one for each word."""
    scale, bias = (layer.weights[key][0].reshape(inputs[0].shape) for key in ("scale", "bias"))
    return to_type(inputs[0] * scale + bias, layer.type)


def _reshape(layer: Layer, inputs: list[Traced]) -> Traced:
    return to_type(inputs[0].reshape(layer.shape), layer.type)


def _transpose(layer: Layer, inputs: list[Traced]) -> Traced:
    return to_type(inputs[0].transpose(layer.attributes["perm"]), layer.type)


def _merge(layer: Layer, inputs: list[Traced]) -> Traced:
    if layer.attributes["op"] != "add" or len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
        raise _refuse(layer, "only the sum of two inputs of one shape can be lowered.")
    return to_type(inputs[0] + inputs[1], layer.type)


def _concatenate(layer: Layer, inputs: list[Traced]) -> Traced:
    axis = layer.attributes["axis"]  # counted with the sample axis, unless it counts from the end
    return to_type(np.concatenate(inputs, axis=axis - 1 if axis > 0 else axis), layer.type)


def _bound(layer: Layer, inputs: list[Traced]) -> Traced:
    """Bound words to constants, which broadcast to their shape; what is within them anyway costs nothing."""
    value = inputs[0]
    low, high = (np.broadcast_to(layer.weights[key][0], value.shape).ravel() for key in ("low", "high"))
    words = np.empty(value.size, object)
    for i, (v, least, most) in enumerate(zip(np.asarray(value).ravel(), low.tolist(), high.tolist(), strict=True)):
        v = v if v.low >= least else v.max_of(least)  # noqa: PLW2901 - the same word, bounded
        words[i] = v if v.high <= most else v.min_of(most)
    return to_type(FVArray(words.reshape(value.shape), value.solver_options, value.hwconf), layer.type)


LAYERS: Mapping[str, Callable[[Layer, list[Traced]], Traced]] = {
    "Conv1D": _conv, "Conv2D": _conv, "DepthwiseConv1D": _conv, "DepthwiseConv2D": _conv, "Dense": _dense,
    "Pooling1D": _pooling, "Pooling2D": _pooling, "ZeroPadding1D": _zero_padding, "ZeroPadding2D": _zero_padding,
    "Activation": _activation, "ParametrizedActivation": _activation, "ApplyAlpha": _scale, "Reshape": _reshape, "Transpose": _transpose,
    "Merge": _merge, "Concatenate": _concatenate, "Bound": _bound,
}  # fmt: skip
