"""A table of the layers of a QONNX file."""

from pathlib import Path

from flow.twin.quantizer import WeightFormat
from flow.twin.twin import Twin, load_twin

Row = dict[str, str | int | None]


def _row(twin: Twin, layer: str, op: str) -> Row:
    mine = {name: form for name, form in twin.weights.items() if form.layer == layer}
    weight: tuple[str, WeightFormat] | None = next(((n, f) for n, f in mine.items() if f.role == "weight"), None)
    bias = next((f for f in mine.values() if f.role == "bias"), None)
    return {
        "layer": layer,
        "op": op,
        "shape": "x".join(map(str, twin.params[weight[0]].shape)) if weight else "",
        "parameters": sum(twin.params[name].numel() for name in mine),
        "weight_bits": weight[1].bits if weight else None,
        "scale_exponent": weight[1].exponent if weight else None,
        "bias_bits": bias.bits if bias else None,
    }


def describe(path: Path) -> list[Row]:
    """Describe the layers of a QONNX file, and thereby check that it can be used.

    Returns:
        One row for each quantizer of the data and each layer with parameters, in the order of execution: ``layer`` (ONNX node), ``op``,
        ``shape`` of the weight, ``parameters``, ``weight_bits``, ``scale_exponent`` (binary logarithm of the scale) and ``bias_bits``.
        A quantizer of activations has its own width and exponent in these columns.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it cannot be used; see `flow.twin.load_twin`.
    """
    twin = load_twin(path)
    layers = {form.layer for form in twin.weights.values()}
    rows: list[Row] = []
    for node in twin.nodes:
        form = twin.activation_formats.get(node.name)
        if node.name in layers:
            rows.append(_row(twin, node.name, node.op))
        elif form is not None:
            quantizer = f"{node.op} {'int' if form.signed else 'uint'} {form.rounding}"
            empty: Row = {"layer": node.name, "op": quantizer, "shape": "", "parameters": 0}
            rows.append({**empty, "weight_bits": form.bits, "scale_exponent": form.exponent, "bias_bits": None})
    return rows
