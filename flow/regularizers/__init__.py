"""Regularizers, one file each. A plug-in has ``TITLE`` and ``penalty(batch, *, options...) -> scalar tensor``.

The penalty is multiplied by the strength that the design point gives and added to the mean loss of the batch. It must not depend
on the batch size, and must be differentiable through the quantized network. Options are keyword-only arguments with defaults; a
point sets them in a table: ``sam = {strength = 1.0, rho = 0.05}``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flow.core.errors import ConfigError
from flow.core.plugins import load, suggest

if TYPE_CHECKING:  # the command line lists and checks plug-ins without waiting for torch
    import torch
    from torch import nn


@dataclass(frozen=True)
class Batch:
    """What a regularizer sees.

    Attributes:
        on_chip: the quantized network, with layers of `flow.quant.straight`.
        x: (N, ...) inputs that require a gradient.
        output: (N, ...) output of the whole network for `x`, with its graph.
        generator: source of all random numbers.
        loss: (N,) task loss of each sample, with its graph.
        evaluate: ``(x, shifts) -> (N,)``: the task loss at other inputs, with `shifts` added to the quantized weights of layers, by the
            names of ``on_chip.named_modules()``.
    """

    on_chip: "nn.Module"
    x: "torch.Tensor"
    output: "torch.Tensor"
    generator: "torch.Generator"
    loss: "torch.Tensor"
    evaluate: "Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]"


Options = Mapping[str, bool | int | float]
Penalty = Callable[[Batch], "torch.Tensor"]


def _term(name: str, given: float | Options) -> tuple[float, Penalty]:
    """Return the strength and the penalty with its options set."""
    penalty: Callable[..., Any] = load("regularizers", name).penalty
    options = dict(given) if isinstance(given, Mapping) else {"strength": given}
    known = {p.name: p.default for p in inspect.signature(penalty).parameters.values() if p.kind is p.KEYWORD_ONLY}
    for option, value in {"strength": 0.0, **options}.items():
        if option != "strength" and option not in known:
            raise ConfigError(
                f"regularizers.{name}.{option}: unknown option. Known: {', '.join(known) or 'none'}.{suggest(option, list(known))}"
            )
        kind = type(known.get(option, 1.0))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigError(f"regularizers.{name}.{option} = {value}: a value of type {kind.__name__} is needed.")
        if kind is not bool and value <= 0:
            raise ConfigError(f"regularizers.{name}.{option} = {value}: give a number above 0, for example {{strength = 0.1}}.")
    strength = float(options.pop("strength"))
    return strength, lambda batch: penalty(batch, **options)


def combine(strengths: Mapping[str, float | Options]) -> Penalty | None:
    """Return the weighted sum of the named regularizers, or None if there are none.

    Args:
        strengths: strength by name, or a table with ``strength`` and options.

    Raises:
        UnknownPlugin: a name is not a regularizer.
        ConfigError: an option does not exist, or there is no strength.
    """
    import torch

    terms = [_term(name, given) for name, given in sorted(strengths.items())]
    if not terms:
        return None
    return lambda batch: torch.stack([strength * penalty(batch) for strength, penalty in terms]).sum()
