"""The chooser of reuse factors, against brute force and against arrays that Yosys mapped."""

import itertools
import json
import os
import subprocess
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import ConfigError, TooLarge, ToolNotFound
from flow.core.stage import Job
from flow.core.tool import YOSYS
from flow.points import build_point
from flow.rtl.graph import FixedType, Graph, Layer
from flow.rtl.lower import lower
from flow.stages import rtl
from flow.stream import cost
from flow.stream.build import build
from flow.stream.elements import Element, Link, chained
from flow.stream.kernel import build as build_kernel
from flow.stream.mac import build_mac
from flow.stream.model import evaluate
from flow.stream.plan import plan
from flow.stream.reuse import choose, cycles, factors, frame_budget
from flow.stream.sizing import size
from flow.synth import _xilinx
from flow.synth._modules import needed
from flow.synth._netlist import parse
from flow.synth.open import count

PART, CLOCK = "xcku035-fbva676-2-e", 5.0
PIXEL, WEIGHT, BIAS = FixedType(False, 4, 2, "RND_CONV", "SAT"), FixedType(True, 4, 1), FixedType(True, 8, 2)
NO_PAD = dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), 0)


def weights(rng, *shape):
    kernel = WEIGHT.codes(rng.uniform(-0.9, 0.9, shape)) / 2.0**WEIGHT.fraction
    return {"weight": (kernel, WEIGHT), "bias": (BIAS.codes(rng.uniform(-1, 1, shape[-1])) / 2.0**BIAS.fraction, BIAS)}


def conv(name, before, shape, stride, rng, channels, size=3):
    settings = {"dilation_height": 1, "dilation_width": 1, "stride_height": stride, "stride_width": stride, **NO_PAD}
    wide = FixedType(True, 20, 12)
    made = Layer(name, "Conv2D", (before,), shape, wide, settings, weights(rng, size, size, channels, shape[-1]), wide)
    return [made, Layer(f"{name}_relu", "Activation", (name,), shape, PIXEL, {"activation": "relu"})]


@pytest.fixture(scope="module")
def graph():
    """6 x 7 image -> padding -> conv 3 x 3 -> conv 3 x 3, every second window -> dense."""
    rng = np.random.default_rng(0)
    pads = {"pad_top": 1, "pad_bottom": 1, "pad_left": 1, "pad_right": 1}
    wide = FixedType(True, 20, 12)
    return Graph(
        (
            Layer("image", "Input", (), (6, 7, 1), PIXEL),
            Layer("padded", "ZeroPadding2D", ("image",), (8, 9, 1), PIXEL, pads),
            *conv("first", "padded", (6, 7, 2), 1, rng, 1),
            *conv("second", "first_relu", (2, 3, 3), 2, rng, 2),
            Layer("flat", "Reshape", ("second_relu",), (18,), PIXEL),
            Layer("dense", "Dense", ("flat",), (2,), wide, {}, weights(rng, 18, 2), wide),
        )
    )


@pytest.fixture(scope="module")
def elements(graph):
    return plan(graph)


def walked(element, reuse):
    """Count the cycles of a frame pixel by pixel: one for each, and the multipliers' for each that completes a window."""
    if element.kind == "pad":
        return element.output.rows * element.output.columns
    size = {key: element.settings.get(key, 1) for key in ("height", "width", "down", "right")}
    if element.kind == "gather":
        return element.source.rows * element.source.columns
    total = 0
    for row, column in itertools.product(range(element.source.rows), range(element.source.columns)):
        top, left = row - size["height"] + 1, column - size["width"] + 1
        complete = top >= 0 and left >= 0 and top % size["down"] == 0 and left % size["right"] == 0
        total += reuse if complete else 1
    return total


@pytest.mark.parametrize("reuse", [1, 2, 7])
def test_busy_cycles_are_those_of_a_walk_over_the_pixels(elements, reuse):
    for e in elements:
        r = reuse if e.reusable else 1
        assert cycles(e, r) == walked(e, r), e.name


