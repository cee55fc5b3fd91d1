"""A trained network at the level of its deployed integers, and the samples it is scored on."""

import copy
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flow.core.errors import InvalidInput
from flow.landscape._problem import CHIP, MEMORY, Problem
from flow.model import Array, Score
from flow.robustness._bits import ROLES, BitSpace, Ints, bit_space
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
        problem: the loss on other samples than those that are scored, to rank weights by; its engine, if there is one, computes the words
            of faulty networks. None: there is none.
        detector: what one unit of the detector is at the inputs, broadcasts to `x`; None: the inputs have no such unit.
        detector_unit: name of that unit.
        memory: most bytes of a batch.
        scratch: folder that survives a kill, for campaigns that are to go on where they stopped; None: there is none.
        records: what may be drawn later; a perturbation puts arrays there, under names that begin with its own.
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
    detector: Array | None = None
    detector_unit: str = ""
    memory: int = MEMORY
    scratch: Path | None = None
    records: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def twin(self) -> Twin:
        """The part on chip."""
        return self._twin

    @cached_property
    def identity(self) -> str:
        """Digest of the network, its head and its score: all that a score of given inputs and targets depends on."""
        twin = self._twin
        parts = (self.formats, twin.nodes, twin.activation_formats, self._head, self.score.id, self.score.direction)
        digest = hashlib.sha256(repr(parts).encode())
        for tensor in (*self.codes.values(), *(self._head.state_dict().values() if self._head is not None else ())):
            digest.update(tensor.detach().numpy().tobytes())
        return digest.hexdigest()

    def space(self, roles: Iterable[str] = ROLES) -> BitSpace:
        """Number the deployed bits of the parameters with these roles."""
        return bit_space(self.codes, self.formats, roles)

    def degradations(self, space: BitSpace, words: Ints, samples: int) -> Values:
        """Return how much worse each of the first samples becomes with each set of words.

        Args:
            space: what the words are of; all other parameters are as deployed.
            words: (M, W).
            samples: how many, at most all.

        Returns:
            (M, samples), exactly 0 where the on-chip output did not change. It does not depend on how many sets there are.
        """
        count = min(samples, len(self.x))
        result = np.empty((len(words), count))
        by_sample = 3 * self.outputs[0].numel() + 2 * int(np.prod(self.targets.shape[1:], dtype=np.int64)) + 8
        size = max(1, self.memory // (8 * (count * by_sample + 3 * len(self._point) + 3 * len(space.words))))
        for start in range(0, len(words), size):
            part = slice(start, start + size)
            result[part] = self._scores(self._faulty(space, words[part], count)) - self.clean[:count]
        return -result if self.score.direction == "higher" else result

    def score_outputs(self, outputs: Tensor) -> Values:
        """Score on-chip outputs (n, ...) of the first samples -> (n,); one that is as deployed has exactly its clean score."""
        return np.asarray(self._scores(outputs[None])[0])

    def _faulty(self, space: BitSpace, words: Ints, count: int) -> Tensor:
        """Return the on-chip outputs (M, count, ...) with each set of words (M, W)."""
        engine = None if self.problem is None else self.problem.engine
        x = self._inputs[:count]
        if engine is None or self.problem is None:
            codes = [{**self.codes, **space.codes(row)} for row in words]
            return torch.stack([_forward(self._twin, one, x) for one in codes])
        points = np.repeat(self._point[None], len(words), axis=0)
        ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in space.shapes]).tolist()
        for name, shape, end in zip(space.names, space.shapes, ends, strict=True):
            where, size = self.problem.slices[CHIP + name], int(np.prod(shape, dtype=np.int64))
            points[:, where] = words[:, end - size : end] * self._steps[where]
        return torch.from_numpy(engine.outputs(points, x))

    def _scores(self, outputs: Tensor) -> Values:
        """Score outputs (M, n, ...) of the first samples -> (M, n); those that are as deployed have the clean score."""
        many, count = outputs.shape[:2]
        scores = np.repeat(self.clean[None, :count], many, axis=0)
        changed = (outputs != self.outputs[:count].to(outputs.dtype)).flatten(2).any(2)
        if changed.any():
            which, sample = changed.numpy(), np.nonzero(changed.numpy())[1]
            mine = outputs[changed]
            first, again = _different(sample, mine.numpy())
            scores[which] = _per_sample(self._head, self.score, mine[torch.from_numpy(first)], self.targets[sample[first]])[again]
        return scores

    @cached_property
    def _inputs(self) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.x))

    @cached_property
    def _point(self) -> Values:
        problem = self.problem
        return np.zeros(0) if problem is None else problem.quantized(problem.point[None])[0]

    @cached_property
    def _steps(self) -> Values:
        return np.zeros(0) if self.problem is None else self.problem.steps

    def score_inputs(self, x: Array) -> Values:
        """Score perturbed inputs.

        Args:
            x: (N, ...), sample by sample in the order of `x`.

        Returns:
            (N,). A sample whose on-chip output did not change has exactly its clean score.
        """
        inputs, engine = torch.from_numpy(np.ascontiguousarray(x)), None if self.problem is None else self.problem.engine
        if engine is None:
            return self.score_outputs(_forward(self._twin, self.codes, inputs))
        return self.score_outputs(torch.from_numpy(engine.outputs(self._point[None], inputs)[0]))

    def degradation(self, scores: Values, index: Index | None = None) -> Values:
        """Return how much worse than clean the scores are: positive is worse, whichever way the score points."""
        clean = self.clean if index is None else self.clean[index]
        return clean - scores if self.score.direction == "higher" else scores - clean


