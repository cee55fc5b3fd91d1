"""Choose the exponent of every power-of-two scale from a trained float network, and find out which quantizer feeds which layer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flow.core.errors import ConfigError
from flow.quant.layers import FloatLayers, Site

Exponent = int | list[int]
LEAST_BIAS_BITS = 16
MARGIN = 2
"""Bits by which training may let the largest bias grow."""


@dataclass(frozen=True)
class Scales:
    """Everything a quantized network needs beyond its weights.

    Attributes:
        exponents: log2 of the scale by site; a list has one per output channel.
        feeds: layer with weights -> site of the quantizer its inputs come from, whose scale its biases need.
        bias_bits: width of all biases.
    """

    exponents: Mapping[str, Exponent]
    feeds: Mapping[str, str]
    bias_bits: int = LEAST_BIAS_BITS


def exponent_for(values: torch.Tensor, site: Site, *, clip: bool = True) -> int:
    """Return the integer e for which rounding `values` to multiples of 2**e loses least in mean square.

    Args:
        values: any shape; a sample of what will be quantized.
        site: width and sign of the codes.
        clip: the search covers four steps below the scale that just does not clip, because at few bits it pays to clip the tail
            (Banner et al., arXiv:1810.05723); without, nothing is clipped.

    Returns:
        log2 of the scale.
    """
    low, high = site.code_range
    top = max(float(values.max()) / high, float(values.min()) / low if low else 0.0)
    if top <= 0.0:
        return -site.bits
    widest = math.ceil(math.log2(top))

    def loss(exponent: int) -> float:
        codes = torch.clamp(torch.round(values * 2.0**-exponent), low, high)
        return float(((codes * 2.0**exponent - values) ** 2).mean())

    return min(range(widest, widest - 5, -1), key=loss) if clip else widest


class _Tagged(torch.Tensor):
    """A tensor that remembers the quantizer it comes from, through whatever torch does with it."""

    site: str | None = None

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - of torch
        out = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if isinstance(out, _Tagged):
            sources = {a.site for a in args if isinstance(a, _Tagged)}
            out.site = sources.pop() if len(sources) == 1 else None
        return out


def feeding_sites(network: nn.Module, layers: FloatLayers, sample: torch.Tensor) -> dict[str, str]:
    """Return the quantizer that the inputs of each layer with weights come from.

    Args:
        network: float network built with `layers`.
        layers: the factory that built it.
        sample: (1, ...) an input.

    Raises:
        ConfigError: a layer computes on values that come from no quantizer, or from several.
    """
    feeds: dict[str, str] = {}

    def note(name: str, site: Site) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            if site.role in ("weight", "factor"):
                source = getattr(inputs[0], "site", None)
                if source is None:
                    raise ConfigError(
                        f"layer '{name}': its input comes from no quantizer or from several. Put layers.add or .concat before it."
                    )
                feeds[name] = source
                return output
            tagged = output.as_subclass(torch.Tensor).clone().as_subclass(_Tagged)
            tagged.site = name
            return tagged

        return hook

    hooks = [module.register_forward_hook(note(name, layers.sites[name])) for name, module in layers.modules.items()]
    with torch.no_grad():
        network.eval()(sample.as_subclass(_Tagged))
    for handle in hooks:
        handle.remove()
    return feeds


def _weight_exponent(weight: torch.Tensor, site: Site, *, per_channel: bool, clip: bool) -> Exponent:
    if per_channel:
        return [exponent_for(row, site, clip=clip) for row in weight]
    return exponent_for(weight, site, clip=clip)


def _bias_bits(layers: FloatLayers, exponents: Mapping[str, Exponent], feeds: Mapping[str, str]) -> int:
    """Return the width of all biases; one that clips them is refused, because nothing later would tell why such a network is bad."""
    wanted, widest = layers.network.bias_bits, 0
    for name, feed in feeds.items():
        bias = getattr(layers.modules[name], "bias", None)
        if bias is None:
            continue
        exponent = torch.tensor(exponents[name]) + torch.tensor(exponents[feed])
        needed = 1 + math.ceil(math.log2(max(float((bias.detach().abs() * torch.exp2(-exponent.float())).max()), 1.0)))
        widest = max(widest, needed)
        if wanted is not None and needed > wanted:
            raise ConfigError(
                f"network.bias_bits = {wanted}: the biases of layer '{name}' need {needed} bits at the scale of its sums. "
                f"Leave it out, or set {needed + MARGIN} or more: training may let them grow."
            )
    return max(LEAST_BIAS_BITS, widest + MARGIN) if wanted is None else wanted


def calibrate(network: nn.Module, layers: FloatLayers, x: torch.Tensor, input_max: float) -> Scales:
    """Choose the scale of every quantizer of a network.

    Args:
        network: float network built with `layers`, without batch normalisation (`flow.quant.layers.fold_norms`).
        layers: the factory that built it.
        x: (N, ...) training inputs.
        input_max: the input words cover [0, input_max), or [-input_max, input_max) if signed, whatever the data are.

    Raises:
        ConfigError: the network has no layer of a name in `network.layers`; a bias does not fit into its width; or see `feeding_sites`.
    """
    layers.check_names()
    feeds = feeding_sites(network, layers, x[:1])
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, i, out, name=name: seen.__setitem__(name, out.detach()))
        for name, module in layers.modules.items()
    ]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    clip, exponents = layers.network.scales != "max", dict[str, Exponent]()
    for name, site in layers.sites.items():
        if site.exponent is not None:
            exponents[name] = site.exponent
        elif site.role == "input":
            exponents[name] = math.ceil(math.log2(input_max)) - site.bits + site.signed
        elif site.role == "weight":
            weight = next(layers.modules[name].parameters()).detach()
            exponents[name] = _weight_exponent(weight, site, per_channel=layers.network.per_channel, clip=clip)
        else:
            exponents[name] = exponent_for(seen[name], site, clip=clip)
    return Scales(exponents, feeds, _bias_bits(layers, exponents, feeds))
