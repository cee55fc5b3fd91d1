"""Uniform quantizers with a power-of-two scale: number formats, values, integer codes and straight-through gradients."""

import math
from dataclasses import dataclass
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
        scale: the weight of the lowest bit, a power of two.
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
    """The format of a weight or bias tensor.

    Attributes:
        role: what the layer does with it.
        layer: name of the ONNX node that uses it.
    """

    role: Literal["weight", "bias"] = "weight"
    layer: str = ""


def to_integers(x: Tensor, form: Format) -> Tensor:
    """Round to the grid, not yet clamped; a floating-point tensor of integers.

    >>> to_integers(torch.tensor([0.25, 0.75, -0.25]), Format(4, 0.5, True))
    tensor([0., 2., -0.])
    """
    scaled = x / form.scale
    return torch.floor(scaled) if form.rounding == "FLOOR" else torch.round(scaled)


def quantize(x: Tensor, form: Format) -> Tensor:
    """Quantize without gradient.

    >>> quantize(torch.tensor([0.3, 9.0]), Format(3, 0.5, False))
    tensor([0.5000, 3.5000])
    """
    return to_integers(x, form).clamp(form.low, form.high) * form.scale


def quantize_ste(x: Tensor, form: Format) -> Tensor:
    """Quantize with the straight-through gradient of Brevitas' `IntQuant` with `TensorClamp`.

    It rounds first and clamps then, so the gradient is 1 where the rounded integer is in range and 0 elsewhere. The value is exactly
    the quantized one: ``x + (q - x)`` would not be, in floating point. The second derivative is 0.
    """
    integers = to_integers(x, form)
    inside = ((integers >= form.low) & (integers <= form.high)).to(x.dtype)
    value = integers.clamp(form.low, form.high) * form.scale
    return value.detach() + inside.detach() * (x - x.detach())


def _constant(graph: Graph, node: Node, index: int, what: str) -> NDArray[Any]:
    name = node.inputs[index] if index < len(node.inputs) else ""
    if name not in graph.constants:
        node.refuse(f"its {what} is not a constant of the file. Export the model in eval() mode, with its scales fixed.")
    return np.asarray(graph.constants[name], dtype=np.float64)


def _single(graph: Graph, node: Node, index: int, what: str, layer: str) -> float:
    values = np.unique(_constant(graph, node, index, what))
    if len(values) != 1:
        node.refuse(f"layer '{layer}' has {len(values)} different values of its {what}. Use one per tensor (no per-channel quantizer).")
    return float(values[0])


def read_format(graph: Graph, node: Node, layer: str) -> Format:
    """Read the format of a Quant node.

    Args:
        graph: the graph it belongs to.
        node: a node with one of the operators `QUANTIZERS`.
        layer: name of the layer, for messages.

    Raises:
        InvalidInput: the format is not one of fixed-point hardware; names the layer.
    """
    scale = _single(graph, node, 1, "scale", layer)
    bits = _single(graph, node, 3, "bit width", layer)
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    if not (scale > 0 and math.isfinite(scale) and math.frexp(scale)[0] == 0.5):
        node.refuse(f"the scale {scale:g} of layer '{layer}' is not a power of two. Use fixed-point quantizers (Brevitas: ...FixedPoint).")
    if _single(graph, node, 2, "zero point", layer) != 0:
        node.refuse(f"layer '{layer}' has a zero point that is not 0. Use a symmetric quantizer.")
    signed, narrow = (bool(node.attributes.get(key, default)) for key, default in (("signed", 1), ("narrow", 0)))
    if bits != int(bits) or not 1 + signed <= bits <= MOST_BITS:
        node.refuse(f"layer '{layer}' has a width of {bits:g} bits; {1 + signed} to {MOST_BITS} can be used.")
    if mode not in get_args(Rounding):
        node.refuse(f"layer '{layer}' rounds with {mode}; ROUND and FLOOR can be used.")
    return Format(int(bits), scale, signed, narrow, cast(Rounding, mode))
