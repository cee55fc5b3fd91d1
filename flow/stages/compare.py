"""Stage ``compare``: what networks that differ in the training seed only have in common, by the plug-ins of `flow.landscape`.

It belongs to a group of points, not to one: see `flow.comparison`. It reads the dataset once, and ``qonnx`` and ``head`` of every member
under names with its number. Artifact ``curves`` is what the plug-ins left to be drawn, by name (.npz).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flow.config import DesignPoint
from flow.core.plugins import load, names
from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.model import model_for, model_sources
from flow.stages._measuring import load_network, plugin_files
from flow.stages.data import read_dataset

SHARED, OWN = ("dataset",), ("qonnx", "head")
"""Artifacts that all members have in common, and those that each has for itself."""


def comparing(point: DesignPoint) -> tuple[str, ...]:
    """Return the plug-ins that the point names and that compare."""
    return tuple(name for name in point.landscape.metrics if hasattr(load("landscape", name), "compare"))


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model and the plug-ins that compare."""
    return {**model_sources(point.model), **plugin_files("landscape", comparing(point))}


def run(job: Job) -> None:
    """Compare the networks of several seeds on the first test samples: how alike they are, and what a curve between them loses."""
    import numpy as np
    import torch

    from flow.landscape._problem import build_problem
    from flow.stages._compiled import with_engine

    point = job.point
    data = read_dataset(job.input("dataset"))
    model = model_for(point.model, data)
    x, y = (torch.from_numpy(arrays["test"][: point.landscape.samples]) for arrays in (data.x, data.y))
    memory = int(point.landscape.memory_gb * 2**30)
    problems = []
    for member in _members(job):
        twin, head = load_network(member, model)
        problems.append(with_engine(job, build_problem(twin, head, model.loss, x, y, memory), job.point.landscape.engine))
    ids = tuple(name for name in comparing(point) if name not in model.vacuous)
    for i, name in enumerate(ids):

        def progress(fraction: float, text: str, i: int = i) -> None:
            job.progress((i + fraction) / len(ids), text)

        job.metrics.update(load("landscape", name).compare(problems, point.landscape, job.rng(point.data.seed, name), progress))
    records: dict[str, np.ndarray] = {name: values for problem in problems for name, values in problem.records.items()}
    with job.output("curves").open("wb") as file:
        np.savez(file, **records)  # type: ignore[arg-type]  # of its keyword allow_pickle


def _members(job: Job) -> list[Job]:
    """Return a view of the job for each member, in which its artifacts have their usual names."""
    count = sum(name.startswith(f"{OWN[0]}_") for name in job.stage.reads)
    stage = replace(job.stage, reads=OWN)
    return [replace(job, stage=stage, inputs={name: job.input(f"{name}_{i}") for name in OWN}) for i in range(count)]


STAGE = Stage(
    "compare", run, reads=SHARED, writes=("curves",), measures=tuple(f"{name}*" for name in names("landscape")),
    config=("model", "network.size", "data.seed", "landscape"), tools=(GXX,), packages=("torch", "numpy", "scipy", "onnx"), sources=sources,
    seconds=20,
)  # fmt: skip


def stage_for(members: Sequence[DesignPoint]) -> Stage:
    """Return the stage for a group of points."""
    return replace(STAGE, reads=(*SHARED, *(f"{name}_{i}" for i in range(len(members)) for name in OWN)))
