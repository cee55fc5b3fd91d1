import importlib
from pathlib import Path

import numpy as np
import pytest

from flow.config import DataConfig
from flow.core.errors import ConfigError, InvalidInput, MissingInput
from flow.model import load_model

MODEL = load_model("econ_t")
data = importlib.import_module(MODEL.load.__module__)
geometry = importlib.import_module(data.__name__.replace(".data", ".geometry"))
HEADER = ",".join(f"CALQ_{i}" for i in range(48))
SHARED = Path(__file__).resolve().parents[2] / "../shared/data/hgcal"


def rows(n, seed=0):
    return np.random.default_rng(seed).integers(0, 400, (n, 48))


def text(table, header=HEADER, end="\n"):
    return header + end + "".join(",".join(map(str, r)) + end for r in np.asarray(table).tolist())


def write(folder, content, name="wafers.csv"):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_bytes(content.encode())
    return path


def quiet(done, words):
    """Progress that nobody looks at."""


def load(path, **kw):
    return MODEL.load(DataConfig(path=str(path), **kw), quiet, Path("unused"))


def all_rows(dataset):
    return {geometry.to_cells(v[None])[0].tobytes() for part in dataset.x.values() for v in part}


def test_reads_normalises_and_splits(tmp_path):
    table = rows(300)
    got = load(write(tmp_path, text(table)))
    assert {k: v.shape for k, v in got.x.items()} == {"train": (240, 1, 8, 8), "validation": (30, 1, 8, 8), "test": (30, 1, 8, 8)}
    assert all(got.y[k] is got.x[k] and got.x[k].dtype == np.float32 for k in got.x)
    expected = table / 2.0 ** np.floor(np.log2(table.sum(axis=1, keepdims=True)))
    assert all_rows(got) == {r.astype(np.float32).tobytes() for r in expected}
    assert got.notes["source"] == "wafers.csv"
    assert got.notes["mean_occupancy"] == pytest.approx((table > 0).sum(axis=1).mean(), abs=1e-3)


def test_columns_may_stand_anywhere_and_lines_end_anyhow(tmp_path):
    table = rows(250)
    plain = all_rows(load(write(tmp_path, text(table))))
    order = np.random.default_rng(1).permutation(48)
    mixed = np.concatenate([np.full((250, 1), 'a "b"'), table[:, order].astype(object), np.full((250, 1), -5)], axis=1)
    header = ",".join(["name", *(f" CALQ_{i}" for i in order), "other"])
    assert all_rows(load(write(tmp_path, text(mixed, header, "\r\n")))) == plain
    quoted = np.concatenate([np.full((250, 1), '"x,y"'), table.astype(object)], axis=1)
    assert all_rows(load(write(tmp_path, "\ufeff" + text(quoted, "name," + HEADER) + "\n\n"))) == plain
    assert all_rows(load(write(tmp_path, text(table).replace("\n", "\n\n", 9)[:-1]))) == plain


def test_folder_is_read_in_order_of_names(tmp_path):
    a, b = rows(150, 1), rows(150, 2)
    write(tmp_path, text(a), "b.csv")
    write(tmp_path, text(b), "a.csv")
    write(tmp_path, "not a table", "notes.txt")
    got = load(tmp_path)
    assert got.notes["rows_read"] == 300
    assert all_rows(got) == all_rows(load(write(tmp_path / "..", text(np.concatenate([b, a])), "both.csv")))


def test_empty_and_equal_wafers_are_dropped_and_counted(tmp_path):
    table = rows(260)
    table[5] = 0
    table[7] = table[9]
    table[11] = 4 * table[9]  # the same wafer once normalised
    got = load(write(tmp_path, text(table).replace("\n0,", "\n-0.0,", 1)))
    wanted = {"rows_read": 260, "empty_dropped": 1, "duplicates_dropped": 2, "not_drawn": 0, "kept": 257}
    assert {k: got.notes[k] for k in wanted} == wanted
    assert len(all_rows(got)) == 257


def test_a_count_of_the_detector_is_known_in_every_wafer(tmp_path):
    """Whole counts come back when a wafer is divided by what one count is in it."""
    table = rows(260)
    got = load(write(tmp_path, text(table)))
    counts = np.concatenate([got.x[split] / got.unit[split] for split in got.x])
    assert got.notes["detector_unit"] == "counts"
    assert sorted(counts.sum(axis=(1, 2, 3)).round(4)) == sorted(np.round(table.sum(axis=1), 4))


