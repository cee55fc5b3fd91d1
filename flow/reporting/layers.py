"""Streaming hardware by layer: what each layer does, how often it uses a multiplier for a window, and what it takes of the part."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow.core.errors import InvalidInput
from flow.reporting.numbers import listing

LAYERS, REUSE = "layers.json", "reuse.json"
RESOURCES = {"lut": "LUT", "srl": "of them SRL", "ff": "FF", "dsp": "DSP", "bram": "BRAM36"}
"""Counts of synthesis that are shown: id and heading, which a family may have another one of."""


@dataclass(frozen=True)
class LayerRow:
    """A layer in words: name, kind, output, reuse factor, busy cycles, multipliers, queue, counts of synthesis; empty: there is none."""

    name: str
    kind: str = ""
    output: str = ""
    reuse: str = ""
    cycles: str = ""
    multipliers: str = ""
    queue: str = ""
    counts: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayersView:
    """The layers of a point.

    Attributes:
        rows: the layers in the order of the network.
        rest: what joins them; None without synthesis.
        total: of the whole design; None without synthesis.
        headings: of the counts; empty without synthesis.
        words: of what holds for the whole network.
        why: layer, and why it got its reuse factor.
    """

    rows: list[LayerRow]
    rest: LayerRow | None
    total: LayerRow | None
    headings: tuple[str, ...]
    words: list[str]
    why: list[tuple[str, str]]


def collect(verilog: Path, synth: Path | None) -> dict[str, Any]:
    """Put together what the stages of a streaming network know of its layers.

    Args:
        verilog: folder of the Verilog.
        synth: report of synthesis; None: it did not run.

    Returns:
        ``layers``, each as in layers.json, with ``why`` and ``limit`` of its reuse factor, and ``counts`` of synthesis; ``budget`` and
        ``busiest``, cycles of a frame; with synthesis ``rest`` and ``total``, counts of what joins the layers and of all, ``source``,
        ``part``, and ``units`` of a family that has cells of its own. Empty for hardware that has no layers of its own.

    Raises:
        InvalidInput: the counts of the layers do not add up to the total.
    """
    if not (verilog / LAYERS).is_file():
        return {}
    chosen = json.loads((verilog / REUSE).read_text()) if (verilog / REUSE).is_file() else {"elements": {}}
    layers = []
    for layer in json.loads((verilog / LAYERS).read_text()):
        choice = chosen["elements"].get(layer["name"], {})
        why = choice.get("why", "").removeprefix(f"{layer['name']}: ")
        layers.append(layer | {"why": why, "limit": choice.get("limit", layer["reuse"])})
    document = {"layers": layers, "busiest": max(layer["cycles"] for layer in layers)}
    if "budget_cycles" in chosen:
        document["budget"] = chosen.get("frame_cycles", chosen["budget_cycles"])  # what was aimed at may be less
    report = json.loads(synth.read_text()) if synth else {}
    return document | _counted(layers, report) if "layers" in report else document


def _counted(layers: list[dict[str, Any]], report: Mapping[str, Any]) -> dict[str, Any]:
    """Give each layer its counts, and return those of the rest and of all."""
    names = {layer["name"] for layer in layers}
    for layer in layers:
        layer["counts"] = _counts(report["layers"].get(layer["name"], {}))
    around = [_counts(counts) for name, counts in report["layers"].items() if name not in names]
    rest, total = {key: sum(counts[key] for counts in around) for key in RESOURCES}, _counts(report["total"])
    for key, words in RESOURCES.items():
        found = rest[key] + sum(layer["counts"][key] for layer in layers)
        if found != total[key]:
            raise InvalidInput(f"synth_report: {words.removeprefix('of them ')} of the layers are {found}, and of the design {total[key]}.")
    return {"rest": rest, "total": total, "source": report["tool"], "part": report["part"], "units": report.get("units", {})}


def _counts(counts: Mapping[str, Any]) -> dict[str, float]:
    return {key: counts.get(key, 0) for key in RESOURCES}


def layers_view(document: Mapping[str, Any]) -> LayersView | None:
    """Write the layers of a point for people; None for hardware that has none.

    Args:
        document: as `collect` makes it.
    """
    if not document:
        return None
    layers, counted = document["layers"], "total" in document
    busy = [layer["name"] for layer in layers if layer["cycles"] == document["busiest"]]
    verb, each = ("layer is", "it") if len(busy) == 1 else ("layers are", "each")
    there = f" of the {document['budget']:,} that there are" if "budget" in document else ""
    words = [f"The busiest {verb} {listing(busy)}: a frame keeps {each} busy for {document['busiest']:,} cycles{there}."]
    if counted:
        words.append(f"Counts are mapped ones by {document['source']} for {document['part']}, queues with the layer they are in front of.")
    # Shift registers are not in every family, and then not worth a column.
    shown = [key for key in RESOURCES if key != "srl" or document["total"]["srl"]] if counted else []
    return LayersView(
        [_row(layer, shown) for layer in layers],
        LayerRow("what joins them", counts=_written(document["rest"], shown)) if counted else None,
        LayerRow("all", counts=_written(document["total"], shown)) if counted else None,
        tuple((RESOURCES | document.get("units", {}))[key] for key in shown), words,
        [(layer["name"], layer["why"]) for layer in layers if layer["why"]],
    )  # fmt: skip


def _row(layer: Mapping[str, Any], shown: Sequence[str]) -> LayerRow:
    rows, columns, words = layer["output"]
    queue = ", ".join(map(str, layer["queue"])) if any(layer["queue"]) else ""
    multipliers = f"{layer['multipliers']:,}" if layer["multipliers"] else ""
    counts = _written(layer["counts"], shown) if "counts" in layer else ()
    shape = f"{rows} × {columns} × {words}"
    return LayerRow(layer["name"], layer["kind"], shape, str(layer["reuse"]), f"{layer['cycles']:,}", multipliers, queue, counts)


def _written(counts: Mapping[str, float], shown: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{int(counts[key]):,}" if float(counts[key]).is_integer() else f"{counts[key]:g}" for key in shown)
