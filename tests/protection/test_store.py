"""The weight store: its codes, its Verilog behind Yosys with every cell upset, and what protection is worth."""

import numpy as np
import pytest

from flow.core.errors import MismatchError
from flow.protection import worth
from flow.protection.faults import prove, store_circuit, strike
from flow.protection.hamming import check_bits, encode, numbers
from flow.protection.store import BARE, TMR, TOP, Layout, cell, cells
from flow.protection.upsets import lanes, unpack
from tests.protection.mapping import PARTS, mapped

BITS = 61


@pytest.mark.parametrize("data", [1, 2, 4, 11, 12, 26])
def test_the_syndrome_of_a_wrong_cell_is_its_number(data):
    codes = numbers(data)
    assert len(set(codes)) == len(codes) == data + check_bits(data)
    words = encode(np.random.default_rng(0).integers(0, 2, (20, data), np.uint8))

    def syndrome(word):
        return int(np.bitwise_xor.reduce(codes[word.astype(bool)], initial=0))

    for word in words:
        assert syndrome(word) == 0
        for i, code in enumerate(codes):
            wrong = word.copy()
            wrong[i] ^= 1
            assert syndrome(wrong) == code


def layout(kind):
    chosen = np.random.default_rng(1).permutation(BITS)[:27]
    return Layout(BITS, chosen, 11 if kind == "ecc" else 0) if kind != "bare" else Layout(BITS, chosen[:0])


@pytest.fixture(scope="module", params=["tmr", "ecc"])
def store(request, tmp_path_factory):
    which = layout(request.param)
    report, modules = mapped(tmp_path_factory.mktemp(request.param), which.verilog(), TOP, which.modules)
    return which, report, modules


def test_the_mapped_store_corrects_every_upset_of_a_protected_bit_and_no_other(store):
    """All flip-flops of the whole netlist, one after the other, among random contents."""
    which, report, modules = store
    rng = np.random.default_rng(2)
    places = {name: prove(modules, name, rng) for name in which.modules}
    circuit, bits = store_circuit(modules), rng.integers(0, 2, BITS, np.uint8)
    assert len(circuit.registers) == which.cells == sum(report.modules[name].ff * n for name, n in which.modules.items())
    clean, struck = strike(circuit, which, places, bits, np.arange(which.cells))
    assert np.array_equal(clean, bits.astype(bool))
    changed = struck != clean
    assert sorted(np.nonzero(changed)[1]) == sorted(set(range(BITS)) - set(which.protected.tolist()))
    assert (changed.sum(axis=1) <= 1).all()


def test_the_bits_come_in_through_the_serial_port(store):
    which, _, modules = store
    rng = np.random.default_rng(3)
    circuit, bits = store_circuit(modules), rng.integers(0, 2, BITS, np.uint8)
    stream = which.stream(bits).astype(bool)
    din = np.append(stream, [False, True, True])[:, None, None]
    load = np.arange(len(din))[:, None, None] < len(stream)
    start = rng.integers(0, 2**64, (len(circuit.registers), 1), np.uint64)
    # With random cells three copies differ and a code word is wrong; what is loaded replaces all of it.
    seen, _ = circuit.go({"load": lanes(load), "din": lanes(din)}, start, {})
    held = unpack(seen["bits"], 1)[len(stream) :, :, 0]
    assert np.array_equal(held, np.repeat(bits[None].astype(bool), 3, axis=0))


def test_a_store_costs_the_sum_of_its_modules(store, tmp_path):
    """Mapped as a whole there is the same, but that a wide multiplexer and a table more make the way from bit to bit shorter."""
    which, report, _ = store
    whole = {"all.v": "".join(which.verilog().values())}
    flat, _ = mapped(tmp_path, whole, TOP, ())
    parts = sum(report.modules[name].lut * n for name, n in which.modules.items())
    assert flat.total.ff == which.cells
    if which.group:
        assert flat.total.lut == pytest.approx(parts, rel=0.1)
    else:
        assert flat.total.lut - flat.total.muxf == parts == 2 * len(which.protected)
    assert report.modules[BARE].lut == 0


def test_another_family_keeps_the_copies_too(tmp_path):
    which = layout("tmr")
    report, modules = mapped(tmp_path, {"cells.v": cell(BARE) + cell(TMR)}, TMR, (), PARTS["ecp5"])
    assert report.total.ff == cells(TMR) == 3
    assert prove(modules, TMR, np.random.default_rng(0)).keys()
    assert which.modules == {BARE: BITS - 27, TMR: 27}


def test_copies_that_synthesis_merged_are_noticed(tmp_path):
    text = cell(TMR).replace("(* keep *)", "")
    _, modules = mapped(tmp_path, {"cells.v": text}, TMR, ())
    with pytest.raises(MismatchError, match="1 flip-flops behind synthesis, not 3"):
        prove(modules, TMR, np.random.default_rng(0))


def test_a_voter_that_is_wrong_is_noticed(tmp_path):
    text = cell(TMR).replace("(a & b) | (a & c) | (b & c)", "(a & b) | c")
    _, modules = mapped(tmp_path, {"cells.v": text}, TMR, ())
    with pytest.raises(MismatchError, match="is not corrected as designed"):
        prove(modules, TMR, np.random.default_rng(0))


def test_what_remains_is_the_harm_of_the_bits_that_are_left():
    rng = np.random.default_rng(4)
    harm = rng.normal(size=50)
    order, counts = worth.critical_first(harm), [0, 1, 17, 50]
    left = worth.remaining(harm, order, counts)
    for count, value in zip(counts, left, strict=True):
        assert value == pytest.approx(np.sort(harm)[: 50 - count].sum() / 50)
    assert left[0] == pytest.approx(harm.mean())
    assert left[-1] == 0


def test_bits_taken_at_random_leave_what_random_choices_leave_on_average():
    rng = np.random.default_rng(5)
    harm, level, counts = rng.exponential(size=30), np.arange(30) % 3, [4, 13]
    draws = np.array([
        worth.remaining(harm, np.lexsort((rng.random(30), level)), counts) for _ in range(4000)
    ])  # fmt: skip
    expected = worth.by_level(harm, level, counts)
    error = draws.std(axis=0) / len(draws) ** 0.5
    assert (np.abs(draws.mean(axis=0) - expected) < 4 * error).all()
    everywhere = worth.by_level(harm, np.zeros(30, np.int64), counts)
    assert everywhere == pytest.approx([(1 - c / 30) * harm.mean() for c in counts])


def test_a_share_of_none_has_an_interval():
    """By the definition: at the upper end none of so many is as likely as 2.5 %."""
    value, (low, high) = worth.share(np.zeros(10, bool))
    assert (value, low) == (0, 0)
    assert (1 - high / 100) ** 10 == pytest.approx(0.025)
    assert worth.share(np.ones(10, bool))[1] == pytest.approx((100 - high, 100))
