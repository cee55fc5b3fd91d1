"""What a streaming network is made of: elements, each a module of its own, and the streams of pixels between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from flow.core.errors import InvalidInput
from flow.rtl.graph import Array, FixedType, Graph, Layer

Kind = Literal["window", "pad", "gather", "point", "join", "fork"]
SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True)
class Link:
    """A stream of frames: `rows` x `columns` pixels, row by row, each of `words` words of one type."""

    rows: int
    columns: int
    words: int
    type: FixedType

    @property
    def width(self) -> int:
        """Bits of a pixel."""
        return self.words * self.type.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and words."""
        return self.rows, self.columns, self.words


@dataclass(frozen=True)
class Element:
    """A module.

    Attributes:
        name: a Verilog identifier; that of `layer`, where that is one.
        kind: ``window`` slides over an image, ``pad`` puts zeros around it, ``gather`` turns it into one vector, ``point`` computes on each
            pixel, ``join`` computes on the pixels of two streams, ``fork`` has several readers.
        inputs: elements it reads, ``name.way`` of a fork; the input of the network is ``""``.
        source: what comes in (the first one, if there are two).
        output: what goes out.
        graph: arithmetic of a window, if there is any.
        settings: of the template: height, width, down, right (rows and columns of a window and of its steps) and size (its words); top,
            bottom, left, right (zeros); types, both (those of two inputs, and one that holds both); ways.
        layer: the layer it begins with.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    source: Link
    output: Link
    graph: Graph | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""

    @property
    def reusable(self) -> bool:
        """Whether it multiplies by weights, so that multipliers can be used again."""
        return self.graph is not None and self.kind in ("window", "point") and self.graph.layers[2].kind == "Dense"


def image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return rows, columns and words of a layer: a line has one row, a vector is one pixel."""
    rows, columns, words = (1, 1, *shape)[-3:]
    return rows, columns, words


def refuse(layer: Layer, why: str, remedy: str = " Change it, or set hardware.io = 'parallel'.") -> InvalidInput:
    """Return the error of a layer that cannot be streamed."""
    return InvalidInput(f"layer '{layer.name}' ({layer.kind}): {why}{remedy}")


def holds(wide: FixedType, narrow: FixedType) -> bool:
    """Whether every value of one type is one of another."""
    low, high = (np.ldexp(float(code), -narrow.fraction) for code in narrow.range)
    least, most = (np.ldexp(float(code), -wide.fraction) for code in wide.range)
    return wide.fraction >= narrow.fraction and bool(least <= low and high <= most)


def chained(words: int, kept: FixedType, layers: list[Layer]) -> Graph:
    """Return layers, one behind the other, on a window of `words` words as a graph of their own.

    The first layer does nothing: a linear activation right behind the input would be taken for what the host has done already.
    """
    same = Layer("(same)", "Reshape", (), (words,), kept)
    names = ["(window)", same.name, *(layer.name for layer in layers)]
    body = [replace(layer, inputs=(before,)) for layer, before in zip([same, *layers], names, strict=False)]
    return Graph((Layer("(window)", "Input", (), (words,), kept), *body))


def of_pixel(layer: Layer) -> Layer:
    """Return a layer that computes word by word as one on a single pixel.

    Raises:
        InvalidInput: its constants differ from pixel to pixel.
    """
    rows, columns, words = image(layer.shape)
    weights = {}
    for name, (value, kept) in layer.weights.items():
        pixels = _pixels(value, (rows, columns, words))
        if (pixels != pixels[0]).any():
            raise refuse(layer, f"its '{name}' differs from pixel to pixel, which cannot be streamed.")
        weights[name] = (pixels[0], kept)
    return replace(layer, shape=(words,), weights=weights)


def _pixels(value: Array, shape: tuple[int, int, int]) -> Array:
    """Return constants as (pixels, words); they have all words of an image, or broadcast to it."""
    whole = value.reshape(shape) if value.size == np.prod(shape) else np.broadcast_to(value, shape)
    return whole.reshape(-1, shape[-1])
