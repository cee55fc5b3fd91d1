"""What the stages have in common that measure an exported network with plug-ins."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.plugins import file_of, load
from flow.core.stage import Job
from flow.model import Model

if TYPE_CHECKING:
    from torch import nn

    from flow.gate import Values
    from flow.imported.tasks import Imported
    from flow.twin import Twin


def plugin_files(group: str, ids: Iterable[str]) -> dict[str, Path]:
    """Return the file of each plug-in by label."""
    return {f"{group} {name}": file_of(group, name) for name in ids}


def load_network(job: Job, model: "Model | Imported") -> "tuple[Twin, nn.Module | None]":
    """Load the two parts of a trained network: the twin of artifact ``qonnx``, and the off-chip part with the weights of ``head``.

    Raises:
        InvalidInput: the weights do not fit the model.
    """
    import torch

    from flow.core.errors import InvalidInput
    from flow.twin import load_twin

    torch.set_num_threads(1)
    head = model.off_chip(job.point.network.size)
    if head is not None:
        try:
            head.load_state_dict(torch.load(job.input("head"), weights_only=True))
        except RuntimeError as error:
            raise InvalidInput(f"{job.input('head')}: these weights do not fit the off-chip part of {job.point.model}: {error}") from None
        head.eval().requires_grad_(requires_grad=False)
    return load_twin(job.input("qonnx")), head


def input_unit(model: str, twin: "Twin") -> float:
    """Return what 100 % of an input noise is: 1 for a model, whose inputs are normalised; else the range of the input words."""
    words = twin.input_format
    return 1.0 if model else words.scale * 2.0 ** (words.bits - words.signed)


def twin_layers(qonnx: Path, sample: "Values") -> "dict[str, Values]":
    """Return the flat values of every layer of the twin, channels last, for one sample (without a sample axis, channels first)."""
    import numpy as np
    import torch

    from flow.gate import channels_last
    from flow.twin import load_twin

    twin = load_twin(qonnx)
    with torch.no_grad():
        layers = twin.layers(twin.params, torch.from_numpy(np.ascontiguousarray(sample, np.float32))[None])
    return {name: np.ravel(channels_last(v.numpy().astype(np.float64))) for name, v in layers.items()}


def measure_all(job: Job, group: str, subject: object, config: object, ids: tuple[str, ...]) -> None:
    """Run plug-ins one after the other, each with random numbers of its own, and record what they measure."""
    for i, name in enumerate(ids):

        def progress(fraction: float, text: str, i: int = i) -> None:
            job.progress((i + fraction) / len(ids), text)

        job.metrics.update(load(group, name).measure(subject, config, job.rng(job.point.data.seed, name), progress))
