"""Quantized layers for training: frozen or learned power-of-two scales and straight-through gradients, in few kernels.

They compute what `flow.quant.brevitas_layers` computes, value for value; the train stage compares the two. `make bench` compares
their speed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from flow.config import NetworkConfig
from flow.core.errors import ConfigError
from flow.quant.calibrate import Exponent, Scales
from flow.quant.layers import Constant, Kernel, Layers, Site


class _Quantize(torch.autograd.Function):
    """Round to multiples of a constant scale and clamp; the gradient is 1 where the rounded code is in range, else 0.

    Rounding comes before clamping, as in Brevitas with TensorClamp and in `flow.twin.quantizer`: the other order has other gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, floor: bool) -> Tensor:  # noqa: ANN401 - of torch
        """Return the quantized values."""
        scaled = x / scale
        rounded = scaled.floor_() if floor else scaled.round_()
        codes = rounded.clamp(low, high)
        ctx.save_for_backward(codes == rounded)
        return codes.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - of torch
        """Mask the gradient."""
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None, None


class _Round(torch.autograd.Function):
    """Round or floor with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, floor: bool) -> Tensor:  # noqa: ANN401 - of torch
        """Return integers."""
        return x.floor() if floor else x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - of torch
        """Pass the gradient on."""
        return gradients[0], None


class Scaled(nn.Module):
    """What has a scale: constant, or learned as the logarithm of the power of two (Jain et al., TQT, arXiv:1903.08066)."""

    def __init__(self, site: Site, exponent: Exponent, *, learned: bool, rank: int = 0) -> None:
        super().__init__()
        self.site, self.learned, self._floor = site, learned, site.rounding == "FLOOR"
        value = torch.tensor(exponent, dtype=torch.float32)
        if value.ndim:  # one scale per output channel
            value = value.reshape(-1, *[1] * (rank - 1))
        if learned:
            self.log_scale = nn.Parameter(value)
        else:
            self._scale: Tensor
            self.register_buffer("_scale", torch.exp2(value), persistent=False)

    @property
    def bits(self) -> int:
        """Width of the codes."""
        return self.site.bits

    def scale(self) -> Tensor:
        """Return the scale, powers of two that broadcast against the values."""
        if self.learned:
            return torch.exp2(_Round.apply(self.log_scale, False))  # type: ignore[no-untyped-call]
        return self._scale

    def exponent(self) -> Exponent:
        """Return log2 of the scale as plain numbers."""
        value = torch.log2(self.scale().detach()).round().long().flatten().tolist()
        return value if len(value) > 1 else int(value[0])

    def quantize(self, x: Tensor) -> Tensor:
        """Quantize values with straight-through gradients."""
        low, high = self.site.code_range
        if not self.learned:
            return _Quantize.apply(x, self.scale(), low, high, self._floor)  # type: ignore[no-untyped-call, no-any-return]
        scale = self.scale()
        rounded: Tensor = _Round.apply(x / scale, self._floor)  # type: ignore[no-untyped-call]
        return rounded.clamp(low, high) * scale


class Quantizer(Scaled):
    """A function, then a quantizer."""

    def __init__(self, site: Site, exponent: Exponent, function: nn.Module, *, learned: bool) -> None:
        super().__init__(site, exponent, learned=learned)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to quantized values of the same shape."""
        return self.quantize(self.function(x))


