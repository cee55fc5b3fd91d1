"""hls4ml's strategy ``distributed_arithmetic``, made to work for networks that come from ONNX."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flow.core.errors import ConfigError, ToolNotFound

STRATEGY = "distributed_arithmetic"
MISSING = "hardware.strategy = 'distributed_arithmetic' needs da4ml, which is not installed. Install it with `pip install 'hls4ml[da]'`."


def check(strategy: str, reuse_factor: int) -> None:
    """Refuse what cannot work.

    Raises:
        ConfigError: adder trees are not reused.
        ToolNotFound: da4ml is missing.
    """
    if strategy != STRATEGY:
        return
    if reuse_factor > 1:
        raise ConfigError(
            f"hardware.reuse_factor = {reuse_factor}: with hardware.strategy = 'distributed_arithmetic' no multiplier can be used again. "
            "Set the factor to 1, or the strategy to 'resource'."
        )
    if importlib.util.find_spec("da4ml") is None:
        raise ToolNotFound(MISSING)


def source(strategy: str) -> dict[str, Path]:
    """Return a file of da4ml that tells its version, if the strategy needs it."""
    if strategy != STRATEGY or importlib.util.find_spec("da4ml") is None:
        return {}
    found = next((file for file in importlib.metadata.files("da4ml") or () if file.name == "METADATA"), None)
    return {} if found is None else {"da4ml": Path(str(found.locate()))}


def _producers(layer: Any) -> list[Any]:  # noqa: ANN401 - hls4ml has no types
    """Return the layers that a layer reads; hls4ml's own takes names of tensors for names of layers, which are alike in Keras only."""
    found = []
    for name in layer.inputs:
        writers = [other for other in layer.model.graph.values() if name in other.outputs]
        found += writers or [layer.model.graph[name]]
    return found


@contextmanager
def repaired() -> Iterator[None]:
    """Let hls4ml find the layer before one."""
    with patch("hls4ml.backends.vivado.passes.distributed_arithmetic.get_input_layers", _producers):
        yield
