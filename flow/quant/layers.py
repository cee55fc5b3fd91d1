"""The layers a network is described with once, and built from twice: in float, then quantized with frozen scales.

Both builds have the same parameter names, so the float weights load into the quantized network. Scales are powers of two, one per
tensor, chosen from the float network (`flow.quant.calibrate`) and then constant: the deployed integers keep their meaning when a
bit flips, and the Hessian has no scale coordinates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import brevitas.nn as qnn
import torch
from brevitas.core.function_wrapper import TensorClamp
from brevitas.inject.enum import FloatToIntImplType, RestrictValueType, ScalingImplType, ScalingPerOutputType
from brevitas.quant.base import IntQuant, NarrowIntQuant, UintQuant
from brevitas.quant.scaled_int import Int16Bias
from brevitas.quant.solver.act import ActQuantSolver
from brevitas.quant.solver.weight import WeightQuantSolver
from torch import nn

from flow.config import NetworkConfig

Role = Literal["input", "weight", "relu", "output"]


@dataclass
class Site:
    """One place where values are quantized: its role and width, and whether negative codes exist."""

    role: Role
    bits: int

    @property
    def signed(self) -> bool:
        """Weights and outputs are signed, inputs and ReLU outputs are not."""
        return self.role in ("weight", "output")

    @property
    def code_range(self) -> tuple[int, int]:
        """Lowest and highest code; weights have a narrow range, as Brevitas and hls4ml (SAT_SYM) agree."""
        if not self.signed:
            return 0, 2**self.bits - 1
        low = -(2 ** (self.bits - 1))
        return (low + 1 if self.role == "weight" else low), 2 ** (self.bits - 1) - 1


class Layers(Protocol):
    """What a model's `on_chip` builds its network from. Names are unique within the network."""

    def input(self, name: str) -> nn.Module:
        """Quantize the input words (unsigned)."""

    def conv2d(self, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> nn.Module:
        """Convolve with weights and bias, (N, c_in, H, W) -> (N, c_out, H', W')."""

    def linear(self, name: str, n_in: int, n_out: int) -> nn.Module:
        """Multiply with weights and add the bias, (N, n_in) -> (N, n_out)."""

    def relu(self, name: str) -> nn.Module:
        """Rectify and quantize (unsigned)."""

    def output(self, name: str) -> nn.Module:
        """Quantize the output words (signed)."""


@dataclass
class FloatLayers:
    """Plain torch layers, which note where the quantized network will have quantizers."""

    network: NetworkConfig
    sites: dict[str, Site] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    def _note(self, name: str, role: Role, bits: int, module: nn.Module) -> nn.Module:
        self.sites[name] = Site(role, bits)
        self.modules[name] = module
        return module

    def input(self, name: str) -> nn.Module:
        """See `Layers`."""
        return self._note(name, "input", self.network.input_bits, nn.Identity())

    def conv2d(self, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> nn.Module:
        """See `Layers`."""
        return self._note(name, "weight", self.network.weight_bits, nn.Conv2d(c_in, c_out, kernel, stride, padding))

    def linear(self, name: str, n_in: int, n_out: int) -> nn.Module:
        """See `Layers`."""
        return self._note(name, "weight", self.network.weight_bits, nn.Linear(n_in, n_out))

    def relu(self, name: str) -> nn.Module:
        """See `Layers`."""
        return self._note(name, "relu", self.network.hidden_bits, nn.ReLU())

    def output(self, name: str) -> nn.Module:
        """See `Layers`."""
        return self._note(name, "output", self.network.latent_bits, nn.Identity())


@dataclass
class QuantLayers:
    """Brevitas layers with constant power-of-two scales; `exponents` gives log2 of the scale by layer name."""

    network: NetworkConfig
    exponents: Mapping[str, int]

    def input(self, name: str) -> nn.Module:
        """See `Layers`. The host rounds inputs to the grid, always half to even."""
        return self._act(qnn.QuantIdentity, name, Site("input", self.network.input_bits), "ROUND")

    def conv2d(self, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0) -> nn.Module:
        """See `Layers`."""
        conv: nn.Module = qnn.QuantConv2d(c_in, c_out, kernel, stride=stride, padding=padding, **self._weight(name))
        return conv

    def linear(self, name: str, n_in: int, n_out: int) -> nn.Module:
        """See `Layers`."""
        linear: nn.Module = qnn.QuantLinear(n_in, n_out, **self._weight(name))
        return linear

    def relu(self, name: str) -> nn.Module:
        """See `Layers`."""
        return self._act(qnn.QuantReLU, name, Site("relu", self.network.hidden_bits), self.network.rounding)

    def output(self, name: str) -> nn.Module:
        """See `Layers`."""
        return self._act(qnn.QuantIdentity, name, Site("output", self.network.latent_bits), self.network.rounding)

    def _act(self, make: Any, name: str, site: Site, rounding: str) -> nn.Module:  # noqa: ANN401 - Brevitas has no types
        base = IntQuant if site.signed else UintQuant
        mode = FloatToIntImplType.FLOOR if rounding == "FLOOR" else FloatToIntImplType.ROUND
        quantizer = type("Act", (base, ActQuantSolver), {**_constant(site, self.exponents[name]), "float_to_int_impl_type": mode})
        return make(act_quant=quantizer, return_quant_tensor=True)  # type: ignore[no-any-return]

    def _weight(self, name: str) -> dict[str, object]:
        site = Site("weight", self.network.weight_bits)
        # Brevitas would clamp weights with a straight-through gradient; masking it is what the twin and activations do.
        attributes = {**_constant(site, self.exponents[name]), "tensor_clamp_impl": TensorClamp}
        quantizer = type("Weight", (NarrowIntQuant, WeightQuantSolver), attributes)
        bias = type("Bias", (Int16Bias,), {"bit_width": self.network.bias_bits})
        return {"bias": True, "weight_quant": quantizer, "bias_quant": bias}


def _constant(site: Site, exponent: int) -> dict[str, object]:
    """Return the attributes of a Brevitas quantizer whose scale is 2**exponent.

    Brevitas divides `scaling_init` by the magnitude of the largest code; with a power of two that is exact.
    """
    low, high = site.code_range
    return {
        "bit_width": site.bits,
        "scaling_impl_type": ScalingImplType.CONST,
        "restrict_scaling_type": RestrictValueType.FP,
        "scaling_per_output_type": ScalingPerOutputType.TENSOR,
        "scaling_init": 2.0**exponent * max(-low, high),
    }


def plain(output: object) -> torch.Tensor:
    """Return the values of a Brevitas QuantTensor, or the tensor itself."""
    value = getattr(output, "value", output)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"a network returned {type(output).__name__}, not a tensor")
    return value
