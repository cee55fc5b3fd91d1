"""From the layers of an io_stream graph to elements with a module each: windows, padding, gathering, points, forks and joins."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType, Graph, Layer
from flow.stream.elements import SIDES, Element, Link, chained, holds, image, of_pixel, refuse
from flow.stream.layers import convolution, pooling
from flow.stream.names import Names

__all__ = ["Element", "Link", "chained", "plan"]
FUSED = ("Activation", "ParametrizedActivation", "ApplyAlpha", "Bound")  # word by word
WINDOWS = {"Conv1D": convolution, "Conv2D": convolution, "DepthwiseConv1D": convolution, "DepthwiseConv2D": convolution,
           "Pooling1D": pooling, "Pooling2D": pooling}  # fmt: skip


def plan(graph: Graph) -> tuple[Element, ...]:
    """Plan the elements of a graph.

    Args:
        graph: of io_stream or io_parallel; both compute the same.

    Returns:
        Elements in an order in which each one comes after those it reads; the last one is the output.

    Raises:
        InvalidInput: a layer that cannot be streamed; names it.
    """
    planner = _Planner(graph)
    for layer in graph.layers:
        planner.add(layer)
    elements = planner.elements
    read = Counter(name for e in elements for name in e.inputs)
    if not elements or planner.made[graph.output.name] != elements[-1].name or read[elements[-1].name]:
        raise refuse(graph.output, "the output must be a layer of its own that nothing else reads.")
    for e in elements[:-1]:
        if not read[e.name]:
            raise InvalidInput(f"layer '{e.layer}': nothing reads its output, so its stream would stop. Remove it.")
    links = {"": planner.source} | {e.name: e.output for e in elements}
    return _forked(elements, read, links, planner.names)


class _Planner:
    """Goes through a graph once.

    Attributes:
        elements: those that are planned.
        made: the element whose output a layer is, by layer; ``""`` is the input of the network.
        links: the stream that a layer is, by layer.
        source: what comes into the network.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.names = graph, Names()
        self.elements: list[Element] = []
        self.made: dict[str, str] = {}
        port = graph.port
        self.source = Link(*image(port.shape), port.type)
        self.links: dict[str, Link] = {}

    def add(self, layer: Layer) -> None:
        """Plan the elements of a layer, and of the layers behind it that are fused."""
        if layer.name in self.made:
            return
        if layer.kind == "Input" or layer is self.graph.port:
            self._is([layer], "", self.source)
        elif layer.attributes.get("data_format", "channels_last") != "channels_last":
            raise refuse(layer, "convert the network to channels last first.")
        elif layer.kind in ("Reshape", "Transpose"):
            self._move(layer)
        elif layer.kind.startswith("ZeroPadding"):
            padded = self._pad(layer, layer.name)
            self._is([layer], padded.name, padded.output)
        else:
            self._compute(layer)

    def _is(self, layers: Iterable[Layer], element: str, link: Link) -> None:
        """Note which element has the output of these layers, and as which stream."""
        for layer in layers:
            self.made[layer.name], self.links[layer.name] = element, link

    def _move(self, layer: Layer) -> None:
        """Plan a layer that moves words: only all into one vector, or none."""
        before, link, shape = self.made[layer.inputs[0]], self.links[layer.inputs[0]], image(layer.shape)
        if not holds(layer.type, link.type):
            raise refuse(layer, f"it changes the type from {link.type} to {layer.type}.")
        if layer.kind == "Transpose":
            shape_before = next(one.shape for one in self.graph.layers if one.name == layer.inputs[0])
            moved = [axis for axis in layer.attributes["perm"] if shape_before[axis] > 1]
            if moved != sorted(moved):
                raise refuse(layer, "the words of an image cannot be put into another order in a stream.")
        output = Link(*shape, link.type)
        if math.prod(shape) == math.prod(link.shape) and output.words == link.words:  # the same pixels one after the other
            self._is([layer], before, output)
        elif shape == (1, 1, math.prod(link.shape)):
            gather = Element(self.names.new(layer.name), "gather", (before,), link, output, layer=layer.name)
            self.elements.append(gather)
            self._is([layer], gather.name, output)
        else:
            raise refuse(layer, f"an image of {' x '.join(map(str, link.shape))} cannot become one of shape {layer.shape} in a stream.")

    def _pad(self, layer: Layer, name: str) -> Element:
        """Plan the zeros around what a layer reads."""
        before, link = self.made[layer.inputs[0]], self.links[layer.inputs[0]]
        zeros = {side: int(layer.attributes.get(f"pad_{side}", 0)) for side in SIDES}
        output = Link(link.rows + zeros["top"] + zeros["bottom"], link.columns + zeros["left"] + zeros["right"], link.words, link.type)
        own = layer.kind.startswith("ZeroPadding")
        if min(zeros.values()) < 0 or (own and (output.shape != image(layer.shape) or not holds(layer.type, link.type))):
            raise refuse(layer, f"it must put zeros around {link.shape}, of type {link.type}, and change nothing else.")
        self.elements.append(Element(self.names.new(name), "pad", (before,), link, output, None, zeros, layer.name))
        return self.elements[-1]

    def _compute(self, layer: Layer) -> None:
        """Plan a layer with arithmetic."""
        before = [self.made[name] for name in layer.inputs]
        name = self.names.new(layer.name)
        chain = self._chain(layer)
        link, tail = self.links[layer.inputs[0]], [of_pixel(one) for one in chain]
        output = Link(*image(layer.shape), (chain or [layer])[-1].type)
        if layer.kind == "Merge":
            element = self._join(name, layer, before, output, tail)
        elif layer.kind in WINDOWS:
            if any(layer.attributes.get(f"pad_{side}", 0) for side in SIDES):
                if layer.kind.startswith("Pooling") and link.type.signed:
                    raise refuse(layer, "the maximum of negative values and padding cannot be streamed. Put a ReLU before it.")
                padded = self._pad(layer, f"{layer.name}_zeros")
                before, link = [padded.name], padded.output
            kind, heads, settings = WINDOWS[layer.kind](layer, link)
            graph = chained(settings["size"], link.type, [*heads, *tail])
            element = Element(name, kind, (before[0],), link, output, graph, settings, layer.name)
        elif layer.kind in ("Dense", *FUSED):
            if layer.kind == "Dense" and (link.rows * link.columns, len(layer.shape)) != (1, 1):
                raise refuse(layer, "an image must be flattened first.")
            head = of_pixel(layer) if layer.kind in FUSED else layer
            graph = chained(link.words, link.type, [head, *tail])
            element = Element(name, "point", (before[0],), link, output, graph, {"size": link.words}, layer.name)
        else:
            raise refuse(layer, "this kind cannot be streamed.")
        self.elements.append(element)
        self._is([layer, *chain], name, output)

    def _chain(self, layer: Layer) -> list[Layer]:
        """Return the layers behind that compute word by word, as far as nothing else reads what is between them."""
        found = [layer]
        while True:
            readers = [reader for reader in self.graph.layers if found[-1].name in reader.inputs]
            if len(readers) != 1 or readers[0].kind not in FUSED:
                return found[1:]
            found.append(readers[0])

    def _join(self, name: str, layer: Layer, before: list[str], output: Link, tail: list[Layer]) -> Element:
        """Plan a sum: a dense layer whose weights are ones, on a pixel of each input in a type that holds both."""
        links = [self.links[one] for one in layer.inputs]
        if layer.attributes["op"] != "add" or len(before) != 2 or {link.shape for link in links} != {output.shape}:
            raise refuse(layer, "only the sum of two inputs of one shape can be streamed.")
        types = [link.type for link in links]
        signed = any(t.signed for t in types)
        integer = max(t.integer + (signed and not t.signed) for t in types)
        both = FixedType(signed, integer + max(t.fraction for t in types), integer)
        ones = {"weight": (np.concatenate([np.eye(output.words)] * 2), FixedType(True, 2, 2))}
        dense = replace(layer, kind="Dense", shape=(output.words,), weights=ones, attributes={}, accumulator=None)
        graph = chained(2 * output.words, both, [dense, *tail])
        return Element(name, "join", tuple(before), links[0], output, graph, {"types": types, "both": both}, layer.name)


def _forked(elements: Iterable[Element], read: Mapping[str, int], links: Mapping[str, Link], names: Names) -> tuple[Element, ...]:
    """Put a fork behind each element that several read, and give each reader a way of it."""
    found: list[Element] = []
    ways: dict[str, Iterator[str]] = {}

    def fork(source: str, layer: str) -> None:
        if read[source] > 1:
            name = names.new(f"{source or 'input'}_fork")
            found.append(Element(name, "fork", (source,), links[source], links[source], None, {"ways": read[source]}, layer))
            ways[source] = iter([f"{name}.{i}" for i in range(read[source])])

    fork("", "")
    for e in elements:
        found.append(replace(e, inputs=tuple(next(ways[b]) if b in ways else b for b in e.inputs)))
        fork(e.name, e.layer)
    return tuple(found)
