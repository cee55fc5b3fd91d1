"""Choose the exponent of every power-of-two scale from a trained float network."""

import math

import torch
from torch import nn

from flow.quant.layers import FloatLayers, Site


def exponent_for(values: torch.Tensor, site: Site) -> int:
    """Return the integer e for which rounding `values` to multiples of 2**e loses least in mean square.

    Args:
        values: any shape; a sample of what will be quantized.
        site: width and sign of the codes.

    Returns:
        log2 of the scale. The search covers four steps below the scale that just does not clip: at few bits it pays to clip
        the tail (Banner et al., arXiv:1810.05723).
    """
    low, high = site.code_range
    top = max(float(values.max()) / high, float(values.min()) / low if low else 0.0)
    if top <= 0.0:
        return -site.bits
    widest = math.ceil(math.log2(top))

    def loss(exponent: int) -> float:
        codes = torch.clamp(torch.round(values * 2.0**-exponent), low, high)
        return float(((codes * 2.0**exponent - values) ** 2).mean())

    return min(range(widest, widest - 5, -1), key=loss)


def calibrate(network: nn.Module, layers: FloatLayers, x: torch.Tensor, input_max: float) -> dict[str, int]:
    """Return the exponent of every quantizer of a network.

    Args:
        network: float network built with `layers`.
        layers: the factory that built it.
        x: (N, ...) training inputs.
        input_max: the input words cover [0, input_max), whatever the data are.
    """
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda m, i, out, name=name: seen.__setitem__(name, out.detach()))
        for name, module in layers.modules.items()
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    exponents = {}
    for name, site in layers.sites.items():
        if site.role == "input":
            exponents[name] = math.ceil(math.log2(input_max)) - site.bits
        elif site.role == "weight":
            exponents[name] = exponent_for(next(layers.modules[name].parameters()).detach(), site)
        else:
            exponents[name] = exponent_for(seen[name], site)
    return exponents
