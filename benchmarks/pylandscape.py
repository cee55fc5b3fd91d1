"""The loops of PyLandscape (Baldi et al., arXiv:2502.08355), stated anew in a few lines, and the same work done in place.

PyLandscape itself has heavy dependencies, and its wheel 0.1.3 fails at some of this. What is stated here is what its code does for each
point of a surface and for each set of flipped bits, with Brevitas modules; its file accesses and bookkeeping are left out.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Bits = NDArray[np.int64]
Floats = NDArray[np.float64]
MeanLoss = Callable[[nn.Module], Tensor]
DEEPCOPY = "PyLandscape's way, stated anew: a deepcopy of the Brevitas module for each {}, the loss with its graph"
IN_PLACE = "Brevitas, weights written in place, without autograd"


def quantized_layers(network: nn.Module) -> list[Any]:
    """Return the Brevitas layers with quantized weights, in the order of the network."""
    return [layer for layer in network.modules() if hasattr(layer, "quant_weight")]


def copied_losses(network: nn.Module, loss: MeanLoss, points: Floats) -> Floats:
    """Return the loss at each point (P, D): for each, a copy of the network, its parameters, a forward pass that keeps its graph."""
    values = np.empty(len(points))
    for i, point in enumerate(points):
        moved = copy.deepcopy(network)
        nn.utils.vector_to_parameters(torch.from_numpy(point).float(), moved.parameters())
        values[i] = loss(moved).item()
    return values


def placed_losses(network: nn.Module, loss: MeanLoss, points: Floats) -> Floats:
    """Return the loss at each point (P, D); one copy of the network is enough for all."""
    moved = copy.deepcopy(network)
    values = np.empty(len(points))
    with torch.no_grad():
        for i, point in enumerate(points):
            nn.utils.vector_to_parameters(torch.from_numpy(point).float(), moved.parameters())
            values[i] = loss(moved).item()
    return values


def _place(layers: list[Any], bit: int, width: int) -> tuple[Any, int, int]:
    """Return layer, weight and bit of a global index: bit ``i % width`` of weight ``i // width`` of all layers."""
    index = bit // width
    for layer in layers:
        if index < layer.weight.numel():
            return layer, index, bit % width
        index -= layer.weight.numel()
    raise IndexError(bit)


def _flipped(code: int, bit: int, width: int) -> int:
    """Flip a bit of a two's-complement code."""
    word = (code & ((1 << width) - 1)) ^ (1 << bit)
    return word - (1 << width) if word >> (width - 1) else word


def attacked_losses(network: nn.Module, loss: MeanLoss, masks: Bits) -> Floats:
    """Return the loss with each set of flipped bits (M, flips).

    A copy of the network for each set; for each bit the quantized weight is made four times, as the attack asks it for codes, width,
    scale and zero point; the flipped value goes into the float weight, which the layer quantizes again.
    """
    values = np.empty(len(masks))
    for i, mask in enumerate(masks):
        faulty = copy.deepcopy(network)
        layers = quantized_layers(faulty)
        for bit in mask:
            width = int(layers[0].quant_weight().bit_width)
            layer, index, local = _place(layers, int(bit), width)
            codes = layer.quant_weight().int()
            scale, zero = layer.quant_weight().scale, layer.quant_weight().zero_point
            value = (_flipped(int(codes.flatten()[index]), local, width) - zero) * scale
            layer.weight.data.view(-1)[index] = float(value)
        values[i] = loss(faulty).item()
    return values


def _written(layers: list[Any], codes: list[Any], scales: list[float], mask: Bits, width: int) -> Iterator[tuple[Any, int, float]]:
    """Yield weight tensor, index and new value of each flip of a set."""
    flipped: dict[tuple[int, int], int] = {}
    owners = {id(layer): k for k, layer in enumerate(layers)}
    for bit in mask:
        layer, index, local = _place(layers, int(bit), width)
        k = owners[id(layer)]
        flipped[k, index] = _flipped(flipped.get((k, index), int(codes[k][index])), local, width)
    for (k, index), code in flipped.items():
        yield layers[k].weight.data.view(-1), index, code * scales[k]


def placed_attack_losses(network: nn.Module, loss: MeanLoss, masks: Bits) -> Floats:
    """Return the loss with each set of flipped bits (M, flips): codes made once, flips written in place and taken back."""
    faulty = copy.deepcopy(network)
    layers = quantized_layers(faulty)
    quantized = [layer.quant_weight() for layer in layers]
    width, scales = int(quantized[0].bit_width), [float(q.scale) for q in quantized]
    codes, clean = [q.int().flatten().numpy() for q in quantized], [layer.weight.detach().clone() for layer in layers]
    values = np.empty(len(masks))
    with torch.no_grad():
        for i, mask in enumerate(masks):
            for weights, index, value in _written(layers, codes, scales, mask, width):
                weights[index] = value
            values[i] = loss(faulty).item()
            for layer, weight in zip(layers, clean, strict=True):
                layer.weight.data.copy_(weight)
    return values
