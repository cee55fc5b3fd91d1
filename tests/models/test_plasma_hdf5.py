import importlib
import pickle

import h5py
import numpy as np
import pytest

from flow.core.errors import InvalidInput, MissingInput
from flow.model import load_model
from tests.models.plasma_files import TEST_SHOTS, fixed, recording, table

files = importlib.import_module(load_model("plasma").load.__module__.replace(".data", ".hdf5_files"))
frames = importlib.import_module(files.__name__.replace(".hdf5_files", ".pandas_frames"))


@pytest.fixture(autouse=True)
def nothing_is_unpickled(monkeypatch):
    def refuse(*_args, **_kw):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)


def read_all(path):
    with files.open_recording(path) as file:
        return {s: files.read_shot(file, s, np.arange(files.count_frames(file, s))) for s in files.selected_shots(file)}


@pytest.mark.parametrize("write", [fixed, table])
def test_reads_what_was_written(tmp_path, write):
    labels = recording(tmp_path / "r.h5", write)
    got = read_all(tmp_path / "r.h5")
    assert list(got) == [*range(7, 17), *TEST_SHOTS]
    with h5py.File(tmp_path / "r.h5") as file:
        for shot, (codes, mode) in got.items():
            assert (codes == file[f"{shot}-26730-tiff"][:]).all()
            assert (mode.amplitude == labels[shot][0]).all()
            assert (mode.phase == labels[shot][1]).all()


def test_only_the_wanted_frames_in_pieces(tmp_path, monkeypatch):
    recording(tmp_path / "r.h5", frames=50)
    keep = np.array([0, 3, 4, 27, 49])
    monkeypatch.setattr(files, "_PIXELS_AT_ONCE", 1024 * 4)
    with files.open_recording(tmp_path / "r.h5") as file:
        codes, mode = files.read_shot(file, 8, keep)
        assert (codes == file["8-26730-tiff"][:][keep]).all()
        assert len(mode.phase) == 5
        assert files.read_shot(file, 8, keep[:0])[0].shape == (0, 32, 32)


def test_resizing_averages_and_keeps_ramps(tmp_path):
    """A ramp stays a ramp, away from the border; twice finer pixels count with the triangle 1 3 3 1."""
    ramp = np.linspace(0, 4000, 96)[None, None, :] * np.ones((1, 64, 1))
    got = files._resize(ramp.astype(np.float32))[0]
    np.testing.assert_allclose(np.diff(got[:, 2:-2], axis=1), 4000 / 95 * 3, rtol=1e-4)
    np.testing.assert_allclose(got[:, 15:17].mean(), 2000, rtol=1e-5)
    noise = np.random.default_rng(0).uniform(0, 4095, (2, 64, 64)).astype(np.float32)
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    want = [(kernel * noise[1, 2 * i - 1 : 2 * i + 3, 2 * j - 1 : 2 * j + 3]).sum() for i in (4, 20) for j in (1, 30)]
    np.testing.assert_allclose(files._resize(noise)[1][[4, 4, 20, 20], [1, 30, 1, 30]], want, rtol=1e-5)


def test_frames_of_another_size(tmp_path):
    recording(tmp_path / "r.h5", side=(64, 128), frames=5)
    codes, _ = read_all(tmp_path / "r.h5")[8]
    assert codes.shape == (5, 32, 32)
    assert codes.min() >= 120
    assert codes.max() < 170


def change(file, key, value):
    del file[key]
    file[key] = value


def relabel(file, **columns):
    del file["8-info"]
    fixed(file, "8-info", {"n1_ampl_10k": np.ones(40), "n1_phase_raw": np.zeros(40), **columns})


def other_frame(file, key, **members):
    del file[key]
    for name, value in members.items():
        file[f"{key}/{name}"] = value


def select(file, shots, style):
    del file["metadata"]
    table(file, "metadata", {"shotno": np.array(shots), "shot_style": np.full(len(shots), style), "group": np.zeros(len(shots))})


