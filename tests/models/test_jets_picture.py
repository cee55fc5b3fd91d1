import importlib

import numpy as np
import pytest

from flow.model import load_model

picture = importlib.import_module(load_model("jets").load.__module__.replace(".data", ".picture"))


def test_shares_are_of_each_class():
    x = np.zeros((5, 16), dtype=np.float32)
    x[:, picture.FEATURES.index("mass_mmdt")] = [82, 83, 90, 500, 10]
    bins, found = picture.shares(x, np.array([2, 2, 2, 2, 0]), "mass_mmdt")
    assert found["w"].sum() == pytest.approx(0.75)  # one lies beyond the axis
    assert found["w"][np.searchsorted(bins, 82, side="right") - 1] == pytest.approx(0.5)  # 82 and 83 share a bin
    assert found["g"].sum() == pytest.approx(1.0)
    assert found["t"].sum() == 0


def test_draws_a_png(tmp_path):
    rng = np.random.default_rng(0)
    picture.draw(rng.normal(size=(50, 16)).astype(np.float32), rng.integers(0, 5, 50), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
