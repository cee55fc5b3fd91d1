"""Every repair: what it is for is there before and gone after, and ONNX Runtime computes the same."""

import re

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.core.plugins import load, names
from tests.quant.repairs import networks as net
from tests.quant.repairs.reference import evaluate, operators, words

POOL = {"strides": [2, 2], "pads": [1, 0, 1, 0], "count_include_pad": 1}
CASES = {
    "anonymous_constants": (["Constant"], [], [net.constant_nodes()]),
    "batch_norm": (
        ["BatchNormalization"], [],
        [net.norm("Conv"), net.norm("Conv", bias=False), net.norm("Gemm", image=False), net.norm("Gemm", bias=False, image=False),
         net.norm("MatMul", image=False), net.norm("MatMul", bias=False, image=False), net.norm(""), net.norm("", image=False)],
    ),
    "channel_scales": (["Quant"], ["Quant"], [net.gemm(), net.gemm(bias=True), net.conv_channels(), net.equal_channels()]),
    "concatenations": (["Concat"], ["Concat"], [net.concat(3), net.concat(4)]),
    "constants": (
        ["Sub", "Div", "Conv"], ["Add", "Mul", "Conv"],
        [net.arithmetic((3,), [0.5, -1.5, 0.25]), net.arithmetic((2, 3, 3), 0.75), net.bare_window()],
    ),
    "dilated_convolutions": (["Conv"], ["Conv"], [net.dilated(1), net.dilated(2)]),
    "gemm": (["Gemm"], ["MatMul"], [net.gemm(), net.gemm(bias=True), net.gemm(trans=0), net.gemm(bias=True, trans=0)]),
    "global_pooling": (
        ["ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool"], ["AveragePool", "MaxPool"],
        [net.reduction("ReduceMean", (3, 4, 2), [-1, -2]), net.reduction("ReduceMean", (3, 4, 2), [3, 2], 0), net.global_pool_1d(),
         net.reduction("ReduceMean", (3, 8), [2], 0), net.reduction("ReduceMean", (3, 3, 4), [3]),
         net.reduction("ReduceMax", (3, 3, 5), [2, 3], 0),
         net.reduction("GlobalAveragePool", (3, 2, 8)), net.reduction("GlobalMaxPool", (3, 3, 5)), net.reduction("GlobalMaxPool", (3, 7))],
    ),
    "grouped_convolutions": (["Conv"], ["Conv"], [net.grouped(2), net.grouped(2, 4), net.grouped(4, 8, 4)]),
    "mean_pooling": (
        ["AveragePool"], ["Conv"],
        [net.pool("AveragePool", (3, 5, 6), [2, 4], **POOL), net.pool("AveragePool", (2, 9), [4], strides=[2]),
         net.pool("AveragePool", (2, 4, 4), [2, 2])],
    ),
    "pointwise": (
        ["Mul", "Add", "MatMul"], ["Conv"],
        [net.arithmetic((2, 3, 3), np.reshape([0.5, -1.25], (2, 1, 1))), net.arithmetic((2, 3), 0.75), net.token_product()],
    ),
    "reshapes": (["Flatten", "Squeeze", "Unsqueeze", "Identity"], ["Reshape", "MatMul"], [net.flatten(), net.squeeze()]),
    "series": (["MaxPool"], ["MaxPool", "Conv"], [net.series(), net.series_out()]),
}  # fmt: skip
FIRST = {"pointwise": ["constants"], "series": ["channel_scales", "mean_pooling", "reshapes"]}
ALL = [(name, i) for name, (_, _, models) in CASES.items() for i in range(len(models))]


def prepared(name, index):
    model = CASES[name][2][index]
    copy = type(model).FromString(model.SerializeToString())
    for earlier in FIRST.get(name, []):
        load("quant.repairs", earlier).apply(copy)
    return copy


def sample(model, n=120):
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    first = next(node for node in model.graph.node if node.input and node.input[0] == model.graph.input[0].name)
    return words(n, shape, signed=bool(next(a.i for a in first.attribute if a.name == "signed")))


@pytest.mark.parametrize(("name", "index"), ALL)
def test_repair_removes_the_form_and_keeps_the_values(name, index):
    bad, good, _ = CASES[name]
    model = prepared(name, index)
    x, repair = sample(model), load("quant.repairs", name)
    before, found = evaluate(model, x), operators(model)
    assert set(found) & set(bad), "the form that the repair is for is there"
    assert len(np.unique(before)) > 10
    assert repair.apply(model) > 0
    assert np.array_equal(evaluate(model, x), before)
    assert repair.apply(model) == 0
    assert set(operators(model)) & set(good or operators(model))
    if set(bad) - set(good):
        assert not set(operators(model)) & (set(bad) - set(good))


