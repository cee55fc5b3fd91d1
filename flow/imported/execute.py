"""A second execution of a QONNX file, which shares no code with the twin: onnx's reference evaluator, in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from qonnx.custom_op.general.quant import quant

from flow.core.errors import InvalidInput
from flow.gate import Values

DOMAIN = "qonnx.custom_op.general"


class Quant(OpRun):  # type: ignore[misc]
    """The operator as the qonnx package defines it."""

    op_domain = DOMAIN

    def _run(
        self, x: Values, scale: Values, zero: Values, bits: Values, narrow: int = 0, rounding_mode: str = "ROUND", signed: int = 1
    ) -> tuple[Values]:
        return (quant(x, scale, zero, bits, signed, narrow, rounding_mode),)


class IntQuant(Quant):
    """The same operator by its newer name."""


def _doubled(tensor: Any) -> None:  # noqa: ANN401 - protobuf has no types
    value = numpy_helper.to_array(tensor)
    if value.dtype.kind == "f":
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float64), tensor.name))


def _evaluator(path: Path, every: bool = False) -> ReferenceEvaluator:
    """Prepare a file: constants in float64, all quantizers in one domain, and every tensor as an output if that is asked for."""
    model = onnx.load(str(path))
    graph = model.graph
    for node in graph.node:
        if node.op_type in ("Quant", "IntQuant"):
            node.domain = DOMAIN
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _doubled(attribute.t)
    for tensor in graph.initializer:
        _doubled(tensor)
    if DOMAIN not in {opset.domain for opset in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    if every:
        known = {output.name for output in graph.output}
        graph.output.extend(onnx.ValueInfoProto(name=name) for node in graph.node for name in node.output if name not in known)
    return ReferenceEvaluator(model, new_ops=[Quant, IntQuant])


def execute(path: Path, x: Values) -> Values:
    """Execute a network.

    Sums of integers times a power of two are exact in float64 up to 2**53, in any order, and the twin refuses what could be larger.

    Args:
        path: QONNX file with all of its tensors.
        x: inputs (N, ...), evaluated one by one, since files may fix the batch size.

    Returns:
        Outputs (N, ...).

    Raises:
        InvalidInput: the evaluator cannot execute it.
    """
    try:
        evaluator = _evaluator(path)
        return np.concatenate([evaluator.run(None, {_input(evaluator): row[None]})[0] for row in x])
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, NotImplementedError) as error:
        raise InvalidInput(
            f"onnx's reference evaluator cannot execute this network, so nothing confirms what it computes: "
            f"{type(error).__name__}: {str(error)[:200]}. Export it with opset 13 or later."
        ) from None


def execute_layers(path: Path, sample: Values) -> dict[str, Values]:
    """Return every tensor (1, ...) of a network for one sample (without a sample axis), by name."""
    evaluator = _evaluator(path, every=True)
    return dict(zip(evaluator.output_names, evaluator.run(None, {_input(evaluator): sample[None]}), strict=True))


def _input(evaluator: ReferenceEvaluator) -> str:
    return str(next(name for name in evaluator.input_names if name not in evaluator.rt_inits_))
