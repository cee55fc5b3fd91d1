"""Stage ``pretrain``: float training. All bit widths and regularizers of a study start from the same float network."""

from pathlib import Path

from flow.config import DesignPoint, NetworkConfig
from flow.core.stage import Job, Stage
from flow.model import load_model, model_folder
from flow.stages.data import read_dataset


def model_source(point: DesignPoint) -> dict[str, Path]:
    """Return the model's code."""
    return {"model": model_folder(point.model)}


def run(job: Job) -> None:
    """Train the float network from random weights."""
    import torch

    from flow.quant.layers import FloatLayers
    from flow.quant.training import Chain, fit, seeded

    point = job.point
    model = load_model(point.model)
    with seeded(job.rng(point.seed, "weights")):
        chain = Chain(model.on_chip(FloatLayers(NetworkConfig()), point.network.size), model.off_chip(point.network.size))
    history = fit(
        chain, read_dataset(job.input("dataset")), model.loss, point.train, point.train.pretrain_epochs,
        lambda purpose: job.rng(point.seed, purpose), job.scratch / "checkpoint.pt", job.progress,
    )  # fmt: skip
    torch.save(chain.state_dict(), job.output("float_model"))
    job.measure("float_loss", history.validation[history.best], direction="lower", title="float validation loss")


STAGE = Stage(
    "pretrain", run, reads=("dataset",), writes=("float_model",), measures=("float_loss",),
    config=("model", "network.size", "train.pretrain_epochs", "train.batch", "train.learning_rate", "train.patience", "seed"),
    packages=("torch",), sources=model_source, seconds=25,
)  # fmt: skip
