import importlib

import numpy as np
import pytest

from flow.model import load_model

PACKAGE = load_model("econ_t").load.__module__.replace(".data", "")
plots = importlib.import_module(f"{PACKAGE}.plots")
geometry = importlib.import_module(f"{PACKAGE}.geometry")


def wafer(**cells):
    row = np.zeros(48)
    for name, charge in cells.items():
        row[int(name[1:])] = charge
    return row


def test_fractions_and_their_binomial_interval():
    found = plots.fractions(np.array([1.0, 1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5, 3.5, 4.5]))
    assert found.x.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(found.y, [0.5, 0.25, 0.25, np.nan])
    assert found.half[0] == pytest.approx(1.96 * 0.25)


def test_profile_of_a_known_shape():
    # Cell 5 of the first domain: 0.5 of the charge there, 0.1 in each of three neighbours, 0.2 two cells away.
    near = [c for c in np.flatnonzero(np.isclose(geometry.DISTANCE[5], 2.0)) if c < 16][:3]
    far = int(np.flatnonzero(np.isclose(geometry.DISTANCE[5], 4.0))[0])
    row = wafer(**{f"c{c}": 10 for c in near}, c5=50, **{f"c{far}": 20})
    few = wafer(c0=5)
    found = plots.profile(np.stack([row, 3 * row, few]))
    rings = [np.rint(geometry.DISTANCE[5] / 2) == k for k in range(6)]
    assert found.y[0] == pytest.approx(0.5)
    assert found.y[1] == pytest.approx(0.3 / rings[1].sum())
    assert found.y[2] == pytest.approx(0.2 / rings[2].sum())
    assert found.y[3:] == pytest.approx(0)
    assert found.half == pytest.approx(0, abs=1e-12)
    assert found.x[1] == pytest.approx(2.4168, abs=1e-4)


def test_numbers_of_known_wafers():
    four = wafer(c0=40, c1=30, c2=20, c3=10)
    apart = wafer(c0=60, c15=20, c2=10, c3=10)
    found = plots.numbers(np.stack([wafer(c9=7), four, apart, np.ones(48), np.zeros(48)]))
    assert [round(value, 3) for value, _ in found.values()] == [(1 + 4 + 4 + 48) / 4, 25, 25, 74, 50, 50]
    assert found["mean occupancy [cells]"][1] > 0


def test_median_and_its_interval():
    values = np.arange(101.0)
    assert plots._median(values[::-1]) == (50.0, 10.0)


def test_compare_draws_and_counts(tmp_path):
    rows = np.random.default_rng(0).integers(0, 9, (300, 48))
    text = ",".join(f"CALQ_{i}" for i in range(48)) + "\n" + "\n".join(",".join(map(str, r)) for r in rows.tolist())
    (tmp_path / "wafers.csv").write_text(text)
    found = plots.compare({"file": tmp_path / "wafers.csv"}, tmp_path / "out.png", count=600)
    assert list(found) == ["generator", "file"]
    assert found["file"]["mean occupancy [cells]"][0] == pytest.approx((rows > 0).sum(axis=1).mean())
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_the_card_is_small():
    picture = load_model("econ_t").folder / "generator.png"
    assert 10_000 < picture.stat().st_size < 100_000