def _forward(twin: Twin, codes: Codes, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([twin.forward_codes(codes, batch) for batch in torch.split(x, BATCH)])


def _different(sample: Index, outputs: Array) -> tuple[Index, Index]:
    """Tell apart samples with their outputs (K, ...), of which faults that do little make many alike: score each once, for scores are dear.

    Returns:
        Where each different one is for the first time (U,), and which of these each one is (K,).
    """
    words = outputs.reshape(len(sample), -1)
    rows = np.ascontiguousarray(np.concatenate([sample[:, None].astype(words.dtype), words], axis=1))
    _, first, again = np.unique(rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel(), return_index=True, return_inverse=True)
    return first, again.reshape(-1)


def _per_sample(head: nn.Module | None, score: Score, outputs: Tensor, targets: Array) -> Values:
    """Score on-chip outputs (n, ...) -> (n,).

    The head computes in double precision: what remains of its rounding, which depends on the size of the batch, is far below the float32
    that the score is given.
    """
    with torch.no_grad():
        batches = torch.split(outputs.to(torch.float32), BATCH)
        final = torch.cat([batch if head is None else head(batch.double()).to(torch.float32) for batch in batches])
    return score.per_sample(final.numpy(), targets)


def build_subject(
    twin: Twin, head: nn.Module | None, score: Score, x: Array, targets: Array, unit: float = 1.0, problem: Problem | None = None,
    detector: Array | None = None, detector_unit: str = "", memory: int = MEMORY, scratch: Path | None = None,
) -> Subject:  # fmt: skip
    """Join an on-chip twin, an off-chip head and a task score, and score the clean samples.

    Args:
        twin: the on-chip part.
        head: the off-chip part with its trained parameters, or None.
        score: the task score.
        x: inputs (N, ...); samples that have no score even when clean (an empty target) are dropped.
        targets: (N, ...).
        unit: what 100 % of an input noise is: 1 for inputs that are normalised to 1.
        problem: the loss of the same network on other samples, with an engine if there is one.
        detector: what one unit of the detector is at the inputs, broadcasts to `x`.
        detector_unit: name of that unit.
        memory: most bytes of a batch.
        scratch: folder that survives a kill.

    Raises:
        InvalidInput: fewer than two samples have a score.
    """
    codes = twin.codes(twin.params)
    head = None if head is None else copy.deepcopy(head).double()
    outputs = _forward(twin, codes, torch.from_numpy(np.ascontiguousarray(x)))
    clean = _per_sample(head, score, outputs, targets)
    kept = ~np.isnan(clean)
    if kept.sum() < 2:
        raise InvalidInput(
            f"Only {kept.sum()} of {len(x)} test samples have a {score.title} score; at least 2 are needed. Use more samples."
        )
    if detector is not None and len(detector) == len(x):
        detector = detector[kept]
    return Subject(
        x[kept], targets[kept], codes, twin.weights, score, outputs[torch.from_numpy(kept)], clean[kept], twin, head, unit, problem,
        detector, detector_unit, memory, scratch,
    )  # fmt: skip
