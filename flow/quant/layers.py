"""The layers a network is described with once, and built from three times: in float, quantized for training, and in Brevitas for export.

All builds have the same parameter names, so weights load from one into the other. `flow.quant.straight` and
`flow.quant.brevitas_layers` are the quantized ones.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from flow.config import NetworkConfig
from flow.core.errors import ConfigError

Role = Literal["input", "weight", "factor", "hidden", "output"]
FACTOR_BITS = 9
"""Width of the constant 1/k^2 of an average pool: a power of two is exact, any other is within 0.2 %."""


@dataclass(frozen=True)
class Site:
    """One place where values are quantized.

    Attributes:
        name: unique in the network.
        role: what is quantized.
        bits: width of the codes.
        signed: negative codes exist.
        rounding: ROUND (half to even) or FLOOR.
        exponent: log2 of the scale where it is not to be calibrated.
    """

    name: str
    role: Role
    bits: int
    signed: bool
    rounding: str = "ROUND"
    exponent: int | None = None

    @property
    def code_range(self) -> tuple[int, int]:
        """Lowest and highest code; weights have a narrow range, as Brevitas and hls4ml (SAT_SYM) agree."""
        if not self.signed:
            return 0, 2**self.bits - 1
        low = -(2 ** (self.bits - 1))
        return (low + 1 if self.role in ("weight", "factor") else low), 2 ** (self.bits - 1) - 1


@dataclass(frozen=True)
class Kernel:
    """Shape of a layer with weights; `rank` is 0 for a linear layer, else the number of spatial axes."""

    rank: int
    c_in: int
    c_out: int
    size: int | tuple[int, int] = 1
    stride: int | tuple[int, int] = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    norm: bool = False

    @property
    def strides(self) -> tuple[int, int]:
        """Vertical and horizontal stride; 1 for an axis that is not there."""
        if isinstance(self.stride, tuple):
            return self.stride
        return self.stride if self.rank == 2 else 1, self.stride if self.rank else 1

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of torch's layer."""
        if self.rank == 0:
            return {"in_features": self.c_in, "out_features": self.c_out, "bias": self.bias}
        return {
            "in_channels": self.c_in, "out_channels": self.c_out, "kernel_size": self.size, "stride": self.stride,
            "padding": self.padding, "dilation": self.dilation, "groups": self.groups, "bias": self.bias,
        }  # fmt: skip


