import importlib
import time

import numpy as np
import pytest

from flow.config import DataConfig
from flow.model import load_model

MODEL = load_model("econ_t")
generator = importlib.import_module(MODEL.load.__module__.replace(".data", ".generator"))
geometry = importlib.import_module(MODEL.load.__module__.replace(".data", ".geometry"))


@pytest.fixture(scope="module")
def many():
    return generator.wafers(8000, np.random.default_rng(0))


def test_counts_are_whole_and_above_threshold(many):
    assert many.shape == (8000, 48)
    assert (many == np.floor(many)).all()
    assert many[many > 0].min() == generator.THRESHOLD_COUNTS
    assert generator.wafers(0, np.random.default_rng(0)).shape == (0, 48)


def test_same_seed_same_wafers(many):
    assert (generator.wafers(8000, np.random.default_rng(0)) == many).all()
    assert (generator.wafers(8000, np.random.default_rng(1)) != many).any()


def test_occupancy_and_charge_lie_between_the_simulated_samples(many):
    kept = many[many.sum(axis=1) > 0]
    occupancy, total = (kept > 0).sum(axis=1), kept.sum(axis=1)
    assert 2.5 < occupancy.mean() < 18.4
    assert np.percentile(occupancy, 5) <= 2
    assert np.percentile(occupancy, 95) > 25
    assert 16 < np.median(total) < 600
    assert np.corrcoef(np.log(total), occupancy)[0, 1] > 0.6


def test_all_cells_are_alike_up_to_symmetry(many):
    hit = (many > 0).mean(axis=0)
    assert hit.max() / hit.min() < 1.3


def test_charge_comes_in_clusters(many):
    busy = many[((many > 0).sum(axis=1) >= 4) & ((many > 0).sum(axis=1) <= 10)]
    order = busy.argsort(axis=1)
    close = (geometry.DISTANCE[order[:, -1], order[:, -2]] < 2.6).mean()
    by_chance = ((geometry.DISTANCE < 2.6).sum() - 48) / (48 * 47)
    assert close > 3 * by_chance


def test_no_spot_is_lost_or_moved_to_a_far_cell():
    centres = geometry.CENTRES * generator.PITCH_CM / 2
    centres = centres - centres.mean(axis=0)
    assert (generator._cell_at(centres[:, 0], centres[:, 1]) == np.arange(48)).all()
    far = np.array([30.0, -30.0, 12.0])
    assert (generator._cell_at(far, far) == 48).all()


def test_shower_profile_is_normalised():
    # The MIPs of a shower summed over fine layers are its energy, whatever the energy; Stirling's formula is good to 2 %.
    depth = (np.arange(4000) + 0.5) * 0.02
    for gev in (0.5, 5.0, 100.0):
        n = len(depth)
        p = generator._Particles(np.arange(n), np.zeros(n), np.zeros(n), np.full(n, gev), np.zeros(n, bool), np.zeros(n, bool), np.zeros(n))
        mips, _ = generator._profile(p, depth)
        step = generator.DEPTH_X0 / generator.LAYERS
        assert (mips * 0.02 / step).sum() / generator.MIPS_PER_GEV == pytest.approx(gev, rel=0.02)


def test_load_without_a_path(tmp_path):
    def load(**options):
        return MODEL.load(DataConfig(samples=3000, **options), lambda done, words: None, tmp_path)

    a, b = load(), load()
    assert [len(a.x[k]) for k in ("train", "validation", "test")] == [2400, 300, 300]
    assert all((a.x[k] == b.x[k]).all() for k in a.x)
    every = np.concatenate([v.reshape(-1, 64) for v in a.x.values()])
    assert len(np.unique(every, axis=0)) == 3000
    assert every.max() < 2
    total = every.sum(axis=1)
    assert total.min() >= 1
    assert total.max() < 2
    notes = a.notes
    assert notes["kept"] == 3000 == notes["rows_read"] - notes["empty_dropped"] - notes["duplicates_dropped"] - notes["not_drawn"]
    other = load(seed=1)
    assert (other.x["test"] != a.x["test"]).any()


def test_fast_enough():
    start = time.process_time()
    generator.wafers(8000, np.random.default_rng(2))
    assert 8000 / (time.process_time() - start) > 5000
