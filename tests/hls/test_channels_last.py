"""The order of the axes: the converted graph computes the same, and transposes only where it must."""

import numpy as np
import pytest
from qonnx.transformation.remove import RemoveUnusedNodes

from flow.core.errors import InvalidInput
from flow.hls.channels_last import to_channels_last
from tests.hls.networks import Layers, clean, codes, everything, execute


def images(b):
    return b.relu(b.conv(b.input(), 2, 3, 3, 2))  # 2x5x7 -> 3x3x6


CASES = {
    "flattened": (0, lambda b: b.dense(b.flat(images(b)), 54, 4)),
    "flattened at once": (0, lambda b: b.dense(b.flat(b.input()), 70, 4)),
    "flattened behind a function": (0, lambda b: b.dense(b.relu(b.flat(b.conv(b.input(), 2, 3, 3, 2))), 54, 4)),
    "flattened, read twice": (0, lambda b: two(b, b.flat(images(b)))),
    "flattened and read as it is": (1, lambda b: as_it_is(b, b.flat(images(b)))),
    "image out": (0, images),
    "flattened image out": (1, lambda b: b.flat(images(b))),
    "padded pool of unsigned words": (0, lambda b: b.pool(b.pool(images(b), 2, 3, pad=1), 2, 2, pad=1)),
    "padded pool of signed words": (0, lambda b: b.pool(b.signed(b.conv(b.input(), 2, 3, 3, 2)), 2, 3, pad=1)),
    "padding": (0, lambda b: b.conv(b.node("Pad", b.input(), b.constant([0, 0, 1, 2, 0, 0, 0, 3], np.int64)), 2, 3, 3, 2)),
    "fork": (0, lambda b: fork(b, b.input())),
    "transposed and flattened": (0, lambda b: b.dense(b.flat(b.node("Transpose", images(b), perm=[0, 3, 1, 2])), 54, 4)),
    "transposed": (1, lambda b: b.conv(b.node("Transpose", images(b), perm=[0, 3, 1, 2]), 6, 2, 2, 2)),
    "reshaped": (2, lambda b: b.conv(b.reshape(images(b), 2, 9, 3), 2, 2, 2, 2)),
    "reshaped, same channels": (0, lambda b: b.conv(b.reshape(images(b), 3, 9, 2), 3, 2, 2, 2)),
    "one channel": (0, lambda b: b.conv(b.reshape(b.relu(b.conv(b.input(), 2, 1, 3, 2)), 1, 9, 2), 1, 2, 2, 2)),
    "line": (0, lambda b: b.conv(b.reshape(images(b), 3, 18), 3, 2, 4)),
}  # fmt: skip


def two(b, y):
    return b.node("Add", b.dense(y, 54, 4), b.dense(y, 54, 4))


def as_it_is(b, y):
    return b.node("Add", y, b.dense(y, 54, 54))


def fork(b, x):
    y = b.node("Concat", b.relu(b.conv(x, 2, 3, 3, 3, pad=1)), x, axis=1)
    return b.node("Add", b.conv(y, 5, 2, 1, 1), x)


@pytest.mark.parametrize("case", CASES)
def test_a_converted_graph_computes_the_same(tmp_path, case):
    transposes, make = CASES[case]
    b = Layers(2, 5, 7)
    graph = clean(b.save(tmp_path / "net.onnx", make(b)))
    x = codes((2, 5, 7), 4)
    want = execute(graph, x)
    to_channels_last(graph)
    graph = graph.transform(RemoveUnusedNodes())
    assert np.array_equal(execute(graph, np.moveaxis(x, 1, -1)), np.moveaxis(want, 1, -1))
    assert len(np.unique(want)) > 8
    assert [n.op_type for n in graph.graph.node].count("Transpose") == transposes
    assert tuple(graph.get_tensor_shape(graph.graph.input[0].name)) == (1, 5, 7, 2)


def test_all_layers_together_need_no_transposition(tmp_path):
    graph = clean(everything(tmp_path / "net.onnx"))
    x = codes((2, 4, 5), 4, signed=1)
    want = execute(graph, x)
    to_channels_last(graph)
    assert np.array_equal(execute(graph, np.moveaxis(x, 1, -1)), want)
    assert "Transpose" not in [n.op_type for n in graph.graph.node]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b: b.node("MatMul", images(b), b.uniform(6, 4)), r"\(MatMul\): this operator cannot be lowered. These can: Add, Concat"),
        (lambda b: b.node("Add", images(b), b.uniform(3, 1, 1)), r"\(Add\): tensors of shapes \(1, 3, 3, 6\) and \(3, 1, 1\)"),
    ],
)
def test_what_cannot_be_converted_is_named(tmp_path, make, words):
    b = Layers(2, 5, 7)
    with pytest.raises(InvalidInput, match=words):
        to_channels_last(clean(b.save(tmp_path / "net.onnx", make(b))))
