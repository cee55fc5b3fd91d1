"""Operators that look at windows of an image or a series: convolution, pooling, padding."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flow.twin.graph import Node
from flow.twin.grid import Grid, Operand


def _pair(node: Node, key: str, default: int, rank: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in node.attributes.get(key) or (default,) * rank)
    if len(values) != rank or min(values) < 1 or max(values) > 4096:
        node.refuse(f"{key} = {list(values)} cannot be used.")
    return values


def _pads(node: Node, rank: int) -> tuple[int, ...]:
    if str(node.attributes.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        node.refuse("auto_pad cannot be used. Export with explicit pads.")
    pads = tuple(int(v) for v in node.attributes.get("pads") or (0,) * (2 * rank))
    if len(pads) != 2 * rank or min(pads) < 0 or max(pads) > 256:
        node.refuse(f"pads = {list(pads)} cannot be used.")
    return pads


def _torch_pads(pads: Sequence[int]) -> list[int]:
    """Turn ONNX order (all begins, all ends) into torch order (last axis first, begin and end)."""
    rank = len(pads) // 2
    return [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]


def conv(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Convolve by patches and one matrix product: no transform-domain algorithm, so integers stay exact."""
    x, weight = inputs[0], inputs[1]
    rank = weight.dim() - 2
    if rank not in (1, 2) or x.dim() != rank + 2:
        node.refuse(f"only 1- and 2-dimensional convolutions can be used; the weight has shape {list(weight.shape)}.")
    strides, dilations = _pair(node, "strides", 1, rank), _pair(node, "dilations", 1, rank)
    x = functional.pad(x, _torch_pads(_pads(node, rank)))
    kernel = tuple(weight.shape[2:])
    sizes = [(x.shape[2 + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)]
    if rank == 1:
        x, kernel, strides, dilations = x.unsqueeze(2), (1, *kernel), (1, *strides), (1, *dilations)
    patches = functional.unfold(x, kernel, dilations, 0, strides)
    groups, outputs = int(node.attributes.get("group", 1)), weight.shape[0]
    if groups == 1:
        y = patches.transpose(1, 2) @ weight.reshape(outputs, -1).T
    else:
        split = patches.reshape(x.shape[0], groups, -1, patches.shape[-1])
        y = torch.einsum("ngkl,gok->nlgo", split, weight.reshape(groups, outputs // groups, -1)).flatten(2)
    if len(inputs) > 2:
        y = y + inputs[2]
    return y.transpose(1, 2).reshape(x.shape[0], outputs, *sizes)


def _check_pool(node: Node, x: Tensor) -> int:
    rank = x.dim() - 2
    if rank not in (1, 2) or node.attributes.get("ceil_mode", 0):
        node.refuse("only 1- and 2-dimensional pooling without ceil_mode can be used.")
    return rank


def max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Take the maximum over windows; outside of the image there is nothing."""
    x = inputs[0]
    rank = _check_pool(node, x)
    kernel, strides, dilations = (_pair(node, key, 1, rank) for key in ("kernel_shape", "strides", "dilations"))
    if max(dilations) > 1:
        node.refuse("a maximum over dilated windows cannot be lowered. Take dilation 1.")
    x = functional.pad(x, _torch_pads(_pads(node, rank)), value=-math.inf)
    pool: Any = functional.max_pool1d if rank == 1 else functional.max_pool2d
    result: Tensor = pool(x, kernel, strides)
    return result


def average_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Average over windows: the sum first, which is exact, then one division."""
    x = inputs[0]
    rank = _check_pool(node, x)
    kernel, strides, dilations = (_pair(node, key, 1, rank) for key in ("kernel_shape", "strides", "dilations"))
    pads = _pads(node, rank)
    if max(dilations) > 1 or (any(pads) and not node.attributes.get("count_include_pad", 0)):
        node.refuse("an average over dilated windows, or over windows that reach outside without counting it, cannot be lowered.")
    x = functional.pad(x, _torch_pads(pads))
    if rank == 1:
        x, kernel, strides = x.unsqueeze(2), (1, *kernel), (1, *strides)
    y = functional.avg_pool2d(x, kernel, strides, divisor_override=1) / math.prod(kernel)
    return y.squeeze(2) if rank == 1 else y


def axes(node: Node, rank: int) -> list[int]:
    """Return the axes that a node names, in order; the samples must not be among them."""
    named = [int(a) for a in node.attributes.get("axes") or ()]
    found = sorted(a % rank for a in named)
    if not found or found[0] == 0 or len(set(found)) != len(found):
        node.refuse(f"its axes are {named}; name each axis once, and not the first: the samples stay.")
    return found


def _reduced(node: Node, rank: int) -> list[int]:
    return list(range(2, rank)) if node.op.startswith("Global") else axes(node, rank)


def reduce(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Average or take the maximum over whole axes."""
    x = inputs[0]
    over, keep = _reduced(node, x.dim()), bool(node.attributes.get("keepdims", 1))
    if node.op.endswith(("MaxPool", "Max")):
        return x.amax(over, keep)
    return x.sum(over, keep) / math.prod(x.shape[a] for a in over)


def averaged(node: Node, inputs: Sequence[Operand]) -> Grid:
    """Bound an average, which is exact if the number of values is a power of two."""
    x = inputs[0]
    window = (node.attributes.get("kernel_shape") or ()) if node.op == "AveragePool" else [x.shape[a] for a in _reduced(node, len(x.shape))]
    count = math.prod(window)
    if count & (count - 1):
        node.refuse(
            f"it averages {count} values, which is exact for powers of two only. Use avg_pool of the layers, whose factor is quantized, "
            "or set network.allow_approximate."
        )
    return Grid(x.grid.exponent - count.bit_length() + 1, x.grid.peak * count)


def pad(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Put zeros around."""
    x, pads, value = inputs[0], [int(v) for v in node.attributes.get("pads") or ()], float(node.attributes.get("value", 0.0))
    wrong = len(pads) != 2 * x.dim() or min(pads) < 0 or max(pads) > 256 or pads[0] or pads[x.dim()]
    if wrong or value or str(node.attributes.get("mode", "constant")) != "constant":
        node.refuse(f"pads = {pads} with value {value:g} cannot be used. Pad with zeros, and no samples.")
    return functional.pad(x, _torch_pads(pads))
