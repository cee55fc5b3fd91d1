"""The loss of a trained network as a pure function of its parameters, at one point or at many."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flow.twin import Twin, quantizer

CHIP, HEAD = "chip.", "head."
MEMORY = 2**30
BATCH = 1024  # samples of a forward pass
Params = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Floats = NDArray[np.float64]


class Engine(Protocol):
    """Compiled code for the loss of one network."""

    def losses(self, points: Floats, x: Tensor, y: Tensor) -> Floats:
        """Return the loss of each sample (P, N) at each point (P, D), whose weights are taken as they are."""
        ...

    def outputs(self, points: Floats, x: Tensor) -> Floats:
        """Return the words that leave the chip, (P, N, ...), at each point (P, D), whose weights are taken as they are."""
        ...


@dataclass(frozen=True)
class Problem:
    """A network, its loss and the samples it is averaged over.

    A *point* is a vector (D,) of all parameters, in the order of `params`.

    Attributes:
        params: trained parameters; the name of an on-chip parameter begins with ``chip.``, one of the off-chip head with ``head.``.
        losses: ``(params, x, y) -> (B,)``: the loss of each sample of a batch, with straight-through gradients.
        x: inputs (N, ...).
        y: targets (N, ...).
        twin: the on-chip part.
        head: the off-chip part, or None.
        loss_function: ``(output, target) -> (B,)``.
        memory: most bytes of a batch.
        engine: compiled code for the losses at many points, or None: the twin.
        unit: what 100 % of an input noise is.
        records: what may be drawn later; a metric puts arrays there, under names that begin with its own.
    """

    params: dict[str, Tensor]
    losses: Callable[[Params, Tensor, Tensor], Tensor]
    x: Tensor
    y: Tensor
    twin: Twin
    head: nn.Module | None
    loss_function: Loss
    memory: int = MEMORY
    engine: Engine | None = None
    unit: float = 1.0
    records: dict[str, Floats] = field(default_factory=dict)

    @property
    def chip(self) -> tuple[str, ...]:
        """Names of the on-chip parameters."""
        return tuple(name for name in self.params if name.startswith(CHIP))

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """The blocks of parameters that a metric reports: all of them (suffix empty), and those on chip (suffix ``_chip``)."""
        return {"": tuple(self.params), "_chip": self.chip}

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in a point."""
        ends = np.cumsum([p.numel() for p in self.params.values()]).tolist()
        return {name: slice(end - p.numel(), end) for (name, p), end in zip(self.params.items(), ends, strict=True)}

    @property
    def point(self) -> Floats:
        """The trained parameters as a vector (D,)."""
        return np.concatenate([p.detach().double().reshape(-1).numpy() for p in self.params.values()])

    @property
    def steps(self) -> Floats:
        """The step (LSB) of each deployed weight and bias, (D,); NaN for the parameters of the head, which have none."""
        steps = []
        for name, p in self.params.items():
            form = self.twin.weights.get(name.removeprefix(CHIP)) if name.startswith(CHIP) else None
            value = torch.tensor(torch.nan) if form is None else torch.as_tensor(form.steps(p.double()))
            steps.append(value.double().expand(p.shape).reshape(-1).numpy())
        return np.concatenate(steps)

    def split(self, points: Tensor) -> dict[str, Tensor]:
        """Take points (P, D) apart: name -> (P, *shape), in the type of the parameters."""
        return {n: points[:, where].reshape(-1, *self.params[n].shape).to(self.params[n].dtype) for n, where in self.slices.items()}

    def subset(self, samples: slice | NDArray[np.intp]) -> "Problem":
        """Return the same problem on some of the samples."""
        return replace(self, x=self.x[samples], y=self.y[samples])

    def quantized(self, points: Floats) -> Floats:
        """Return points (P, D) with the weights and biases on chip as they would be deployed; the head is left as it is."""
        parts = self.split(torch.from_numpy(np.ascontiguousarray(points)))
        for name in self.chip:
            parts[name] = quantizer.quantize(parts[name], self.twin.weights[name.removeprefix(CHIP)])
        return np.concatenate([p.double().reshape(len(points), -1).numpy() for p in parts.values()], axis=1)

    def per_sample(self, params: Params) -> Tensor:
        """Return the loss of each sample (N,)."""
        return self.losses(params, self.x, self.y)

    def loss(self, params: Params) -> Tensor:
        """Return the mean loss, a scalar."""
        return self.per_sample(params).mean()

    def chunks(self, count: int, bytes_each: int) -> Iterator[slice]:
        """Cut `count` things of `bytes_each` bytes into pieces that fit the memory."""
        size = max(1, self.memory // max(1, bytes_each))
        for start in range(0, count, size):
            yield slice(start, min(count, start + size))

    def sample_losses(self, points: Floats, quantize: bool = True) -> Floats:
        """Return the loss of each sample at each point, without gradients.

        Args:
            points: (P, D).
            quantize: round weights and biases on chip to their grid first, as they would be deployed. Without, they are taken as real
                numbers; activations are quantized in any case.

        Returns:
            (P, N).
        """
        return np.concatenate([self._losses(points[part], quantize) for part in self._parts(len(points))])

    def mean_losses(self, points: Floats, quantize: bool = True) -> Floats:
        """Return the mean loss at each point, (P,); see `sample_losses`."""
        return np.concatenate([self._losses(points[part], quantize).mean(axis=1) for part in self._parts(len(points))])

    def _parts(self, count: int) -> Iterator[slice]:
        size = sum(p.numel() for p in self.params.values())
        return self.chunks(count, 8 * (4 * size + len(self.x)))

    def _losses(self, points: Floats, quantize: bool) -> Floats:
        values = self.quantized(points) if quantize else points
        if self.engine is not None:
            return self.engine.losses(values, self.x, self.y)
        rows = np.empty((len(points), len(self.x)))
        with torch.no_grad():
            for i, row in enumerate(values):
                parts = {name: part[0] for name, part in self.split(torch.from_numpy(row[None])).items()}
                chip = {name.removeprefix(CHIP): parts[name] for name in self.chip}
                for part in (slice(start, start + BATCH) for start in range(0, len(self.x), BATCH)):
                    output = self.twin.forward_values(chip, self.x[part]).to(torch.float32)
                    rows[i, part] = self.loss_function(apply_head(self.head, parts, output), self.y[part]).numpy()
        return rows


def apply_head(head: nn.Module | None, params: Params, output: Tensor) -> Tensor:
    """Return what an off-chip head with the ``head.`` parameters of `params` makes of the on-chip output (N, ...)."""
    if head is None:
        return output
    inner = {name.removeprefix(HEAD): value for name, value in params.items() if name.startswith(HEAD)}
    final: Tensor = torch.func.functional_call(head, inner, (output,))
    return final


def build_problem(twin: Twin, head: nn.Module | None, loss: Loss, x: Tensor, y: Tensor, memory: int = MEMORY) -> Problem:
    """Join an on-chip twin, an off-chip head and a loss.

    Args:
        twin: the on-chip part; it hands float32 on, like the deployed words.
        head: the off-chip part with its trained parameters, or None.
        loss: ``(output, target) -> (B,)``.
        x: inputs (N, ...).
        y: targets (N, ...).
        memory: most bytes of a batch.
    """
    params = {CHIP + name: value for name, value in twin.params.items()}
    if head is not None:
        params |= {HEAD + name: value.detach() for name, value in head.named_parameters()}

    def losses(params: Params, x: Tensor, y: Tensor) -> Tensor:
        output = twin({name: params[CHIP + name] for name in twin.params}, x).to(torch.float32)
        return loss(apply_head(head, params, output), y)

    return Problem(params, losses, x, y, twin, head, loss, memory)
