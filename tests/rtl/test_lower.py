"""alkaid's logic against rational arithmetic."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from flow.core.errors import InvalidInput, TooLarge
from flow.rtl.graph import FixedType, Graph, Layer
from flow.rtl.lower import first_divergence, layer_values, lower, products
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


@pytest.mark.parametrize("make", [tiny.dense, tiny.convolution, tiny.image, tiny.line])
def test_networks_are_exact_in_every_layer(make):
    rng = np.random.default_rng(5)
    graph = make(rng)
    x = tiny.inputs(rng, graph, 25)
    got = layer_values(graph, x)
    for i, sample in enumerate(x):
        for name, values in tiny.oracle(graph, sample).items():
            assert got[name][i].tolist() == [float(v) for v in values.ravel()], name
    assert np.array_equal(lower(graph).predict(x), got[graph.output.name])


@pytest.mark.parametrize("rounding", ["TRN", "RND", "RND_CONV"])
def test_every_mode_is_exact_on_ranges_that_are_no_powers_of_two(rounding):
    """A neuron with few weights and a bias: its values cover one code of the result, or lie between two, or are constant."""
    rng = np.random.default_rng(3)
    source = FixedType(True, 4, 2)
    x = np.arange(-8, 8)[:, None] / 4
    for _ in range(150):
        weight, bias = rng.choice([0.0, 0.125, 0.375, -0.25, 1.0]), rng.integers(-40, 41) / 16
        width, integer = int(rng.integers(1, 7)), int(rng.integers(-1, 5))
        kept = FixedType(bool(rng.integers(2)), width, integer, rounding, str(rng.choice(["WRAP", "SAT", "SAT_SYM"])))
        wide = FixedType(True, 6, 2)
        graph = Graph((
            Layer("in", "Input", (), (1,), source),
            Layer("fc", "Dense", ("in",), (1,), kept, {}, {"weight": (np.array([[weight]]), wide), "bias": (np.array([bias]), wide)}),
            Layer("same", "Merge", ("fc", "in"), (1,), FixedType(True, 20, 10), {"op": "add"}),  # a constant alone is no logic
        ))  # fmt: skip
        want = [[float(tiny.oracle(graph, row)["same"][0])] for row in x]
        assert lower(graph).predict(x).tolist() == want, (kept, weight, bias)


def test_a_network_that_is_too_large_is_refused_at_once():
    big = Layer("big", "Dense", ("in",), (700,), tiny.WIDE, {}, {"weight": (np.ones((300, 700)), tiny.WEIGHT)})
    graph = Graph((Layer("in", "Input", (), (300,), tiny.PORT), big))
    with pytest.raises(TooLarge, match=r"multiplies 210000 times .* 210000 times in layer 'big'.*at most 200000.*'stream'"):
        lower(graph)
    source, pad, deep = tiny.image(np.random.default_rng(0)).layers[:3]
    assert (products(source), products(pad)) == (0, 0)
    assert products(deep) == 3 * 6 * np.count_nonzero(deep.weights["weight"][0]) > 200


def test_a_large_matrix_is_exact_in_blocks(monkeypatch):
    monkeypatch.setattr("flow.rtl.operations.BLOCK", 5)
    rng = np.random.default_rng(4)
    graph = tiny.dense(rng)
    x = tiny.inputs(rng, graph, 20)
    assert lower(graph).predict(x).tolist() == [[float(v) for v in tiny.oracle(graph, s)["q_out"]] for s in x]


def test_a_narrow_accumulator_wraps_before_the_result_saturates():
    rng = np.random.default_rng(1)
    graph = tiny.dense(rng)
    fc = replace(graph.layers[2], accumulator=FixedType(True, 8, 2), type=FixedType(True, 8, 3, "TRN", "SAT"))
    graph = Graph((*graph.layers[:2], fc, graph.layers[3]))
    x = tiny.inputs(rng, graph, 40)
    assert lower(graph).predict(x).tolist() == [[float(v) for v in tiny.oracle(graph, s)["q_out"]] for s in x]


def one(kind, source, attributes, **fields):
    """A graph of one layer."""
    return Graph((Layer("in", "Input", (), (1,), source), Layer("it", kind, ("in",), (1,), source, attributes, **fields)))


def edit(name, **fields):
    graph = tiny.convolution(np.random.default_rng(0))
    return Graph(tuple(replace(layer, **fields) if layer.name == name else layer for layer in graph.layers))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lambda: edit("relu", kind="Softmax"), "'relu': kind Softmax"),
        (lambda: edit("relu", attributes={"activation": "softplus"}), "'softplus'"),
        (lambda: one("Activation", FixedType(True, 14, 4), {"activation": "tanh"}), "its input has 14 bits"),
        (lambda: edit("sum", attributes={"op": "multiply"}), "only the sum"),
        (lambda: edit("conv", attributes={"dilation_height": 2}), "dilation"),
        (lambda: edit("conv", attributes={"data_format": "channels_first"}), "channels last"),
        (lambda: edit("conv", accumulator=FixedType(True, 16, 12)), "Widen it"),
        (lambda: edit("conv", accumulator=FixedType(True, 24, 12, "TRN", "SAT")), "Widen it"),
        (lambda: edit("flat", shape=(2, 4)), "must be flattened"),
        (lambda: edit("relu", kind="Pooling2D", attributes={"pool_op": "average"}), "only the maximum"),
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
    x = tiny.inputs(rng, graph, 400)
    right = lower(graph).predict(x)
    for name in ("fc", "conv"):
        wrong = tiny.changed(graph, name)
        sample = x[(lower(wrong).predict(x) != right).any(axis=1)][:1]
        values = tiny.oracle(graph, sample[0])
        expected = {"only here": np.zeros(7), **{f"node {k}": np.array([float(v) for v in values[k].ravel()]) for k in values}}
        assert first_divergence(wrong, sample, expected) == f"node {name}"
        assert first_divergence(graph, sample, expected) is None
