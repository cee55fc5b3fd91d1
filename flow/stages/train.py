"""Stage ``train``: choose the scales, then quantization-aware training with Brevitas, then the task score."""

from pathlib import Path

from flow.config import DesignPoint
from flow.core.stage import Job, Stage
from flow.model import load_model, model_folder
from flow.stages._measuring import plugin_files
from flow.stages.data import read_dataset


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model and the regularizers that the point names."""
    return {"model": model_folder(point.model), **plugin_files("regularizers", point.regularizers)}


def run(job: Job) -> None:
    """Train the quantized network from the float one."""
    import torch

    from flow.quant.calibrate import calibrate
    from flow.quant.evaluate import measure_score
    from flow.quant.layers import FloatLayers, QuantLayers
    from flow.quant.training import Chain, fit, predict_exactly
    from flow.regularizers import combine

    point = job.point
    model, data = load_model(point.model), read_dataset(job.input("dataset"))
    floats = FloatLayers(point.network)
    start = Chain(model.on_chip(floats, point.network.size), model.off_chip(point.network.size))
    weights = torch.load(job.input("float_model"), weights_only=True)
    start.load_state_dict(weights)
    exponents = calibrate(start.on_chip, floats, torch.from_numpy(data.x["train"][:4096]), model.input_max)
    chain = Chain(model.on_chip(QuantLayers(point.network, exponents), point.network.size), model.off_chip(point.network.size))
    chain.load_state_dict(weights, strict=False)
    history = fit(
        chain, data, model.loss, point.train, point.train.epochs, lambda purpose: job.rng(point.seed, purpose),
        job.scratch / "checkpoint.pt", job.progress, combine(point.regularizers),
    )  # fmt: skip
    torch.save({"state": chain.state_dict(), "exponents": exponents}, job.output("model"))
    torch.save(chain.off_chip.state_dict(), job.output("head"))
    measure_score(job, model.score, data, predict_exactly(chain, data.x["test"]).float().numpy(), job.rng(point.data.seed, "score"))
    job.measure("validation_loss", history.validation[history.best], direction="lower", title="validation loss")
    job.measure("epochs", len(history.train), "epochs", title="epochs trained (the best validation loss is kept)")


STAGE = Stage(
    "train", run, reads=("dataset", "float_model"), writes=("model", "head"), measures=("*",),
    config=("model", "network", "data.seed", "train", "regularizers", "seed"), packages=("torch", "brevitas", "POT"),
    sources=sources, seconds=30,
)  # fmt: skip
