"""alkaid's logic against rational arithmetic."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType, Graph, Layer
from flow.rtl.lower import first_divergence, layer_values, lower
from tests.rtl import tiny

MODES = list(itertools.product(("TRN", "RND", "RND_CONV"), ("WRAP", "SAT", "SAT_SYM"), (True, False)))


@pytest.mark.parametrize(("rounding", "saturation", "signed"), MODES)
def test_every_mode_is_exact_on_every_code(rounding, saturation, signed):
    source = FixedType(True, 8, 4)
    targets = [
        FixedType(signed, width, integer, rounding, saturation) for width, integer in ((4, 2), (3, 3), (5, 1), (10, 5), (1, 0), (6, 4))
    ]
    x = np.arange(-128, 128)[:, None] / 16.0
    for kept in targets:
        for name in ("linear", "relu"):
            graph = Graph((
                Layer("in", "Input", (), (1,), source),
                Layer("same", "Activation", ("in",), (1,), source, {"activation": "linear"}),
                Layer("act", "Activation", ("same",), (1,), kept, {"activation": name}),
            ))  # fmt: skip
            want = [[float(v) for v in tiny.oracle(graph, row)["act"]] for row in x]
            assert lower(graph).predict(x).tolist() == want, (kept, name)


@pytest.mark.parametrize("make", [tiny.dense, tiny.convolution])
def test_networks_are_exact_in_every_layer(make):
    rng = np.random.default_rng(5)
    graph = make(rng)
    x = tiny.inputs(rng, graph, 60)
    got = layer_values(graph, x)
    for i, sample in enumerate(x):
        for name, values in tiny.oracle(graph, sample).items():
            assert got[name][i].tolist() == [float(v) for v in values.ravel()], name
    assert np.array_equal(lower(graph).predict(x), got[graph.output.name])


def test_a_narrow_accumulator_wraps_before_the_result_saturates():
    rng = np.random.default_rng(1)
    graph = tiny.dense(rng)
    fc = replace(graph.layers[2], accumulator=FixedType(True, 8, 2), type=FixedType(True, 8, 3, "TRN", "SAT"))
    graph = Graph((*graph.layers[:2], fc, graph.layers[3]))
    x = tiny.inputs(rng, graph, 40)
    assert lower(graph).predict(x).tolist() == [[float(v) for v in tiny.oracle(graph, s)["q_out"]] for s in x]


def edit(name, **fields):
    graph = tiny.convolution(np.random.default_rng(0))
    return Graph(tuple(replace(layer, **fields) if layer.name == name else layer for layer in graph.layers))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lambda: edit("relu", kind="Softmax"), "'relu': kind Softmax"),
        (lambda: edit("relu", attributes={"activation": "tanh"}), "'tanh'"),
        (lambda: edit("sum", attributes={"op": "multiply"}), "only the sum"),
        (lambda: edit("conv", attributes={"dilation_height": 2}), "dilation"),
        (lambda: edit("conv", attributes={"data_format": "channels_first"}), "channels last"),
        (lambda: edit("conv", accumulator=FixedType(True, 16, 12)), "Widen it"),
        (lambda: edit("conv", accumulator=FixedType(True, 24, 12, "TRN", "SAT")), "Widen it"),
        (lambda: edit("flat", shape=(2, 4)), "must be flattened"),
    ],
)
def test_what_cannot_be_exact_is_refused_and_named(graph, words):
    with pytest.raises(InvalidInput, match=words):
        lower(graph())


def test_inputs_off_the_grid_are_refused():
    graph = tiny.dense(np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="1 of 4 input values"):
        lower(graph).predict(np.array([[0.0, 0.01, 1.0, 0.5]]))


def test_the_first_layer_with_a_planted_error_is_named():
    rng = np.random.default_rng(2)
    graph = tiny.convolution(rng)
    x = tiny.inputs(rng, graph, 50)
    right = lower(graph).predict(x)
    for name in ("fc", "conv"):
        wrong = tiny.changed(graph, name)
        sample = x[(lower(wrong).predict(x) != right).any(axis=1)][:1]
        values = tiny.oracle(graph, sample[0])
        expected = {"only here": np.zeros(7), **{f"node {k}": np.array([float(v) for v in values[k].ravel()]) for k in values}}
        assert first_divergence(wrong, sample, expected) == f"node {name}"
        assert first_divergence(graph, sample, expected) is None
