"""Traces tr(J_n^T A_n J_n) of a chain of layers, sample by sample, by matrix products.

A piece of a few samples carries the derivatives G (B, width, R) of R values with respect to those between two layers backwards through
the chain. With the gradients D of R values with respect to a block of parameters, (parameters, R), the trace is that of A D^T D. Where a
layer is narrower than R, G A G^T takes the place of A: the curvature with respect to its values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from flow.landscape._trace_chain import Bend, Conv, Dense, Layers, Move

Traces = dict[str, Tensor]


def bytes_each(layers: Layers, values: int) -> int:
    """Return the bytes that a sample needs on its way back, for derivatives of this many values."""
    most = 0
    for layer in layers:
        if isinstance(layer, Conv):
            windows, small = layer.positions * layer.weight.shape[0], layer.weight.numel()
            most = max(most, windows + small + sum(layer.widths))
        elif isinstance(layer, Dense):
            most = max(most, sum(layer.widths))
    return 4 * values * (most + 2 * values)


def _gram(a: Tensor, d: Tensor) -> Tensor:
    """Return tr(A D^T D) of each sample, float64; A (B, R, R), D (B or 1, n, R)."""
    return (a * (d.mT @ d)).sum((1, 2), dtype=torch.float64)


def _squares(a: Tensor, d: Tensor) -> Tensor:
    """Return the diagonal of D A D^T of each sample, (B, n)."""
    return ((d @ a) * d).sum(2)


def _masked(d: Tensor, inside: Tensor) -> Tensor:
    """Return the gradients (B, n, R) with those behind a quantizer that clips set to zero."""
    return d if bool((inside == 1).all()) else d * inside.float().reshape(-1, 1)


def _times(matrix: Tensor, g: Tensor) -> Tensor:
    """Return the matrix (m, n) times each of (B, n, R), (B, m, R)."""
    return torch.bmm(matrix.float().expand(len(g), *matrix.shape), g)


def _dense(layer: Dense, x: Tensor, g: Tensor, a: Tensor, found: Traces) -> None:
    squares = _squares(a, g)
    found[layer.name] = ((x.square() @ layer.inside.float().square()) * squares).sum(1, dtype=torch.float64)
    if layer.bias_name is not None and layer.bias_inside is not None:
        found[layer.bias_name] = (squares * layer.bias_inside.float().square()).sum(1, dtype=torch.float64)


def _conv(layer: Conv, x: Tensor, g: Tensor, a: Tensor, found: Traces, onwards: bool) -> Tensor:
    """Note the traces of a convolution and return G before it, if wanted."""
    many, count, values = len(x), len(g), g.shape[2]
    if layer.bias_name is not None and layer.bias_inside is not None:
        channels = g.reshape(count, -1, len(layer.bias_inside), values).sum(1)
        found[layer.bias_name] = _gram(a, _masked(channels, layer.bias_inside)).expand(many)
    if layer.transposed:
        left, right, inside = x.reshape(many, layer.positions, -1), layer.patches(g), layer.inside.T
    else:
        left, right, inside = layer.patches(x[..., None])[..., 0], g.reshape(count, layer.positions, -1, values), layer.inside
    # The same right side for all samples makes one product.
    flat = right.reshape(count, layer.positions, -1)
    gradients = (left.mT.reshape(-1, layer.positions) @ flat[0]) if count == 1 else left.mT @ flat
    found[layer.name] = _gram(a, _masked(gradients.reshape(many, -1, values), inside))
    if not onwards:
        return g
    windows = right.reshape(count * layer.positions, -1, values)
    if layer.transposed:
        return _times(layer.weight.T, windows).reshape(count, -1, values)
    return layer.spread(_times(layer.weight, windows).reshape(count, layer.positions, -1, values))


def piece_traces(layers: Layers, inputs: Sequence[Tensor], g: Tensor, a: Tensor) -> Traces:
    """Return the traces of some samples by parameter, each (B,), float64.

    Args:
        layers: the chain.
        inputs: what goes into each layer, (B, width).
        g: derivatives of R values with respect to those behind the last layer, (1 or B, width, R), float32.
        a: matrices A_n (B, R, R), float32.
    """
    found: Traces = {}
    first = min(i for i, layer in enumerate(layers) if isinstance(layer, Dense | Conv))
    for i in reversed(range(first, len(layers))):
        layer, x = layers[i], inputs[i]
        if isinstance(layer, Bend):
            slopes = layer.slopes(x).float()
            g = g if bool((slopes == 1).all()) else g * slopes[:, :, None]
        elif isinstance(layer, Move):
            g = g[:, layer.back]
        elif isinstance(layer, Dense):
            _dense(layer, x.float(), g, a, found)
            g = _times(layer.weight, g) if i > first else g
        else:
            g = _conv(layer, x.float(), g, a, found, onwards=i > first)
        if g.shape[1] < g.shape[2]:
            a = g @ a @ g.mT
            g = torch.eye(g.shape[1])[None]
    return found
