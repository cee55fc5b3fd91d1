"""Regularizers, one file each. A plug-in has ``TITLE`` and ``penalty(batch) -> scalar tensor``.

The penalty is multiplied by the strength that the design point gives and added to the mean loss of the batch. It must not depend
on the batch size, and must be differentiable through the quantized network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line lists and checks plug-ins without waiting for torch
    import torch
    from torch import nn


@dataclass(frozen=True)
class Batch:
    """What a regularizer sees.

    Attributes:
        on_chip: the quantized network.
        x: (N, ...) inputs that require a gradient.
        output: (N, ...) output of the whole network for `x`, with its graph.
        generator: source of random projections.
    """

    on_chip: "nn.Module"
    x: "torch.Tensor"
    output: "torch.Tensor"
    generator: "torch.Generator"


Penalty = Callable[[Batch], "torch.Tensor"]


def combine(strengths: Mapping[str, float]) -> Penalty | None:
    """Return the weighted sum of the named regularizers, or None if there are none.

    Raises:
        UnknownPlugin: a name is not a regularizer.
    """
    import torch

    from flow.core.plugins import load

    terms = [(load("regularizers", name).penalty, strength) for name, strength in sorted(strengths.items())]
    if not terms:
        return None
    return lambda batch: torch.stack([strength * penalty(batch) for penalty, strength in terms]).sum()
