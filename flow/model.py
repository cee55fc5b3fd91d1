"""What a model folder provides, and how it is loaded by path under a private module name."""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import ConfigError, UnknownPlugin
from flow.core.metric import Direction, Metric
from flow.core.plugins import suggest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from flow.config import DataConfig
    from flow.core.stage import Progress
    from flow.imported.tasks import Imported
    from flow.quant.layers import Layers

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Samples of a model, already normalised, float32, sample axis first.

    Attributes:
        x: inputs by split (``train``, ``validation``, ``test``), each (N, *input shape); negative only if the network's input is signed.
        y: targets by split: the same arrays as `x` for an autoencoder, one-hot (N, classes) for a classifier.
        notes: facts about the data for a person, e.g. duplicates and empty rows that were dropped.
        unit: what one unit of the detector is at the input of the network, by split: arrays that broadcast to those of `x`. Its name is
            the note ``detector_unit``. Empty: the inputs have no such unit.
    """

    x: Mapping[str, Array]
    y: Mapping[str, Array]
    notes: Mapping[str, int | float | str] = field(default_factory=dict)
    unit: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """The task score of a model.

    Attributes:
        id: metric id, for example ``emd``.
        title: words for an axis.
        unit: its unit.
        direction: which way is better.
        per_sample: ``(output, target) -> (N,)``, NaN where a sample has no score.
        trivial: ``(train targets) -> output`` of the best constant predictor, without the sample axis.
        extras: ``(output, target, generator) -> {id: metric}``, further figures of the clean test set.
    """

    id: str
    title: str
    unit: str
    direction: Direction
    per_sample: Callable[[Array, Array], NDArray[np.float64]]
    trivial: Callable[[Array], Array]
    extras: Callable[[Array, Array, np.random.Generator], Mapping[str, Metric]] = lambda o, t, g: {}


@dataclass(frozen=True)
class Model:
    """The parts of one model folder.

    Attributes:
        folder: where it lies.
        sizes: names of its sizes.
        input_max: bound of the inputs; the input words cover [0, input_max), or [-input_max, input_max) if they are signed.
        on_chip: ``(layers, size) -> module``: the part that becomes hardware, built from `flow.quant.layers`.
        off_chip: ``(size) -> module``: a float head behind it, or None.
        loss: ``(output, target) -> (N,)`` differentiable loss of each sample.
        load: ``(config, progress, scratch) -> Dataset``; `scratch` is a folder that survives a kill.
        score: the task score.
        vacuous: landscape metrics that say nothing about it, so they are not measured.
    """

    folder: Path
    sizes: tuple[str, ...]
    input_max: float
    on_chip: "Callable[[Layers, str], nn.Module]"
    off_chip: "Callable[[str], nn.Module | None]"
    loss: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
    load: "Callable[[DataConfig, Progress, Path], Dataset]"
    score: Score
    vacuous: tuple[str, ...] = ()


MODELS = Path(__file__).resolve().parent.parent / "models"


def model_names() -> list[str]:
    """List the models of this checkout."""
    return sorted(p.parent.name for p in MODELS.glob("*/network.py"))


def model_folder(name: str) -> Path:
    """Find a model: a folder of ``models/``, or the path of a folder elsewhere.

    Raises:
        UnknownPlugin: there is neither; lists the models.
    """
    for folder in (MODELS / name, Path.cwd() / "models" / name, Path(name)):
        if (folder / "network.py").is_file():
            return folder.resolve()
    raise UnknownPlugin(
        f"model = '{name}' is neither one of the models ({', '.join(model_names())}) nor a folder with network.py, data.py and score.py."
        + suggest(name, model_names())
    )


def _package(folder: Path) -> str:
    name = "_hlscape_model_" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    if name not in sys.modules:
        spec = importlib.util.spec_from_loader(name, loader=None, is_package=True)
        module = ModuleType(name) if spec is None else importlib.util.module_from_spec(spec)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
    return name


def load_model(name: str) -> Model:
    """Load a model by name or path.

    Raises:
        UnknownPlugin: there is no such model.
        ConfigError: a part of its folder is missing.
    """
    folder = model_folder(name)
    package = _package(folder)
    network, data, score = (_part(package, folder, part) for part in ("network", "data", "score"))
    wanted = [*((network, name) for name in ("SIZES", "INPUT_MAX", "on_chip", "off_chip", "loss")), (data, "load"), (score, "SCORE")]
    parts: list[Any] = []
    for module, attribute in wanted:
        if not hasattr(module, attribute):
            raise ConfigError(
                f"{folder}/{module.__name__.split('.')[-1]}.py does not define '{attribute}'; see CONTRIBUTING.md, 'A model'."
            )
        parts.append(getattr(module, attribute))
    return Model(folder, tuple(parts[0]), *parts[1:])


def model_sources(name: str) -> dict[str, Path]:
    """Return the code of a model by label; an imported network (no name) has none."""
    return {"model": model_folder(name)} if name else {}


def model_for(name: str, dataset: Dataset) -> "Model | Imported":
    """Return what is measured with: the model of that name, or for an imported network (no name) the task of its dataset.

    Raises:
        UnknownPlugin: there is no such model.
        ConfigError: a part of its folder is missing.
    """
    from flow.imported.tasks import task_of

    return load_model(name) if name else task_of(dataset.notes)


def project_name(name: str) -> str:
    """Return the name of a model's hls4ml project, an identifier of C++."""
    return re.sub(r"\W", "_", model_folder(name).name) if name else "imported"


def _part(package: str, folder: Path, part: str) -> ModuleType:
    if not (folder / f"{part}.py").is_file():
        raise ConfigError(f"{folder} has no {part}.py; see CONTRIBUTING.md, 'A model'.")
    try:
        return importlib.import_module(f"{package}.{part}")
    except Exception as error:
        raise ConfigError(f"{folder}/{part}.py cannot be imported: {type(error).__name__}: {error}.") from error
