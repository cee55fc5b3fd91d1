"""What each ONNX operator computes, one small function each, and how large its results can become."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from flow.twin import windows
from flow.twin.graph import Node
from flow.twin.grid import Grid, Operand, constant_grid

Run = Callable[[Node, Sequence[Tensor]], Tensor]
Bound = Callable[[Node, Sequence[Operand]], Grid]


def _gemm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if node.attributes.get("transA", 0) or any(node.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta")):
        node.refuse("transA, alpha and beta cannot be used.")
    weight = inputs[1].T if node.attributes.get("transB", 0) else inputs[1]
    y = inputs[0] @ weight
    return y + inputs[2] if len(inputs) > 2 else y


def _norm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    factor, shift = (v.reshape(-1, *[1] * (inputs[0].dim() - 2)) for v in inputs[1:])
    return inputs[0] * factor + shift


def _reshape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    x, wanted = inputs[0], [int(v) for v in inputs[1]]
    if not wanted or wanted[0] not in (-1, 0, 1):
        node.refuse(f"it reshapes to {wanted}, which does not keep the sample axis first.")
    keep_zero = bool(node.attributes.get("allowzero", 0))
    shape = [x.shape[i] if size == 0 and not keep_zero else size for i, size in enumerate(wanted)]
    return x.reshape(x.shape[0], *shape[1:])


def _flatten(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if node.attributes.get("axis", 1) != 1:
        node.refuse("only axis 1 can be used.")
    return inputs[0].flatten(1)


def _squeeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].squeeze(windows.axes(node, inputs[0].dim()))


def _unsqueeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    for axis in windows.axes(node, x.dim() + len(node.attributes.get("axes") or ())):
        x = x.unsqueeze(axis)
    return x


def _transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    order = [int(v) for v in node.attributes.get("perm") or reversed(range(inputs[0].dim()))]
    return inputs[0].permute(order)


def _axis(node: Node, rank: int) -> int:
    axis = int(node.attributes.get("axis", 0))
    return axis + rank if axis < 0 else axis


def _concat(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(inputs), _axis(node, inputs[0].dim()))


def _slope(node: Node) -> float:
    return float(node.attributes.get("alpha", 0.01))


def _same(node: Node, inputs: Sequence[Operand]) -> Grid:
    return inputs[0].grid


def _sum(node: Node, inputs: Sequence[Operand]) -> Grid:
    return inputs[0].grid + inputs[1].grid


def _difference(node: Node, inputs: Sequence[Operand]) -> Grid:
    if inputs[0].static and not inputs[1].static:
        node.refuse("it subtracts data from a constant. Multiply with -1 and add the constant instead.")
    return _sum(node, inputs)


def _product(node: Node, inputs: Sequence[Operand]) -> Grid:
    return inputs[0].grid.products(inputs[1].grid, 1)


def _quotient(node: Node, inputs: Sequence[Operand]) -> Grid:
    divisor = inputs[1].grid
    if not inputs[1].static or divisor.peak != 1:
        node.refuse("only a constant power of two can divide. Multiply with a quantized constant instead.")
    return Grid(inputs[0].grid.exponent - divisor.exponent, inputs[0].grid.peak)


def _normed(node: Node, inputs: Sequence[Operand]) -> Grid:
    return _product(node, inputs) + inputs[2].grid


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


def _joined(node: Node, inputs: Sequence[Operand]) -> Grid:
    if any(i.static for i in inputs) or _axis(node, len(inputs[0].shape)) < 1:
        node.refuse("it joins constants or samples; only data can be joined, and along any axis but the first.")
    grid = inputs[0].grid
    for other in inputs[1:]:
        grid |= other.grid
    return grid


def _bent(node: Node, inputs: Sequence[Operand]) -> Grid:
    slope = constant_grid(torch.tensor(_slope(node), dtype=torch.float32).numpy())
    if slope is None:
        node.refuse(f"its slope {_slope(node):g} is not a binary fraction of 16 bits. Use a power of two such as 0.125.")
    return inputs[0].grid | inputs[0].grid.products(slope, 1)


def _curved(node: Node, inputs: Sequence[Operand]) -> Grid:
    return Grid(0, 1, real=True)


@dataclass(frozen=True)
class Operation:
    """An operator: what it computes and how large that can become."""

    run: Run
    bound: Bound


def _call(function: Callable[..., Any]) -> Run:
    """Make an operator of a function of its inputs."""
    return lambda node, inputs: function(*inputs)


OPERATIONS: dict[str, Operation] = {
    "Add": Operation(_call(torch.add), _sum),
    "AveragePool": Operation(windows.average_pool, windows.averaged),
    "BatchNormalization": Operation(_norm, _normed),
    "Concat": Operation(_concat, _joined),
    "Conv": Operation(windows.conv, _dot),
    "Div": Operation(_call(torch.div), _quotient),
    "Flatten": Operation(_flatten, _reshaped),
    "Gemm": Operation(_gemm, _dot),
    "GlobalAveragePool": Operation(windows.reduce, windows.averaged),
    "GlobalMaxPool": Operation(windows.reduce, _same),
    "Identity": Operation(lambda node, inputs: inputs[0], _same),
    "LeakyRelu": Operation(lambda node, inputs: functional.leaky_relu(inputs[0], _slope(node)), _bent),
    "MatMul": Operation(_call(torch.matmul), _dot),
    "MaxPool": Operation(windows.max_pool, _same),
    "Mul": Operation(_call(torch.mul), _product),
    "Pad": Operation(windows.pad, _same),
    "ReduceMax": Operation(windows.reduce, _same),
    "ReduceMean": Operation(windows.reduce, windows.averaged),
    "Relu": Operation(_call(functional.relu), _same),
    "Reshape": Operation(_reshape, _reshaped),
    # rounding to float32 first could move a value over the edge between two codes
    "Sigmoid": Operation(lambda node, inputs: torch.sigmoid(inputs[0].double()), _curved),
    "Squeeze": Operation(_squeeze, _reshaped),
    "Sub": Operation(_call(torch.sub), _difference),
    "Tanh": Operation(lambda node, inputs: torch.tanh(inputs[0].double()), _curved),
    "Transpose": Operation(_transpose, _transposed),
    "Unsqueeze": Operation(_unsqueeze, _reshaped),
}
SILENT = ("Reshape", "Flatten", "Transpose", "Identity", "Squeeze", "Unsqueeze")  # they move values, or do nothing
PASSING = (*SILENT, "Relu", "MaxPool", "Pad", "GlobalMaxPool", "ReduceMax")  # results are values of the first input, or 0
