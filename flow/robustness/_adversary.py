"""Perturbations of the inputs that raise the loss most, found with gradients; each input moves by at most `size`.

The network sees the words of its input quantizer only, and so does the attack: all losses are those of the deployed integers. Gradients
are straight-through: exact behind the quantizers, as if these were not there. They are thus a guide and not a proof, so what is found is
a lower bound of the worst case in the box ``|x' - x| <= size``. The worst case itself is above what any noise of at most that size does;
the bound is only known to be above what was tried on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from flow.landscape._problem import BATCH, Problem
from flow.robustness._subject import Subject, Values

SAMPLES = 256
LEVELS = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Adversary:
    """Who looks for bad inputs.

    Attributes:
        subject: what is attacked; the first `SAMPLES` of its samples.
        problem: the same network with its loss.
    """

    subject: Subject
    problem: Problem

    @cached_property
    def x(self) -> Tensor:
        """Clean inputs (n, ...), in the range of the input words: beyond it there is no gradient, and no other word."""
        words = self.problem.twin.input_format
        return torch.from_numpy(self.subject.x[:SAMPLES]).clamp(words.low * words.scale, words.high * words.scale)

    @cached_property
    def targets(self) -> Tensor:
        """Targets of the samples (n, ...)."""
        return torch.from_numpy(self.subject.targets[:SAMPLES])

    def project(self, x: Tensor, size: float) -> Tensor:
        """Return the nearest inputs that are within `size` of the clean ones and in the range of the words."""
        words = self.problem.twin.input_format
        near = torch.minimum(torch.maximum(x, self.x - size), self.x + size)
        return near.clamp(words.low * words.scale, words.high * words.scale)

    def ascent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each sample (n,) at inputs (n, ...), and the signs of its gradient there; 0 where there is none."""
        losses, signs = [], []
        for part, target in zip(torch.split(x, self._batch), torch.split(self.targets, self._batch), strict=True):
            leaf = part.clone().requires_grad_()
            each = self.problem.losses(self.problem.params, leaf, target)
            (gradient,) = torch.autograd.grad(each.sum(), leaf)
            losses.append(each.detach().double())
            signs.append(torch.nan_to_num(gradient).sign())
        return torch.cat(losses), torch.cat(signs)

    def one_step(self, size: float) -> Tensor:
        """Return ``x + size sign(dL/dx)``, in the range of the words."""
        return self.project(self.x + size * self.ascent(self.x)[1], size)

    def climb(self, start: Tensor, size: float, steps: int) -> Iterator[Tensor]:
        """Go up from inputs (n, ...) along the signs of the gradient, and yield all inputs on the way, the start among them.

        A step is ``2.5 size / steps``, as in the paper, but at least one step of the input words: a shorter one may change none.
        """
        length = max(2.5 * size / steps, self.problem.twin.input_format.scale)
        x = self.project(start, size)
        yield x
        for _ in range(steps):
            x = self.project(x + length * self.ascent(x)[1], size)
            yield x

    def starts(self, size: float, count: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the point of `one_step`, then inputs that are uniform in the box."""
        yield self.one_step(size)
        for _ in range(count - 1):
            yield self.x + torch.from_numpy(rng.uniform(-size, size, tuple(self.x.shape)).astype(np.float32))

    def harm(self, x: Tensor) -> Values:
        """Return the degradation of the task score of each sample, (n,)."""
        return self.subject.degradation(self.subject.score_inputs(x.numpy()), np.arange(len(x)))

    @property
    def _batch(self) -> int:
        """Samples of a pass whose gradient graph fits the memory: about 128 floats for each number that goes in or out."""
        each = 512 * (self.x[0].numel() + self.targets[0].numel() + self.subject.outputs[0].numel())
        return max(1, min(BATCH, self.subject.memory // each))
