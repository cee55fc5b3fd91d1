"""What each ONNX operator computes, one small function each, and how large its results can become."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flow.twin.graph import Node


@dataclass(frozen=True)
class Grid:
    """Where the values of a tensor lie: integers of magnitude at most `peak`, times 2**`exponent`."""

    exponent: int
    peak: int

    def __add__(self, other: "Grid") -> "Grid":
        exponent = min(self.exponent, other.exponent)
        return Grid(exponent, sum(g.peak << (g.exponent - exponent) for g in (self, other)))

    def products(self, other: "Grid", count: int) -> "Grid":
        """Return the grid of a sum of `count` products, and of all of its partial sums."""
        return Grid(self.exponent + other.exponent, self.peak * other.peak * count)


@dataclass(frozen=True)
class Operand:
    """What is known about an input of a node before anything runs.

    Attributes:
        grid: where its values lie.
        shape: its shape for one batch.
        static: computed from constants and parameters only, so it has no sample axis.
    """

    grid: Grid
    shape: tuple[int, ...]
    static: bool


Run = Callable[[Node, Sequence[Tensor]], Tensor]
Bound = Callable[[Node, Sequence[Operand]], Grid]


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


def _torch_pads(pads: tuple[int, ...]) -> list[int]:
    """Turn ONNX order (all begins, all ends) into torch order (last axis first, begin and end)."""
    rank = len(pads) // 2
    return [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]


def _conv(node: Node, inputs: Sequence[Tensor]) -> Tensor:
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


def _gemm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if node.attributes.get("transA", 0) or any(node.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta")):
        node.refuse("transA, alpha and beta cannot be used.")
    weight = inputs[1].T if node.attributes.get("transB", 0) else inputs[1]
    y = inputs[0] @ weight
    return y + inputs[2] if len(inputs) > 2 else y


def _reshape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    x, wanted = inputs[0], [int(v) for v in inputs[1]]
    if not wanted or wanted[0] not in (-1, 0, 1):
        node.refuse(f"it reshapes to {wanted}, which does not keep the sample axis first.")
    keep_zero = bool(node.attributes.get("allowzero", 0))
    shape = [x.shape[i] if size == 0 and not keep_zero else size for i, size in enumerate(wanted)]
    return x.reshape(x.shape[0], *shape[1:])


def _flatten(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if int(node.attributes.get("axis", 1)) != 1:
        node.refuse("only axis = 1 can be used.")
    return inputs[0].flatten(1)


def _transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    order: tuple[int, ...] = node.attributes.get("perm") or tuple(reversed(range(inputs[0].dim())))
    return inputs[0].permute(order)


def _max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    rank = x.dim() - 2
    if rank not in (1, 2) or node.attributes.get("ceil_mode", 0):
        node.refuse("only 1- and 2-dimensional pooling without ceil_mode can be used.")
    kernel, strides, dilations = (_pair(node, key, 1, rank) for key in ("kernel_shape", "strides", "dilations"))
    x = functional.pad(x, _torch_pads(_pads(node, rank)), value=-math.inf)
    pool: Any = functional.max_pool1d if rank == 1 else functional.max_pool2d
    result: Tensor = pool(x, kernel, strides, 0, dilations)
    return result


def _same(node: Node, inputs: Sequence[Operand]) -> Grid:
    return inputs[0].grid


def _reshaped(node: Node, inputs: Sequence[Operand]) -> Grid:
    if inputs[0].static:
        node.refuse("only data can be reshaped, not a constant of the file. Clean the file with qonnx.util.cleanup.")
    return inputs[0].grid


def _dot(node: Node, inputs: Sequence[Operand]) -> Grid:
    """Bound the accumulator of Conv, Gemm and MatMul, for any weights and any order of summation."""
    x, weight = inputs[0], inputs[1]
    if x.static or not all(i.static for i in inputs[1:]):
        node.refuse("its first input must come from the data, and the others from constants of the file.")
    rows = weight.shape[-1 if node.attributes.get("transB", 0) else 0]
    count = math.prod(weight.shape[1:]) if node.op == "Conv" else rows
    if node.op == "MatMul" and len(weight.shape) != 2:
        node.refuse(f"its weight has shape {list(weight.shape)}; a matrix is needed.")
    grid = x.grid.products(weight.grid, count)
    return grid + inputs[2].grid if len(inputs) > 2 else grid


def _transposed(node: Node, inputs: Sequence[Operand]) -> Grid:
    if not inputs[0].static and (node.attributes.get("perm") or (-1,))[0] != 0:
        node.refuse("it moves the sample axis, which must stay first.")
    return inputs[0].grid


@dataclass(frozen=True)
class Operation:
    """An operator: what it computes and how large that can become."""

    run: Run
    bound: Bound


OPERATIONS: dict[str, Operation] = {
    "Add": Operation(lambda node, inputs: inputs[0] + inputs[1], lambda node, inputs: inputs[0].grid + inputs[1].grid),
    "Conv": Operation(_conv, _dot),
    "Flatten": Operation(_flatten, _reshaped),
    "Gemm": Operation(_gemm, _dot),
    "Identity": Operation(lambda node, inputs: inputs[0], _same),
    "MatMul": Operation(lambda node, inputs: inputs[0] @ inputs[1], _dot),
    "MaxPool": Operation(_max_pool, _same),
    "Relu": Operation(lambda node, inputs: functional.relu(inputs[0]), _same),
    "Reshape": Operation(_reshape, _reshaped),
    "Transpose": Operation(_transpose, _transposed),
}
