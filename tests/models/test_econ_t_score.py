import importlib

import numpy as np
import ot
import pytest
from scipy.optimize import linprog

from flow.core.errors import ToolFailed
from flow.model import load_model

SCORE = load_model("econ_t").score
score = importlib.import_module(SCORE.per_sample.__module__)
geometry = importlib.import_module(score.__name__.replace(".score", ".geometry"))


def wafers(n, occupancy, seed=0):
    rng = np.random.default_rng(seed)
    cells = rng.exponential(1.0, (n, 48)) * (rng.random((n, 48)) < occupancy)
    cells[:, 7] += 0.1
    return cells.astype(np.float32)


def one_cell(cell, charge=1.0):
    cells = np.zeros((1, 48), dtype=np.float32)
    cells[0, cell] = charge
    return geometry.to_image(cells)


def shares(cells):
    return cells.astype(np.float64) / cells.astype(np.float64).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.1, 1.0), (0.6, 0.6), (1.0, 1.0)])
def test_emd_equals_pot(first, second):
    out, true = wafers(50, first, 1), wafers(50, second, 2)
    got = SCORE.per_sample(geometry.to_image(out), geometry.to_image(true))
    want = [ot.emd2(p, q, geometry.DISTANCE) for p, q in zip(shares(out), shares(true), strict=True)]
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_emd_equals_a_linear_program():
    out, true = wafers(2, 0.5, 3), wafers(2, 0.5, 4)
    rows = np.kron(np.eye(48), np.ones(48))
    columns = np.kron(np.ones(48), np.eye(48))
    got = SCORE.per_sample(geometry.to_image(out), geometry.to_image(true))
    for n, (p, q) in enumerate(zip(shares(out), shares(true), strict=True)):
        solved = linprog(geometry.DISTANCE.reshape(-1), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q]))
        assert got[n] == pytest.approx(solved.fun, rel=1e-6)


def test_emd_closed_forms():
    assert SCORE.per_sample(one_cell(0), one_cell(1))[0] == 2.0
    assert SCORE.per_sample(one_cell(15), one_cell(30))[0] == pytest.approx(geometry.DISTANCE[15, 30])
    assert SCORE.per_sample(one_cell(3), one_cell(3, 17.0))[0] == 0.0
    half = one_cell(0) + one_cell(3)
    assert SCORE.per_sample(half, one_cell(0))[0] == pytest.approx(geometry.DISTANCE[0, 3] / 2)


def test_emd_ignores_scale_dead_pixels_and_negative_charge():
    out, true = (geometry.to_image(wafers(20, 0.4, s)) for s in (5, 6))
    plain = SCORE.per_sample(out, true)
    other = 3 * out
    other[:, 0, 4:, 4:] = 9
    np.testing.assert_allclose(SCORE.per_sample(other, true), plain, atol=1e-6)
    np.testing.assert_allclose(SCORE.per_sample(np.where(out == 0, -1, out).astype(np.float32), true), plain)
    np.testing.assert_allclose(SCORE.per_sample(true, out), plain, rtol=1e-9)


def test_dead_output_scores_the_worst_distance():
    true = geometry.to_image(wafers(5, 0.3))
    for dead in (np.zeros_like(true), -true, np.full_like(true, np.nan), np.full_like(true, np.inf)):
        got = SCORE.per_sample(dead, true)
        vertices = np.stack([SCORE.per_sample(np.repeat(one_cell(j), 5, axis=0), true) for j in range(48)])
        np.testing.assert_allclose(got, vertices.max(axis=0), rtol=1e-9)
    assert (got > SCORE.per_sample(np.broadcast_to(SCORE.trivial(true), true.shape), true)).all()


def test_empty_target_has_no_score():
    true = geometry.to_image(wafers(3, 0.3))
    true[1] = 0
    got = SCORE.per_sample(np.ones_like(true), true)
    assert np.isnan(got).tolist() == [False, True, False]
    assert np.isnan(SCORE.per_sample(np.zeros_like(true), np.zeros_like(true))).all()
    assert SCORE.per_sample(true[:0], true[:0]).shape == (0,)


def test_solver_that_gives_up_is_an_error(monkeypatch):
    monkeypatch.setattr(score, "_MAX_ITERATIONS", 1)
    with pytest.raises(ToolFailed, match="network simplex"):
        SCORE.per_sample(geometry.to_image(wafers(1, 1.0, 1)), geometry.to_image(wafers(1, 1.0, 2)))


def test_trivial_is_the_mean_wafer():
    true = geometry.to_image(wafers(7, 0.3))
    assert SCORE.trivial(true).shape == (1, 8, 8)
    np.testing.assert_allclose(SCORE.trivial(true), true.mean(axis=0), rtol=1e-6)


def cosine(output, target, name="cosine_median"):
    return SCORE.extras(output, target, np.random.default_rng(0))[name]


def test_cosines():
    true = geometry.to_image(wafers(101, 0.1))
    perfect = SCORE.extras(2 * true, true, np.random.default_rng(0))
    assert {k: (m.unit, m.direction) for k, m in perfect.items()} == {"cosine_median": ("", "higher"), "cosine_shuffled": ("", "none")}
    assert perfect["cosine_median"].value == pytest.approx(1.0)
    assert perfect["cosine_shuffled"].value < 0.5
    # A flat answer is as good shuffled; its cosine is known.
    flat = np.ones_like(true)
    cells = geometry.to_cells(true)
    known = cells.sum(axis=1) / np.linalg.norm(cells, axis=1) / np.sqrt(48)
    assert cosine(flat, true).value == pytest.approx(np.median(known))
    assert cosine(flat, true, "cosine_shuffled").value == pytest.approx(np.median(known))
    assert perfect == SCORE.extras(2 * true, true, np.random.default_rng(0))


def test_interval_of_the_cosine_is_the_one_of_order_statistics():
    # 95 % of a median of 101 values: the values of rank 41 and 61 (binomial); the bootstrap comes within two ranks.
    true = geometry.to_image(wafers(101, 0.1))
    cells = geometry.to_cells(true)
    known = np.sort(cells.sum(axis=1) / np.linalg.norm(cells, axis=1) / np.sqrt(48))
    low, high = cosine(np.ones_like(true), true).ci
    assert known[38] <= low <= known[42]
    assert known[58] <= high <= known[62]


def test_cosine_of_dead_and_empty():
    true = geometry.to_image(wafers(5, 0.3))
    assert cosine(np.zeros_like(true), true).value == 0.0
    true[:2] = 0
    assert cosine(true, true).value == pytest.approx(1.0)
    assert SCORE.extras(true, np.zeros_like(true), np.random.default_rng(0)) == {}