def plain_table(file, key):
    """As ``to_hdf(format="table")`` without data columns: the names are pickled attributes of the blocks."""
    del file[key]
    file[f"{key}/table"] = np.zeros(40, dtype=[("index", "<i8"), ("values_block_0", "<f8", (2,))])
    file[f"{key}/table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(["n1_ampl_10k", "n1_phase_raw"], protocol=0))


PIXELS = np.zeros((40, 32, 32), dtype=np.uint16)
BAD = [
    (lambda f: f.pop("metadata"), ["/metadata", "missing"]),
    (lambda f: f.pop("8-26730-tiff"), ["8-26730-tiff", "missing"]),
    (lambda f: f.pop("8-info"), ["8-info", "missing"]),
    (lambda f: change(f, "8-info", 3), ["8-info", "a group is needed"]),
    (lambda f: other_frame(f, "8-info", x=1), ["8-info", "no pandas frame", "data_columns=['n1_ampl_10k', 'n1_phase_raw']"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS[0]), ["8-26730-tiff", "(32, 32)"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS[:, :20]), ["(40, 20, 32)", "32 to 2048"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS[:0]), ["(0, 32, 32)"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS.astype("S2")), ["numbers", "|S2"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS[:30]), ["shot 8", "30 frames and 40 rows"]),
    (lambda f: change(f, "8-26730-tiff", PIXELS + np.uint16(4096)), ["shot 8", "12-bit"]),
    (lambda f: change(f, "8-26730-tiff", np.full(PIXELS.shape, np.nan)), ["shot 8", "12-bit"]),
    (lambda f: relabel(f, n1_ampl_10k=np.full(40, -1.0)), ["shot 8", "n1_ampl_10k", "negative"]),
    (lambda f: relabel(f, n1_ampl_10k=np.full(40, 1e9)), ["shot 8", "larger than 10000 G"]),
    (lambda f: relabel(f, n1_phase_raw=np.r_[0, 0, np.nan, np.zeros(37)]), ["8-info", "n1_phase_raw", "row 2", "missing"]),
    (lambda f: relabel(f, n1_phase_raw=np.array(["x"] * 40, dtype=object)), ["n1_phase_raw", "pickled", "to_hdf", "data_columns"]),
    (lambda f: f["8-info"].attrs.modify("nblocks", 0), ["no column 'n1_ampl_10k'"]),
    (lambda f: change(f, "8-info/block0_values", np.zeros((40, 2, 1))), ["block has the shape (40, 2, 1)"]),
    (lambda f: change(f, "8-info/block0_items", np.zeros(2)), ["8-info", "names of its columns are pickled or no text"]),
    (lambda f: change(f, "8-info/block0_items", h5py.SoftLink("/8-26730-tiff")), ["block0_items", "links are not followed"]),
    (lambda f: change(f, "8-26730-tiff", h5py.ExternalLink("/etc/hosts", "/x")), ["8-26730-tiff", "links are not followed"]),
    (lambda f: plain_table(f, "8-info"), ["8-info", "no column 'n1_ampl_10k'", "without unpickling", "values_block_0", "data_columns"]),
    (lambda f: other_frame(f, "8-info", table=np.zeros((4, 4))), ["rows are read", "(4, 4)"]),
    (lambda f: other_frame(f, "8-info", table=np.zeros(4, [("n1_ampl_10k", "S3")])), ["n1_ampl_10k", "numbers are needed"]),
    (lambda f: select(f, [7, 8], 2), ["metadata", "no shot has shot_style = 1 and group = 0"]),
    (lambda f: select(f, [7, 8, 7], 1), ["metadata", "twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), BAD)
def test_bad_files_are_explained(tmp_path, spoil, words):
    recording(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        spoil(file)
    with pytest.raises(InvalidInput) as caught:
        read_all(tmp_path / "r.h5")
    assert all(w in str(caught.value) for w in ["r.h5", *words]), caught.value


def test_data_in_another_file(tmp_path):
    recording(tmp_path / "r.h5")
    (tmp_path / "raw").write_bytes(bytes(40 * 1024 * 2))
    layout = h5py.VirtualLayout((40, 32, 32), "u2")
    layout[:] = h5py.VirtualSource(tmp_path / "r.h5", "7-26730-tiff", (40, 32, 32))
    for shot in (8, 9):
        with h5py.File(tmp_path / "r.h5", "r+") as file:
            del file[f"{shot}-26730-tiff"]
            if shot == 8:
                file.create_virtual_dataset("8-26730-tiff", layout)
            else:
                file.create_dataset("9-26730-tiff", (40, 32, 32), "u2", external=[(str(tmp_path / "raw"), 0, 40 * 1024 * 2)])
        with files.open_recording(tmp_path / "r.h5") as file, pytest.raises(InvalidInput, match="in another file"):
            files.count_frames(file, shot)


def test_huge_frames_are_refused_before_they_are_read(tmp_path):
    recording(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["8-26730-tiff"]
        file.create_dataset("8-26730-tiff", (2_000_000, 2048, 2048), "u2", chunks=(1, 2048, 2048))
    with files.open_recording(tmp_path / "r.h5") as file, pytest.raises(InvalidInput, match="2000000, 2048, 2048"):
        files.read_shot(file, 8, np.arange(3))


def test_no_recording(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        read_all(tmp_path / "r.h5")
    (tmp_path / "r.h5").write_text("shotno,n1_ampl_10k")
    with pytest.raises(InvalidInput, match="no HDF5 file"):
        read_all(tmp_path / "r.h5")


def test_damaged_recording(tmp_path):
    recording(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["8-26730-tiff"]
        file.create_dataset("8-26730-tiff", (40, 32, 32), "u2", chunks=(40, 32, 32), compression="gzip")
        file["8-26730-tiff"].id.write_direct_chunk((0, 0, 0), b"damaged")
    with pytest.raises(InvalidInput, match=r"r\.h5.*damaged or compressed"):
        read_all(tmp_path / "r.h5")


@pytest.mark.parametrize("options", [{"format": "fixed"}, {"format": "table", "data_columns": True}])
def test_reads_what_pandas_writes(tmp_path, monkeypatch, options):
    monkeypatch.undo()  # PyTables unpickles what it wrote itself
    pytest.importorskip("tables")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.random(7), "b": np.arange(7), "c": rng.random(7).astype(np.float32), "d": rng.random(7)})
    frame.to_hdf(tmp_path / "p.h5", key="8-info", **options)
    with h5py.File(tmp_path / "p.h5") as file:
        got = frames.read_columns(file, "8-info", ["d", "b", "c"])
    assert all((got[name] == frame[name]).all() for name in ("d", "b", "c"))
