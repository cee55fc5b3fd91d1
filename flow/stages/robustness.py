"""Stage ``robustness``: how much worse the task score becomes under perturbations, by the plug-ins of `flow.robustness`."""

from pathlib import Path

from flow.config import DesignPoint
from flow.core.plugins import names
from flow.core.stage import Job, Stage
from flow.model import model_for, model_sources
from flow.stages._measuring import input_unit, load_network, measure_all, plugin_files
from flow.stages.data import read_dataset

RANKING_SAMPLES = 512


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model and the plug-ins that the point names."""
    return {**model_sources(point.model), **plugin_files("robustness", point.robustness.perturbations)}


def run(job: Job) -> None:
    """Measure on the first test samples; draws are the same for every point with the same data seed."""
    import torch

    from flow.landscape._problem import build_problem
    from flow.robustness._subject import build_subject

    point = job.point
    data = read_dataset(job.input("dataset"))
    model = model_for(point.model, data)
    twin, head = load_network(job, model)
    x, y = (arrays["test"][: point.robustness.samples] for arrays in (data.x, data.y))
    split = "validation" if len(data.x["validation"]) else "test"
    inputs, outputs = (torch.from_numpy(arrays[split][:RANKING_SAMPLES]) for arrays in (data.x, data.y))
    subject = build_subject(
        twin, head, model.score, x, y, input_unit(point.model, twin), build_problem(twin, head, model.loss, inputs, outputs)
    )
    measure_all(job, "robustness", subject, point.robustness, point.robustness.perturbations)
    if point.compat:
        from flow.robustness import _pylandscape

        rng = job.rng(point.data.seed, point.compat)
        job.metrics.update(_pylandscape.measure(subject, point.robustness, rng, lambda fraction, text: job.progress(1.0, text)))


STAGE = Stage(
    "robustness", run, reads=("dataset", "qonnx", "head"),
    measures=("pylandscape_*", "*_gauss_*", "*_salt_*", "*_flip_*", *(f"*_{name}_*" for name in names("robustness"))),
    config=("model", "network.size", "data.seed", "robustness", "compat"),
    packages=("torch", "numpy", "scipy", "onnx", "POT"), sources=sources, seconds=12,
)  # fmt: skip
