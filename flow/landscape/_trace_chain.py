"""A network up to its last parameter as a chain of layers whose derivatives are plain matrix products.

Layers of weights, and between them functions of single values (ReLU, quantizers with straight-through gradients), for which derivatives
of many outputs at once cost far less than in automatic differentiation. Values are flat, an image with its channels last. In forward
passes the samples are the last axis, (width, N): windows of images are then copied, not gathered.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from flow.landscape._problem import CHIP, HEAD, Problem
from flow.twin.graph import Node
from flow.twin.ops import OPERATIONS
from flow.twin.quantizer import QUANTIZERS, quantize_ste

SAME = ("Flatten", "Squeeze", "Unsqueeze", "Identity")
SAME_LAYERS = (nn.Flatten, nn.Unflatten, nn.Identity)
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Layers = tuple["Layer", ...]


@dataclass(frozen=True)
class Bend:
    """A function of single values."""

    function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, (width, N) -> (width, N)."""
        return self.function(x)

    def slopes(self, x: Tensor) -> Tensor:
        """Return the derivative of each value, of the same shape."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            slope: Tensor = torch.autograd.grad(self.function(leaf).sum(), leaf)[0]
        return slope


@dataclass(frozen=True)
class Move:
    """Values in another order; `back` is the way back."""

    order: Tensor
    back: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, (width, N) -> (width, N)."""
        return x[self.order]


