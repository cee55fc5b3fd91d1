"""Convolution and pooling as arithmetic on one window."""

from dataclasses import replace
from typing import Any

from flow.rtl.graph import Layer
from flow.rtl.operations import with_zeros
from flow.stream.elements import Kind, Link, image, refuse

Arithmetic = tuple[Kind, list[Layer], dict[str, Any]]  # template, layers on a window, settings


def convolution(layer: Layer, link: Link) -> Arithmetic:
    """Turn a convolution, depthwise or not, into a dense layer on its window.

    Args:
        layer: the convolution; its padding is an element of its own.
        link: what comes in, with its padding.

    Raises:
        InvalidInput: dilation, groups, or a shape that is not that of the windows.
    """
    kernel, kept = layer.weights["weight"]
    kernel = kernel.reshape((-1, *kernel.shape[-3:]))
    if layer.kind.startswith("Depthwise"):
        kernel = with_zeros(kernel, link.words)
    height, width, channels, filters = kernel.shape
    if {layer.attributes.get(f"dilation_{axis}", 1) for axis in ("height", "width")} != {1} or channels != link.words:
        raise refuse(layer, "dilation and groups cannot be streamed.")
    weights = {**layer.weights, "weight": (kernel.reshape(-1, filters), kept)}
    dense = replace(layer, kind="Dense", shape=(filters,), weights=weights, attributes={})
    settings = _settings(layer, link, height, width)
    alone = height == width == settings["down"] == settings["right"] == 1
    return "point" if alone else "window", [dense], settings


def pooling(layer: Layer, link: Link) -> Arithmetic:
    """Turn max pooling into that of one window.

    Args:
        layer: the pooling; its padding is an element of its own.
        link: what comes in, with its padding.

    Raises:
        InvalidInput: another kind of pooling, or a shape that is not that of the windows.
    """
    a = layer.attributes
    if a["pool_op"] != "max":
        raise refuse(layer, "only the maximum can be streamed. Use a depthwise convolution for an average.")
    height, width = a.get("pool_height", 1), a["pool_width"]
    settings = _settings(layer, link, height, width)
    bare = {"pool_op": "max", "pool_height": height, "pool_width": width, "stride_height": 1, "stride_width": 1, "pad_left": 0}
    cut = Layer("(rows)", "Reshape", (), (height, width, link.words), link.type)
    pool = replace(layer, kind="Pooling2D", shape=(1, 1, link.words), attributes=bare)
    flat = Layer("(pixel)", "Reshape", (), (link.words,), layer.type)
    return "window", [cut, pool, flat], settings


def _settings(layer: Layer, link: Link, height: int, width: int) -> dict[str, Any]:
    """Return the settings of a window, which slides over whole windows only: what is left over at the end is not used."""
    down, right = layer.attributes.get("stride_height", 1), layer.attributes["stride_width"]
    expected = ((link.rows - height) // down + 1, (link.columns - width) // right + 1)
    if image(layer.shape)[:2] != expected or min(expected) < 1:
        why = f"{height} x {width} windows of {link.rows} x {link.columns} pixels give {expected}, not {image(layer.shape)[:2]}."
        raise refuse(layer, why)
    return {"height": height, "width": width, "down": down, "right": right, "size": height * width * link.words}
