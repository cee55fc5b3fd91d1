import importlib

import h5py
import numpy as np
import pytest

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput
from flow.model import load_model
from tests.models.plasma_files import TEST_SHOTS, fixed, recording, table

MODEL = load_model("plasma")
data = importlib.import_module(MODEL.load.__module__)


def load(tmp_path, path=None, told=None, **kw):
    progress = (lambda fraction, text: None) if told is None else (lambda fraction, text: told.append(fraction))
    return MODEL.load(DataConfig(path=None if path is None else str(path), **kw), progress, tmp_path)


def place(x):
    """Which shots of `recording` images are of, from their pixels."""
    return np.unique((x.mean(axis=(1, 2, 3)) * 1024 / 60).astype(int) - 1)


def test_simulated_frames(tmp_path):
    told = []
    got, again, other = load(tmp_path, samples=300, told=told), load(tmp_path, samples=300), load(tmp_path, samples=300, seed=1)
    assert {k: v.shape for k, v in got.x.items()} == {"train": (240, 1, 32, 32), "validation": (30, 1, 32, 32), "test": (30, 1, 32, 32)}
    assert {k: v.shape for k, v in got.y.items()} == {"train": (240, 2), "validation": (30, 2), "test": (30, 2)}
    assert all(v.dtype == np.float32 for v in [*got.x.values(), *got.y.values()])
    every = np.concatenate(list(got.x.values()))
    assert every.min() >= 0
    assert every.max() < MODEL.input_max
    assert (every * 1024 == np.rint(every * 1024)).all()
    assert all((got.x[k] == again.x[k]).all() and (got.y[k] == again.y[k]).all() for k in got.x)
    assert (got.x["test"] != other.x["test"]).any()
    assert told == sorted(told)
    assert told[-1] == 1
    assert {k: got.notes[k] for k in ("frames", "shots", "shots_train", "shots_test")} == {
        "frames": 300, "shots": 10, "shots_train": 8, "shots_test": 1,
    }  # fmt: skip
    assert got.notes["mean_pixel"] == pytest.approx(every.mean() * 1024 / 4095, rel=1e-3)


def test_inputs_are_shifted_and_saturate():
    codes = np.zeros((1, 32, 32), dtype=np.uint16)
    codes[0, 0, :5] = [0, 1, 1023, 1024, 4095]
    got = data._inputs(codes)
    assert got.shape == (1, 1, 32, 32)
    assert got[0, 0, 0, :5].tolist() == [0, 1 / 1024, 1023 / 1024, 1023 / 1024, 1023 / 1024]


def test_targets_are_components():
    frames = data._Frames(np.zeros((2, 32, 32), np.uint16), np.array([20.0, 10.0]), np.radians([90.0, -60.0]), np.zeros(2, np.int64))
    np.testing.assert_allclose(data._targets(frames), [[1, 0], [-np.sqrt(3) / 4, 0.25]], atol=1e-7)


@pytest.mark.parametrize("reserved", [(), (3, 11)])
def test_no_shot_is_in_two_parts(reserved):
    number = np.random.default_rng(0).integers(0, 40, 900)
    parts = data._split(number, (0.7, 0.2, 0.1), reserved, np.random.default_rng(1))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(900))
    shots = {name: set(number[part]) for name, part in parts.items()}
    assert sum(map(len, shots.values())) == len(set.union(*shots.values())) == 40
    assert [len(s) for s in shots.values()] == ([28, 8, 4] if not reserved else [30, 8, 2])
    if reserved:
        assert shots["test"] == set(reserved)
    assert (np.diff(parts["train"]) < 0).any(), "frames are in random order"
    other = data._split(number, (0.7, 0.2, 0.1), reserved, np.random.default_rng(2))
    assert set(number[other["train"]]) != shots["train"]


def test_split_that_leaves_nothing():
    with pytest.raises(ConfigError, match="10 shots nothing is left for validation"):
        data._split(np.arange(10).repeat(5), (0.9, 0.01, 0.09), (), np.random.default_rng(0))


@pytest.mark.parametrize("write", [fixed, table])
def test_recordings(tmp_path, write):
    labels = recording(tmp_path / "r.h5", write)
    told = []
    got = load(tmp_path, tmp_path / "r.h5", told=told)
    assert got.notes["source"] == "r.h5"
    assert told[-1] == 1
    assert (got.notes["frames"], got.notes["shots"]) == (600, 15)
    shots = {name: place(x) for name, x in got.x.items()}
    assert shots["test"].tolist() == [10, 11, 12, 13, 14], "the shots that the published code tests with"
    assert sorted([*shots["train"], *shots["validation"]]) == list(range(10))
    assert [len(s) for s in shots.values()] == [9, 1, 5]
    want = np.concatenate([np.stack([a * np.sin(p), a * np.cos(p)], axis=1) / 20 for a, p in (labels[s] for s in TEST_SHOTS)])
    np.testing.assert_allclose(sorted(got.y["test"].tolist()), sorted(want.astype(np.float32).tolist()), rtol=1e-6)
    assert place(got.x["test"][:30]).tolist() == [10, 11, 12, 13, 14], "frames are in random order"


def test_images_keep_their_labels(tmp_path):
    """The frame of a shot whose pixels are all 4 k has amplitude k G; some are left out."""
    with h5py.File(tmp_path / "r.h5", "w") as file:
        table(file, "metadata", {"shotno": np.arange(5.0), "shot_style": np.ones(5), "group": np.zeros(5)})
        for shot in range(5):
            gauss = np.arange(60) + 60 * shot
            file[f"{shot}-26730-tiff"] = (np.ones((60, 32, 32)) * gauss[:, None, None]).astype(np.uint16)
            fixed(file, f"{shot}-info", {"n1_ampl_10k": gauss.astype(float), "n1_phase_raw": np.zeros(60)})
    got = load(tmp_path, tmp_path / "r.h5", samples=250, split=(0.6, 0.2, 0.2))
    assert sum(map(len, got.x.values())) == got.notes["frames"] == 250
    for part, x in got.x.items():
        np.testing.assert_allclose(got.y[part][:, 1] * 20, x[:, 0, 5, 5] * 1024, rtol=1e-5)
        assert not got.y[part][:, 0].any()
    again = load(tmp_path, tmp_path / "r.h5", samples=250, split=(0.6, 0.2, 0.2))
    assert all((got.x[k] == again.x[k]).all() for k in got.x)


def test_too_little_data(tmp_path):
    recording(tmp_path / "few.h5", frames=10)
    with pytest.raises(InvalidInput, match=r"150 frames of 15 selected shots; at least 200"):
        load(tmp_path, tmp_path / "few.h5")
    recording(tmp_path / "two.h5", frames=200, shots=(5, 6))
    with pytest.raises(InvalidInput, match="3 shots are needed"):
        load(tmp_path, tmp_path / "two.h5")
