"""The second execution of a file."""

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.imported.execute import execute
from flow.twin import load_twin
from tests.imported.networks import inputs, outputs, write_signed
from tests.qonnx_models import Builder, write_mlp


@pytest.mark.parametrize("write", [write_mlp, write_signed])
def test_execute(tmp_path, write):
    """Both agree with each other; the twin itself has oracles of its own."""
    path = write(tmp_path / "m.onnx")
    twin = load_twin(path)
    x = inputs(twin, 50).astype(np.float64)
    assert np.array_equal(execute(path, x), outputs(twin, x))
    assert len(np.unique(outputs(twin, x))) > 20


def test_execute_sees_24_bits_and_more(tmp_path):
    """In float32 the odd sum 2**26 + 1 would be rounded."""
    b = Builder(2)
    y = b.node("MatMul", b.quant("x", 16, 1.0), b.weight([[2.0**13 - 1], [1.0]], 14, 1.0))
    path = b.save(tmp_path / "m.onnx", y)
    x = np.array([[2.0**13 + 1, 2.0]])
    assert execute(path, x).tolist() == [[2.0**26 + 1]] == outputs(load_twin(path), x).tolist()


def test_execute_says_what_it_cannot(tmp_path):
    b = Builder(2)
    path = b.save(tmp_path / "m.onnx", b.node("NoSuchOperator", b.quant("x", 4, 1.0)))
    with pytest.raises(InvalidInput, match=r"evaluator cannot execute this network.*NoSuchOperator"):
        execute(path, np.zeros((1, 2)))
