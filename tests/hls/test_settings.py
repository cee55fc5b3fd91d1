"""What hls4ml is told: exact types, tables and slopes."""

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.hls.settings import quantizer_type, settings
from tests.hls.networks import Layers, clean


def graph(path, make):
    b = Layers(3)
    return clean(b.save(path / "net.onnx", make(b)))


def find(graph, op):
    return next(node for node in graph.graph.node if node.op_type == op)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"bits": 4, "scale": 0.25, "signed": 0}, "ufixed<4,2,RND_CONV,SAT>"),
        ({"bits": 6, "scale": 2.0**-8, "narrow": 1}, "fixed<6,-2,RND_CONV,SAT_SYM>"),
        ({"bits": 3, "scale": 8.0, "rounding_mode": "FLOOR"}, "fixed<3,6,TRN,SAT>"),
    ],
)
def test_types(tmp_path, arguments, name):
    g = graph(tmp_path, lambda b: b.quant("x", **arguments))
    assert str(quantizer_type(g, g.graph.node[0])) == name
    with pytest.raises(InvalidInput, match="none here"):
        quantizer_type(g, None, "none here")


def table(bits, scale, op="Tanh", out=(5, 2.0**-4), **options):
    return lambda b: b.quant(b.node(op, b.quant("x", bits, scale)), *out, **options)


@pytest.mark.parametrize(
    ("make", "size", "kept"),
    [
        (table(6, 2.0**-3), 64, "fixed<5,1,RND_CONV,SAT>"),
        (table(4, 2.0**-3), 64, "fixed<5,1,RND_CONV,SAT>"),
        (table(10, 2.0**-6, "Sigmoid", (7, 2.0**-7), signed=0, rounding_mode="FLOOR"), 1024, "ufixed<7,0,TRN,SAT>"),
        (table(3, 2.0, "Sigmoid"), 16, "fixed<5,1,RND_CONV,SAT>"),
    ],
)
def test_a_table_has_an_entry_for_each_word(tmp_path, make, size, kept):
    """hls4ml takes entry x * size / range + size / 2, computed with as many fraction bits as x has."""
    g = graph(tmp_path, make)
    node = next(n for n in g.graph.node if n.op_type in ("Tanh", "Sigmoid"))
    assert settings(g, node) == {"TableSize": size, "TableT": kept}
    word = quantizer_type(g, g.find_producer(node.input[0]))
    span, step = {"Tanh": 8, "Sigmoid": 16}[node.op_type], 2.0**-word.fraction
    x = np.arange(word.range[0], word.range[1] + 1) * step
    place = np.trunc(x * size / span / step) * step + size / 2
    assert np.array_equal(span * (place - size / 2) / size, x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (table(6, 2.0**-2), r"\(Tanh\): its input covers \[-8, 7.75\], its table only \[-4, 4\)"),
        (table(8, 0.25, "Sigmoid"), r"\(Sigmoid\): its input covers \[-32, 31.75\]"),
        (lambda b: b.node("Tanh", b.quant("x", 4, 0.25)), "a quantizer, and nothing else, must follow"),
        (lambda b: b.quant(b.node("Tanh", b.node("Relu", b.quant("x", 4, 0.25))), 4, 0.25), "a quantizer must be in front"),
    ],
)
def test_tables_that_cannot_be_exact_are_refused(tmp_path, make, words):
    g = graph(tmp_path, make)
    node = next(n for n in g.graph.node if n.op_type in ("Tanh", "Sigmoid"))
    with pytest.raises(InvalidInput, match=words):
        settings(g, node)


@pytest.mark.parametrize(("slope", "name"), [(0.125, "fixed<2,-1"), (0.75, "fixed<3,1"), (1.0, "fixed<2,2"), (0.1, "fixed<25,-2")])
def test_a_slope_is_held_exactly(tmp_path, slope, name):
    g = graph(tmp_path, lambda b: b.node("LeakyRelu", "x", alpha=slope))
    kept = settings(g, find(g, "LeakyRelu"))["ParamT"]
    assert kept.startswith(name)
    width, integer = map(int, kept.removeprefix("fixed<").split(",")[:2])
    assert float(np.float32(slope)) * 2.0 ** (width - integer) % 1 == 0
    assert np.float32(slope) < 2.0 ** (integer - 1)