@dataclass(frozen=True)
class Weights:
    """What linear layers have in common.

    Attributes:
        name: of the parameter of the weights.
        bias_name: of that of the bias, or None.
        weight: values, quantized on chip, ``(rows, columns)``; see the layers.
        bias: values (O,), or None.
        inside: derivative of the quantized weights with respect to the parameter, 0 or 1, in the order of `weight`.
        bias_inside: the same of the bias.
        place: where each element of `weight` lies in the flat parameter.
    """

    name: str
    bias_name: str | None
    weight: Tensor
    bias: Tensor | None
    inside: Tensor
    bias_inside: Tensor | None
    place: Tensor

    @property
    def arranged(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Where each element of the weights and of the bias lies in its flat parameter, and its derivative; by parameter."""
        both = {self.name: (self.place, self.inside)}
        if self.bias_name is not None and self.bias_inside is not None:
            both[self.bias_name] = torch.arange(len(self.bias_inside)), self.bias_inside
        return both

    def biased(self, y: Tensor) -> Tensor:
        """Add the bias to outputs (width, N)."""
        return y if self.bias is None else (y.reshape(-1, len(self.bias), y.shape[1]) + self.bias[:, None]).flatten(0, 1)


@dataclass(frozen=True)
class Dense(Weights):
    """A matrix (inputs, outputs)."""

    @property
    def widths(self) -> Pair:
        """Inputs and outputs of a sample."""
        return self.weight.shape[0], self.weight.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, (inputs, N) -> (outputs, N)."""
        return self.biased(self.weight.T @ x)


@dataclass(frozen=True)
class Conv(Weights):
    """A convolution, or its transpose.

    Both couple a *big* image with the positions of a *small* one: each sees a window of the big one. `weight` is (window * channels of
    the big image, channels of the small one).

    Attributes:
        transposed: the small image is the input.
        big: height, width and channels.
        small: the same.
        kernel: height and width of the window.
        stride: step of the window.
        pads: of the big image: top, left, bottom, right.
    """

    transposed: bool
    big: tuple[int, int, int]
    small: tuple[int, int, int]
    kernel: Pair
    stride: Pair
    pads: Pads

    @property
    def widths(self) -> Pair:
        """Inputs and outputs of a sample."""
        big, small = math.prod(self.big), math.prod(self.small)
        return (small, big) if self.transposed else (big, small)

    @property
    def positions(self) -> int:
        """Positions of the small image."""
        return self.small[0] * self.small[1]

    def patches(self, big: Tensor) -> Tensor:
        """Return the window at each position of the small image, (N, width of the big one, R) -> (N, positions, window * channels, R)."""
        top, left, bottom, right = self.pads
        image = big.reshape(len(big), *self.big, -1)
        image = functional.pad(image, (0, 0, 0, 0, left, right, top, bottom))
        view = image.unfold(1, self.kernel[0], self.stride[0]).unfold(2, self.kernel[1], self.stride[1])
        view = view[:, : self.small[0], : self.small[1]].permute(0, 1, 2, 5, 6, 3, 4)
        return view.reshape(len(big), self.positions, -1, image.shape[-1])

    def spread(self, windows: Tensor) -> Tensor:
        """Add windows up to an image, the adjoint of `patches`."""
        top, left, bottom, right = self.pads
        many, (height, width, channels) = windows.shape[-1], self.big
        image = windows.new_zeros(len(windows), height + top + bottom, width + left + right, channels, many)
        parts = windows.reshape(len(windows), self.small[0], self.small[1], *self.kernel, channels, many)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                rows = slice(i, i + self.stride[0] * (self.small[0] - 1) + 1, self.stride[0])
                columns = slice(j, j + self.stride[1] * (self.small[1] - 1) + 1, self.stride[1])
                image[:, rows, columns] += parts[:, :, :, i, j]
        return image[:, top : top + height, left : left + width].reshape(len(windows), -1, many)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, (inputs, N) -> (outputs, N)."""
        if self.transposed:
            small = x.reshape(self.positions, self.small[2], -1)
            return self.biased(self.spread(torch.bmm(self.weight.expand(len(small), *self.weight.shape), small)[None])[0])
        windows = self.patches(x[None])[0]
        return self.biased(torch.bmm(self.weight.T.expand(len(windows), *self.weight.T.shape), windows).flatten(0, 1))


Layer = Bend | Move | Dense | Conv


class NotAChainError(Exception):
    """The network has a layer, or a branch, that is not known here."""


def _pair(value: int | Sequence[int] | None, default: int = 1) -> Pair:
    """Return a setting of a convolution in two dimensions, whose first has size 1 if there is only one."""
    values = (default,) if value is None else (value,) if isinstance(value, int) else tuple(value)
    return (default, values[0]) if len(values) == 1 else (values[0], values[1])


def _channels_last(shape: Sequence[int]) -> Tensor:
    """Return where in an image with its channels first each value of one with its channels last lies."""
    return torch.arange(math.prod(shape)).reshape(*shape).movedim(0, -1).flatten()


class _Builder:
    """Layers so far, and what the flat values behind them mean.

    Attributes:
        layers: the chain.
        shape: of the values of a sample as the network sees it, channels first; flat where it is not known.
        order: where in that each of our values lies.
    """

    def __init__(self, problem: Problem) -> None:
        leaves = {name: value.detach().clone().requires_grad_() for name, value in problem.twin.params.items()}
        with torch.enable_grad():
            quantized = problem.twin.quantized(leaves)
            total = torch.stack([value.sum() for value in quantized.values()]).sum()
        self._values = {name: value.detach() for name, value in problem.params.items()}
        self._inside = {name: torch.ones_like(value) for name, value in self._values.items()}
        for name, inside in zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True):
            self._values[CHIP + name], self._inside[CHIP + name] = quantized[name].detach(), inside
        self.layers: list[Layer] = []
        self.shape = tuple(problem.twin.input_shape)
        self.order = torch.arange(math.prod(self.shape))

    def _weights(self, name: str, bias: str | None, arrange: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        value = self._values[name]
        return {
            "name": name, "weight": arrange(value).contiguous(), "inside": arrange(self._inside[name]).contiguous(),
            "place": arrange(torch.arange(value.numel()).reshape(value.shape)), **self._bias(bias),
        }  # fmt: skip

    def _bias(self, name: str | None) -> dict[str, Any]:
        values = (None, None) if name is None else (self._values[name], self._inside[name])
        return {"bias_name": name, "bias": values[0], "bias_inside": values[1]}

    def add_bias(self, name: str) -> None:
        """Give the matrix that was appended last a bias."""
        if not self.layers or not isinstance(self.layers[-1], Dense) or self.layers[-1].bias is not None:
            raise NotAChainError
        self.layers[-1] = replace(self.layers[-1], **self._bias(name))

    def bend(self, function: Callable[[Tensor], Tensor]) -> None:
        """Append a function of single values."""
        self.layers.append(Bend(function))

    def reshape(self, shape: Sequence[int]) -> None:
        """See the values in another shape; their order is the same."""
        if math.prod(shape) != len(self.order):
            raise NotAChainError
        self.shape = tuple(shape)

    def dense(self, name: str, bias: str | None, inputs_first: bool) -> None:
        """Append a matrix; inputs may come in any order."""
        if len(self.shape) != 1:
            raise NotAChainError
        matrix = self._weights(name, bias, lambda w: (w if inputs_first else w.T)[self.order])
        self.layers.append(Dense(**matrix))
        self.shape, self.order = (matrix["weight"].shape[1],), torch.arange(matrix["weight"].shape[1])

    def conv(self, name: str, bias: str | None, stride: Pair, pads: Pads, sizes: Pair | None = None) -> None:
        """Append a convolution, or with `sizes`, those of its output, a transposed one."""
        value, rank = self._values[name], len(self.shape) - 1
        if rank != value.dim() - 2 or rank not in (1, 2):
            raise NotAChainError
        lines = (1,) * (2 - rank)
        channels, *image = self.shape
        self._arrange(_channels_last((channels, *lines, *image)))
        # of a convolution the big image is the input, of a transposed one the output: in torch both are the second axis
        weights = self._weights(name, bias, lambda w: w.reshape(*w.shape[:2], *lines, *w.shape[2:]).permute(2, 3, 1, 0).flatten(0, 2))
        kernel = _pair(value.shape[2:])
        size = _pair(image)
        if sizes is None:
            high, wide = ((size[i] + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2))
            outputs, shape = value.shape[0], (high, wide)
        else:
            outputs, shape = value.shape[1], sizes
        images = ((*size, channels), (*shape, outputs))
        small, big = images if sizes is not None else images[::-1]
        self.layers.append(Conv(**weights, transposed=sizes is not None, big=big, small=small, kernel=kernel, stride=stride, pads=pads))
        self.shape, self.order = (outputs, *shape[2 - rank :]), _channels_last((outputs, *shape))

    def restore(self) -> None:
        """Bring the values into the order in which the network has them."""
        self._arrange(torch.arange(len(self.order)))

    def _arrange(self, order: Tensor) -> None:
        """Bring the values into this order."""
        if not torch.equal(order, self.order):
            where = self.order.argsort()[order]
            self.layers.append(Move(where, where.argsort()))
            self.order = order


def _add_node(builder: _Builder, node: Node, names: Mapping[str, str], problem: Problem) -> None:
    """Append a node of the twin; `names` has the parameters by the tensors that hold them."""
    attributes = node.attributes
    if any(name not in names for name in node.inputs[1:] if name) and node.op not in (*QUANTIZERS, "Reshape"):
        raise NotAChainError
    others = [CHIP + names[name] for name in node.inputs[1:] if name in names]
    bias = others[1] if len(others) > 1 else None
    if node.op in QUANTIZERS:
        form = problem.twin.activation_formats[node.name]
        builder.bend(lambda x: quantize_ste(x, form))
    elif node.op in ("Relu", "LeakyRelu"):
        builder.bend(lambda x: OPERATIONS[node.op].run(node, [x]))
    elif node.op in SAME:
        builder.reshape(OPERATIONS[node.op].run(node, [torch.empty(1, *builder.shape)]).shape[1:])
    elif node.op == "Reshape":
        builder.reshape((len(builder.order),))
    elif node.op in ("Gemm", "MatMul"):
        builder.dense(others[0], bias, inputs_first=not attributes.get("transB", 0))
    elif node.op == "Add":
        builder.add_bias(others[0])
    elif node.op == "Conv" and attributes.get("group", 1) == 1 and set(attributes.get("dilations") or (1,)) == {1}:
        pads = tuple(attributes.get("pads") or (0,) * 4)
        begin, end = _pair(pads[: len(pads) // 2], 0), _pair(pads[len(pads) // 2 :], 0)
        builder.conv(others[0], bias, _pair(attributes.get("strides")), (*begin, *end))
    else:
        raise NotAChainError


def _add_layer(builder: _Builder, layer: nn.Module, name: str) -> None:
    """Append a layer of the head, whose parameters begin with `name`."""
    bias = f"{name}.bias" if getattr(layer, "bias", None) is not None else None
    if isinstance(layer, nn.ReLU | nn.LeakyReLU):
        builder.bend(layer)
    elif isinstance(layer, SAME_LAYERS):
        builder.reshape(layer(torch.empty(1, *builder.shape)).shape[1:])
    elif isinstance(layer, nn.Linear):
        builder.dense(f"{name}.weight", bias, inputs_first=False)
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
        if isinstance(layer.padding, str) or layer.groups != 1 or layer.padding_mode != "zeros" or set(layer.dilation) != {1}:
            raise NotAChainError
        stride, (top, left) = _pair(layer.stride), _pair(layer.padding, 0)
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            high, wide = _pair(tuple(layer(torch.empty(1, *builder.shape)).shape[2:]))
            small, kernel = _pair(builder.shape[1:]), _pair(layer.kernel_size)
            below, right = (
                max(0, (small[i] - 1) * stride[i] + kernel[i] - size - pad) for i, (size, pad) in enumerate(((high, top), (wide, left)))
            )
            builder.conv(f"{name}.weight", bias, stride, (top, left, below, right), (high, wide))
        else:
            builder.conv(f"{name}.weight", bias, stride, (top, left, top, left))
    else:
        raise NotAChainError


def build_chain(problem: Problem, cut: int) -> Layers:
    """Return the on-chip network and the first `cut` layers of its head as a chain.

    Raises:
        NotAChainError: it is not one.
    """
    builder, names, current = _Builder(problem), {}, None
    for node in problem.twin.nodes:
        if node.inputs[0] in problem.twin.params:
            names[node.output] = node.inputs[0]
        elif current is None or node.inputs[0] == current:
            _add_node(builder, node, names, problem)
            current = node.output
        else:
            raise NotAChainError
    if problem.twin.dtype != torch.float32:
        builder.bend(lambda x: x.to(torch.float32))
    with torch.no_grad():
        for i, layer in enumerate(problem.head or ()) if isinstance(problem.head, nn.Sequential) else ():
            if i < cut:
                _add_layer(builder, layer, f"{HEAD}{i}")
    builder.restore()
    return tuple(builder.layers)
