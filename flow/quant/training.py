"""Training loop: deterministic, resumable after a kill, with early stopping."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from flow.config import TrainConfig
from flow.core.stage import Progress
from flow.model import Dataset, Score
from flow.quant.evaluate import score_interval
from flow.quant.straight import set_shifts
from flow.regularizers import Batch, Penalty

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Chain(nn.Module):
    """The on-chip part followed by the off-chip part, if there is one."""

    def __init__(self, on_chip: nn.Module, off_chip: nn.Module | None) -> None:
        super().__init__()
        self.on_chip = on_chip
        self.off_chip = nn.Identity() if off_chip is None else off_chip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map inputs (N, ...) to the output that the loss and the score look at."""
        out: torch.Tensor = self.off_chip(self.on_chip(x))
        return out


@dataclass(frozen=True)
class Task:
    """What is trained for.

    Attributes:
        loss: ``(output, target) -> (N,)``.
        score: the task score, by which an epoch may be selected.
    """

    loss: Loss
    score: Score


@dataclass
class History:
    """Learning curves by epoch, and the epoch whose weights were kept; entry 0 of all but `train` is before training.

    Attributes:
        train: mean training loss.
        validation: mean validation loss.
        score: mean task score on the validation set.
        best: the epoch that was kept.
    """

    train: list[float]
    validation: list[float]
    score: list[float]
    best: int


@contextlib.contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let torch draw initial weights from `rng`; its global generator is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield


def _batch(network: Chain, loss: Loss, x: torch.Tensor, y: torch.Tensor, output: torch.Tensor, rng: np.random.Generator) -> Batch:
    """Return what a regularizer sees of a batch."""

    def evaluate(inputs: torch.Tensor, shifts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        set_shifts(network.on_chip, shifts)
        try:
            return loss(network(inputs), y)
        finally:
            set_shifts(network.on_chip, {})

    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return Batch(network.on_chip, x, output, generator, loss(output, y), evaluate)


def run_epoch(
    network: Chain, data: Dataset, loss: Loss, penalty: Penalty | None, config: TrainConfig, optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """Train for one epoch and return the mean task loss of its batches."""
    order = torch.from_numpy(rng.permutation(len(data.x["train"])))
    x_all, y_all = torch.from_numpy(data.x["train"]), torch.from_numpy(data.y["train"])
    total = 0.0
    network.train()
    for rows in torch.split(order, config.batch):
        x, y = x_all[rows].requires_grad_(penalty is not None), y_all[rows]
        output = network(x)
        if penalty is None:
            value = loss(output, y).mean()
            total += float(value.detach()) * len(rows)
        else:
            batch = _batch(network, loss, x, y, output, rng)
            total += float(batch.loss.detach().sum())
            value = batch.loss.mean() + penalty(batch)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return total / len(order)


def predict(network: nn.Module, x: np.ndarray, batch: int = 4096) -> torch.Tensor:
    """Return the output of a network for (N, ...) inputs, without gradients, in the precision of `x`."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(rows) for rows in torch.split(torch.from_numpy(x), batch)])


def predict_exactly(network: nn.Module, x: np.ndarray) -> torch.Tensor:
    """Return what the deployed integers give: in float64, where no sum of codes is ever rounded (float32 is exact to 2^24 only)."""
    return predict(copy.deepcopy(network).double(), x.astype(np.float64))


def _note(history: History, network: Chain, data: Dataset, task: Task) -> None:
    """Append what the validation set says."""
    output, target = predict(network, data.x["validation"]), data.y["validation"]
    history.validation.append(float(task.loss(output, torch.from_numpy(target)).mean()))
    history.score.append(score_interval(task.score.per_sample(output.numpy(), target), "validation")[0])


def _goodness(history: History, task: Task, config: TrainConfig) -> list[float]:
    """Return what is maximised, by epoch."""
    if config.select == "last":
        return [float(epoch) for epoch in range(len(history.score))]
    if config.select == "loss":
        return [-value for value in history.validation]
    return [value if task.score.direction == "higher" else -value for value in history.score]


def rate(config: TrainConfig, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch, which counts from 1.

    With ``cosine`` it decays to zero, so that the last epochs settle on the quantization grid.
    """
    done = (epoch - 1) / epochs
    factor = {"constant": 1.0, "step": 0.5 ** int(5 * done), "cosine": 0.5 * (1 + math.cos(math.pi * done))}[config.schedule]
    return config.learning_rate * factor


def fit(
    network: Chain, data: Dataset, task: Task, config: TrainConfig, epochs: int, rng: Callable[[str], np.random.Generator],
    checkpoint: Path, progress: Progress, *, penalty: Penalty | None = None, prepare: Callable[[float], None] = lambda done: None,
    first: int = 0,
) -> History:  # fmt: skip
    """Train in place and leave the weights of the best epoch.

    Each epoch has a random generator of its own, so a run that was killed goes on from `checkpoint` to exactly the weights
    that an undisturbed run reaches.

    Args:
        network: on-chip and off-chip part.
        data: train and validation split are used.
        task: loss and score.
        config: batch, learning rate, selection, patience.
        epochs: most epochs.
        rng: ``rng(purpose)`` gives an independent generator.
        checkpoint: file that survives a kill.
        progress: told after each epoch.
        penalty: regularizer, added to the mean loss.
        prepare: called before each epoch with the fraction of epochs done; pruning sets its masks there.
        first: earlier epochs are not kept and do not count for the patience.

    Raises:
        NotTrained: hardly any validation sample has a score.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    prepare(0.0)
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        history, best = History(**saved["history"]), saved["best"]
    else:
        history, best = History([], [], [], first), copy.deepcopy(network.state_dict())
        _note(history, network, data, task)
    for epoch in range(len(history.train) + 1, epochs + 1):
        if epoch - history.best > config.patience:
            break
        prepare((epoch - 1) / epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate(config, epoch, epochs)
        history.train.append(run_epoch(network, data, task.loss, penalty, config, optimizer, rng(f"epoch {epoch}")))
        _note(history, network, data, task)
        goodness = _goodness(history, task, config)
        if epoch == first or (epoch > first and goodness[-1] > goodness[history.best]):
            history.best, best = epoch, copy.deepcopy(network.state_dict())
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "history": history.__dict__, "best": best}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        words = f"validation loss {history.validation[-1]:.4g}, {task.score.title} {history.score[-1]:.4g}"
        progress(epoch / epochs, f"epoch {epoch}/{epochs}, {words}")
    network.load_state_dict(best)
    return history
