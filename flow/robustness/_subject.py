"""A trained network at the level of its deployed integers, and the samples it is scored on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flow.core.errors import InvalidInput
from flow.landscape._problem import Problem
from flow.model import Array, Score
from flow.twin import Twin, WeightFormat

BATCH = 1024
Codes = Mapping[str, Tensor]
Values = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Subject:
    """What a perturbation acts on.

    Attributes:
        x: clean inputs (N, ...), float32.
        targets: (N, ...); they stay clean whatever is perturbed.
        codes: deployed integers by parameter.
        formats: their number formats; `role` tells weights from biases.
        score: the task score.
        outputs: on-chip outputs (N, ...) for the clean inputs and codes.
        clean: scores (N,) of these, none of them NaN.
        unit: what 100 % of an input noise is.
        problem: the loss on other samples than those that are scored, to rank weights by; None: there is none.
    """

    x: Array
    targets: Array
    codes: Codes
    formats: Mapping[str, WeightFormat]
    score: Score
    outputs: Tensor
    clean: Values
    _twin: Twin
    _head: nn.Module | None
    unit: float = 1.0
    problem: Problem | None = None

    def score_inputs(self, x: Array) -> Values:
        """Score perturbed inputs.

        Args:
            x: (N, ...), sample by sample in the order of `x`.

        Returns:
            (N,). A sample whose on-chip output did not change has exactly its clean score.
        """
        return self._score(_forward(self._twin, self.codes, x), np.arange(len(x)))

    def score_codes(self, codes: Codes, index: Index) -> Values:
        """Score perturbed weights.

        Args:
            codes: integers for every parameter.
            index: which samples to score.

        Returns:
            Scores of these samples, with the same short cut as `score_inputs`.
        """
        return self._score(_forward(self._twin, codes, self.x[index]), index)

    def degradation(self, scores: Values, index: Index | None = None) -> Values:
        """Return how much worse than clean the scores are: positive is worse, whichever way the score points."""
        clean = self.clean if index is None else self.clean[index]
        return clean - scores if self.score.direction == "higher" else scores - clean

    def _score(self, outputs: Tensor, index: Index) -> Values:
        scores = self.clean[index]
        changed = (outputs != self.outputs[torch.from_numpy(index)]).flatten(1).any(1).numpy()
        if changed.any():
            scores[changed] = _per_sample(self._head, self.score, outputs[torch.from_numpy(changed)], self.targets[index[changed]])
        return scores


def _forward(twin: Twin, codes: Codes, x: Array) -> Tensor:
    with torch.no_grad():
        return torch.cat([twin.forward_codes(codes, batch) for batch in torch.split(torch.from_numpy(np.ascontiguousarray(x)), BATCH)])


def _per_sample(head: nn.Module | None, score: Score, outputs: Tensor, targets: Array) -> Values:
    with torch.no_grad():
        final = outputs.to(torch.float32)
        return score.per_sample((final if head is None else head(final)).numpy(), targets)


def build_subject(
    twin: Twin, head: nn.Module | None, score: Score, x: Array, targets: Array, unit: float = 1.0, problem: Problem | None = None
) -> Subject:
    """Join an on-chip twin, an off-chip head and a task score, and score the clean samples.

    Args:
        twin: the on-chip part.
        head: the off-chip part with its trained parameters, or None.
        score: the task score.
        x: inputs (N, ...); samples that have no score even when clean (an empty target) are dropped.
        targets: (N, ...).
        unit: what 100 % of an input noise is: 1 for inputs that are normalised to 1.
        problem: the loss of the same network on other samples.

    Raises:
        InvalidInput: fewer than two samples have a score.
    """
    codes = twin.codes(twin.params)
    outputs = _forward(twin, codes, x)
    clean = _per_sample(head, score, outputs, targets)
    kept = ~np.isnan(clean)
    if kept.sum() < 2:
        raise InvalidInput(
            f"Only {kept.sum()} of {len(x)} test samples have a {score.title} score; at least 2 are needed. Use more samples."
        )
    return Subject(
        x[kept], targets[kept], codes, twin.weights, score, outputs[torch.from_numpy(kept)], clean[kept], twin, head, unit, problem
    )
