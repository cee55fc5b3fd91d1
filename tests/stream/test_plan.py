"""The elements of a network, the names of their modules, where queues are, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.rtl.graph import FixedType, Graph, Layer
from flow.stream.build import build, queues
from flow.stream.elements import holds
from flow.stream.kernel import build as build_kernel
from flow.stream.mac import accumulator, build_mac, steps_of
from flow.stream.names import KEYWORDS, Names
from flow.stream.plan import plan
from tests.stream.networks import CLOCK, NAMED, OUTPUT, PART, RELU, SIGNED, SUM, Net, odd_names, plain, residual, vector


def changed(graph, name, **fields):
    """Return a graph with another layer of that name."""
    return Graph(tuple(replace(layer, **fields) if layer.name == name else layer for layer in graph.layers))


def test_elements_of_a_residual_network():
    elements = plan(residual())
    assert [(e.name, e.kind, e.inputs) for e in elements] == [
        ("conv2d_1_zeros", "pad", ("",)), ("conv2d_1", "window", ("conv2d_1_zeros",)), ("conv2d_1_fork", "fork", ("conv2d_1",)),
        ("zeropadding2d_3", "pad", ("conv2d_1_fork.0",)), ("conv2d_4", "window", ("zeropadding2d_3",)),
        ("merge_6", "join", ("conv2d_1_fork.1", "conv2d_4")), ("reshape_8", "gather", ("merge_6",)), ("dense_9", "point", ("reshape_8",)),
    ]  # fmt: skip
    assert [e.output.shape for e in elements] == [
        (8, 8, 2), (6, 6, 3), (6, 6, 3), (8, 8, 3), (6, 6, 3), (6, 6, 3), (1, 1, 108), (1, 1, 2),
    ]  # fmt: skip
    assert elements[0].layer == elements[1].layer == elements[2].layer == "conv2d_1"
    assert elements[-1].output.type == OUTPUT


def test_queues_are_where_rates_differ():
    elements = plan(residual())
    assert queues(elements, {}) == ["zeropadding2d_3", "merge_6.a", "merge_6.b"]  # not at the input, where nothing could go on
    assert queues(elements, {"dense_9": 2, "conv2d_4": 3}) == ["zeropadding2d_3", "conv2d_4", "merge_6.a", "merge_6.b", "reshape_8"]
    assert queues(plan(vector()), {"dense_3": 4}) == ["dense_3"]


def test_a_padding_is_taken_from_a_convolution_and_its_own_layer_alike():
    inside = Net((5, 6, 2), 1).conv(3, (3, 2), pads=(1, 0, 2, 1)).act().end()
    outside = Net((5, 6, 2), 1).zeros((1, 0, 2, 1)).conv(3, (3, 2)).act().end()
    a, b = plan(inside), plan(outside)
    assert [(e.kind, e.source, e.output, e.settings) for e in a] == [(e.kind, e.source, e.output, e.settings) for e in b]


def test_the_words_of_a_quantizer_behind_the_input_are_those_of_the_port():
    net = Net((4, 4, 1))
    net.act(SIGNED, "linear", name="quantizer")
    first = plan(net.conv(2, (2, 2)).act().end())[0]
    assert (first.name, first.inputs, first.source.type) == ("conv2d_2", ("",), SIGNED)


def test_layers_that_move_nothing_are_no_elements():
    net = Net((1, 6, 3)).conv(3, (1, 2)).act()
    net.add("Reshape", (5, 3), RELU).add("Reshape", (1, 5, 3), RELU).add("Transpose", (5, 1, 3), RELU, {"perm": [1, 0, 2]}).add(
        "Reshape", (1, 5, 3), RELU
    )
    graph = net.end()
    assert [(e.kind, e.source.shape) for e in plan(graph)] == [("window", (1, 6, 3)), ("gather", (1, 5, 3)), ("point", (1, 1, 15))]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("conv_1", "conv_1"), ("module", "layer_module"), ("Module", "layer_Module"), ("logic", "layer_logic"), ("2x", "layer_2x"),
     ("a.b/c", "layer_a_b_c"), ("x.1", "x_1"), ("in", "layer_in"), ("mux", "layer_mux"), ("network", "layer_network"),
     ("k_x", "layer_k_x"), ("x_a", "x_a_layer"), ("x_queue", "x_queue_layer"), ("x_post", "x_post_layer"), ("x_logic12", "x_logic12_layer"),
     ("table_1", "layer_table_1"), ("é", "layer__"), ("", "layer_"), ("harness", "layer_harness"), ("tb", "layer_tb")],
)  # fmt: skip
def test_names_are_those_of_the_layers_where_verilog_takes_them(name, kept):
    assert Names().new(name) == kept


def test_names_are_unique_even_if_letters_have_no_case():
    names = Names()
    assert [names.new(n) for n in ("x", "X", "x", "x_2", "layer_reg", "reg")] == ["x", "X_2", "x_3", "x_2_2", "layer_reg", "layer_reg_2"]
    assert len({Names().new(word).casefold() for word in KEYWORDS} & KEYWORDS) == 0


@pytest.mark.parametrize("name", NAMED)
def test_no_module_is_there_twice(name):
    graph = NAMED[name]()
    elements = plan(graph)
    depths = dict.fromkeys(queues(elements, {}), 2)
    design = build(graph, PART, CLOCK, fifos=depths)
    own = sum(1 for e in elements) + 2 * len(design.kernels) + len(depths) + 2  # elements, their arithmetic, queues, two tops
    assert len({file.casefold() for file in design.files}) == len(design.files) >= own
    for file, text in design.files.items():
        assert text.count("\nmodule ") == 1
        assert f"\nmodule {file.removesuffix('.v')}" in text


def test_odd_names_lead_back_to_the_layers():
    layers = {e.name: e.layer for e in plan(odd_names())}
    assert layers["layer_module"] == "module"
    assert layers["layer_a_x"] == "a_x"
    assert layers["layer_2x_y"] == "2x.y"
    design = build(odd_names(), PART, CLOCK, {"a_x": 3})
    assert design.reuse == {"layer_a_x": 3}


def image(*shape):
    return Net(shape or (6, 6, 2))


def with_layer(kind, shape, attributes=None, kept=None, **more):
    net = image()
    return net.add(kind, shape, kept or net.at.type, attributes, name="bad", **more).end()


BOTH = {"weight": (np.ones((2, 2, 2, 3)), SUM), "bias": (np.zeros(3), SUM)}
GROUPS = {"weight": (np.ones((2, 2, 1, 3)), SUM)}
STRIDES = {"stride_height": 1, "stride_width": 1}
DIFFERENT = {"scale": (np.arange(72.0).reshape(6, 6, 2), SUM), "bias": (np.zeros((6, 6, 2)), SUM)}
REFUSED = {
    "dilation": (lambda: image().conv(3, (2, 2), name="bad", dilation_height=2, dilation_width=2).end(), "dilation and groups"),
    "groups": (lambda: with_layer("Conv2D", (5, 5, 3), STRIDES, SUM, weights=GROUPS), "dilation and groups"),
    "shape": (lambda: with_layer("Conv2D", (6, 5, 3), STRIDES, SUM, weights=BOTH), "give (5, 5), not (6, 5)"),
    "channels first": (lambda: image().conv(3, (2, 2), name="bad", data_format="channels_first").end(), "channels last first"),
    "concatenation": (lambda: with_layer("Concatenate", (6, 6, 2), {"axis": 3}), "cannot be streamed"),
    "unknown": (lambda: with_layer("Softmax", (6, 6, 2)), "cannot be streamed"),
    "transposed image": (lambda: with_layer("Transpose", (2, 6, 6), {"perm": [2, 0, 1]}), "another order"),
    "average": (lambda: with_layer("Pooling2D", (3, 3, 2), {"pool_op": "average", "pool_height": 2, "pool_width": 2, "stride_height": 2,
                                                            "stride_width": 2}), "depthwise convolution for an average"),
    "image to image": (lambda: with_layer("Reshape", (6, 4, 3)), "6 x 6 x 2 cannot become one of shape (6, 4, 3)"),
    "other type": (lambda: with_layer("Reshape", (72,), kept=FixedType(False, 3, 2)), "changes the type"),
    "padding's type": (lambda: with_layer("ZeroPadding2D", (7, 6, 2), {"pad_top": 1}, FixedType(False, 3, 2)), "change nothing else"),
    "padding's shape": (lambda: with_layer("ZeroPadding2D", (6, 6, 2), {"pad_top": 1}), "change nothing else"),
    "negative padding": (lambda: with_layer("ZeroPadding2D", (5, 6, 2), {"pad_top": -1}), "change nothing else"),
    "dense on an image": (lambda: with_layer("Dense", (6, 6, 3), weights={"weight": (np.ones((2, 3)), SUM)}), "flattened first"),
    "scale by pixel": (lambda: with_layer("ApplyAlpha", (6, 6, 2), weights=DIFFERENT), "'scale' differs from pixel to pixel"),
    "product": (lambda: with_layer("Merge", (6, 6, 2), {"op": "multiply"}, inputs=("image", "image")), "only the sum of two"),
    "three": (lambda: with_layer("Merge", (6, 6, 2), {"op": "add"}, inputs=("image",) * 3), "only the sum of two"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_streamed_is_refused_with_the_layer(case):
    make, why = REFUSED[case]
    graph = make()
    with pytest.raises(InvalidInput) as error:
        plan(graph)
    assert "layer 'bad' (" in str(error.value)
    assert why in str(error.value)


def test_shapes_of_a_sum_must_be_equal():
    net = image()
    before = net.conv(3, (2, 2)).act().at
    net.conv(3, (2, 2)).act().plus(before, name="bad")
    with pytest.raises(InvalidInput, match=r"layer 'bad' .*one shape"):
        plan(net.end())


def test_maximum_with_padding_is_that_of_zeros_only_where_nothing_is_below_zero():
    assert [e.kind for e in plan(image().pool((2, 2), (2, 2), pads=(1, 1, 0, 0)).end())][:2] == ["pad", "window"]
    with pytest.raises(InvalidInput, match=r"layer 'pooling2d_1' .*ReLU"):
        plan(Net((6, 6, 2), signed=True).pool((2, 2), (2, 2), pads=(1, 1, 0, 0)).end())


def test_the_output_is_a_layer_that_nothing_else_reads():
    net = image().conv(3, (2, 2)).act()
    read = net.at
    net.conv(3, (1, 1)).act()
    dangling = Graph((*net.layers, Layer("last", "Reshape", (read.name,), read.shape, read.type)))
    with pytest.raises(InvalidInput, match=r"layer 'last' .*nothing else reads"):
        plan(dangling)
    side = Graph((*net.layers, Layer("last", "Activation", (read.name,), read.shape, RELU, {"activation": "relu"})))
    with pytest.raises(InvalidInput, match="layer 'conv2d_3': nothing reads"):
        plan(side)
    with pytest.raises(InvalidInput, match="layer 'activation_1'"):
        plan(image().act(RELU, "linear").graph())


def test_accumulators_must_not_saturate_or_drop_bits_however_often_multipliers_are_used():
    for accumulator_type in (FixedType(True, 22, 12, "TRN", "SAT"), FixedType(True, 12, 10)):
        graph = changed(plain(), "conv2d_4", accumulator=accumulator_type)
        for reuse in (1, 4):
            with pytest.raises(InvalidInput, match=r"layer 'conv2d_4' .*accumulator"):
                build(graph, PART, CLOCK, {"conv2d_4": reuse})


@pytest.mark.parametrize(
    ("reuse", "why"),
    [
        ({"nothing": 2}, "'nothing'"),
        ({"pooling2d_3": 2}, "'pooling2d_3'"),
        ({"conv2d_4": 0}, "at least 1"),
        ({"conv2d_4": 37}, "1 to 36 cycles, not 37"),
    ],
)
def test_reuse_factors_that_cannot_be(reuse, why):
    with pytest.raises(InvalidInput, match=why):
        build(plain(), PART, CLOCK, reuse)


def test_queues_that_cannot_be():
    with pytest.raises(InvalidInput, match="'nowhere'"):
        build(plain(), PART, CLOCK, fifos={"nowhere": 2})
    with pytest.raises(InvalidInput, match="-1 pixels at 'conv2d_4'"):
        build(plain(), PART, CLOCK, fifos={"conv2d_4": -1})


def test_accumulator_holds_every_partial_sum_and_no_bit_more():
    graph = plan(plain())[3].graph
    dense = graph.layers[2]
    kernel, bias = dense.weights["weight"][0], dense.weights["bias"][0]
    highest = graph.layers[0].type.range[1] * 2.0 ** -graph.layers[0].type.fraction
    most = (np.abs(kernel).sum(axis=0) * highest + np.abs(bias)).max()
    total = accumulator(graph)
    assert 2.0 ** (total.integer - 2) <= most < 2.0 ** (total.integer - 1)
    assert total.fraction == 5


def test_multipliers_whose_weights_are_always_zero_are_left_out():
    graph = plan(Net((5, 5, 4), 3).conv(4, (3, 3), depthwise=True).act().end())[0].graph
    alone = build_mac("a_x", graph, 9, PART, CLOCK)  # 4 words a step: one of each channel
    assert alone.multipliers == 4
    assert alone.steps == steps_of(1) == 2
    assert build_mac("a_x", graph, 3, PART, CLOCK).steps == steps_of(3) == 3
    assert steps_of(4) == 3
    assert steps_of(5) == 4


def test_a_kernel_of_constants_has_one_register():
    kernel = build_kernel("k_x", plan(NAMED["constants"]())[2].graph, PART, CLOCK)
    assert kernel.latency == 1
    assert list(kernel.files) == ["k_x.v"]


@pytest.mark.parametrize(
    ("wide", "narrow", "result"),
    [
        (SIGNED, FixedType(False, 4, 2), True),
        (FixedType(False, 4, 2), SIGNED, False),
        (RELU, FixedType(False, 5, 2), False),
        (FixedType(True, 4, 2, "TRN", "SAT_SYM"), FixedType(True, 4, 2), False),
        (FixedType(True, 4, 2), FixedType(True, 4, 2, "RND", "SAT"), True),
    ],
)
def test_types_that_hold_all_values_of_others(wide, narrow, result):
    assert holds(wide, narrow) is result
