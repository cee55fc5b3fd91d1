"""Stage ``train``: choose the scales, then quantization-aware training, then the task score of the deployed integers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from flow.config import DesignPoint
from flow.core.stage import Job, Stage
from flow.model import Model, load_model, model_folder
from flow.stages._measuring import plugin_files
from flow.stages.data import read_dataset

if TYPE_CHECKING:
    from flow.model import Dataset
    from flow.quant.calibrate import Scales
    from flow.quant.training import Chain


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model and the regularizers that the point names."""
    return {"model": model_folder(point.model), **plugin_files("regularizers", point.regularizers)}


def check(point: DesignPoint) -> None:
    """Refuse options that a regularizer does not have, and settings of layers that the network does not have.

    Raises:
        ConfigError: with those there are.
    """
    if point.regularizers:
        from flow.regularizers import combine

        combine(point.regularizers)
    if point.network.layers:
        from flow.quant.layers import FloatLayers

        layers = FloatLayers(point.network)
        load_model(point.model).on_chip(layers, point.network.size)
        layers.check_names()


def _start(job: Job, model: Model, data: "Dataset") -> "tuple[Chain, Scales]":
    """Return the float network of the point, batch normalisation folded, and the scales for it."""
    import torch

    from flow.quant.calibrate import calibrate
    from flow.quant.layers import FloatLayers, fold_norms
    from flow.quant.training import Chain

    size, layers = job.point.network.size, FloatLayers(job.point.network)
    chain = Chain(model.on_chip(layers, size), model.off_chip(size))
    chain.load_state_dict(torch.load(job.input("float_model"), weights_only=True))
    fold_norms(chain)
    return chain, calibrate(chain.on_chip, layers, torch.from_numpy(data.x["train"][:4096]), model.input_max)


def run(job: Job) -> None:
    """Train the quantized network from the float one.

    Raises:
        NotTrained: it is no better than a constant output.
        MismatchError: Brevitas computes something else than the layers that were trained.
    """
    import torch

    from flow.quant.evaluate import measure_score
    from flow.quant.export import same_in_brevitas
    from flow.quant.pruning import RAMP, bake, pruner, zero_fraction
    from flow.quant.straight import StraightLayers, load_float
    from flow.quant.training import Chain, Task, fit, predict_exactly
    from flow.regularizers import combine

    point = job.point
    model, data = load_model(point.model), read_dataset(job.input("dataset"))
    start, scales = _start(job, model, data)
    layers = StraightLayers(point.network, scales)
    chain = Chain(model.on_chip(layers, point.network.size), model.off_chip(point.network.size))
    load_float(chain, start.state_dict())
    history = fit(
        chain, data, Task(model.loss, model.score), point.train, point.train.epochs, lambda purpose: job.rng(point.seed, purpose),
        job.scratch / "checkpoint.pt", job.progress, penalty=combine(point.regularizers), prepare=pruner(chain.on_chip, point.pruning),
        first=int(RAMP * point.train.epochs) + 1 if point.pruning.sparsity else 0,
    )  # fmt: skip
    bake(chain.on_chip)
    saved = {
        "state": chain.on_chip.state_dict(),
        "exponents": layers.exponents(),
        "feeds": dict(scales.feeds),
        "bias_bits": scales.bias_bits,
    }
    torch.save(saved, job.output("model"))
    torch.save(chain.off_chip.state_dict(), job.output("head"))
    job.output("history").write_text(json.dumps(history.__dict__) + "\n")
    same_in_brevitas(model, point, saved, chain.on_chip, data.x["validation"])
    measure_score(job, model.score, data, predict_exactly(chain, data.x["test"]).float().numpy(), job.rng(point.data.seed, "score"))
    job.measure("validation_loss", history.validation[history.best], direction="lower", title="validation loss")
    job.measure("epochs", len(history.train), "epochs", title=f"epochs trained (kept: epoch {history.best})")
    job.measure("zero_weights", 100 * zero_fraction(chain.on_chip), "%", title="on-chip weights that are zero")


STAGE = Stage(
    "train", run, reads=("dataset", "float_model"), writes=("model", "head", "history"), measures=("*",),
    config=("model", "network", "data.seed", "train", "pruning", "regularizers", "seed"), packages=("torch", "brevitas", "POT"),
    sources=sources, check=check, seconds=30,
)  # fmt: skip