class Weighted(Scaled):
    """A linear layer or a convolution with quantized weights, and biases on the grid of its sums.

    Attributes:
        weight: float weights; the quantized ones are derived at each step.
        bias: float biases, or None.
        shift: added to the quantized weights when set; faults and noise during training.
        mask: 0 where a weight is pruned, else 1; None without pruning.
    """

    def __init__(self, site: Site, exponent: Exponent, kernel: Kernel, feed: Scaled, bias_bits: int, *, learned: bool) -> None:
        make: Any = (nn.Linear, nn.Conv1d, nn.Conv2d)[kernel.rank]
        layer = make(**kernel.arguments() | {"bias": kernel.bias or kernel.norm})
        super().__init__(site, exponent, learned=learned, rank=layer.weight.ndim)
        self.weight, self.bias, self.kernel = layer.weight, layer.bias, kernel
        self.shift: Tensor | None = None
        self.mask: Tensor | None
        self.register_buffer("mask", None)
        self._bias_range = -(2 ** (bias_bits - 1)), 2 ** (bias_bits - 1) - 1
        self._feed = (feed,)  # a tuple hides it from torch: it is no part of this layer

    @property
    def operator(self) -> str:
        """Either ``linear`` or ``conv``."""
        return "conv" if self.kernel.rank else "linear"

    def quantized_weight(self) -> Tensor:
        """Return the values of the deployed weights."""
        return self.quantize(self.weight if self.mask is None else self.weight * self.mask)

    def codes(self) -> Tensor:
        """Return the deployed integers, as floats of the shape of the weights."""
        with torch.no_grad():
            return self.quantized_weight() / self.scale()

    def quantized_bias(self) -> Tensor | None:
        """Return the values of the deployed biases, (c_out,) or None."""
        if self.bias is None:
            return None
        scale = (self._feed[0].scale() * self.scale()).flatten().detach()
        return _Quantize.apply(self.bias, scale, *self._bias_range, False)  # type: ignore[no-untyped-call, no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, ...) to (N, c_out, ...)."""
        weight, bias, k = self.quantized_weight(), self.quantized_bias(), self.kernel
        if self.shift is not None:
            weight = weight + self.shift
        if k.rank == 0:
            return functional.linear(x, weight, bias)
        convolve = functional.conv1d if k.rank == 1 else functional.conv2d
        return convolve(x, weight, bias, k.stride, k.padding, k.dilation, k.groups)


class StraightLayers(Layers):
    """Layers for quantization-aware training.

    Args:
        network: widths, rounding, and whether scales are learned.
        scales: exponents, and which quantizer feeds each layer.
    """

    def __init__(self, network: NetworkConfig, scales: Scales) -> None:
        super().__init__(network)
        self.scales, self.built = scales, dict[str, Scaled]()

    def _learned(self, site: Site) -> bool:
        return self.network.scales == "learned" and site.exponent is None and site.role != "input"

    def _quantizer(self, site: Site, function: nn.Module) -> nn.Module:
        self.built[site.name] = made = Quantizer(site, self.scales.exponents[site.name], function, learned=self._learned(site))
        return made

    def _weighted(self, site: Site, kernel: Kernel) -> nn.Module:
        feed = self.built[self.scales.feeds[site.name]]
        exponent, bits = self.scales.exponents[site.name], self.scales.bias_bits
        self.built[site.name] = made = Weighted(site, exponent, kernel, feed, bits, learned=self._learned(site))
        return made

    def _factor(self, site: Site, kernel: Kernel, value: float) -> nn.Module:
        return Constant(kernel, value)

    def exponents(self) -> dict[str, Exponent]:
        """Return log2 of every scale, as trained."""
        return {name: self.built[name].exponent() if name in self.built else given for name, given in self.scales.exponents.items()}


def load_float(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the weights of another build of the same network.

    Raises:
        ConfigError: they are of another network.
    """
    own = network.state_dict()
    known = {name: value for name, value in state.items() if name in own}
    left = [name for name in own if name not in state and not name.endswith(("log_scale", "mask"))]
    if left or len(known) < len([n for n in state if not n.endswith(("log_scale", "mask"))]):
        raise ConfigError(f"the weights do not fit the network: {', '.join(left or sorted(set(state) - set(own)))}.")
    network.load_state_dict(known, strict=False)


def weighted_layers(network: nn.Module) -> dict[str, Weighted]:
    """Return the layers with quantized weights by module name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, Weighted)}


def set_shifts(network: nn.Module, shifts: Mapping[str, Tensor]) -> None:
    """Set what is added to the quantized weights of the named layers; nothing for the others."""
    for name, layer in weighted_layers(network).items():
        layer.shift = shifts.get(name)
