"""Stage ``pretrain``: float training. All bit widths and regularizers of a study start from the same float network."""

import json
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

    from flow.quant.evaluate import measure_float
    from flow.quant.layers import FloatLayers
    from flow.quant.training import Chain, Task, fit, predict, seeded

    point = job.point
    model, data = load_model(point.model), read_dataset(job.input("dataset"))
    with seeded(job.rng(point.seed, "weights")):
        chain = Chain(model.on_chip(FloatLayers(NetworkConfig()), point.network.size), model.off_chip(point.network.size))
    history = fit(
        chain, data, Task(model.loss, model.score), point.train, point.train.pretrain_epochs,
        lambda purpose: job.rng(point.seed, purpose), job.scratch / "checkpoint.pt", job.progress,
    )  # fmt: skip
    torch.save(chain.state_dict(), job.output("float_model"))
    job.output("float_history").write_text(json.dumps(history.__dict__) + "\n")
    job.measure("float_loss", history.validation[history.best], direction="lower", title="float validation loss")
    measure_float(job, model.score, predict(chain, data.x["test"]).numpy(), data.y["test"], job.rng(point.data.seed, "score"))


STAGE = Stage(
    "pretrain", run, reads=("dataset",), writes=("float_model", "float_history"), measures=("float_loss", "*_float"),
    config=("model", "network.size", "train.pretrain_epochs", "train.batch", "train.learning_rate", "train.schedule", "train.select",
            "train.patience", "seed", "data.seed"),
    packages=("torch",), sources=model_source, seconds=25,
)  # fmt: skip
