"""What is counted from a graph, against counts by hand and against perturbing every word."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.hls4ml_sums import evaluate
from flow.core.errors import ConfigError
from flow.estimate.features import features, layers, levels_per_stage, signed_digits, unknown
from flow.estimate.masks import live_words, needed_words
from flow.rtl.graph import FixedType, Graph, Layer
from tests.rtl import tiny

WIDE = FixedType(True, 40, 20)
WORD = FixedType(False, 4, 4)


def fewest_digits(limit):
    """Exhaustive: the fewest powers of two, added or subtracted, that give each number."""
    powers = [s * 2**k for k in range(9) for s in (1, -1)]
    found, reached = {0: 0}, {0}
    for count in range(1, 6):
        reached = {n + p for n in reached for p in powers if abs(n + p) <= 256} - found.keys()
        found |= dict.fromkeys(reached, count)
    return [found[n] for n in range(-limit, limit + 1)]


def test_signed_digits_are_the_fewest_there_are():
    numbers = np.arange(-128, 129)
    assert signed_digits(numbers).tolist() == fewest_digits(128)


def chain(*layers_, shape=(2,)):
    stack = [Layer("in", "Input", (), shape, WORD)]
    for layer in layers_:
        stack.append(
            Layer(layer.name, layer.kind, (stack[-1].name,), *[getattr(layer, k) for k in ("shape", "type", "attributes", "weights")])
        )
    return Graph(tuple(stack))


def dense(name, matrix, bias=None, bits=4):
    kept = FixedType(True, bits, bits)
    weights = {"weight": (np.array(matrix, float), kept)} | ({"bias": (np.array(bias, float), kept)} if bias is not None else {})
    return Layer(name, "Dense", (), (len(matrix[0]),), WIDE, {}, weights)


def test_a_dense_layer_by_hand():
    # 7 = 8 - 1 and 3 = 4 - 1: two digits each; -4 and 1: one. First sum: 2 + 1 + bias = 4 terms, 3 adders; second: 2 + 1, 2 adders.
    work = layers(chain(dense("fc", [[7, 3], [-4, 1]], [5, 0])))["fc"]
    assert (work.weights, work.products, work.digits, work.columns, work.matrix) == (4, 4, 6, 2, 4)
    by_hand = 3 * (4 + 0.5 * math.log2(7 + 4 + 1)) + 2 * (4 + 0.5 * math.log2(3 + 1 + 1))
    assert work.adder_bits == pytest.approx(by_hand)
    assert work.depth == 2, "four terms"
    # Hawks et al., eq. 1 with m = n = 2, no zeros, 4-bit words and weights: 2 * 2 * (4 * 4 + 4 + 4 + log2 2)
    assert work.bops == 4 * (16 + 8 + 1)


def test_pruned_weights_take_no_products_and_no_bit_operations_of_them():
    dense_one, pruned = (layers(chain(dense("fc", m)))["fc"] for m in ([[7, 3], [-4, 1]], [[7, 0], [0, 1]]))
    assert pruned.bops == dense_one.bops - 2 * 16
    assert pruned.digits == 3 and pruned.weights == 2


def generic(rng, shape, sparsity):
    """Weights of which no two cancel each other."""
    return rng.uniform(1, 7, shape) * rng.choice([-1, 1], shape) * (rng.random(shape) >= sparsity)


def convolution(rng, pad, stride, sparsity):
    kernel = generic(rng, (3, 3, 2, 3), sparsity)
    side = (4 + 2 * pad - 3) // stride + 1
    attributes = {"stride_height": stride, "stride_width": stride, **dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), pad)}
    weights = {"weight": (kernel, FixedType(True, 4, 4)), "bias": (np.zeros(3), FixedType(True, 4, 4))}
    conv = Layer("conv", "Conv2D", (), (side, side, 3), WIDE, attributes, weights)
    matrix = generic(rng, (side * side * 3, 2), sparsity)
    return chain(conv, Layer("flat", "Reshape", (), (side * side * 3,), WIDE), dense("fc", matrix, [0, 0]), shape=(4, 4, 2))


def test_products_of_a_padded_convolution_are_those_inside_of_the_image():
    rng = np.random.default_rng(0)
    graph = convolution(rng, 1, 1, 0.0)
    kernel = graph.layers[1].weights["weight"][0] != 0
    inside = sum(
        kernel[i, j].sum()
        for y, x, i, j in itertools.product(range(4), range(4), range(3), range(3))
        if 0 <= y + i - 1 < 4 and 0 <= x + j - 1 < 4
    )
    assert layers(graph)["conv"].products == inside


@pytest.mark.parametrize(("pad", "stride"), [(0, 1), (1, 1), (1, 2)])
def test_words_that_matter_are_those_that_change_the_output(pad, stride):
    rng = np.random.default_rng(pad + stride)
    for _ in range(5):
        graph = convolution(rng, pad, stride, 0.8)
        live = live_words(graph)
        needed = needed_words(graph, live)
        x = rng.integers(0, 8, (1, 4, 4, 2)).astype(float)
        base = evaluate(graph, x)
        for at in np.ndindex(4, 4, 2):
            other = x.copy()
            other[(0, *at)] += 8
            assert (evaluate(graph, other) != base).any() == needed["in"][at], "of an input"
        cut = Graph(graph.layers[:2])
        varied = np.stack([evaluate(cut, rng.integers(0, 16, (1, 4, 4, 2)).astype(float)) for _ in range(30)])
        assert np.array_equal(np.ptp(varied, axis=0).ravel() > 0, live["conv"].ravel())
        head = Graph(
            (Layer("in", "Input", (), graph.layers[2].shape, WIDE), Layer("fc", "Dense", ("in",), (2,), WIDE, {}, graph.layers[3].weights))
        )
        words = rng.integers(0, 8, (1, graph.layers[2].shape[0])).astype(float)
        for i in range(words.shape[1]):
            other = words.copy()
            other[0, i] += 1
            matters = (evaluate(head, other) != evaluate(head, words)).any()
            assert needed["conv"].ravel()[i] == (matters and live["conv"].ravel()[i])


def test_a_neuron_that_nothing_reads_costs_nothing():
    first, second = [[7, 7], [3, 3]], [[1], [0]]
    both = features(chain(dense("a", first), dense("b", [[1], [1]])), 1.0)
    one = features(chain(dense("a", first), dense("b", second)), 1.0)
    alone = features(chain(dense("a", [[7], [3]]), dense("b", [[1]])), 1.0)
    assert one["adder_bits"] == alone["adder_bits"] < both["adder_bits"]
    assert one["digits"] == alone["digits"]


@pytest.mark.parametrize("make", [tiny.dense, tiny.convolution, tiny.image])
def test_every_kind_of_layer_is_counted(make):
    found = features(make(np.random.default_rng(1)), 2.0)
    assert all(math.isfinite(v) and v > 0 for v in found.values())
    assert found["stages"] == 2 * features(make(np.random.default_rng(1)), 4.0)["stages"]


def test_kinds_that_the_calibration_never_saw_are_named():
    rng = np.random.default_rng(1)
    assert unknown(tiny.dense(rng), None) == []
    assert unknown(tiny.convolution(rng), 3.0) == ["layers of kind Merge", "hardware.logic_per_stage is set by hand"]
    assert "layers of kind Activation tanh" in unknown(tiny.image(rng), None)


def test_a_faster_clock_holds_fewer_adders():
    part = "xcvu9p-flga2104-2-e"
    assert levels_per_stage(part, 10.0, None) > levels_per_stage(part, 4.0, None) > levels_per_stage("xc7z020clg400-1", 4.0, None) > 0
    assert levels_per_stage("anything", 4.0, 3.5) == 3.5
    with pytest.raises(ConfigError, match="no delay model"):
        levels_per_stage("xyz", 4.0, None)