def test_every_repair_is_tested():
    assert {*CASES, "rounding_names", "strip_metadata"} == set(names("quant.repairs"))


def attributes(model, op, key):
    return [list(a.ints) or a.i for n in model.graph.node if n.op_type == op for a in n.attribute if a.name == key]


def scales(model):
    known = {t.name: list(t.dims) for t in model.graph.initializer}
    return [known[n.input[1]] for n in model.graph.node if n.op_type == "Quant"]


def test_what_the_operators_do_not_show():
    """The forms that differ in attributes or shapes only."""
    for name, look, before, after in (
        ("dilated_convolutions", lambda m: attributes(m, "Conv", "dilations"), [[3, 2]], [[1, 1]]),
        ("dilated_convolutions", lambda m: attributes(m, "Conv", "kernel_shape"), [[2, 3]], [[4, 5]]),
        ("grouped_convolutions", lambda m: attributes(m, "Conv", "group"), [4], [1]),
        ("channel_scales", scales, [[], [3, 1], []], [[], [], []]),
        ("concatenations", lambda m: [len(n.input) for n in m.graph.node if n.op_type == "Concat"], [4], [2, 2, 2]),
    ):
        index = {"channel_scales": 0, "grouped_convolutions": 2}.get(name, 1)
        model = prepared(name, index)
        assert look(model) == before
        load("quant.repairs", name).apply(model)
        assert look(model) == after


def test_series_have_only_images_afterwards():
    model = prepared("series", 0)
    load("quant.repairs", "series").apply(model)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 2, 1, 12]
    assert {len(v) for op in ("Conv", "MaxPool") for v in attributes(model, op, "kernel_shape")} == {2}


@pytest.mark.parametrize("index", [0, 2])
def test_constants_get_types(index):
    def bare(model):
        known = {t.name for t in model.graph.initializer}
        return known & {name for n in model.graph.node if n.op_type != "Quant" for name in n.input}

    model = prepared("constants", index)
    assert bare(model)
    load("quant.repairs", "constants").apply(model)
    assert not bare(model)


def test_a_weight_keeps_the_width_of_its_widest_channel():
    """Codes of 4 bits (7 at most) at scales 2**-5 to 2**-3: 6 bits hold them all."""
    model = prepared("channel_scales", 0)
    load("quant.repairs", "channel_scales").apply(model)
    node = next(n for n in model.graph.node if n.name.endswith("_quant"))
    known = {t.name: t for t in model.graph.initializer}
    assert np.frombuffer(known[node.input[3]].raw_data, np.float32) <= 6


def test_shared_weights_are_changed_for_one_layer_only():
    b, x = net.start(2, 7, 7)
    w = b.weight(net.values(2, 2, 2, 2))
    y = b.conv(b.quant(b.conv(x, w, kernel_shape=[2, 2], dilations=[2, 2]), 6, 0.25), w, kernel_shape=[2, 2])
    model = net.finish(b, y)
    before = evaluate(model, words(100, (2, 7, 7)))
    assert load("quant.repairs", "dilated_convolutions").apply(model) == 1
    assert np.array_equal(evaluate(model, words(100, (2, 7, 7))), before)


def activations():
    b, x = net.start(2, 3)
    return b.model(b.quant(x, 4, np.reshape([0.25, 0.5], (2, 1))))


@pytest.mark.parametrize(
    ("name", "model", "words_"),
    [
        ("batch_norm", lambda: net.norm("Conv", factor=(0.3, 0.1, 0.7)), r"'Conv_\d' .*not on a grid of 24 bits"),
        ("pointwise", lambda: net.arithmetic((2, 3, 3), np.reshape(np.arange(9) / 4, (3, 3))), "differs between pixels"),
        ("channel_scales", activations, r"'Quant_1' .*only that of a weight"),
    ],
)
def test_what_cannot_be_exact_is_refused_with_its_name(name, model, words_):
    broken = model()
    for earlier in FIRST.get(name, []):
        load("quant.repairs", earlier).apply(broken)
    with pytest.raises(InvalidInput, match=words_) as error:
        load("quant.repairs", name).apply(broken)
    assert re.match(r"Node '\w+' \(\w+\): ", str(error.value))
