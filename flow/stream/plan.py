"""From the layers of an io_stream graph to elements with a module each: windows, padding, gathering, points, forks and joins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType, Graph, Layer
from flow.rtl.operations import _with_zeros

Kind = Literal["window", "pad", "gather", "point", "join", "fork"]
FUSED = ("Activation", "ParametrizedActivation", "ApplyAlpha")


@dataclass(frozen=True)
class Link:
    """A stream of pixels: `rows` x `columns` of `words` words of one type, row by row, the first with a mark."""

    rows: int
    columns: int
    words: int
    type: FixedType

    @property
    def width(self) -> int:
        """Bits of a pixel."""
        return self.words * self.type.width


@dataclass(frozen=True)
class Element:
    """A module.

    Attributes:
        name: of the layer it begins with.
        kind: which template.
        inputs: elements it reads; the input of the network is ``""``.
        source: what comes in (each input, if there are two).
        output: what goes out.
        graph: arithmetic of a window, if there is any.
        settings: of the template.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    source: Link
    output: Link
    graph: Graph | None = None
    settings: Mapping[str, Any] = None  # type: ignore[assignment]


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 1:
        return 1, 1, shape[0]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    return shape[0], shape[1], shape[2]


def _refuse(layer: Layer, why: str) -> InvalidInput:
    return InvalidInput(f"layer '{layer.name}' ({layer.kind}): {why}")


def chained(words: int, kept: FixedType, layers: list[Layer]) -> Graph:
    """Return layers on one window of `words` words as a graph of their own.

    The first layer does nothing: a linear activation right behind the input would be taken for what the host has done already.
    """
    same = Layer(f"{layers[0].name}_window", "Reshape", (), (words,), kept)
    names = ["window", same.name, *(layer.name for layer in layers)]
    body = [replace(layer, inputs=(before,)) for layer, before in zip([same, *layers], names, strict=False)]
    return Graph((Layer("window", "Input", (), (words,), kept), *body))


