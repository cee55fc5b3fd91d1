"""Products of the Hessian with vectors for a chain of layers, by matrix products.

Along a direction of the parameters the values move by t, forwards through the chain, and the gradients g by h, backwards (Pearlmutter,
"Fast exact multiplication by the Hessian", 1994). Layers are linear and bends piecewise so, hence slopes stay. The samples are the last
axis, in pieces that stay in the cache: windows of images are then copied, not gathered.

A layer of weights is ``y = give(M take(x))``, with `take` and `give` making windows of images or adding them up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flow.landscape._exact_trace import Split
from flow.landscape._trace_chain import Bend, Conv, Dense, Layers, Move

Vectors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Kept:
    """What a product needs of some samples at a layer.

    Attributes:
        slopes: of a bend, (width, B); None where all are 1.
        inputs: taken inputs of a layer of weights.
        gradients: taken gradients of the sum of losses with respect to its outputs.
        bias: the gradient with respect to its bias.
    """

    slopes: Tensor | None = None
    inputs: Tensor | None = None
    gradients: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class Piece:
    """What a product needs of some samples.

    Attributes:
        kept: by layer.
        values: u (B, M), a leaf.
        gradient: of the sum of losses with respect to u, (B, M), with its graph; None if it is constant.
    """

    kept: tuple[Kept, ...]
    values: Tensor
    gradient: Tensor | None

    @property
    def bytes(self) -> int:
        """Size of the tensors; the graph of the loss counts as 16 times u."""
        tensors = [t for kept in self.kept for t in (kept.slopes, kept.inputs, kept.gradients) if t is not None]
        return sum(4 * t.numel() for t in tensors) + 64 * self.values.numel()


def _take(layer: Dense | Conv, x: Tensor, outputs: bool = False) -> Tensor:
    """Return inputs (or gradients of outputs) (width, B) in the form that a matrix takes: (n, B), of images (positions, n, B)."""
    if isinstance(layer, Dense):
        return x
    small = layer.transposed != outputs
    return x.reshape(layer.positions, layer.small[2], -1) if small else layer.patches(x[None])[0]


def _give(layer: Dense | Conv, y: Tensor, outputs: bool = True) -> Tensor:
    """Return what a matrix gave as outputs (or gradients of inputs) (width, B)."""
    if isinstance(layer, Dense):
        return y
    return layer.spread(y[None])[0] if layer.transposed == outputs else y.flatten(0, 1)


def _matrix(layer: Dense | Conv, weight: Tensor) -> Tensor:
    """Return M, whose columns belong to inputs."""
    return weight if isinstance(layer, Conv) and layer.transposed else weight.T


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    return matrix @ x if x.dim() == 2 else torch.bmm(matrix.expand(len(x), *matrix.shape), x)


def _sum_times(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the sum of `_times`, as one product: less traffic than two and a sum."""
    if len(pairs) == 1:
        return _times(*pairs[0])
    return _times(torch.cat([matrix for matrix, _ in pairs], 1), torch.cat([x for _, x in pairs], -2))


def _outer(layer: Dense | Conv, y: Tensor, x: Tensor) -> Tensor:
    """Return the sum over samples and positions of taken gradients y and inputs x, in the form of the weights of the layer."""
    product = x @ y.T if y.dim() == 2 else torch.bmm(x, y.mT).sum(0)
    return product.T if isinstance(layer, Conv) and layer.transposed else product


def _first(layers: Layers) -> int:
    return min(i for i, layer in enumerate(layers) if isinstance(layer, Dense | Conv))


def make_piece(layers: Layers, split: Split, x: Tensor, y: Tensor) -> Piece:
    """Run samples (B, width) forwards and backwards once."""
    first, v = _first(layers), x.T.contiguous()
    inputs: list[Tensor] = []
    with torch.no_grad():
        for layer in layers:
            inputs.append(_take(layer, v) if isinstance(layer, Dense | Conv) else v)
            if isinstance(layer, Bend):
                v = layer.forward(v)
            elif isinstance(layer, Move):
                v = v[layer.order]
            else:
                v = _give(layer, _times(_matrix(layer, layer.weight), inputs[-1]))
                v = layer.biased(v)
    u = v.T.contiguous().requires_grad_()
    with torch.enable_grad():
        total = split.after(u, y).sum()
        gradient = torch.autograd.grad(total, u, create_graph=True, materialize_grads=True)[0] if total.requires_grad else None
    kept = [Kept()] * len(layers)
    g = (torch.zeros_like(u) if gradient is None else gradient.detach()).T.contiguous()
    with torch.no_grad():
        for i in reversed(range(first, len(layers))):
            layer = layers[i]
            if isinstance(layer, Bend):
                slopes = layer.slopes(inputs[i]).float()
                if not bool((slopes == 1).all()):
                    kept[i] = Kept(slopes=slopes)
                    g = g * slopes
            elif isinstance(layer, Move):
                g = g[layer.back]
            else:
                gradients = _take(layer, g, outputs=True)
                bias = None if layer.bias is None else g.reshape(-1, len(layer.bias), g.shape[1]).sum((0, 2))
                kept[i] = Kept(inputs=inputs[i].float(), gradients=gradients, bias=bias)
                g = _give(layer, _times(_matrix(layer, layer.weight.float()).T, gradients), outputs=False) if i > first else g
    return Piece(tuple(kept), u, gradient if gradient is not None and gradient.requires_grad else None)


