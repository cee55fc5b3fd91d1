"""Stage ``landscape``: metrics of the loss landscape around the trained parameters, by the plug-ins of `flow.landscape`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from flow.config import DesignPoint
from flow.core.plugins import load, names
from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.model import model_for, model_sources
from flow.stages._measuring import input_unit, load_network, measure_all, plugin_files
from flow.stages.data import read_dataset


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model and the plug-ins that the point names."""
    return {**model_sources(point.model), **plugin_files("landscape", point.landscape.metrics)}


def run(job: Job) -> None:
    """Measure on the first test samples; draws are the same for every point with the same data seed."""
    import numpy as np
    import torch

    from flow.landscape._problem import build_problem
    from flow.stages._compiled import with_engine

    point = job.point
    data = read_dataset(job.input("dataset"))
    model = model_for(point.model, data)
    twin, head = load_network(job, model)
    x, y = (torch.from_numpy(arrays["test"][: point.landscape.samples]) for arrays in (data.x, data.y))
    ids = tuple(i for i in point.landscape.metrics if i not in model.vacuous and hasattr(load("landscape", i), "measure"))
    problem = build_problem(twin, head, model.loss, x, y, memory=int(point.landscape.memory_gb * 2**30))
    problem = with_engine(job, replace(problem, unit=input_unit(point.model, twin)), point.landscape.engine)
    measure_all(job, "landscape", problem, point.landscape, ids)
    if point.compat:
        from flow.landscape import _pylandscape

        rng = job.rng(point.data.seed, point.compat)
        job.metrics.update(_pylandscape.measure(problem, point.landscape, rng, lambda fraction, text: job.progress(1.0, text)))
    records: dict[str, Any] = dict(problem.records)
    with job.output("shapes").open("wb") as file:
        np.savez(file, **records)


STAGE = Stage(
    "landscape", run, reads=("dataset", "qonnx", "head"), writes=("shapes",),
    measures=("*trace*", "*eigen*", "pylandscape_*", *(f"{name}*" for name in names("landscape"))),
    config=("model", "network.size", "data.seed", "landscape", "compat"), tools=(GXX,),
    packages=("torch", "numpy", "scipy", "onnx"), sources=sources, seconds=20,
)  # fmt: skip
