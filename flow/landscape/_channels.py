"""Which channels of a network can change places without a change of what it computes, through the on-chip graph and the off-chip head.

A *group* is a set of channels that move together: the outputs of a layer, and the inputs of those that read them. The graph is walked once,
with the group noted for each tensor; behind a flattening each channel is a run of neighbours. Groups that are tied to an order (inputs,
outputs, concatenations) or go through an operator that the walk does not know are fixed: alignment may then find less than there is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from flow.landscape._problem import CHIP, HEAD, Problem
from flow.twin.graph import Node
from flow.twin.quantizer import QUANTIZERS

Index = NDArray[np.intp]
KEEPING = (*QUANTIZERS, "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu", "Sigmoid", "Tanh")
REDUCING = ("ReduceMax", "ReduceMean", "Squeeze", "Unsqueeze")
ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Dropout, nn.Identity, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.Upsample)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Axis:
    """An axis of a parameter that runs over the channels of a group, each of them `block` neighbours."""

    parameter: str
    axis: int
    group: int
    block: int


@dataclass(frozen=True)
class Channels:
    """The symmetry of a network under permutations of its channels.

    Attributes:
        sizes: number of channels of each group that can be permuted.
        axes: where these groups are in the parameters.
    """

    sizes: Mapping[int, int]
    axes: tuple[Axis, ...]

    def index(self, problem: Problem, moves: Mapping[int, Index]) -> Index:
        """Return the index (D,) that permutes a point: channel i of group g becomes what channel ``moves[g][i]`` was."""
        places = np.arange(problem.point.size)
        for name, where in problem.slices.items():
            part = places[where].reshape(problem.params[name].shape)
            for one in self.axes:
                if one.parameter == name:
                    part = part.take((moves[one.group][:, None] * one.block + np.arange(one.block)).reshape(-1), axis=one.axis)
            places[where] = part.reshape(-1)
        return places


@dataclass(frozen=True)
class _Label:
    """The channels of a tensor: its group, None if it is not known, and whether the tensor is a vector for each sample."""

    group: int | None
    flat: bool


@dataclass
class _Walk:
    params: Mapping[str, Tensor]
    sizes: dict[int, int] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    axes: list[Axis] = field(default_factory=list)
    joined: dict[int, int] = field(default_factory=dict)

    def new(self, size: int, *, flat: bool, axes: Iterable[tuple[str, int]] = ()) -> _Label:
        """Begin a group of the channels along some axes of parameters."""
        group = len(self.joined)
        self.joined[group], self.sizes[group] = group, size
        for parameter, axis in axes:
            self.axes.append(Axis(parameter, axis, group, 1))
        return _Label(group, flat)

    def find(self, label: _Label) -> int | None:
        group = label.group
        while group is not None and self.joined[group] != group:
            group = self.joined[group]
        return group

    def fix(self, *labels: _Label | None) -> _Label:
        """Let groups stay as they are, and return what is known of the result of an operator that is not known."""
        self.fixed |= {group for label in labels if label is not None and (group := self.find(label)) is not None}
        return _Label(None, flat=False)

    def read(self, label: _Label, parameter: str, axis: int) -> bool:
        """Note that an axis of a parameter runs over the channels of a tensor; where that cannot be, fix its group."""
        group, length = self.find(label), self.params[parameter].shape[axis]
        if group is None or length % self.sizes[group] or (length != self.sizes[group] and not label.flat):
            self.fix(label)
            return False
        self.axes.append(Axis(parameter, axis, group, length // self.sizes[group]))
        return True

    def join(self, a: _Label, b: _Label) -> _Label:
        """Let two groups move together, as in a sum."""
        one, other = self.find(a), self.find(b)
        if one is None or other is None or self.sizes[one] != self.sizes[other] or a.flat != b.flat:
            return self.fix(a, b)
        if one != other:
            self.joined[other] = one
            self.fixed |= {one} if other in self.fixed else set()
        return a

    def coarsen(self, label: _Label, size: int) -> _Label:
        """Take runs of neighbours as one channel each, as an unflattening does."""
        group = self.find(label)
        if group is None or not label.flat or self.sizes[group] % size:
            return self.fix(label)
        run = self.sizes[group] // size
        self.sizes[group] = size
        self.axes = [replace(a, block=a.block * run) if self.find(_Label(a.group, flat=True)) == group else a for a in self.axes]
        return _Label(group, flat=False)

    def result(self) -> Channels:
        """Return the groups that are free."""
        axes = {replace(axis, group=group) for axis in self.axes if (group := self.find(_Label(axis.group, flat=True))) is not None}
        places = Counter((axis.parameter, axis.axis) for axis in axes)
        shared = {axis.group for axis in axes if places[axis.parameter, axis.axis] > 1}  # a parameter that two layers read
        free = {axis.group for axis in axes} - {self.find(_Label(g, flat=True)) for g in self.fixed} - shared
        kept = sorted((axis for axis in axes if axis.group in free), key=lambda axis: (axis.group, axis.parameter, axis.axis))
        return Channels({group: self.sizes[group] for group in sorted(free)}, tuple(kept))


def _convolution(walk: _Walk, x: _Label, weight: str, bias: str | None, groups: int, axes: tuple[int, int]) -> _Label:
    """Read the channels of `x`, and begin those of the result; `axes` of the weight are inputs and outputs."""
    inputs, outputs = axes
    biases = [(bias, 0)] if bias else []
    depthwise = groups > 1 and walk.params[weight].shape[:2] == (groups, 1)
    if depthwise and not x.flat and all(walk.read(x, name, axis) for name, axis in [(weight, 0), *biases]):
        return x
    result = walk.new(walk.params[weight].shape[outputs], flat=False, axes=((weight, outputs), *biases))
    if groups > 1 or x.flat or not walk.read(x, weight, inputs):
        walk.fix(x)
    if groups > 1:
        walk.fix(result)
    return result


def _product(walk: _Walk, x: _Label, weight: str, bias: str | None, inputs: int) -> _Label:
    """Read a vector, and begin that of the result; `inputs` is the axis of the weight that is summed over."""
    result = walk.new(walk.params[weight].shape[1 - inputs], flat=True, axes=[(weight, 1 - inputs), *([(bias, 0)] if bias else [])])
    if not x.flat or not walk.read(x, weight, inputs):
        walk.fix(x)
    return result


def _sum(walk: _Walk, node: Node, labels: Mapping[str, _Label], statics: Mapping[str, tuple[str, bool]]) -> _Label:
    """Add two tensors, or a tensor and a bias."""
    data = [labels[name] for name in node.inputs if name in labels]
    added = [statics[name][0] for name in node.inputs if name in statics]
    if len(data) == 2:
        return walk.join(*data)
    long = [i for i, length in enumerate(walk.params[added[0]].shape) if length > 1] if len(data) == len(added) == 1 else []
    return data[0] if len(long) == 1 and walk.read(data[0], added[0], long[0]) else walk.fix(*data)


def _node(walk: _Walk, node: Node, labels: Mapping[str, _Label], statics: Mapping[str, tuple[str, bool]], rank: int) -> _Label:
    """Return the label of what a node makes of data."""
    data = [labels[name] for name in node.inputs if name in labels]
    known = [statics.get(name) for name in node.inputs[1:] if name]
    if node.op in (*KEEPING, "Flatten", "Reshape"):
        return replace(data[0], flat=data[0].flat or node.op not in KEEPING)
    if node.op in REDUCING and min(node.attributes.get("axes") or (0,)) > 1 and not data[0].flat:
        return replace(data[0], flat=rank == 2)
    if node.op in ("Conv", "Gemm", "MatMul") and known and all(known) and len(data) == 1:
        names = [one[0] for one in known if one is not None]
        weight, bias = names[0], names[1] if len(names) > 1 else None
        if node.op == "Conv":
            return _convolution(walk, data[0], weight, bias, int(node.attributes.get("group", 1)), (1, 0))
        turned = bool(node.attributes.get("transB", 0)) != (known[0] is not None and known[0][1])
        if rank == 2 and walk.params[weight].dim() == 2:
            return _product(walk, data[0], weight, bias, int(turned))
    if node.op == "Add":
        return _sum(walk, node, labels, statics)
    return walk.fix(*data)


def _chip(walk: _Walk, problem: Problem) -> _Label:
    """Walk through the on-chip graph, and return the label of its output."""
    twin = problem.twin
    ranks = {name: value.dim() for name, value in twin.layers(twin.params, problem.x[:1]).items()}
    statics = {name: (CHIP + name, False) for name in twin.params}  # parameter, and whether it was transposed
    labels: dict[str, _Label] = {}
    for node in twin.nodes:
        source = node.inputs[0]
        if source in statics and node.op in (*QUANTIZERS, "Transpose", "Identity"):
            statics[node.output] = (statics[source][0], statics[source][1] != (node.op == "Transpose"))
        elif any(name in labels for name in node.inputs):
            labels[node.output] = _node(walk, node, labels, statics, ranks.get(node.name, 2))
        elif not labels and node.name in twin.activation_formats:
            labels[node.output] = walk.new(twin.input_shape[0], flat=len(twin.input_shape) == 1)
            walk.fix(labels[node.output])
    read = {name for node in twin.nodes for name in node.inputs}
    ends = [label for name, label in labels.items() if name not in read]
    return ends[0] if len(ends) == 1 else walk.fix(*ends)


def _modules(module: nn.Module, prefix: str) -> Iterable[tuple[str, nn.Module]]:
    """List the modules of nested sequences in the order in which they are called."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _modules(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}.", child


def _module(walk: _Walk, x: _Label, prefix: str, module: nn.Module) -> _Label:
    """Return the label of what a module of the head makes of data."""
    weight, bias = f"{prefix}weight", f"{prefix}bias" if f"{prefix}bias" in walk.params else None
    if isinstance(module, ELEMENTWISE) or (isinstance(module, POOLS) and not x.flat):
        return x
    if isinstance(module, nn.Linear):
        return _product(walk, x, weight, bias, 1)
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        return _convolution(walk, x, weight, bias, module.groups, (0, 1) if isinstance(module, TRANSPOSED) else (1, 0))
    if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1:
        return replace(x, flat=True)
    if isinstance(module, nn.Unflatten) and module.dim == 1:
        return walk.coarsen(x, int(module.unflattened_size[0]))
    return walk.fix(x)


def find_channels(problem: Problem) -> Channels:
    """Find the groups of channels that can be permuted; the head is followed if it is a sequence of modules."""
    walk = _Walk(problem.params)
    label = _chip(walk, problem)
    if isinstance(problem.head, nn.Sequential):
        for prefix, module in _modules(problem.head, HEAD):
            label = _module(walk, label, prefix, module)
    walk.fix(label)
    return walk.result()
