"""Activations bounded to the range that they have on samples: a twin that does so, and the lowered graph that becomes hardware.

After Ranger (Chen, Li, Pattabiraman, "A low-cost fault corrector for deep neural networks through range restriction", DSN 2021). What every
quantizer behind the input makes is bounded, by channel: of an image its last axis in hardware, of a vector each word. Bounds that the words
have anyway are left out. A value of a later sample that is out of range is bounded too, so clean outputs may change.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow import gate
from flow.core.errors import InvalidInput
from flow.rtl.graph import Graph, Layer
from flow.rtl.lower import layer_values
from flow.twin import Twin

BATCH = 1024
Bounds = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def bounds(twin: Twin, x: NDArray[np.float32]) -> Bounds:
    """Return the least and the largest value (C,) of each channel behind each quantizer but the first, by node.

    Args:
        twin: the network.
        x: (N, ...) samples.

    Returns:
        Only nodes of which a channel does not use all of its codes.
    """
    names = list(twin.activation_formats)[1:]
    low: dict[str, NDArray[np.float64]] = {}
    high: dict[str, NDArray[np.float64]] = {}
    with torch.no_grad():
        for batch in torch.split(torch.from_numpy(np.ascontiguousarray(x)), BATCH):
            layers = twin.layers(twin.params, batch)
            for name in names:
                flat = layers[name].transpose(0, 1).flatten(1).double().numpy()
                low[name] = np.minimum(flat.min(axis=1), low.get(name, np.inf))
                high[name] = np.maximum(flat.max(axis=1), high.get(name, -np.inf))
    found = {}
    for name in names:
        form = twin.activation_formats[name]
        if (low[name] > form.low * form.scale).any() or (high[name] < form.high * form.scale).any():
            found[name] = low[name], high[name]
    return found


class Clipped(Twin):
    """A twin whose activations are bounded; it computes whatever else the other one does."""

    def __init__(self, twin: Twin, limits: Bounds) -> None:
        """Take over a twin.

        Args:
            twin: what is bounded.
            limits: from `bounds`.
        """
        self.__dict__.update(twin.__dict__)
        self._limits = {name: tuple(torch.from_numpy(v).to(self.dtype) for v in pair) for name, pair in limits.items()}

    def _activation(self, name: str, value: Tensor) -> Tensor:
        if name not in self._limits:
            return value
        low, high = (limit.reshape(1, -1, *[1] * (value.ndim - 2)) for limit in self._limits[name])
        return value.clamp(low, high)


def bounded_graph(graph: Graph, twin: Twin, limits: Bounds, x: NDArray[np.float64]) -> Graph:
    """Return the lowered graph with the same bounds.

    Args:
        graph: the network.
        twin: the same network.
        limits: of the twin.
        x: (N, ...) samples on the grid of the input, channels first; the layer behind a quantizer is known by what it computes of them.

    Raises:
        InvalidInput: no layer computes what a quantizer makes.
    """
    with torch.no_grad():
        made = twin.layers(twin.params, torch.from_numpy(np.ascontiguousarray(x, np.float32)))
    found, shapes = layer_values(graph, gate.channels_last(x)), {layer.name: layer.shape for layer in graph.layers}
    behind: dict[str, str] = {}
    for name in limits:
        right = gate.words(made[name].numpy().astype(np.float64))
        channels = len(limits[name][0])
        same = [n for n, values in found.items() if shapes[n][-1] == channels and np.array_equal(values, right)]
        if not same:
            raise InvalidInput(f"protection: no layer of the lowered network is the quantizer {name}, so its range cannot be bounded.")
        behind[same[0]] = name
    layers: list[Layer] = []
    renamed: dict[str, str] = {}
    for layer in graph.layers:
        layers.append(replace(layer, inputs=tuple(renamed.get(name, name) for name in layer.inputs)))
        if layer.name in behind:
            name = f"{layer.name}_bound"
            weights = {key: (v, layer.type) for key, v in zip(("low", "high"), limits[behind[layer.name]], strict=True)}
            layers.append(Layer(name, "Bound", (layer.name,), layer.shape, replace(layer.type, saturation="WRAP"), {}, weights))
            renamed[layer.name] = name
    return Graph(tuple(layers))
