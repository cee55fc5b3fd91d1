import importlib
from pathlib import Path

import numpy as np
import pytest

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.model import load_model

MODEL = load_model("jets")
data = importlib.import_module(MODEL.load.__module__)
CLASSES, SPLITS = data.CLASSES, ("train", "validation", "test")
SHARED = Path(__file__).resolve().parents[2] / "../shared/data/jets/jets16_40k.npz"


def quiet(done, words):
    """Progress that nobody looks at."""


def jets(counts, seed=0):
    """Features whose first column is the number of the jet."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(5), counts))
    x = rng.normal(3, 2, (len(labels), 16)).astype(np.float32) * np.arange(1, 17, dtype=np.float32)
    x[:, 0] = np.arange(len(labels))
    return x, labels


def save(folder, x, labels):
    path = folder / "jets.npz"
    np.savez(path, X=x, y=labels, classes=np.array(CLASSES))
    return path


def load(path, **options):
    return MODEL.load(DataConfig(path=None if path is None else str(path), **options), quiet, Path("unused"))


def constants(dataset):
    return (np.array(dataset.notes[name].split(), dtype=np.float32).astype(np.float64) for name in ("feature_mean", "feature_spread"))


def numbers(dataset, split):
    """Which jets of `jets` a split has."""
    mean, spread = constants(dataset)
    return np.rint(dataset.x[split][:, 0].astype(np.float64) * spread[0] + mean[0]).astype(int)


def test_split_is_stratified_and_disjoint(tmp_path):
    x, labels = jets([100, 200, 300, 50, 350])
    got = load(save(tmp_path, x, labels))
    assert [got.x[s].shape for s in SPLITS] == [(800, 16), (100, 16), (100, 16)]
    assert [got.y[s].shape for s in SPLITS] == [(800, 5), (100, 5), (100, 5)]
    assert all(a.dtype == np.float32 for part in (got.x, got.y) for a in part.values())
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(got.y[split].sum(axis=0), share * np.array([100, 200, 300, 50, 350]), atol=1)
        assert (got.y[split].sum(axis=1) == 1).all()
        assert (got.y[split].argmax(axis=1) == labels[numbers(got, split)]).all()
        assert (np.diff(got.y[split].argmax(axis=1)) != 0).mean() > 0.5  # not in the order of the classes
    assert sorted(np.concatenate([numbers(got, s) for s in SPLITS])) == list(range(1000))


def test_constants_are_of_the_training_set(tmp_path):
    x, labels = jets([100] * 5)
    got = load(save(tmp_path, x, labels))
    train = x[numbers(got, "train")].astype(np.float64)
    mean, spread = constants(got)
    np.testing.assert_allclose(mean, train.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spread, train.std(axis=0), rtol=1e-6)
    for split in SPLITS:
        expected = (x[numbers(got, split)] - mean) / spread
        np.testing.assert_array_equal(got.x[split], expected.astype(np.float32))


def test_features_far_away_are_clipped_and_constant_ones_are_zero(tmp_path):
    x, labels = jets([200] * 5)
    x[5, 3], x[6, 3], x[:, 7] = 1e6, -1e6, 0.25
    x[:, 4] = np.where(np.arange(1000) == 5, 1e3, 0)
    got = load(save(tmp_path, x, labels))
    every = np.concatenate([got.x[s] for s in SPLITS])
    assert every.max() == np.float32(8 - 2**-10)
    assert every.min() == -8
    assert (every[:, 7] == 0).all()


def test_equal_jets_are_dropped_and_counted(tmp_path):
    x, labels = jets([60] * 5)
    x[7] = x[9]
    x[11], x[12] = 0.0, -0.0
    got = load(save(tmp_path, x, labels))
    wanted = {"source": "jets.npz", "jets_read": 300, "duplicates_dropped": 2, "not_drawn": 0, "kept": 298}
    assert {k: got.notes[k] for k in wanted} == wanted
    assert len({v.tobytes() for s in SPLITS for v in got.x[s]}) == 298


def test_at_most_samples_in_proportion_by_seed(tmp_path):
    path = save(tmp_path, *jets([100, 200, 300, 100, 300]))
    first, again, other = (load(path, samples=500, seed=s) for s in (1, 1, 2))
    np.testing.assert_allclose(sum(first.y[s].sum(axis=0) for s in SPLITS), [50, 100, 150, 50, 150], atol=1)
    assert first.notes["not_drawn"] == 500
    assert all((first.x[s] == again.x[s]).all() and (first.y[s] == again.y[s]).all() for s in SPLITS)
    assert set(numbers(first, "test")) != set(numbers(other, "test"))


def test_built_in_jets(monkeypatch, tmp_path):
    asked = []

    def generate(samples, seed, scratch, progress):
        asked.append((samples, seed, scratch, progress))
        return jets([samples // 5] * 5, seed)

    monkeypatch.setattr(data, "generate", generate)
    got = MODEL.load(DataConfig(samples=500, seed=3), quiet, tmp_path)
    assert asked == [(500, 3, tmp_path, quiet)]
    assert [got.y[s].sum(axis=0).tolist() for s in SPLITS] == [[80] * 5, [10] * 5, [10] * 5]
    assert "Pythia" in got.notes["source"]


def test_too_few_jets(tmp_path):
    x, labels = jets([60] * 5)
    x[50:] = x[50]
    with pytest.raises(InvalidInput, match=r"300 jets, of which 51 are different.*200"):
        load(save(tmp_path, x, labels))


def test_class_without_jets_in_a_part(tmp_path):
    with pytest.raises(ConfigError, match="none of class z"):
        load(save(tmp_path, *jets([100, 100, 100, 0, 100])))
    with pytest.raises(ConfigError, match="the validation set gets 1"):
        load(save(tmp_path, *jets([60] * 5)), split=(0.8, 0.003, 0.197))


@pytest.mark.skipif(not SHARED.is_file(), reason="no generated jets here")
def test_generated_jets():
    got = load(SHARED, samples=20_000)
    assert got.notes["jets_read"] == 37_809
    every = np.concatenate([got.x[s] for s in SPLITS])
    assert np.abs(got.x["train"].mean(axis=0)).max() < 0.05  # clipping moves it
    assert (np.abs(every) > 7.9).mean() < 0.01
    mass = [got.x["train"][got.y["train"][:, n] == 1, 14].mean() for n in range(5)]
    assert mass[4] > mass[3] > mass[1]
