"""Every operator against the reference evaluator of ONNX, and every refusal."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from flow.core.errors import InvalidInput
from flow.twin.graph import Graph, Node
from flow.twin.grid import Grid, Operand, constant_grid
from flow.twin.normal import normal
from flow.twin.ops import OPERATIONS

RNG = np.random.default_rng(0)
CONV = {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}


def ints(*values):
    return np.array(values, np.int64)


CASES = [
    # shapes of random inputs, or the inputs themselves
    ("Add", [(3, 4), (4,)], {}),
    ("AveragePool", [(2, 3, 6, 7)], {"kernel_shape": [2, 4], "strides": [2, 1]}),
    ("AveragePool", [(2, 3, 9)], {"kernel_shape": [4], "strides": [2], "pads": [1, 2], "count_include_pad": 1}),
    ("BatchNormalization", [(2, 3, 4), [0.5, 1, -2], [0.25, 0, 1], [1, 0.5, 0], [0.25, 4, 1]], {"epsilon": 0.0}),
    ("Concat", [(2, 3, 4), (2, 1, 4), (2, 2, 4)], {"axis": -2}),
    ("Conv", [(2, 3, 7, 8), (4, 3, 3, 2), (4,)], CONV),
    ("Conv", [(2, 4, 6, 6), (8, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", [(2, 4, 6, 6), (6, 2, 2, 2), (6,)], {"group": 2}),
    ("Conv", [(2, 3, 9), (4, 3, 3), (4,)], {"strides": [2], "pads": [2, 1], "dilations": [2]}),
    ("Div", [(2, 3), 4.0], {}),
    ("Flatten", [(2, 3, 4)], {"axis": 1}),
    ("Gemm", [(3, 4), (5, 4), (5,)], {"transB": 1}),
    ("Gemm", [(3, 4), (4, 5)], {}),
    ("GlobalAveragePool", [(2, 3, 4, 2)], {}),
    ("GlobalMaxPool", [(2, 3, 5, 2)], {}),
    ("Identity", [(2, 3)], {}),
    ("LeakyRelu", [(3, 4)], {"alpha": 0.375}),
    ("MatMul", [(3, 2, 4), (4, 5)], {}),
    ("MaxPool", [(2, 3, 6, 7)], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ("MaxPool", [(2, 3, 9)], {"kernel_shape": [3], "strides": [2]}),
    ("Mul", [(2, 3, 4), (3, 1)], {}),
    ("Pad", [(2, 3, 4), ints(0, 0, 1, 0, 1, 2)], {}),
    ("Pad", [(2, 3), ints(0, 1, 0, 2), 0.0], {"mode": "constant"}),
    ("ReduceMax", [(2, 3, 4), ints(-1)], {"keepdims": 0}),
    ("ReduceMean", [(2, 3, 4, 2), ints(3, -2)], {"keepdims": 1}),
    ("ReduceMean", [(2, 4, 3), ints(1)], {"keepdims": 0}),
    ("Relu", [(3, 4)], {}),
    ("Sigmoid", [(3, 4)], {}),
    ("Squeeze", [(2, 1, 4, 1), ints(-1, 1)], {}),
    ("Sub", [(3, 4), (4,)], {}),
    ("Tanh", [(3, 4)], {}),
    ("Transpose", [(2, 3, 4)], {"perm": [0, 2, 1]}),
    ("Unsqueeze", [(2, 3), ints(-1, 1)], {}),
]


def node(op, **attributes):
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
    return Node("n", op, ("a", "b", "c"), "y", plain)


def array(given):
    if isinstance(given, np.ndarray):
        return given
    return RNG.integers(-8, 8, given).astype(np.float32) / 8 if isinstance(given, tuple) else np.asarray(given, np.float32)


@pytest.mark.parametrize(("op", "given", "attributes"), CASES)
def test_equals_the_onnx_reference(op, given, attributes):
    arrays = dict(zip("abcde", map(array, given), strict=False))
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node(op, list(arrays), ["y"], **attributes)], "g", infos, out)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    expected = ReferenceEvaluator(model).run(None, arrays)[0]
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
    constants = {n: a for n, a in arrays.items() if n != "a"}
    read = normal(Graph((Node("n", op, tuple(arrays), "y", plain),), constants, "a", (1,), "y"))
    (one,) = read.nodes
    tensors = [torch.from_numpy(np.asarray({"a": arrays["a"], **read.constants}[name])) for name in one.inputs]
    got = OPERATIONS[op].run(one, tensors)
    assert got.shape == expected.shape
    assert (got.to(torch.float32).numpy() == expected).all() or (op in ("Tanh", "Sigmoid") and np.abs(got.numpy() - expected).max() < 1e-7)


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


@pytest.mark.parametrize(
    ("op", "attributes", "words"),
    [
        ("Pad", {"pads": (0, 0, -1, 0, 0, 0)}, "pads"),
        ("Pad", {"pads": (1, 0, 0, 0, 0, 0)}, "no samples"),
        ("Pad", {"pads": (0, 0, 1, 0, 0, 0), "value": 1.0}, "value 1"),
        ("Pad", {"pads": (0, 0, 1, 0, 0, 0), "mode": "reflect"}, "Pad with zeros"),
        ("Squeeze", {"axes": (0,)}, "samples stay"),
        ("Squeeze", {}, "axes"),
        ("ReduceMean", {"axes": (1, 1)}, "once"),
        ("AveragePool", {"kernel_shape": (2,), "pads": (1, 1)}, "reach outside"),
        ("AveragePool", {"kernel_shape": (2,), "ceil_mode": 1}, "ceil_mode"),
        ("AveragePool", {"kernel_shape": (2,), "dilations": (2,)}, "dilated"),
        ("MaxPool", {"kernel_shape": (2,), "dilations": (2,)}, "dilated"),
    ],
)
def test_refuses_settings(op, attributes, words):
    with pytest.raises(InvalidInput, match=words):
        OPERATIONS[op].run(Node("n", op, ("a",), "y", attributes), [torch.zeros(2, 3, 4)])


def test_bounds_are_reached():
    """The largest values that the operands can have give the largest result that is bounded."""
    x, peak = Operand(Grid(-2, 7), (1, 2, 4, 2), static=False), 7 * 2.0**-2
    worst = torch.full(x.shape, -peak)
    factor = Operand(Grid(-1, 3), (2, 1, 1), static=True)
    for op, attributes, others, value in (
        ("AveragePool", {"kernel_shape": (4, 2)}, [], peak),
        ("GlobalAveragePool", {}, [], peak),
        ("LeakyRelu", {"alpha": 0.75}, [], 0.75 * peak),
        ("LeakyRelu", {"alpha": 3.0}, [], 3 * peak),
        ("Mul", {}, [factor], 1.5 * peak),
        ("Sub", {}, [factor], 1.5 + peak),
        ("Concat", {"axis": 1}, [Operand(Grid(-1, 9), (1, 2, 4, 2), static=False)], 4.5),
    ):
        one = Node("n", op, ("a", "b"), "y", attributes)
        grid = OPERATIONS[op].bound(one, [x, *others])
        tensors = [worst, *(torch.full(o.shape, o.grid.peak * 2.0**o.grid.exponent) for o in others)]
        result = OPERATIONS[op].run(one, tensors)
        assert float(result.abs().max()) == value
        assert value <= grid.peak * 2.0**grid.exponent
        codes = result * 2.0**-grid.exponent
        assert torch.equal(codes, codes.round())


def test_constant_grid():
    assert constant_grid(np.array([0.75, -2.5])) == Grid(-2, 10)
    assert constant_grid(np.array([3.0, 2.0**16])) == Grid(0, 2**16)
    assert constant_grid(np.array([1.0, 2.0**17])) is None
    assert constant_grid(np.array([1.0, 2.0**17]), 24) == Grid(0, 2**17)
    assert constant_grid(np.zeros(3)) == Grid(0, 0)
    assert constant_grid(np.array([1e-300])) is None
    assert constant_grid(np.array([np.inf])) is None


def test_grid_arithmetic_by_hand():
    assert Grid(-3, 10) | Grid(-1, 2) == Grid(-3, 10)
    assert Grid(-3, 10) | Grid(-1, 4) == Grid(-3, 16)
    assert Grid(-3, 10) + Grid(-1, 2) == Grid(-3, 18)
    assert Grid(-3, 10).products(Grid(-2, 4), 5) == Grid(-5, 200)
    x, w = operand(2, 4, 6, 6), Operand(Grid(-2, 7), (8, 2, 3, 3), static=True)
    assert OPERATIONS["Conv"].bound(node("Conv", group=2), [x, w]) == Grid(-5, 10 * 7 * 18)
    w, b = Operand(Grid(-2, 7), (5, 4), static=True), Operand(Grid(-6, 3), (5,), static=True)
    assert OPERATIONS["Gemm"].bound(node("Gemm", transB=1), [operand(2, 4), w, b]) == Grid(-6, 10 * 7 * 4 * 2 + 3)
