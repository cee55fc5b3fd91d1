"""Streaming networks compute what the layers do: in numpy, and in simulated Verilog."""

import functools
import re
from collections import Counter

import numpy as np
import pytest

from flow.core.errors import DoesNotFit
from flow.rtl.lower import lower
from flow.stream.build import build
from flow.stream.model import evaluate
from flow.stream.plan import plan
from tests.stream.bench import beats
from tests.stream.networks import CLOCK, NAMED, PART, REUSED, SEEDS, STORED, inputs, random_network, random_reuse

FRAMES = 12


@functools.cache
def known(seed):
    """Return a random network, inputs, and what its layers compute with them, all at once and unrolled."""
    graph = random_network(seed)
    x = inputs(graph, 40, seed)
    return graph, x, lower(graph).predict(x)


def values(design, x):
    return evaluate(design.elements, design.kernels, x)[design.elements[-1].name].reshape(len(x), -1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_computes_what_its_layers_do(seed):
    graph, x, expected = known(seed)
    design = build(graph, PART, CLOCK, random_reuse(plan(graph), seed))
    np.testing.assert_array_equal(values(design, x), expected)


@pytest.mark.parametrize(("name", "reuse"), [*((name, {}) for name in NAMED), *REUSED.items()])
def test_a_network_computes_what_its_layers_do_however_often_multipliers_are_used(name, reuse):
    graph = NAMED[name]()
    design = build(graph, PART, CLOCK, reuse)
    x = inputs(graph, 40)
    np.testing.assert_array_equal(values(design, x), lower(graph).predict(x))


def test_a_clock_that_is_too_fast_names_the_layer_and_one_that_is_not():
    graph = NAMED["plain"]()
    with pytest.raises(DoesNotFit, match=r"clock_ns = 0.5: .* layer 'conv2d_4' .*Set hardware\.clock_ns to [\d.]+ or more") as caught:
        build(graph, "lfe5u-12f", 0.5)
    assert "logic_per_stage" not in str(caught.value)
    fastest = float(re.search(r"clock_ns to ([\d.]+) or", str(caught.value))[1])
    build(graph, "lfe5u-12f", fastest)
    with pytest.raises(DoesNotFit):
        build(graph, "lfe5u-12f", fastest - 0.05)


def test_the_random_networks_are_of_all_kinds_and_few_are_dead():
    plans = [plan(known(seed)[0]) for seed in SEEDS]
    kinds = Counter(kind for elements in plans for kind in {e.kind for e in elements})
    assert min(kinds[kind] for kind in ("window", "pad", "gather", "point", "join", "fork")) >= 8, kinds
    assert sum(bool(random_reuse(elements, seed)) for seed, elements in zip(SEEDS, plans, strict=True)) >= 30
    windows = {tuple(e.settings[k] for k in ("height", "width", "down", "right")) for es in plans for e in es if e.kind == "window"}
    assert len(windows) >= 40
    assert len({elements[0].source.shape for elements in plans}) >= 35
    assert sum(elements[-1].output.rows * elements[-1].output.columns > 1 for elements in plans) >= 4
    assert sum(len(np.unique(known(seed)[2])) > 2 for seed in SEEDS) >= 40


def send(case, count=FRAMES):
    """Return random inputs of a network, and their pixels by frame; a skeleton's have no meaning."""
    if case.bare:
        source = case.design.elements[0].source
        x = np.zeros((count, source.rows, source.columns, source.words))
    else:
        x = inputs(case.graph, count)
    return x, beats(case.design.elements[0].source, x)


@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (30, 0), (0, 60), (30, 40)])
def test_verilog_is_exact_with_gaps_and_stalls(simulation, gap, stall):
    sent = [send(case) for case in simulation.cases]
    for (case, result), (x, _) in zip(simulation.run([f for _, f in sent], gap=gap, stall=stall), sent, strict=True):
        got, damaged = result.frames(case.pixels[1])
        assert len(got) == FRAMES, case.name
        assert not damaged.any(), case.name
        if not case.bare:
            np.testing.assert_array_equal(got, case.expected(x), err_msg=case.name)


def test_nothing_depends_on_what_is_in_the_registers_before_the_reset(simulation):
    frames = [send(case)[1] for case in simulation.cases]
    first, *others = (simulation.run(frames, seed=seed) for seed in (1, 2, 3, 4))
    for other in others:
        for (case, a), (_, b) in zip(first, other, strict=True):
            np.testing.assert_array_equal(a.cycles, b.cycles, err_msg=case.name)
            np.testing.assert_array_equal(a.words, b.words, err_msg=case.name)


def test_rows_in_memories_and_in_shift_registers_give_the_same_in_every_cycle(simulation):
    results = {case.name: result for case, result in simulation.run([send(case)[1] for case in simulation.cases])}
    designs = {case.name: case.design for case in simulation.cases}
    for name, reuse in STORED.items():
        one, other = f"{name} in memory", f"{name} reused" if reuse else name
        assert any(file.endswith("_lines.v") for file in designs[one].files)
        assert not any(file.endswith("_lines.v") for file in designs[other].files)
        np.testing.assert_array_equal(results[one].cycles, results[other].cycles, err_msg=name)
        np.testing.assert_array_equal(results[one].words, results[other].words, err_msg=name)


def test_cycles(simulation):
    results = {case.name: result for case, result in simulation.run([send(case)[1] for case in simulation.cases])}
    for name in ("residual", "plain reused"):  # handshakes alone take the same time
        np.testing.assert_array_equal(results[f"{name} bare"].cycles, results[name].cycles)
    intervals = {name: set(np.diff(result.cycles)[-3:]) for name, result in results.items()}
    assert intervals["residual"] == {64}  # the padded image has 8 x 8 pixels
    assert min(intervals["residual unqueued"]) > 64  # so has that of the second layer, whose zeros hold up the first one
    assert intervals["plain"] == {100}
    assert intervals["vector"] == {1}
    assert intervals["vector reused"] == {12}
    assert intervals["from_image"] == {20}
    assert intervals["line"] == {17}