class Planner:
    """Goes through a graph once."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.elements = graph, list[Element]()
        self.readers: dict[str, list[Layer]] = {layer.name: [r for r in graph.layers if layer.name in r.inputs] for layer in graph.layers}
        self.made: dict[str, str] = {}  # layer -> element whose output it is
        self.links: dict[str, Link] = {}
        self.done: set[str] = set()

    def plan(self) -> tuple[Element, ...]:
        port = self.graph.port
        rows, columns, words = _image(port.shape)
        self.links[""] = Link(rows, columns, words, port.type)
        for layer in self.graph.layers:
            if layer.kind == "Input" or layer is port:
                self.made[layer.name] = ""
                self.done.add(layer.name)
        for layer in self.graph.layers:
            if layer.name not in self.done:
                self._add(layer)
        return self._forked()

    def _put(self, element: Element, last: str) -> None:
        self.elements.append(element)
        self.links[element.name] = element.output
        self.made[last] = element.name

    def _chain(self, layer: Layer) -> list[Layer]:
        """Return the layers behind that compute word by word and are the only readers; their shape is that of a pixel."""
        found, at = [], layer
        while len(self.readers[at.name]) == 1 and self.readers[at.name][0].kind in FUSED:
            at = self.readers[at.name][0]
            self.done.add(at.name)
            found.append(at)
        return found

    def _add(self, layer: Layer) -> None:
        self.done.add(layer.name)
        before = [self.made[name] for name in layer.inputs]
        link = self.links[before[0]]
        rows, columns, words = _image(layer.shape)
        if layer.kind == "Reshape":
            self._reshape(layer, before[0], link)
            return
        if layer.kind in ("ZeroPadding1D", "ZeroPadding2D"):
            a = layer.attributes
            settings = {side: int(a.get(f"pad_{side}", 0)) for side in ("top", "bottom", "left", "right")}
            if layer.type.range[0] > link.type.range[0] or layer.type.fraction != link.type.fraction:
                raise _refuse(layer, f"it changes the type from {link.type} to {layer.type}.")
            self._put(Element(layer.name, "pad", (before[0],), link, Link(rows, columns, words, link.type), None, settings), layer.name)
            return
        chain = self._chain(layer)
        last = chain[-1] if chain else layer
        output = Link(rows, columns, words, last.type)
        tail = [replace(one, shape=(words,)) for one in chain]
        if layer.kind == "Merge":
            self._join(layer, before, output, tail, last.name)
            return
        make = {"Conv1D": self._conv, "Conv2D": self._conv, "DepthwiseConv1D": self._conv, "DepthwiseConv2D": self._conv,
                "Pooling1D": self._pool, "Pooling2D": self._pool, "Dense": self._point, **dict.fromkeys(FUSED, self._point)}.get(layer.kind)  # fmt: skip
        if make is None:
            raise _refuse(layer, "this kind cannot be streamed.")
        kind, heads, settings = make(layer, link)
        graph = chained(settings["size"], link.type, [*heads, *tail])
        self._put(Element(layer.name, kind, (before[0],), link, output, graph, settings), last.name)

    def _conv(self, layer: Layer, link: Link) -> tuple[Kind, list[Layer], dict[str, Any]]:
        kernel, kept = layer.weights["weight"]
        kernel = kernel.reshape((-1, *kernel.shape[-3:]))
        if layer.kind.startswith("Depthwise"):
            kernel = _with_zeros(kernel, link.words)
        height, width, channels, filters = kernel.shape
        a = layer.attributes
        if any(a.get(f"pad_{side}", 0) for side in ("top", "bottom", "left", "right")):
            raise _refuse(layer, "padding must be a layer of its own.")
        if {a.get(f"dilation_{axis}", 1) for axis in ("height", "width")} != {1} or channels != link.words:
            raise _refuse(layer, "dilation and groups cannot be streamed.")
        weights = {**layer.weights, "weight": (kernel.reshape(-1, filters), kept)}
        dense = replace(layer, kind="Dense", shape=(filters,), weights=weights, attributes={})
        settings = {"height": height, "width": width, "down": a.get("stride_height", 1), "right": a["stride_width"],
                    "size": height * width * channels}  # fmt: skip
        return ("point" if height == width == settings["down"] == settings["right"] == 1 else "window"), [dense], settings

    def _pool(self, layer: Layer, link: Link) -> tuple[Kind, list[Layer], dict[str, Any]]:
        a = layer.attributes
        height, width = a.get("pool_height", 1), a["pool_width"]
        if any(a.get(f"pad_{side}", 0) for side in ("top", "bottom", "left", "right")):
            raise _refuse(layer, "padding must be a layer of its own.")
        cut = Layer(f"{layer.name}_rows", "Reshape", (), (height, width, link.words), link.type)
        pool = replace(layer, kind="Pooling2D", shape=(1, 1, link.words), attributes={**a, "stride_height": 1, "stride_width": 1, "pool_height": height})
        flat = Layer(f"{layer.name}_pixel", "Reshape", (), (link.words,), layer.type)
        settings = {"height": height, "width": width, "down": a.get("stride_height", 1), "right": a["stride_width"],
                    "size": height * width * link.words}  # fmt: skip
        return "window", [cut, pool, flat], settings

    def _point(self, layer: Layer, link: Link) -> tuple[Kind, list[Layer], dict[str, Any]]:
        if layer.kind == "Dense" and link.rows * link.columns != 1:
            raise _refuse(layer, "an image must be flattened first.")
        return "point", [replace(layer, shape=(_image(layer.shape)[2],))], {"size": link.words}

    def _reshape(self, layer: Layer, before: str, link: Link) -> None:
        shape = _image(layer.shape)
        if shape == (link.rows, link.columns, link.words):
            self.made[layer.name] = before
            return
        if len(layer.shape) != 1:
            raise _refuse(layer, f"from {link.rows} x {link.columns} x {link.words} to {layer.shape} cannot be streamed.")
        self._put(Element(layer.name, "gather", (before,), link, Link(1, 1, layer.shape[0], link.type), None, {}), layer.name)

    def _join(self, layer: Layer, before: list[str], output: Link, tail: list[Layer], last: str) -> None:
        if layer.attributes["op"] != "add" or len(before) != 2:
            raise _refuse(layer, "only the sum of two inputs can be streamed.")
        types = [self.links[b].type for b in before]
        signed = any(t.signed for t in types)
        integer = max(t.integer + (signed and not t.signed) for t in types)
        fraction = max(t.fraction for t in types)
        both = FixedType(signed, integer + fraction, integer)
        words = output.words
        one = np.concatenate([np.eye(words), np.eye(words)])
        dense = replace(layer, kind="Dense", shape=(words,), weights={"weight": (one, FixedType(True, 2, 2))}, attributes={}, accumulator=None)
        graph = chained(2 * words, both, [dense, *tail])
        self._put(Element(layer.name, "join", tuple(before), self.links[before[0]], output, graph, {"types": types, "both": both}), last)

    def _forked(self) -> tuple[Element, ...]:
        """Put a fork behind each element that several read."""
        uses: dict[str, int] = {}
        for e in self.elements:
            for b in e.inputs:
                uses[b] = uses.get(b, 0) + 1
        found, taken = [], dict[str, int]()
        for name in ["", *(e.name for e in self.elements)]:
            found += [e for e in self.elements if e.name == name]
            if uses.get(name, 0) > 1:
                link = self.links[name]
                found.append(Element(f"{name or 'input'}_fork", "fork", (name,), link, link, None, {"ways": uses[name]}))
        result = []
        for e in found:
            if e.kind == "fork":
                result.append(e)
                continue
            inputs = []
            for b in e.inputs:
                if uses[b] > 1:
                    way = taken.get(b, 0)
                    taken[b] = way + 1
                    inputs.append(f"{b or 'input'}_fork.{way}")
                else:
                    inputs.append(b)
            result.append(replace(e, inputs=tuple(inputs)))
        return tuple(result)


def plan(graph: Graph) -> tuple[Element, ...]:
    """Plan the elements of a graph that hls4ml made for io_stream."""
    return Planner(graph).plan()
