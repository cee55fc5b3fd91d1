"""Training loop: deterministic, resumable after a kill, with early stopping."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from flow.config import TrainConfig
from flow.core.stage import Progress
from flow.model import Dataset
from flow.quant.layers import plain
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
        out: torch.Tensor = self.off_chip(plain(self.on_chip(x)))
        return out


@dataclass
class History:
    """Losses by epoch, and the epoch whose weights were kept."""

    train: list[float]
    validation: list[float]
    best: int


@contextlib.contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let torch draw initial weights from `rng`; its global generator is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        yield


def _run_epoch(
    network: Chain, data: Dataset, loss: Loss, penalty: Penalty | None, config: TrainConfig, optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    order = torch.from_numpy(rng.permutation(len(data.x["train"])))
    x_all, y_all = torch.from_numpy(data.x["train"]), torch.from_numpy(data.y["train"])
    total = 0.0
    network.train()
    for rows in torch.split(order, config.batch):
        x = x_all[rows].requires_grad_(penalty is not None)
        output = network(x)
        value = loss(output, y_all[rows]).mean()
        total += float(value.detach()) * len(rows)
        if penalty is not None:
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            value = value + penalty(Batch(network.on_chip, x, output, generator))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return total / len(order)


def predict(network: nn.Module, x: np.ndarray, batch: int = 4096) -> torch.Tensor:
    """Return the output of a network for (N, ...) inputs, without gradients, in the precision of `x`."""
    network.eval()
    with torch.no_grad():
        return torch.cat([plain(network(rows)) for rows in torch.split(torch.from_numpy(x), batch)])


def predict_exactly(network: nn.Module, x: np.ndarray) -> torch.Tensor:
    """Return what the deployed integers give: in float64, where no sum of codes is ever rounded (float32 is exact to 2^24 only)."""
    return predict(copy.deepcopy(network).double(), x.astype(np.float64))


def _validation_loss(network: Chain, data: Dataset, loss: Loss) -> float:
    return float(loss(predict(network, data.x["validation"]), torch.from_numpy(data.y["validation"])).mean())


def fit(
    network: Chain, data: Dataset, loss: Loss, config: TrainConfig, epochs: int, rng: Callable[[str], np.random.Generator],
    checkpoint: Path, progress: Progress, penalty: Penalty | None = None,
) -> History:  # fmt: skip
    """Train in place and leave the weights of the best validation loss.

    Each epoch has a random generator of its own, so a run that was killed goes on from `checkpoint` to exactly the weights
    that an undisturbed run reaches.

    Args:
        network: on-chip and off-chip part.
        data: train and validation split are used.
        loss: ``(output, target) -> (N,)``.
        config: batch, learning rate, patience.
        epochs: most epochs.
        rng: ``rng(purpose)`` gives an independent generator.
        checkpoint: file that survives a kill.
        progress: told after each epoch.
        penalty: regularizer, added to the mean loss.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    history, best = History([], [_validation_loss(network, data, loss)], 0), copy.deepcopy(network.state_dict())
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        history, best = History(**saved["history"]), saved["best"]
    for epoch in range(len(history.train) + 1, epochs + 1):
        if epoch - history.best > config.patience:
            break
        for group in optimizer.param_groups:  # cosine decay: the last epochs settle on the quantization grid
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))
        history.train.append(_run_epoch(network, data, loss, penalty, config, optimizer, rng(f"epoch {epoch}")))
        history.validation.append(_validation_loss(network, data, loss))
        if history.validation[-1] < history.validation[history.best]:
            history.best, best = epoch, copy.deepcopy(network.state_dict())
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "history": history.__dict__, "best": best}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        progress(epoch / epochs, f"epoch {epoch}/{epochs}, validation loss {history.validation[-1]:.4g}")
    network.load_state_dict(best)
    return history