@pytest.mark.parametrize("dsp", [False, True])
@pytest.mark.parametrize("prefer", ["lut", "dsp"])
@pytest.mark.parametrize("budget", [72, 73, 80, 126, 200, 1000, 10_000])
def test_nothing_that_fits_is_cheaper(elements, budget, prefer, dsp):
    choice = choose(elements, budget, prefer, dsp=dsp)
    assert choice.interval <= budget
    assert choice.cycles == {e.name: walked(e, choice.elements[e.name].reuse) for e in elements}
    layers = [e for e in elements if e.reusable]
    assert list(choice.reuse) == [e.name for e in layers] == ["first", "second", "dense"]
    options = [
        [choice.elements[e.name].unrolled, *(cost.estimate(e.graph, r, dsp) for r in range(2, words + 1) if walked(e, r) <= budget)]
        for e, words in zip(layers, (9, 18, 18), strict=True)
    ]
    keys = (lambda c: (c.dsp, c.lut)) if prefer == "dsp" else (lambda c: (c.lut, c.dsp))
    best = min(tuple(map(sum, zip(*map(keys, some), strict=True))) for some in itertools.product(*options))
    assert keys(choice.total) == pytest.approx(best)


def test_more_time_never_costs_more_and_saves_in_the_end(elements):
    sizes = [choose(elements, budget).total.lut for budget in (72, 100, 200, 500, 5000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.8 * sizes[0]
    assert choose(elements, 5000).reuse["dense"] > 1


@pytest.mark.parametrize("inputs", [1, 2, 9, 18, 97])
def test_factors_have_every_number_of_multipliers_once(inputs):
    found = factors(inputs, inputs)
    assert {-(-inputs // r) for r in found} == {-(-inputs // r) for r in range(1, inputs + 1)}
    assert len({-(-inputs // r) for r in found}) == len(found)
    assert all(-(-inputs // (r - 1)) > -(-inputs // r) for r in found if r > 1)
    assert factors(inputs, 1) == [1]


@pytest.mark.parametrize("given", [{"first": 9, "second": 18, "dense": 18}, {"first": 2, "second": 5}, {"second": 4, "dense": 7}])
def test_any_reuse_computes_the_same(graph, elements, given):
    x = PIXEL.codes(np.random.default_rng(1).uniform(0, 4, (20, 6, 7, 1))) / 2.0**PIXEL.fraction
    choice = choose(elements, 5000, fixed=given)
    assert {name: choice.reuse[name] for name in given} == given
    found = []
    for reuse in (dict.fromkeys(choice.reuse, 1), choice.reuse):
        made = {
            e.name: build_mac(f"a_{e.name}", e.graph, r, PART, CLOCK)
            if (r := reuse.get(e.name, 1)) > 1
            else build_kernel(f"k_{e.name}", e.graph, PART, CLOCK)
            for e in elements
            if e.graph is not None
        }
        found.append(evaluate(elements, made, x)[elements[-1].name].reshape(len(x), -1))
    assert np.array_equal(*found)
    assert np.array_equal(found[0], lower(graph).predict(x))
    assert len(np.unique(found[0])) > 10


def test_a_factor_that_is_given_is_kept_and_the_others_are_chosen(elements):
    free, choice = choose(elements, 5000), choose(elements, 5000, fixed={"dense": 1})
    assert choice.reuse == {**free.reuse, "dense": 1}
    assert "as set" in choice.why("dense")
    assert "as set" not in choice.why("first")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"secnd": 2}, "Did you mean 'second'"), ({"padded": 2}, "first, second, dense"), ({"dense": 19}, "a window has 18 words"),
        ({"second": 18}, "at most 7 is possible, because a frame has 80 cycles, and it would take 144; a lower frame_rate_hz gives more"),
    ],
)  # fmt: skip
def test_a_factor_that_is_not_possible_is_refused(elements, given, words):
    with pytest.raises(ConfigError, match=words):
        choose(elements, 80, fixed=given)


def test_budget_is_the_most_pixels_or_what_the_frame_rate_leaves(elements):
    assert frame_budget(elements, CLOCK, None) == 72  # 8 x 9 with padding
    assert frame_budget(elements, CLOCK, 1e9 / 72 / CLOCK) == 72
    assert frame_budget(elements, CLOCK, 120e3) == 1666
    with pytest.raises(ConfigError, match=r"72 pixels of a frame in .padded. take 72 cycles of 5 ns.*2,777,777 frames/s"):
        frame_budget(elements, CLOCK, 3e6)
    with pytest.raises(ConfigError, match="'padded' takes 72 cycles"):
        choose(elements, 71)


def test_reports_words_and_data(elements):
    choice = choose(elements, 5000, dsp=True)
    text, data = choice.text(), json.loads(json.dumps(choice.to_json()))
    assert text.splitlines()[0].startswith("5,000 cycles a frame, the slowest element takes")
    assert len(text.splitlines()) == 1 + len(elements)
    assert data["elements"]["dense"]["reuse"] == choice.reuse["dense"]
    assert data["elements"]["dense"]["cost"]["low"] < data["elements"]["dense"]["cost"]["lut"] < data["elements"]["dense"]["cost"]["high"]
    assert data["elements"]["padded"]["cost"] is None
    assert "no weights" in choice.why("padded")
    assert "there is no time for it" in choose(elements, 72).why("first") + choose(elements, 36 + 36).why("first")


def test_products_that_are_too_narrow_take_no_dsp_slice(elements):
    graph = next(e.graph for e in elements if e.name == "second")
    width = cost.count(graph, 3).product_width
    assert cost.estimate(graph, 3, True, width + 1) == cost.estimate(graph, 3, False)
    assert cost.estimate(graph, 3, True, width).dsp > 0
    for bits, slices in ((width + 1, 0), (width, 1)):
        assert bool(choose(elements, 5000, fixed={"second": 3}, dsp=True, dsp_bits=bits).elements["second"].cost.dsp) is bool(slices)


def test_parts_of_an_array_are_those_of_its_weights():
    kernel = np.array([[0.5, 0.0], [0.5, 0.25], [-0.5, 0.0], [0.0, 0.0]])  # codes 4 0, 4 2, -4 0, 0 0
    layer = Layer("dense", "Dense", (), (2,), FixedType(True, 12, 6), {}, {"weight": (kernel, WEIGHT)}, None)
    graph = chained(4, PIXEL, [layer])
    two = cost.count(graph, 2)
    assert (two.products, two.table) == (3, 0)  # lanes 0 and 1 of output 0, lane 1 of output 1; bits of two steps need no table
    four = cost.count(graph, 4)
    assert (four.products, four.sums) == (2, 0)
    assert four.table == 3  # of 4, 4, -4, 0 and 0, 2, 0, 0: bit 2, bit 3, and bit 1 of the second
    assert two.sums == 11  # one adder of products of 9 bits, two more for four terms


@pytest.mark.parametrize("signed", [False, True])
def test_widths_are_those_of_the_verilog(signed):
    kept = FixedType(signed, 4, 1)
    layer = Layer("dense", "Dense", (), (1,), FixedType(True, 12, 6), {}, {"weight": (np.full((6, 1), 0.5), kept)}, None)
    graph = chained(6, PIXEL, [layer])
    text = build_mac("a_dense", graph, 2, PART, CLOCK).files["a_dense.v"]
    assert f"reg signed [{cost.count(graph, 2).product_width - 1}:0] p0_0;" in text
    assert f"reg signed [{cost.count(graph, 2).accumulators - 1}:0] a0;" in text


@pytest.mark.parametrize("zero", [0.0, 0.6])
def test_zero_weights_make_both_kinds_cheaper(elements, zero):
    graph = elements[-1].graph
    dense = graph.layers[2]
    kernel, kept = dense.weights["weight"]
    some = np.where(np.random.default_rng(2).random(kernel.shape) < zero, 0, kernel)
    changed = replace(graph, layers=(*graph.layers[:2], replace(dense, weights={**dense.weights, "weight": (some, kept)})))
    for reuse in (1, 2):
        before, after = cost.estimate(graph, reuse, False).lut, cost.estimate(changed, reuse, False).lut
        assert after < before if zero else after == before


def test_sums_whose_order_matters_stay_unrolled(graph):
    narrow = FixedType(True, 13, 12)  # products have more fraction bits
    layers = tuple(replace(layer, accumulator=narrow) if layer.name == "dense" else layer for layer in graph.layers)
    elements = plan(replace(graph, layers=layers))
    choice = choose(elements, 5000)
    assert choice.reuse["dense"] == choice.elements["dense"].limit == 1
    assert choice.reuse["second"] > 1
    assert "the order of its sums matters" in choice.why("dense")
    with pytest.raises(ConfigError, match="at most 1 is possible, because the order of its sums matters"):
        choose(elements, 5000, fixed={"dense": 2})


STREAM = {"io": "stream", "part": PART, "clock_ns": CLOCK}


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        ({"io": "parallel", "frame_rate_hz": 1e5}, r"frame_rate_hz: a network that is unrolled"),
        ({"io": "parallel", "reuse": {"a": 2}, "dsp": True, "reuse_for": "dsp"}, r"reuse, reuse_for: a network that is unrolled"),
        ({"backend": "vitis", "reuse": {"a": 2}}, r"reuse: only for the flow's own Verilog"),
        ({"reuse": {"a": 0}}, r"hardware\.reuse\.a = 0"),
        ({"frame_rate_hz": 2.1e8}, r"shorter than a cycle of 5 ns"), ({"reuse_for": "dsp"}, r"without dsp = true"),
        ({"frame_rate_hz": 0}, r"hardware\.frame_rate_hz = 0"), ({"reuse_for": "ff"}, r"'lut' or 'dsp'"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(hardware, words):
    with pytest.raises(ConfigError, match=words):
        build_point({"model": "plasma", "hardware": STREAM | hardware}, "point.toml")


def test_settings_that_make_sense_are_taken():
    given = {"frame_rate_hz": 120e3, "reuse": {"dense": 4}, "dsp": True, "reuse_for": "dsp"}
    hardware = build_point({"model": "plasma", "hardware": STREAM | given}, "point.toml").hardware
    assert {name: getattr(hardware, name) for name in given} == given
    plain = build_point({"model": "plasma"}, "point.toml").hardware
    assert (plain.frame_rate_hz, plain.reuse, plain.reuse_for) == (None, {}, "lut")


def mapped(files, top, dsp, folder):
    try:
        program = YOSYS.argv()
    except ToolNotFound:
        pytest.skip("Yosys is not installed")
    own = needed(files, top)
    for name, text in own.items():
        (folder / name).write_text(text)
    script = _xilinx.script(top, own, (), "xcu", {"dsp": dsp})
    (folder / "map.ys").write_text(f"{script}write_verilog -noattr -simple-lhs mapped.v\n")
    subprocess.run([*program, "-q", "-s", "map.ys"], cwd=folder, env={**os.environ, **YOSYS.env}, check=True)
    (module,) = parse((folder / "mapped.v").read_text(), "mapped.v")
    return count(Counter(cell.kind for cell in module.cells), top)


@pytest.mark.slow
@pytest.mark.parametrize(("reuse", "dsp"), [(1, False), (3, False), (3, True)])
def test_estimates_cover_what_yosys_maps(elements, reuse, dsp, tmp_path):
    graph = next(e.graph for e in elements if e.name == "second")
    found = cost.estimate(graph, reuse, dsp)
    made = build_mac("a_second", graph, reuse, PART, CLOCK) if reuse > 1 else build_kernel("a_second", graph, PART, CLOCK)
    got = mapped(made.files, "a_second", dsp, tmp_path)
    assert found.low <= got.lut <= found.high
    assert got.dsp == found.dsp


@pytest.mark.parametrize("prefer", ["lut", "dsp"])
def test_adder_trees_are_traced_only_where_that_decides(elements, monkeypatch, prefer):
    real, traced = cost.unrolled, []

    def unrolled(graph, traced_too=False):
        traced.extend([graph] * traced_too)
        return real(graph, traced_too)

    monkeypatch.setattr(cost, "unrolled", lambda graph, traced=False: unrolled(graph, traced))
    found = []
    for dsp, budget in ((False, 72), (False, 200), (False, 5000), (True, 5000)):
        traced.clear()
        choice = choose(elements, budget, prefer, dsp=dsp)
        for e in elements:
            if e.reusable:
                limit = choice.elements[e.name].limit
                some = [cost.estimate(e.graph, r, dsp) for r in factors(e.graph.layers[0].shape[0], limit) if r > 1]
                some = [c for c in some if prefer == "lut" or not c.dsp]
                counted = real(e.graph)
                near = bool(some) and counted.low < min(c.high for c in some) and min(c.low for c in some) < counted.high
                found.append(near)
                assert any(graph is e.graph for graph in traced) == near
                assert choice.elements[e.name].unrolled == real(e.graph, near)
    assert set(found) == {False, True}


def test_tracing_corrects_a_choice(monkeypatch):
    """By counted digits a layer is reused that by its adder trees is smaller unrolled."""
    graph = drawn(48, 4, 6, 6, 0)
    link = Link(1, 1, 48, graph.port.type)
    layer = Element("one", "point", ("",), link, replace(link, words=4), graph, layer="one")
    traced = choose([layer], 8).elements["one"]
    counted = cost.unrolled(graph)
    monkeypatch.setattr(cost, "unrolled", lambda graph, traced=False: counted)
    misled = choose([layer], 8).elements["one"]
    assert (traced.reuse, misled.reuse, misled.limit) == (1, 8, 8)
    assert traced.cost.lut < misled.cost.lut < counted.lut


def test_a_layer_with_too_many_products_is_never_unrolled(elements, monkeypatch):
    monkeypatch.setattr("flow.stream.reuse.MOST_PRODUCTS", 10)
    choice = choose(elements, 120)
    assert choice.elements["first"].limit > 1 and min(choice.reuse.values()) > 1
    for budget, fixed in ((72, {}), (5000, {"first": 1})):
        with pytest.raises(TooLarge, match=r"layer 'first' multiplies \d+ times for one pixel.*lower hardware.frame_rate_hz"):
            choose(elements, budget, fixed=fixed)


# Words, outputs, bits of weights and inputs, reuse factor, seed, DSP slices allowed: look-up tables that Yosys 0.70 mapped for xcu.
MAPPED = (
    (96, 2, 3, 4, 19, 3000, True, 590), (16, 4, 6, 6, 5, 3001, True, 477), (9, 8, 6, 4, 2, 3002, True, 720),
    (36, 4, 8, 6, 16, 3003, True, 621), (144, 4, 3, 4, 61, 2000, False, 675), (96, 4, 3, 6, 59, 2001, False, 735),
    (96, 8, 8, 4, 85, 2002, False, 1848), (9, 8, 4, 4, 7, 2003, False, 552), (16, 8, 4, 4, 13, 2004, False, 737),
    (36, 8, 6, 8, 16, 2005, False, 3022), (16, 8, 8, 8, 15, 2006, False, 2811), (96, 4, 4, 4, 19, 2007, False, 1250),
    (16, 4, 6, 6, 12, 2008, False, 782), (144, 16, 8, 8, 47, 2009, False, 11_699), (42, 16, 6, 6, 42, 5000, True, 938),
    (42, 16, 6, 6, 42, 5000, False, 1956), (96, 8, 6, 6, 32, 5001, False, 2556), (27, 12, 4, 5, 9, 5002, False, 1908),
)  # fmt: skip


def drawn(words, outputs, weight_bits, input_bits, seed):
    """Draw the layer of an array of `MAPPED`."""
    rng, kept = np.random.default_rng(seed), FixedType(True, weight_bits, 1)
    top = 2 ** (weight_bits - 1)
    codes = np.clip(np.rint(rng.normal(0, top / 3, (words, outputs))), 1 - top, top - 1)
    codes[rng.random(codes.shape) < 0.05] = 0
    bias = FixedType(True, weight_bits + input_bits, 3)
    wide = int(np.ceil(np.log2(words + 1))) + 3
    values = np.rint(rng.normal(0, 0.3, outputs) * 2.0**bias.fraction) / 2.0**bias.fraction
    weights = {"weight": (codes / 2.0**kept.fraction, kept), "bias": (values, bias)}
    dense = Layer("dense", "Dense", (), (outputs,), FixedType(True, bias.fraction + wide, wide), {}, weights)
    relu = Layer("relu", "Activation", (), (outputs,), FixedType(False, input_bits, 2, "RND_CONV", "SAT"), {"activation": "relu"})
    return chained(words, FixedType(False, input_bits, 1), [dense, relu])


def test_estimates_are_as_good_as_they_say():
    ratios = []
    for *shape, reuse, seed, dsp, lut in MAPPED:
        found = cost.estimate(drawn(*shape, seed), reuse, dsp)
        ratios.append(found.lut / lut)
        assert found.low <= lut <= found.high
    assert np.median(np.abs(np.array(ratios) - 1)) < 0.1
    assert 0.95 < np.mean(ratios) < 1.05


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"second": 18, "dense": 1}, {"first": 2, "second": 5, "dense": 18}])
def test_frames_come_as_often_as_the_busy_cycles_say(graph, elements, given, tmp_path):
    """Simulated handshakes: the interval is that of the slowest element, as the chooser takes it."""
    choice = choose(elements, 5000, fixed={"first": 1, **given})
    point = DesignPoint.model_validate({"model": "plasma", "hardware": {"io": "stream", "part": PART, "clock_ns": CLOCK}})
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    job = Job(rtl.STAGE, point, {}, tmp_path / "out", tmp_path / "scratch", tmp_path / "log.txt", tmp_path / "replay.sh")
    sized = size(job, build(graph, PART, CLOCK, choice.reuse))
    assert sized.interval == choice.interval
