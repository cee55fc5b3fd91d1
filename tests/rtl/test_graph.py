"""Types, the file of a lowered graph, and the reader of hls4ml's graph."""

import itertools
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from flow.core.errors import InvalidInput, MissingInput
from flow.rtl.graph import FixedType, Graph, Layer, from_hls4ml
from tests.rtl import tiny

MODES = list(itertools.product(("TRN", "RND", "RND_CONV"), ("WRAP", "SAT", "SAT_SYM"), (True, False)))


@pytest.mark.parametrize(("rounding", "saturation", "signed"), MODES)
def test_quantizing_follows_the_definition_on_every_value(rounding, saturation, signed):
    kept = FixedType(signed, 3, 2, rounding, saturation)
    values = np.arange(-60, 60) / 8
    assert [Fraction(v) for v in kept.quantize(values)] == [tiny.exact(Fraction(v), kept) for v in values]


def test_types_say_their_range_and_name():
    assert FixedType(True, 4, 2, "RND", "SAT_SYM").range == (-7, 7)
    assert str(FixedType(False, 8, 1)) == "ufixed<8,1,TRN,WRAP>"
    assert FixedType(False, 3, 6).fraction == -3


@pytest.mark.parametrize("fields", [(True, 8, 2, "RND_ZERO"), (True, 8, 2, "TRN", "SAT_ZERO"), (True, 0, 0), (True, 80, 10)])
def test_types_that_cannot_be_lowered_are_refused(fields):
    with pytest.raises(InvalidInput):
        FixedType(*fields)


def test_a_graph_survives_its_file(tmp_path):
    graph = tiny.convolution(np.random.default_rng(0))
    graph.save(tmp_path / "lowered")
    again = Graph.load(tmp_path / "lowered")
    for a, b in zip(graph.layers, again.layers, strict=True):
        assert (a.name, a.kind, a.inputs, a.shape, a.type, a.attributes, a.accumulator) == (
            b.name, b.kind, b.inputs, b.shape, b.type, b.attributes, b.accumulator)  # fmt: skip
        assert {n: t for n, (_, t) in a.weights.items()} == {n: t for n, (_, t) in b.weights.items()}
        assert all(np.array_equal(w, b.weights[n][0]) for n, (w, _) in a.weights.items())


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        Graph.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", header=np.frombuffer(b'{"format": 99}', np.uint8))
    np.savez(tmp_path / "pickle.npz", header=np.array([{"format": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "huge.npz", header=np.zeros((1 << 24) + 1, np.uint8))
    for name in ("text", "other", "pickle", "huge"):
        with pytest.raises(InvalidInput):
            Graph.load(tmp_path / f"{name}.npz")


def test_graphs_that_make_no_sense_are_refused():
    source = Layer("in", "Input", (), (4,), tiny.PORT)
    act = Layer("a", "Activation", ("in",), (4,), tiny.PORT, {"activation": "linear"})
    for layers in ((source, act, act), (act, source), (source,), (source, Layer("b", "Input", (), (4,), tiny.PORT), act)):
        with pytest.raises(InvalidInput):
            Graph(layers)


def test_the_port_is_the_quantizer_behind_the_input():
    graph = tiny.dense(np.random.default_rng(0))
    assert (graph.port.name, graph.output.name) == ("q_in", "q_out")
    assert tiny.convolution(np.random.default_rng(0)).port.name == "in"


def precision(width=8, integer=3, signed=True, **modes):
    return SimpleNamespace(width=width, integer=integer, signed=signed, saturation_bits=0, **modes)


def node(name, kind, inputs, shape=(4,), kept=None, weights=None, **attributes):
    variable = SimpleNamespace(shape=shape, type=SimpleNamespace(precision=kept or precision()))
    return SimpleNamespace(
        name=name, class_name=kind, inputs=inputs, outputs=[f"{name}_out"], attributes=attributes, weights=weights or {},
        get_output_variable=lambda: variable,
    )  # fmt: skip


def model(*nodes):
    return SimpleNamespace(get_layers=lambda: nodes)


def test_hls4ml_layers_are_taken_with_their_types():
    weight = SimpleNamespace(data=np.array([[0.30], [0.5], [-0.5], [0.0]]), type=SimpleNamespace(precision=precision(4, 1)))
    graph = from_hls4ml(model(
        node("in", "Input", ["in"]),
        node("relu", "Activation", ["in_out"], activation="ReLU"),
        node("turn", "Transpose", ["relu_out"], perm=[np.int64(0)]),
        node("fc", "Dense", ["turn_out"], (1,), precision(9, 4, rounding_mode="RND_CONV", saturation_mode="SAT"), {"weight": weight},
             accum_t=SimpleNamespace(precision=precision(20, 8))),
    ))  # fmt: skip
    relu, turn, fc = graph.layers[1:]
    assert (relu.inputs, relu.attributes) == (("in",), {"activation": "relu"})
    assert turn.attributes == {"perm": [0]}
    assert str(fc.type) == "fixed<9,4,RND_CONV,SAT>"
    assert fc.accumulator == FixedType(True, 20, 8)
    assert fc.weights["weight"][0].ravel().tolist() == [0.25, 0.5, -0.5, 0.0]


def test_what_streams_need_is_taken_as_what_it_computes():
    clone = node("clone", "Clone", ["in_out"])
    clone.outputs = ["copy1", "copy2"]
    graph = from_hls4ml(model(
        node("in", "Input", ["in"]), clone,
        node("one", "ParametrizedActivation", ["copy1"], activation="LeakyReLU", activ_param=0.125),
        node("two", "Repack", ["copy2", ""], (2, 2)),
        node("fc", "PointwiseConv1D", ["two_out"], (2, 2), stride_width=1, other="dropped"),
        node("both", "Concatenate", ["one_out", "fc_out"], axis=-1),
    ))  # fmt: skip
    assert [(layer.kind, layer.inputs) for layer in graph.layers[1:]] == [
        ("Reshape", ("in",)), ("ParametrizedActivation", ("clone",)), ("Reshape", ("clone",)), ("Conv1D", ("two",)),
        ("Concatenate", ("one", "fc")),
    ]  # fmt: skip
    assert [layer.attributes for layer in graph.layers[2:]] == [
        {"activation": "leakyrelu", "activ_param": 0.125}, {}, {"stride_width": 1}, {"axis": -1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (node("soft", "Softmax", ["in_out"]), "layer 'soft': kind Softmax"),
        (node("a", "Activation", ["in_out"], kept=precision(rounding_mode="RND_INF"), activation="relu"), "RND_INF"),
        (node("a", "Activation", ["in_out"], kept=SimpleNamespace(width=8), activation="relu"), "not fixed-point"),
    ],
)
def test_hls4ml_layers_that_cannot_be_lowered_are_named(bad, words):
    with pytest.raises(InvalidInput, match=words):
        from_hls4ml(model(node("in", "Input", ["in"]), bad))


def test_saturation_bits_are_refused():
    kept = precision()
    kept.saturation_bits = 2
    with pytest.raises(InvalidInput, match="saturation bits"):
        from_hls4ml(model(node("in", "Input", ["in"], kept=kept)))
