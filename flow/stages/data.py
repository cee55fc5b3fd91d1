"""Stage ``data``: samples of the model, normalised and split, the same for every point of a study."""

import json
from pathlib import Path

import numpy as np

from flow.config import DesignPoint
from flow.core.stage import Job, Stage
from flow.model import Dataset, load_model, model_folder

SPLITS = ("train", "validation", "test")


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model's code, and the data file by content: a moved file changes nothing."""
    path = {"data": Path(point.data.path)} if point.data.path else {}
    return {"model": model_folder(point.model), **path}


def check(point: DesignPoint) -> None:
    """Refuse a size that the model does not have.

    Raises:
        ConfigError: with the sizes there are.
    """
    from flow.core.errors import ConfigError

    sizes = load_model(point.model).sizes
    if point.network.size not in sizes:
        raise ConfigError(f"network.size = '{point.network.size}' is not a size of {point.model}: {', '.join(sizes)}.")


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write a dataset as npz without pickles."""
    arrays = {f"x_{s}": dataset.x[s] for s in SPLITS}
    arrays |= {f"y_{s}": dataset.y[s] for s in SPLITS if dataset.y[s] is not dataset.x[s]}
    arrays |= {f"unit_{s}": dataset.unit[s] for s in SPLITS if s in dataset.unit}
    with path.open("wb") as stream:
        np.savez(stream, notes=np.array(json.dumps(dict(dataset.notes), sort_keys=True)), **arrays)  # type: ignore[arg-type]


def read_dataset(path: Path) -> Dataset:
    """Read what `write_dataset` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        x = {s: archive[f"x_{s}"] for s in SPLITS}
        y = {s: archive[f"y_{s}"] if f"y_{s}" in archive else x[s] for s in SPLITS}
        unit = {s: archive[f"unit_{s}"] for s in SPLITS if f"unit_{s}" in archive}
    return Dataset(x, y, read_notes(path), unit)


def read_notes(path: Path) -> dict[str, int | float | str]:
    """Read the facts about the data that `write_dataset` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        notes: dict[str, int | float | str] = json.loads(str(archive["notes"]))
        return notes


def run(job: Job) -> None:
    """Load or generate the samples."""
    dataset = load_model(job.point.model).load(job.point.data, job.progress, job.scratch)
    write_dataset(job.output("dataset"), dataset)
    for split in SPLITS:
        job.measure(f"samples_{split}", len(dataset.x[split]), "samples", title=f"{split} samples")


STAGE = Stage(
    "data", run, writes=("dataset",), measures=("samples_*",), config=("model", "data"), packages=("numpy", "pandas"),
    sources=sources, check=check, seconds=6,
)  # fmt: skip
