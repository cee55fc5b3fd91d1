"""Uniform quantizers: number formats, values, integer codes and straight-through gradients."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.twin.graph import Graph, Node

QUANTIZERS = ("Quant", "IntQuant")
MOST_BITS = 32
Rounding = Literal["ROUND", "FLOOR"]


@dataclass(frozen=True)
class Format:
    """A fixed-point number format: a value is an integer code times `scale`.

    Attributes:
        bits: width in bits.
        scale: the weight of the lowest bit; a power of two, but in a twin that is not exact.
        signed: two's complement if true.
        narrow: the quantizer never makes the most negative (signed) or the largest (unsigned) code.
        rounding: ROUND is half to even, FLOOR is towards minus infinity.
    """

    bits: int
    scale: float
    signed: bool
    narrow: bool = False
    rounding: Rounding = "ROUND"

    @property
    def exponent(self) -> int:
        """Binary logarithm of the scale."""
        return math.frexp(self.scale)[1] - 1

    def steps(self, like: Tensor) -> Tensor | float:
        """Return the scale of each value, in the type of `like`, to which it broadcasts."""
        return self.scale

    @property
    def low(self) -> int:
        """The smallest code that the quantizer makes."""
        return -(1 << (self.bits - 1)) + self.narrow if self.signed else 0

    @property
    def high(self) -> int:
        """The largest code that the quantizer makes."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - self.narrow

    @property
    def peak(self) -> int:
        """The largest magnitude of any code of this width, also of one that only a bit flip can make."""
        return 1 << (self.bits - 1) if self.signed else (1 << self.bits) - 1


@dataclass(frozen=True)
class WeightFormat(Format):
    """The format of a weight or bias tensor, whose channels may have scales of their own.

    The width is that of every code, whatever its channel: what a memory would hold. (hls4ml gets one scale for the tensor and wider words;
    these end in zeros that no hardware keeps. See the repair ``per_channel_scales``.)

    Attributes:
        role: what the layer does with it.
        layer: name of the ONNX node that uses it.
        scales: a scale for each channel, of which `scale` is the smallest; empty if all are equal.
        channels: the shape in which `scales` broadcast to the tensor.
    """

    role: Literal["weight", "bias"] = "weight"
    layer: str = ""
    scales: tuple[float, ...] = ()
    channels: tuple[int, ...] = ()

    @property
    def exponents(self) -> tuple[int, int]:
        """Binary logarithms of the smallest and the largest scale."""
        return self.exponent, math.frexp(max(self.scales, default=self.scale))[1] - 1

    def steps(self, like: Tensor) -> Tensor | float:
        """Return the scale of each value, in the type of `like`, to which it broadcasts."""
        if not self.scales:
            return self.scale
        return torch.tensor(self.scales, dtype=like.dtype, device=like.device).reshape(self.channels)


def to_integers(x: Tensor, form: Format) -> Tensor:
    """Round to the grid, not yet clamped; a floating-point tensor of integers.

    >>> to_integers(torch.tensor([0.25, 0.75, -0.25]), Format(4, 0.5, True))
    tensor([0., 2., -0.])
    """
    scaled = x / form.steps(x)
    return torch.floor(scaled) if form.rounding == "FLOOR" else torch.round(scaled)


def quantize(x: Tensor, form: Format) -> Tensor:
    """Quantize without gradient.

    >>> quantize(torch.tensor([0.3, 9.0]), Format(3, 0.5, False))
    tensor([0.5000, 3.5000])
    """
    return to_integers(x, form).clamp(form.low, form.high) * form.steps(x)


def quantize_ste(x: Tensor, form: Format) -> Tensor:
    """Quantize with the straight-through gradient of Brevitas' `IntQuant` with `TensorClamp`.

    It rounds first and clamps then, so the gradient is 1 where the rounded integer is in range and 0 elsewhere. The value is exactly
    the quantized one: ``x + (q - x)`` would not be, in floating point. The second derivative is 0.
    """
    integers = to_integers(x, form)
    inside = ((integers >= form.low) & (integers <= form.high)).to(x.dtype)
    value = integers.clamp(form.low, form.high) * form.steps(x)
    return value.detach() + inside.detach() * (x - x.detach())


def _constant(graph: Graph, node: Node, index: int, what: str) -> NDArray[Any]:
    name = node.inputs[index] if index < len(node.inputs) else ""
    if name not in graph.constants or not graph.constants[name].size:
        node.refuse(f"its {what} is not a constant of the file. Export the model in eval() mode, with its scales fixed.")
    return np.asarray(graph.constants[name], dtype=np.float64)


def _single(graph: Graph, node: Node, index: int, what: str, layer: str) -> float:
    values = np.unique(_constant(graph, node, index, what))
    if len(values) != 1:
        node.refuse(f"layer '{layer}' has {len(values)} different values of its {what}. Use one; only the scale of weights may differ.")
    return float(values[0])


def _scales(graph: Graph, node: Node, layer: str, exact: bool) -> NDArray[Any]:
    scales = _constant(graph, node, 1, "scale")
    good = np.isfinite(scales) & (scales > 0) & ((np.frexp(scales)[0] == 0.5) | (not exact))
    if not good.all():
        node.refuse(
            f"the scale {scales[~good].flat[0]:g} of layer '{layer}' is not a power of two. Train with power-of-two scales, or set "
            "network.allow_approximate."
        )
    return scales


def _format(graph: Graph, node: Node, layer: str, scale: float) -> Format:
    bits = _single(graph, node, 3, "bit width", layer)
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    if _single(graph, node, 2, "zero point", layer) != 0:
        node.refuse(f"layer '{layer}' has a zero point that is not 0. Use a symmetric quantizer.")
    signed, narrow = (bool(node.attributes.get(key, default)) for key, default in (("signed", 1), ("narrow", 0)))
    if bits != int(bits) or not 1 + signed <= bits <= MOST_BITS:
        node.refuse(f"layer '{layer}' has a width of {bits:g} bits; {1 + signed} to {MOST_BITS} can be used.")
    if mode not in get_args(Rounding):
        node.refuse(f"layer '{layer}' rounds with {mode}; ROUND and FLOOR can be used.")
    return Format(int(bits), scale, signed, narrow, cast(Rounding, mode))


def read_format(graph: Graph, node: Node, exact: bool = True) -> Format:
    """Read the format of a Quant node of the data.

    Args:
        graph: the graph it belongs to.
        node: a node with one of the operators `QUANTIZERS`.
        exact: refuse scales that are not powers of two.

    Raises:
        InvalidInput: the format is not one of fixed-point hardware; names the layer.
    """
    _scales(graph, node, node.name, exact)
    return _format(graph, node, node.name, _single(graph, node, 1, "scale", node.name))


def read_weight_format(graph: Graph, node: Node, role: Literal["weight", "bias"], layer: str, exact: bool = True) -> WeightFormat:
    """Read the format of a Quant node of a parameter, as `read_format`; its scale may differ between channels.

    Args:
        graph: the graph it belongs to.
        node: a node with one of the operators `QUANTIZERS`.
        role: what the parameter is to its layer.
        layer: name of the layer, for messages.
        exact: refuse scales that are not powers of two.
    """
    scales = _scales(graph, node, layer, exact)
    form = WeightFormat(**asdict(_format(graph, node, layer, float(scales.min()))), role=role, layer=layer)
    return form if scales.min() == scales.max() else replace(form, scales=tuple(scales.ravel().tolist()), channels=scales.shape)
