"""The layers in Brevitas, whose exporter writes QONNX; constant power-of-two scales."""

from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.core.function_wrapper import TensorClamp
from brevitas.inject.enum import FloatToIntImplType, RestrictValueType, ScalingImplType, ScalingPerOutputType
from brevitas.quant.base import IntQuant, NarrowIntQuant, UintQuant
from brevitas.quant.solver.act import ActQuantSolver
from brevitas.quant.solver.bias import BiasQuantSolver
from brevitas.quant.solver.weight import WeightQuantSolver
from torch import nn

from flow.config import NetworkConfig
from flow.quant.calibrate import Exponent, Scales
from flow.quant.layers import Kernel, Layers, Site


class BrevitasLayers(Layers):
    """Layers to export; all of them take and give plain tensors.

    Args:
        network: widths and rounding.
        scales: exponents, and which quantizer feeds each layer.
    """

    def __init__(self, network: NetworkConfig, scales: Scales) -> None:
        super().__init__(network)
        self.scales = scales

    def _quantizer(self, site: Site, function: nn.Module) -> nn.Module:
        exponent = self.scales.exponents[site.name]
        quantizer = _quantizer(IntQuant if site.signed else UintQuant, ActQuantSolver, site, exponent, 0)
        quantize: nn.Module = qnn.QuantIdentity(act_quant=quantizer, return_quant_tensor=False)
        return quantize if isinstance(function, nn.Identity) else nn.Sequential(function, quantize)

    def _weighted(self, site: Site, kernel: Kernel) -> nn.Module:
        make: Any = (qnn.QuantLinear, qnn.QuantConv1d, qnn.QuantConv2d)[kernel.rank]
        exponent = self.scales.exponents[site.name]
        # Brevitas would clamp weights with a straight-through gradient; masking it is what all other quantizers do.
        weight = _quantizer(
            NarrowIntQuant, WeightQuantSolver, site, exponent, kernel.rank + 2 if kernel.rank else 2, tensor_clamp_impl=TensorClamp
        )
        arguments = kernel.arguments() | {"bias": kernel.bias or kernel.norm, "weight_quant": weight}
        if arguments["bias"]:
            bias = Site(site.name, "hidden", self.scales.bias_bits, signed=True)
            feed = self.scales.exponents[self.scales.feeds[site.name]]
            sums = [e + feed for e in exponent] if isinstance(exponent, list) else exponent + feed  # type: ignore[operator]
            arguments["bias_quant"] = _quantizer(
                IntQuant, BiasQuantSolver, bias, sums, 1, tensor_clamp_impl=TensorClamp, requires_input_scale=False
            )
        layer: nn.Module = make(**arguments)
        return layer

    def _factor(self, site: Site, kernel: Kernel, value: float) -> nn.Module:
        # A constant, not a parameter: no fault or curvature is to be looked for in it.
        layer: nn.Module = (nn.Conv1d, nn.Conv2d)[kernel.rank - 1](**kernel.arguments())
        weight = layer.get_parameter("weight")
        weight.requires_grad = False
        weight.fill_(value)
        return layer


def _quantizer(base: type, solver: type, site: Site, exponent: Exponent, rank: int, **more: object) -> type:
    """Return a Brevitas quantizer whose scale is 2**exponent, of `rank` axes if there is one per channel.

    Brevitas divides `scaling_init` by the magnitude of the largest code; with a power of two that is exact.
    """
    low, high = site.code_range
    scale = torch.exp2(torch.tensor(exponent, dtype=torch.float32)) * max(-low, high)
    channels = isinstance(exponent, list)
    attributes = {
        "bit_width": site.bits,
        "float_to_int_impl_type": FloatToIntImplType.FLOOR if site.rounding == "FLOOR" else FloatToIntImplType.ROUND,
        "scaling_impl_type": ScalingImplType.CONST,
        "restrict_scaling_type": RestrictValueType.FP,
        "scaling_per_output_type": ScalingPerOutputType.CHANNEL if channels else ScalingPerOutputType.TENSOR,
        "scaling_init": scale.reshape(-1, *[1] * (rank - 1)) if channels else float(scale),
    }
    return type("Quantizer", (base, solver), attributes | more)