def test_at_most_samples_by_seed(tmp_path):
    path = write(tmp_path, text(rows(400)))
    first, again, other = (all_rows(load(path, samples=220, seed=s)) for s in (1, 1, 2))
    assert len(first) == 220
    assert first == again != other
    a, b = load(path, seed=1), load(path, seed=1)
    assert all((a.x[k] == b.x[k]).all() for k in a.x)


def spoil(line, column, value):
    table = rows(250).astype(object)
    table[line - 2, column] = value
    return text(table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        ("\n\n", ["empty"]),
        (HEADER, ["line 1", "no wafer"]),
        (HEADER + "\n", ["line 1", "no wafer"]),
        (text(rows(250)).replace("CALQ_17,", "CALQ_X,"), ["line 1", "no column CALQ_17"]),
        (text(rows(250)).replace("CALQ_17,", "CALQ_16,"), ["line 1", "more than one column CALQ_16"]),
        (text(rows(250)).replace(",", ";"), ["line 1", "CALQ_0"]),
        (spoil(9, 3, ""), ["line 9", "CALQ_3", "missing"]),
        (spoil(9, 47, ""), ["line 9", "CALQ_47", "missing"]),
        (spoil(9, 3, "nan"), ["line 9", "CALQ_3", "not finite"]),
        (spoil(9, 3, "inf"), ["line 9", "CALQ_3", "not finite"]),
        (spoil(2, 0, -1), ["line 2", "CALQ_0", "negative"]),
        (spoil(251, 20, "many"), ["line 251", "CALQ_20", "'many' is not a number"]),
        (spoil(9, 3, "1_0"), ["line 9", "CALQ_3", "not a number"]),
        (spoil(9, 3, "1e300"), ["line 9", "CALQ_3", "too large"]),
        (spoil(9, 3, "1,2"), ["line 9", "49 values", "48 columns"]),
        (text(rows(250)) + "1,2,3\n", ["line 252", "3 values"]),
        (text(rows(250)).encode() + b"\xff\xfe" + b",0" * 47, ["line 252", "UTF-8"]),
        (spoil(9, 3, "x" * 200_000), ["line 9", "field larger"]),
        (text(rows(150)), ["150 are left", "200"]),
        (text(np.tile(rows(100), (5, 1))), ["400 the same", "100 are left"]),
    ],
)  # fmt: skip
def test_bad_files_are_explained(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(InvalidInput) as caught:
        load(path)
    assert all(w in str(caught.value) for w in [*words, "wafers.csv"])


def test_what_only_pandas_refuses_is_still_explained(tmp_path, monkeypatch):
    files = importlib.import_module(data.__name__.replace(".data", ".csv_files"))
    monkeypatch.setattr(files, "_check_each", lambda *_: None)
    with pytest.raises(InvalidInput, match="not a table of charges"):
        load(write(tmp_path, spoil(9, 3, "x")))


def test_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path, text(rows(250)))

    def refuse(*_args, **_kw):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidInput, match="Permission denied"):
        load(path)


def test_missing_inputs(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        load(tmp_path / "nothing.csv")
    with pytest.raises(MissingInput, match=r"no \*.csv"):
        load(tmp_path)


def test_split_that_leaves_nothing():
    with pytest.raises(ConfigError, match="validation"):
        MODEL.load(DataConfig(samples=200, split=(0.9, 0.0001, 0.0999)), quiet, Path("unused"))


def test_normalise_is_exact_next_to_powers_of_two():
    cells = np.zeros((3, 48))
    cells[0, 0], cells[1, 0], cells[2, 0] = 2.0**31 - 2.0**-20, 2.0**31, 2.0**-40
    got = data.normalise(cells)[:, 0]
    assert got[0] == np.nextafter(np.float32(2), np.float32(0))  # just below 2, though float32 would round it up
    assert got[1] == got[2] == 1.0


@pytest.mark.skipif(not SHARED.is_dir(), reason="no detector files here")
def test_real_files():
    dense, sparse = (load(SHARED / f) for f in ("CALQ_output.csv", "ttbar_0PU.csv"))
    assert dense.notes["rows_read"] == 6050
    assert dense.notes["mean_occupancy"] == pytest.approx(18.4, abs=0.1)
    assert sparse.notes["rows_read"] == 38382
    assert sparse.notes["duplicates_dropped"] >= 16383  # those of the raw file, and more once normalised