class Join(nn.Module):
    """Two tensors into one, then a quantizer."""

    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], quantizer: nn.Module) -> None:
        super().__init__()
        self.join, self.quantizer = join, quantizer

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Join and quantize."""
        out: torch.Tensor = self.quantizer(self.join(a, b))
        return out


def _joined(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cat([a, b], dim=1)


class Layers(ABC):
    """What a model's `on_chip` builds its network from. Names are unique within the network; channels are axis 1."""

    def __init__(self, network: NetworkConfig) -> None:
        self.network = network
        self.sites: dict[str, Site] = {}

    @abstractmethod
    def _quantizer(self, site: Site, function: nn.Module) -> nn.Module:
        """Apply a function, then quantize."""

    @abstractmethod
    def _weighted(self, site: Site, kernel: Kernel) -> nn.Module:
        """Make a layer with trained weights."""

    @abstractmethod
    def _factor(self, site: Site, kernel: Kernel, value: float) -> nn.Module:
        """Make a depthwise convolution whose weights all are `value`, quantized."""

    def _site(self, name: str, role: Role, bits: int, *, signed: bool, top: int | None = None) -> Site:
        """Note a site; `top` is log2 of the end of its range if that is fixed."""
        if name in self.sites:
            raise ConfigError(f"the network has two layers named '{name}'. Give each a name of its own.")
        own = self.network.layers.get(name)
        rounding = self.network.rounding if role in ("hidden", "output") else "ROUND"
        if own is not None and own.rounding and role not in ("hidden", "output"):
            raise ConfigError(
                f"network.layers.{name}.rounding: only activations and outputs have a choice; inputs and weights are rounded."
            )
        if own is not None:
            bits, rounding = own.bits or bits, own.rounding or rounding
        self.sites[name] = Site(name, role, bits, signed, rounding, None if top is None else top + signed - bits)
        return self.sites[name]

    def check_names(self) -> None:
        """Refuse settings for layers that do not exist; call it when the network is built.

        Raises:
            ConfigError: with the names there are.
        """
        if unknown := [name for name in self.network.layers if name not in self.sites]:
            raise ConfigError(f"network.layers.{unknown[0]}: there is no such layer. Layers of this network: {', '.join(self.sites)}.")

    def input(self, name: str, *, signed: bool = False) -> nn.Module:
        """Quantize the input words, which the host rounds half to even."""
        return self._quantizer(self._site(name, "input", self.network.input_bits, signed=signed), nn.Identity())

    def conv1d(
        self, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1,
        bias: bool = True, norm: bool = False,
    ) -> nn.Module:  # fmt: skip
        """Convolve, (N, c_in, W) -> (N, c_out, W'). `norm`: batch normalisation in float training, folded before quantization."""
        shape = Kernel(1, c_in, c_out, kernel, stride, padding, dilation, groups, bias, norm)
        return self._weighted(self._site(name, "weight", self.network.weight_bits, signed=True), shape)

    def conv2d(
        self, name: str, c_in: int, c_out: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: int = 0, dilation: int = 1,
        groups: int = 1, bias: bool = True, norm: bool = False,
    ) -> nn.Module:  # fmt: skip
        """Convolve, (N, c_in, H, W) -> (N, c_out, H', W'). `norm` as for `conv1d`."""
        shape = Kernel(2, c_in, c_out, kernel, stride, padding, dilation, groups, bias, norm)
        return self._weighted(self._site(name, "weight", self.network.weight_bits, signed=True), shape)

    def linear(self, name: str, n_in: int, n_out: int, *, bias: bool = True, norm: bool = False) -> nn.Module:
        """Multiply with weights, (N, n_in) -> (N, n_out). `norm` as for `conv1d`."""
        shape = Kernel(0, n_in, n_out, bias=bias, norm=norm)
        return self._weighted(self._site(name, "weight", self.network.weight_bits, signed=True), shape)

    def relu(self, name: str) -> nn.Module:
        """Rectify and quantize (unsigned)."""
        return self._quantizer(self._site(name, "hidden", self.network.hidden_bits, signed=False), nn.ReLU())

    def leaky_relu(self, name: str, slope: float = 0.125) -> nn.Module:
        """Multiply negative values with a slope that is a power of two, and quantize (signed)."""
        return self._quantizer(self._site(name, "hidden", self.network.hidden_bits, signed=True), nn.LeakyReLU(slope))

    def tanh(self, name: str) -> nn.Module:
        """Quantize the input over [-4, 4), take tanh from a table of all its codes, and quantize (signed)."""
        return self._table(name, nn.Tanh(), 2, signed=True)

    def sigmoid(self, name: str) -> nn.Module:
        """Quantize the input over [-8, 8), take the sigmoid from a table of all its codes, and quantize (unsigned)."""
        return self._table(name, nn.Sigmoid(), 3, signed=False)

    def _table(self, name: str, function: nn.Module, half_range: int, *, signed: bool) -> nn.Module:
        bits = self.network.hidden_bits
        entry = self._quantizer(self._site(f"{name}_in", "hidden", bits, signed=True, top=half_range), nn.Identity())
        return nn.Sequential(entry, self._quantizer(self._site(name, "hidden", bits, signed=signed, top=0), function))

    def max_pool1d(self, kernel: int, *, stride: int | None = None, padding: int = 0) -> nn.Module:
        """Take the maximum over windows, (N, C, W) -> (N, C, W')."""
        return nn.MaxPool1d(kernel, stride, padding)

    def max_pool2d(self, kernel: int, *, stride: int | None = None, padding: int = 0) -> nn.Module:
        """Take the maximum over windows, (N, C, H, W) -> (N, C, H', W')."""
        return nn.MaxPool2d(kernel, stride, padding)

    def avg_pool1d(self, name: str, channels: int, kernel: int, *, stride: int | None = None, signed: bool = False) -> nn.Module:
        """Average over windows and quantize; a window of the whole width is a global pool."""
        return self._average(name, Kernel(1, channels, channels, kernel, stride or kernel, groups=channels, bias=False), 1 / kernel, signed)

    def avg_pool2d(
        self, name: str, channels: int, kernel: int | tuple[int, int], *, stride: int | None = None, signed: bool = False
    ) -> nn.Module:  # fmt: skip
        """Average over windows and quantize; a window of the whole image is a global pool."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        shape = Kernel(2, channels, channels, (height, width), stride or (height, width), groups=channels, bias=False)
        return self._average(name, shape, 1 / (height * width), signed)

    def _average(self, name: str, kernel: Kernel, value: float, signed: bool) -> nn.Module:
        site = self._site(f"{name}_factor", "factor", FACTOR_BITS, signed=True, top=math.frexp(value)[1])
        scale = 2.0 ** (site.exponent or 0)
        pool = self._factor(site, kernel, min(round(value / scale), site.code_range[1]) * scale)
        return nn.Sequential(pool, self._quantizer(self._site(name, "hidden", self.network.hidden_bits, signed=signed), nn.Identity()))

    def add(self, name: str, *, signed: bool = True) -> nn.Module:
        """Add two tensors of one shape and quantize; called as ``layer(a, b)``."""
        return Join(torch.add, self._quantizer(self._site(name, "hidden", self.network.hidden_bits, signed=signed), nn.Identity()))

    def concat(self, name: str, *, signed: bool = False) -> nn.Module:
        """Join the channels of two tensors and quantize; called as ``layer(a, b)``."""
        return Join(_joined, self._quantizer(self._site(name, "hidden", self.network.hidden_bits, signed=signed), nn.Identity()))

    def output(self, name: str) -> nn.Module:
        """Quantize the output words (signed)."""
        return self._quantizer(self._site(name, "output", self.network.latent_bits, signed=True), nn.Identity())


class Constant(nn.Module):
    """A depthwise convolution with equal constant weights: a scaled sum over windows."""

    def __init__(self, kernel: Kernel, value: float) -> None:
        super().__init__()
        self.kernel, self.value = kernel, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sum over windows first, which is exact on a grid."""
        line = self.kernel.rank == 1
        size, stride = ((1, n) if line and isinstance(n, int) else n for n in (self.kernel.size, self.kernel.stride))
        total = nn.functional.avg_pool2d(x.unsqueeze(2) if line else x, size, stride, divisor_override=1) * self.value
        return total.squeeze(2) if line else total


