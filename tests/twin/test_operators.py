"""Every operator against the reference evaluator of ONNX, and every refusal."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from flow.core.errors import InvalidInput
from flow.twin.graph import Node
from flow.twin.ops import OPERATIONS, Grid, Operand

RNG = np.random.default_rng(0)
CONV = {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}

CASES = [
    ("Add", [(3, 4), (4,)], {}),
    ("Conv", [(2, 3, 7, 8), (4, 3, 3, 2), (4,)], CONV),
    ("Conv", [(2, 4, 6, 6), (8, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", [(2, 4, 6, 6), (6, 2, 2, 2), (6,)], {"group": 2}),
    ("Conv", [(2, 3, 9), (4, 3, 3), (4,)], {"strides": [2], "pads": [2, 1], "dilations": [2]}),
    ("Flatten", [(2, 3, 4)], {"axis": 1}),
    ("Gemm", [(3, 4), (5, 4), (5,)], {"transB": 1}),
    ("Gemm", [(3, 4), (4, 5)], {}),
    ("Identity", [(2, 3)], {}),
    ("MatMul", [(3, 2, 4), (4, 5)], {}),
    ("MaxPool", [(2, 3, 6, 7)], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ("MaxPool", [(2, 3, 9)], {"kernel_shape": [3], "strides": [2]}),
    ("Relu", [(3, 4)], {}),
    ("Transpose", [(2, 3, 4)], {"perm": [0, 2, 1]}),
]


def node(op, **attributes):
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
    return Node("n", op, ("a", "b", "c"), "y", plain)


@pytest.mark.parametrize(("op", "shapes", "attributes"), CASES)
def test_equals_the_onnx_reference(op, shapes, attributes):
    arrays = [RNG.integers(-8, 8, shape).astype(np.float32) / 8 for shape in shapes]
    names = ["a", "b", "c"][: len(arrays)]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in zip(names, arrays, strict=True)]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    expected = ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))[0]
    got = OPERATIONS[op].run(node(op, **attributes), [torch.from_numpy(a) for a in arrays])
    assert got.shape == expected.shape
    assert (got.numpy() == expected).all()


def test_all_operators_are_tested():
    assert {case[0] for case in CASES} | {"Reshape"} == set(OPERATIONS)


def test_reshape_keeps_the_samples_whatever_batch_was_exported():
    x = torch.arange(24.0).reshape(2, 3, 4)
    for wanted, zero, shape in (([1, 12], 1, (2, 12)), ([-1, 12], 0, (2, 12)), ([0, 0, 2, 2], 0, (2, 3, 2, 2)), ([1, -1], 0, (2, 12))):
        assert OPERATIONS["Reshape"].run(node("Reshape", allowzero=zero), [x, torch.tensor(wanted)]).shape == shape


X = torch.zeros(2, 3, 6, 6)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "words"),
    [
        ("Conv", [X, torch.zeros(4, 3, 3, 3)], {"auto_pad": "SAME_UPPER"}, "auto_pad"),
        ("Conv", [X, torch.zeros(4, 3, 3, 3)], {"pads": [1, 1]}, "pads"),
        ("Conv", [X, torch.zeros(4, 3, 3, 3)], {"pads": [0, 0, 0, 10**9]}, "pads"),
        ("Conv", [X, torch.zeros(4, 3, 3, 3)], {"strides": [0, 1]}, "strides"),
        ("Conv", [X, torch.zeros(4, 3, 3, 3, 3)], {}, "convolutions"),
        ("Flatten", [X], {"axis": 2}, "axis"),
        ("Gemm", [torch.zeros(2, 3), torch.zeros(3, 4)], {"alpha": 0.5}, "alpha"),
        ("MaxPool", [X], {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
        ("Reshape", [X, torch.tensor([6, -1])], {}, "sample axis"),
    ],
)
def test_refuses_what_it_cannot_compute(op, inputs, attributes, words):
    with pytest.raises(InvalidInput, match=words) as error:
        OPERATIONS[op].run(node(op, **attributes), inputs)
    assert f"'n' ({op})" in str(error.value)


def operand(*shape, static=False):
    return Operand(Grid(-3, 10), shape, static)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "words"),
    [
        ("MatMul", [operand(2, 3), operand(3, 4)], {}, "first input must come from the data"),
        ("Gemm", [operand(3, 3, static=True), operand(3, 4, static=True)], {}, "first input must come from the data"),
        ("MatMul", [operand(2, 3), operand(2, 3, 4, static=True)], {}, "matrix"),
        ("Transpose", [operand(2, 3)], {"perm": [1, 0]}, "sample axis"),
        ("Reshape", [operand(2, 3, static=True)], {}, "only data"),
    ],
)
def test_refuses_what_would_mix_samples(op, operands, attributes, words):
    with pytest.raises(InvalidInput, match=words):
        OPERATIONS[op].bound(node(op, **attributes), operands)


def test_grid_arithmetic_by_hand():
    assert Grid(-3, 10) + Grid(-1, 2) == Grid(-3, 18)
    assert Grid(-3, 10).products(Grid(-2, 4), 5) == Grid(-5, 200)
    x, w = operand(2, 4, 6, 6), Operand(Grid(-2, 7), (8, 2, 3, 3), static=True)
    assert OPERATIONS["Conv"].bound(node("Conv", group=2), [x, w]) == Grid(-5, 10 * 7 * 18)
    w, b = Operand(Grid(-2, 7), (5, 4), static=True), Operand(Grid(-6, 3), (5,), static=True)
    assert OPERATIONS["Gemm"].bound(node("Gemm", transB=1), [operand(2, 4), w, b]) == Grid(-6, 10 * 7 * 4 * 2 + 3)