def _with_bias(y: Tensor, bias: Tensor) -> Tensor:
    """Add a bias, one for each channel, to outputs (width, B)."""
    return (y.reshape(-1, len(bias), y.shape[1]) + bias[:, None]).flatten(0, 1)


def piece_gradient(layers: Layers, piece: Piece) -> dict[str, Tensor]:
    """Return the gradient of the sum of losses, by parameter, in the form of the layers' weights."""
    found: dict[str, Tensor] = {}
    for layer, kept in zip(layers, piece.kept, strict=True):
        if isinstance(layer, Dense | Conv) and kept.inputs is not None and kept.gradients is not None:
            found[layer.name] = _outer(layer, kept.gradients, kept.inputs)
        if isinstance(layer, Dense | Conv) and layer.bias_name is not None and kept.bias is not None:
            found[layer.bias_name] = kept.bias
    return found


def _forwards(layers: Layers, piece: Piece, shifts: Vectors) -> tuple[Tensor | None, dict[int, Tensor]]:
    """Return how u moves (M, B), None where it does not, and how the taken inputs of each layer do."""
    t: Tensor | None = None
    moved: dict[int, Tensor] = {}
    for i, (layer, kept) in enumerate(zip(layers, piece.kept, strict=True)):
        if isinstance(layer, Bend):
            t = t if t is None or kept.slopes is None else t * kept.slopes
        elif isinstance(layer, Move):
            t = None if t is None else t[layer.order]
        else:
            pairs = []
            if t is not None:
                moved[i] = _take(layer, t)
                pairs.append((_matrix(layer, layer.weight.float()), moved[i]))
            if layer.name in shifts and kept.inputs is not None:
                pairs.append((_matrix(layer, shifts[layer.name]), kept.inputs))
            t = _give(layer, _sum_times(pairs)) if pairs else None
            bias = shifts.get(layer.bias_name or "")
            if bias is not None:
                t = _with_bias(torch.zeros(layer.widths[1], len(piece.values)) if t is None else t, bias)
    return t, moved


def piece_product(layers: Layers, piece: Piece, shifts: Vectors) -> dict[str, Tensor]:
    """Return the product with the Hessian of the sum of losses, by parameter, in the form of the layers' weights.

    Args:
        layers: the chain.
        piece: the samples.
        shifts: the vector, by parameter, in the same form, as a change of the quantized weights; those that are missing stay.
    """
    t, moved = _forwards(layers, piece, shifts)
    h = torch.zeros_like(piece.values)
    if t is not None and piece.gradient is not None:
        h = torch.autograd.grad(piece.gradient, piece.values, t.T, retain_graph=True, materialize_grads=True)[0]
    h = h.T.contiguous()
    found: dict[str, Tensor] = {}
    wanted = [i for i, layer in enumerate(layers) if isinstance(layer, Dense | Conv) and shifts.keys() & {layer.name, layer.bias_name}]
    for i in reversed(range(min(wanted), len(layers))):
        layer, kept = layers[i], piece.kept[i]
        if isinstance(layer, Bend):
            h = h if kept.slopes is None else h * kept.slopes
        elif isinstance(layer, Move):
            h = h[layer.back]
        elif kept.inputs is not None and kept.gradients is not None:
            taken = _take(layer, h, outputs=True)
            if layer.bias_name is not None and layer.bias_name in shifts:
                found[layer.bias_name] = h.reshape(-1, len(shifts[layer.bias_name]), h.shape[1]).sum((0, 2))
            pairs = [(_matrix(layer, layer.weight.float()).T, taken)]
            if layer.name in shifts:
                change = _outer(layer, taken, kept.inputs)
                found[layer.name] = change + _outer(layer, kept.gradients, moved[i]) if i in moved else change
                pairs.append((_matrix(layer, shifts[layer.name]).T, kept.gradients))
            if i > min(wanted):
                h = _give(layer, _times(*pairs[0]) if len(pairs) == 1 else _times(*pairs[0]) + _times(*pairs[1]), outputs=False)
    return found
