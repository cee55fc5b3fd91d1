"""The loss of a trained network as a pure function of its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flow.twin import Twin

CHIP, HEAD = "chip.", "head."
Params = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A network, its loss and the samples it is averaged over.

    Attributes:
        params: trained parameters; the name of an on-chip parameter begins with ``chip.``, one of the off-chip head with ``head.``.
        losses: ``(params, x, y) -> (B,)``: the loss of each sample of a batch.
        x: inputs (N, ...).
        y: targets (N, ...).
    """

    params: dict[str, Tensor]
    losses: Callable[[Params, Tensor, Tensor], Tensor]
    x: Tensor
    y: Tensor

    @property
    def chip(self) -> tuple[str, ...]:
        """Names of the on-chip parameters."""
        return tuple(name for name in self.params if name.startswith(CHIP))

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """The blocks of parameters that a metric reports: all of them (suffix empty), and those on chip (suffix ``_chip``)."""
        return {"": tuple(self.params), "_chip": self.chip}

    def per_sample(self, params: Params) -> Tensor:
        """Return the loss of each sample (N,)."""
        return self.losses(params, self.x, self.y)

    def loss(self, params: Params) -> Tensor:
        """Return the mean loss, a scalar."""
        return self.per_sample(params).mean()


def build_problem(twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor) -> Problem:
    """Join an on-chip twin, an off-chip head and a loss.

    Args:
        twin: the on-chip part; it hands float32 on, like the deployed words.
        head: the off-chip part with its trained parameters, or None.
        loss: ``(output, target) -> (B,)``.
        x: inputs (N, ...).
        y: targets (N, ...).
    """
    params = {CHIP + name: value for name, value in twin.params.items()}
    if head is not None:
        params |= {HEAD + name: value.detach() for name, value in head.named_parameters()}

    def losses(params: Params, x: Tensor, y: Tensor) -> Tensor:
        output = twin({name: params[CHIP + name] for name in twin.params}, x).to(torch.float32)
        if head is not None:
            inner = {name.removeprefix(HEAD): value for name, value in params.items() if name.startswith(HEAD)}
            output = torch.func.functional_call(head, inner, (output,))
        return loss(output, y)

    return Problem(params, losses, x, y)
