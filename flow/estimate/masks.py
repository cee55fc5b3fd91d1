"""Which words of a network do anything: not constant (padding, neurons without weights), and read by something that matters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.rtl.graph import Graph, Layer

Mask = NDArray[np.bool_]
PADS = (("pad_top", "pad_bottom"), ("pad_left", "pad_right"))


def kernel(layer: Layer, channels: int) -> NDArray[np.float64]:
    """Return the weights of a layer as a matrix (taps, outputs), with zeros where a depthwise convolution has none.

    Args:
        layer: with weights.
        channels: of its input.
    """
    weight = layer.weights["weight"][0]
    if layer.kind.startswith("Depthwise"):
        filters = weight.shape[-1]
        full = np.zeros((*weight.shape[:-2], channels, filters))
        full[..., np.arange(filters) * channels // filters, np.arange(filters)] = weight[..., 0, :]
        weight = full
    return weight.reshape(-1, weight.shape[-1])


def size_of(layer: Layer) -> tuple[int, int]:
    """Return height and width of the window of a convolution or pool."""
    if layer.kind.startswith("Pooling"):
        return layer.attributes.get("pool_height", 1), layer.attributes["pool_width"]
    shape = layer.weights["weight"][0].shape
    return (shape[0] if len(shape) == 4 else 1), shape[-3]


def _image(mask: Mask) -> Mask:
    return mask.reshape((-1, *mask.shape[-2:]))


def _pads(layer: Layer) -> list[list[int]]:
    return [[layer.attributes.get(side, 0) for side in pair] for pair in PADS]


def windows(layer: Layer, mask: Mask) -> Mask:
    """Return what each output pixel sees of a mask (H, W, C) or (W, C): (positions, height, width, C); nothing beyond the edges."""
    size, image = size_of(layer), np.pad(_image(mask), (*_pads(layer), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(image, size, axis=(0, 1))
    height, width = (1, *layer.shape)[-3:-1]
    seen = seen[:: layer.attributes.get("stride_height", 1), :: layer.attributes["stride_width"]][:height, :width]
    return np.asarray(np.moveaxis(seen, 2, -1), bool).reshape(height * width, *size, image.shape[-1])


def _back(layer: Layer, wanted: Mask, shape: tuple[int, ...]) -> Mask:
    """Undo `windows`: (positions, height, width, C) -> the mask of the input, true where any window wants it."""
    (top, bottom), (left, right) = _pads(layer)
    height, width, channels = (1, *shape)[-3:]
    image = np.zeros((height + top + bottom, width + left + right, channels), bool)
    across = layer.shape[-2]
    for i, window in enumerate(wanted):
        y, x = i // across * layer.attributes.get("stride_height", 1), i % across * layer.attributes["stride_width"]
        image[y : y + window.shape[0], x : x + window.shape[1]] |= window
    return image[top : top + height, left : left + width].reshape(shape)


def live_words(graph: Graph) -> dict[str, Mask]:
    """Return for each layer which of its words are not constant."""
    live: dict[str, Mask] = {}
    for layer in graph.layers:
        given = [live[name] for name in layer.inputs]
        live[layer.name] = _live(layer, given) if given else np.ones(layer.shape, bool)
    return live


def _live(layer: Layer, given: list[Mask]) -> Mask:
    found: Any = given[0]
    if layer.kind == "Dense":
        found = np.asarray(found @ (kernel(layer, 1) != 0))
    elif "Conv" in layer.kind:
        seen = windows(layer, found)
        found = seen.reshape(len(seen), -1) @ (kernel(layer, seen.shape[-1]) != 0)
    elif layer.kind.startswith("Pooling"):
        found = windows(layer, found).any(axis=(1, 2))
    elif layer.kind.startswith("ZeroPadding"):
        found = np.pad(_image(found), (*_pads(layer), (0, 0)))
    elif layer.kind == "Merge":
        found = np.logical_or.reduce(np.stack(given), axis=0)
    elif layer.kind == "Concatenate":
        found = np.concatenate(given, axis=_axis(layer))
    elif layer.kind == "Transpose":
        found = found.transpose(layer.attributes["perm"])
    return np.asarray(found, bool).reshape(layer.shape)


def _axis(layer: Layer) -> int:
    axis: int = layer.attributes["axis"]  # counted with the sample axis, unless it counts from the end
    return axis - 1 if axis > 0 else axis


def needed_words(graph: Graph, live: Mapping[str, Mask]) -> dict[str, Mask]:
    """Return for each layer which of its words have an influence on an output: the others are not built."""
    needed = {layer.name: np.zeros(layer.shape, bool) for layer in graph.layers}
    shapes = {layer.name: layer.shape for layer in graph.layers}
    needed[graph.output.name] |= live[graph.output.name]
    for layer in reversed(graph.layers):
        for position, name in enumerate(layer.inputs):
            needed[name] |= _needed(layer, needed[layer.name], position, shapes) & live[name]
    return needed


def _needed(layer: Layer, wanted: Mask, position: int, shapes: Mapping[str, tuple[int, ...]]) -> Mask:
    shape, found = shapes[layer.inputs[position]], wanted
    if layer.kind == "Dense":
        found = (kernel(layer, 1) != 0) @ wanted
    elif "Conv" in layer.kind:
        flat = wanted.reshape(-1, wanted.shape[-1]) @ (kernel(layer, shape[-1]) != 0).T
        found = _back(layer, np.asarray(flat, bool).reshape(len(flat), *size_of(layer), shape[-1]), shape)
    elif layer.kind.startswith("Pooling"):
        flat = wanted.reshape(-1, 1, 1, wanted.shape[-1])
        found = _back(layer, np.broadcast_to(flat, (len(flat), *size_of(layer), flat.shape[-1])), shape)
    elif layer.kind.startswith("ZeroPadding"):
        (top, _), (left, _) = _pads(layer)
        height, width = (1, *shape)[-3:-1]
        found = _image(wanted)[top : top + height, left : left + width]
    elif layer.kind == "Concatenate":
        ends = np.cumsum([shapes[name][_axis(layer)] for name in layer.inputs])[:-1]
        found = np.split(wanted, ends, axis=_axis(layer))[position]
    elif layer.kind == "Transpose":
        found = wanted.transpose(np.argsort(layer.attributes["perm"]))
    return np.asarray(found, bool).reshape(shape)
