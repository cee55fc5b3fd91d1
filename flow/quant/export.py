"""Brevitas module -> cleaned and repaired QONNX file."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import onnx
import torch
from brevitas.export import export_qonnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model
from torch import nn

from flow.core.plugins import load, names
from flow.gate import Values, first_layer
from flow.quant.layers import plain
from flow.twin import Twin


@contextlib.contextmanager
def quiet(log: TextIO) -> Iterator[None]:
    """Send what a library prints to a log."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    finally:
        logger.setLevel(level)


def export(network: nn.Module, example: torch.Tensor, path: Path, log: TextIO) -> dict[str, int]:
    """Write the QONNX graph of a trained network.

    Args:
        network: Brevitas module, scales frozen.
        example: (1, ...) input.
        path: file to write.
        log: for the words of the exporters.

    Returns:
        How many places each repair changed.
    """
    network.eval()
    with tempfile.TemporaryDirectory() as folder, quiet(log):
        raw = Path(folder) / "raw.onnx"
        export_qonnx(network, args=example, export_path=str(raw))
        model = cleanup_model(ModelWrapper(str(raw))).model
    changes = {name: load("quant.repairs", name).apply(model) for name in names("quant.repairs")}
    onnx.save_model(model, str(path), save_as_external_data=False)
    return changes


def first_divergence(network: nn.Module, twin: Twin, x: torch.Tensor) -> str:
    """Name the first layer of the twin that no module of the Brevitas network reproduces, for one sample (1, ...)."""
    seen: dict[str, Values] = {}

    def keep(name: str, output: object) -> None:
        with contextlib.suppress(TypeError):  # the inner modules of Brevitas return tuples
            seen[name] = plain(output).detach().double().numpy()

    hooks = [m.register_forward_hook(lambda m, i, out, name=name: keep(name, out)) for name, m in network.named_modules()]
    with torch.no_grad():
        network(x)
        for hook in hooks:
            hook.remove()
        layers = {k: v.double().numpy() for k, v in twin.layers(twin.params, x).items()}
    return first_layer(layers, seen) or "output"
