"""Brevitas module -> cleaned QONNX file.

The file has the true parameters and quantizers of the network: bit flips and Hessians of the twin see what is deployed. What hls4ml
needs to have rewritten, for example one scale per tensor, is rewritten by the convert stage in its own copy.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import onnx
import torch
from brevitas.export import export_qonnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model
from torch import nn

from flow.config import DesignPoint
from flow.core.errors import MismatchError
from flow.core.plugins import load
from flow.gate import Values, first_layer
from flow.model import Array, Model
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import Scales
from flow.quant.training import predict_exactly
from flow.twin import Twin

ON_EXPORT = ("rounding_names", "strip_metadata")
"""Repairs of the file itself, which change no parameter and no quantizer."""


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
        How many places each repair of `ON_EXPORT` changed.
    """
    network.eval()
    with tempfile.TemporaryDirectory() as folder, quiet(log):
        raw = Path(folder) / "raw.onnx"
        export_qonnx(network, args=example, export_path=str(raw))
        model = cleanup_model(ModelWrapper(str(raw))).model
    changes = {name: load("quant.repairs", name).apply(model) for name in ON_EXPORT}
    onnx.save_model(model, str(path), save_as_external_data=False)
    return changes


def build(model: Model, point: DesignPoint, saved: Mapping[str, Any]) -> nn.Module:
    """Return the on-chip part of a trained network in Brevitas.

    Args:
        model: of the point.
        point: widths and rounding.
        saved: what the train stage saved: ``state``, ``exponents``, ``feeds`` and ``bias_bits``.
    """
    layers = BrevitasLayers(point.network, Scales(saved["exponents"], saved["feeds"], saved["bias_bits"]))
    network = model.on_chip(layers, point.network.size)
    own = network.state_dict()
    network.load_state_dict({name: value for name, value in saved["state"].items() if name in own}, strict=False)
    return network.eval()


def same_in_brevitas(model: Model, point: DesignPoint, saved: Mapping[str, Any], trained: nn.Module, x: Array) -> None:
    """Check that Brevitas computes what the layers compute that were trained, on (N, ...) inputs.

    Raises:
        MismatchError: it does not.
    """
    ours, theirs = (predict_exactly(network, x).flatten(1) for network in (trained, build(model, point, saved)))
    if wrong := int((ours != theirs).any(dim=1).sum()):
        raise MismatchError(f"train: Brevitas differs from the trained layers in {wrong} of {len(x)} samples. This is a defect of hlscape.")


def first_divergence(network: nn.Module, twin: Twin, x: torch.Tensor) -> str:
    """Name the first layer of the twin that no module of the Brevitas network reproduces, for one sample (1, ...)."""
    seen: dict[str, Values] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor):  # the inner modules of Brevitas return tuples
            seen[name] = output.detach().double().numpy()

    hooks = [m.register_forward_hook(lambda m, i, out, name=name: keep(name, out)) for name, m in network.named_modules()]
    with torch.no_grad():
        network(x)
        for hook in hooks:
            hook.remove()
        layers = {k: v.double().numpy() for k, v in twin.layers(twin.params, x).items()}
    return first_layer(layers, seen) or "output"
