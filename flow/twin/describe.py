"""A table of the layers of a QONNX file."""

from pathlib import Path

from torch import Tensor

from flow.twin.graph import Node
from flow.twin.quantizer import Format, WeightFormat
from flow.twin.twin import Twin, load_twin

Row = dict[str, str | int | None]


def _row(layer: str, op: str, form: Format | None = None, weight: Tensor | None = None) -> Row:
    low, high = form.exponents if isinstance(form, WeightFormat) else (form.exponent,) * 2 if form else (None, None)
    return {
        "layer": layer,
        "op": op,
        "shape": "x".join(map(str, weight.shape)) if weight is not None else "",
        "parameters": 0,
        "weight_bits": form.bits if form else None,
        "scale_exponent": low if low == high else f"{low}..{high}",
        "bias_bits": None,
    }


def _layer(twin: Twin, node: Node) -> Row:
    mine = {name: form for name, form in twin.weights.items() if form.layer == node.name}
    name, form = next(((n, f) for n, f in mine.items() if f.role == "weight"), (None, None))
    row = _row(node.name, node.op, form, twin.params[name] if name else None)
    bias = next((f.bits for f in mine.values() if f.role == "bias"), None)
    return {**row, "parameters": sum(twin.params[n].numel() for n in mine), "bias_bits": bias}


def describe(path: Path) -> list[Row]:
    """Describe the layers of a QONNX file, and thereby check that it can be used.

    Returns:
        One row for each node that computes on the data, in the order of execution: ``layer`` (ONNX node), ``op``, ``shape`` of the
        weight, ``parameters``, ``weight_bits``, ``scale_exponent`` (binary logarithm of the scale; ``low..high`` if channels have their
        own) and ``bias_bits``. A quantizer of activations has its own width and exponent in these columns.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it cannot be used; see `flow.twin.load_twin`.
    """
    twin = load_twin(path)
    rows: list[Row] = []
    for node in twin.nodes:
        form = twin.activation_formats.get(node.name)
        if form is not None:
            rows.append(_row(node.name, f"{node.op} {'int' if form.signed else 'uint'} {form.rounding}", form))
        elif node.name in twin.computes:
            rows.append(_layer(twin, node))
    return rows