def _normalised(layer: nn.Module, kernel: Kernel) -> nn.Module:
    """Put batch normalisation behind a layer as its submodule `norm`, which `fold_norms` finds."""
    norms: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)
    layer.norm = norms[kernel.rank](kernel.c_out)
    layer.register_forward_hook(lambda module, inputs, output: module.norm(output))
    return layer


def fold_norms(network: nn.Module) -> None:
    """Fold each batch normalisation into the weights and bias before it, in place: y = g (Wx + b - mean) / std + h.

    Jacob et al., arXiv:1712.05877, section 3.2; with the running statistics, so the network computes what it did in eval mode.
    """
    for layer in network.modules():
        norm = getattr(layer, "norm", None)
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or norm.running_var is None or norm.running_mean is None:
            continue
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        with torch.no_grad():
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight.mul_(factor.reshape(-1, *[1] * (weight.ndim - 1)))
            bias.copy_((bias - norm.running_mean) * factor + norm.bias)
        layer._forward_hooks.clear()
        del layer.norm


@dataclass
class FloatLayers(Layers):
    """Plain torch layers, which note where the quantized network will have quantizers.

    Attributes:
        modules: the module of each site.
    """

    network: NetworkConfig
    sites: dict[str, Site] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    def _quantizer(self, site: Site, function: nn.Module) -> nn.Module:
        self.modules[site.name] = function
        return function

    def _weighted(self, site: Site, kernel: Kernel) -> nn.Module:
        make: Any = (nn.Linear, nn.Conv1d, nn.Conv2d)[kernel.rank]
        arguments = kernel.arguments() | ({"bias": True} if kernel.norm else {})
        layer: nn.Module = make(**arguments)
        self.modules[site.name] = layer
        return _normalised(layer, kernel) if kernel.norm else layer

    def _factor(self, site: Site, kernel: Kernel, value: float) -> nn.Module:
        self.modules[site.name] = Constant(kernel, value)
        return self.modules[site.name]
