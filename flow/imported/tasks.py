"""What the targets of a data file say about the task of an imported network: its loss and its score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from flow.core.metric import Metric
from flow.model import Array, Score

if TYPE_CHECKING:
    import torch

Targets = Literal["classes", "values", "none"]


@dataclass(frozen=True)
class Imported:
    """The task of an imported network; it takes the place of `flow.model.Model` behind the training.

    Attributes:
        loss: ``(output, target) -> (N,)`` differentiable loss of each sample.
        score: the task score.
        words: what the score and the loss compare the output with.
        vacuous: landscape metrics that are zero by construction, so they are not measured.
    """

    loss: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
    score: Score
    words: str
    vacuous: tuple[str, ...] = ()

    def off_chip(self, size: str) -> None:
        """There is nothing behind an imported network."""
        return


def cross_entropy(output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy of logits (N, classes) and one-hot targets (N, classes) -> (N,)."""
    from torch.nn import functional

    return functional.cross_entropy(output, target, reduction="none")


def squared_error(output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
    """Squared error of each sample, averaged over its outputs, (N, ...) twice -> (N,)."""
    return (output - target).square().flatten(1).mean(1)


def _correct(output: Array, target: Array) -> NDArray[np.float64]:
    """Return 1 where the largest output is that of the class, (N, classes) twice -> (N,); of equal outputs the first one counts."""
    return np.asarray(output.argmax(axis=1) == target.argmax(axis=1), np.float64)


def _most_frequent(target: Array) -> Array:
    constant = np.zeros(target.shape[1], np.float32)
    constant[target.sum(axis=0).argmax()] = 1
    return constant


def _cross_entropy(output: Array, target: Array, generator: np.random.Generator) -> Mapping[str, Metric]:
    import torch

    from flow.statistics import mean_interval

    values = cross_entropy(torch.from_numpy(output).double(), torch.from_numpy(target).double()).numpy()
    mean, ci = mean_interval(values)
    source = f"{len(values)} test samples, Student's t"
    return {"cross_entropy": Metric(mean, "nat", direction="lower", ci=ci, source=source, title="cross-entropy")}


def _squared(output: Array, target: Array) -> NDArray[np.float64]:
    return np.asarray(np.square(output.astype(np.float64) - target).reshape(len(output), -1).mean(axis=1))


def _changed(output: Array, target: Array) -> NDArray[np.float64]:
    return np.asarray(np.abs(output.astype(np.float64) - target).reshape(len(output), -1).mean(axis=1))


def _mean(target: Array) -> Array:
    return np.asarray(target.mean(axis=0, dtype=np.float64), np.float32)


ACCURACY = Score("accuracy", "accuracy", "", "higher", _correct, _most_frequent, _cross_entropy)
MSE = Score("mse", "mean squared error", "", "lower", _squared, _mean)
"""The degradation of this score is the mean absolute change of the output, since the clean score is zero."""
CHANGE = Score("output_change", "output change", "", "lower", _changed, _mean)
TASKS: dict[Targets, Imported] = {
    "classes": Imported(cross_entropy, ACCURACY, "the classes of the data file; the loss is the cross-entropy"),
    "values": Imported(squared_error, MSE, "the values of the data file; the loss is the mean squared error"),
    "none": Imported(
        squared_error, CHANGE,
        "the clean network's own, because the data file has no targets: whether it is right is not known. The loss is the mean squared "
        "change; it and its gradient are zero at the network itself, so they are not measured",
        ("gradient_norm", "gradient_noise"),
    ),
}  # fmt: skip


def task_of(notes: Mapping[str, int | float | str]) -> Imported:
    """Return the task of an imported network from the notes of its dataset."""
    return TASKS[cast(Targets, notes["targets"])]
