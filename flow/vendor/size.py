"""How much of a network high-level synthesis unrolls, found out before a run that would take days or be refused after hours.

Vivado HLS stops at 4096 elements of a partitioned array ([XFORM 203-103]) and iterations of an unrolled loop ([XFORM 203-504]); Vitis HLS
goes on until time or memory runs out. What hls4ml unrolls, per layer:

- ``latency``: all products of one position of the image are an array, whatever the reuse factor;
- ``resource``: the products that are computed at once, one of each `reuse_factor`;
- ``distributed_arithmetic``: adder trees for the whole matrix;
- io_parallel: every word of every layer's output is a register of its own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow.core.errors import InvalidInput, TooLarge


@dataclass(frozen=True)
class LayerSize:
    """What one layer unrolls.

    Attributes:
        name: of hls4ml.
        strategy: ``latency``, ``resource``, ...; empty: it multiplies nothing.
        reuse_factor: that hls4ml took.
        products: multiplications of one sample that are unrolled side by side.
        words: output words that are registers side by side; 0 with streams.
    """

    name: str
    strategy: str
    reuse_factor: int
    products: int
    words: int


@dataclass(frozen=True)
class HlsProject:
    """What the convert stage says of the project that it wrote."""

    top: str
    io: str
    layers: tuple[LayerSize, ...]

    @property
    def reuse_factors(self) -> tuple[int, ...]:
        """Those of the layers that multiply."""
        return tuple(layer.reuse_factor for layer in self.layers if layer.products)


def _layer(row: Mapping[str, Any], io: str) -> LayerSize:
    reuse = int(row["reuse_factor"])
    products = int(row.get("products", 0)) * int(row.get("positions", 1))
    if row["strategy"] == "resource":
        products = math.ceil(products / reuse)
    return LayerSize(str(row["name"]), str(row["strategy"]), reuse, products, int(row["words"]) if io == "parallel" else 0)


def read_project(folder: Path) -> HlsProject:
    """Read ``hlscape.json`` of an hls4ml project.

    Raises:
        InvalidInput: the convert stage did not write it.
    """
    try:
        info = json.loads((folder / "hlscape.json").read_text())
        return HlsProject(str(info["top"]), str(info["io"]), tuple(_layer(row, info["io"]) for row in info["hls"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{folder.name} is not a project that the convert stage wrote: {type(error).__name__}: {error}.") from None


def check_size(project: HlsProject, most: int, most_together: int) -> None:
    """Refuse a design that is too large to be unrolled.

    Args:
        project: what it is made of.
        most: products or words of one layer.
        most_together: products of all layers.

    Raises:
        TooLarge: names each layer that is too large, with its count and what to do.
    """
    lines = [f"layer {x.name}: {x.products} multiplications are unrolled ({_how(x)})" for x in project.layers if x.products > most]
    lines += [f"layer {x.name}: {x.words} output words are registers side by side" for x in project.layers if x.words > most]
    total = sum(layer.products for layer in project.layers)
    if total > most_together and not lines:
        largest = max(project.layers, key=lambda layer: layer.products)
        lines.append(
            f"all layers together: {total} multiplications are unrolled, more than {most_together}; most of them, {largest.products}, by "
            f"layer {largest.name}"
        )
    if lines:
        raise TooLarge(
            "High-level synthesis would take days or give up, so it was not begun:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + f"\n{_remedy(project.layers, most, project.io)} Or raise vendor.max_unrolled (now {most}) and vendor.max_unrolled_total (now "
            f"{most_together}) to try it all the same."
        )


def _how(layer: LayerSize) -> str:
    words = f"strategy {layer.strategy}, reuse factor {layer.reuse_factor}"
    return words + ", which does not make the array of a latency design smaller" * (layer.strategy == "latency" and layer.reuse_factor > 1)


def _remedy(layers: Sequence[LayerSize], most: int, io: str) -> str:
    words = []
    if any(layer.words > most for layer in layers):
        words.append("Set hardware.io = 'stream', which takes one pixel after the other.")
    worst = max((layer.products * (layer.reuse_factor if layer.strategy == "resource" else 1) for layer in layers), default=0)
    if worst > most or not words:
        factor = max(2, math.ceil(worst / most))
        words.append(f"Set hardware.strategy = 'resource' with hardware.reuse_factor of {factor} or more, or make the layer smaller.")
    if io == "parallel" and len(words) == 1 and "stream" not in words[0]:
        words.append("hardware.io = 'stream' helps with images.")
    return " ".join(words)
