import importlib
import sys
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from flow.core.errors import InvalidInput, MissingInput, ToolNotFound
from flow.model import load_model

files = importlib.import_module(load_model("jets").load.__module__.replace(".data", ".files"))
FEATURES, CLASSES = files.FEATURES, files.CLASSES
PUBLIC = [f"j_{f}" if f in ("zlogz", "mass_mmdt", "multiplicity") else f"j_{f}_mmdt" for f in FEATURES]
X = np.random.default_rng(0).normal(2, 3, (40, 16)).astype(np.float32)
Y = np.arange(40) % 5
KINDS = np.array(CLASSES)[Y]
HOT = np.eye(5, dtype=np.float32)[Y]


def check(path):
    x, labels = files.read(path)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(labels, Y)


def frame(names=FEATURES, label="class", kinds=KINDS):
    return pd.DataFrame(X, columns=list(names)).assign(**{label: kinds})


def to_csv(path, table=None, **kw):
    (frame() if table is None else table).to_csv(path, index=False, **kw)
    return path


def to_arff(path, quote=""):
    lines = ["% comment", "@RELATION jets", *(f"@ATTRIBUTE {quote}{n.removeprefix('j_')}{quote} REAL" for n in PUBLIC)]
    lines += ["@attribute class {g, q, w, z, t}", "", "@DATA", "% one jet a line"]
    rows = [",".join([*(repr(float(v)) for v in x), k]) for x, k in zip(X, KINDS, strict=True)]
    path.write_text("\n".join([*lines, *rows]) + "\n")
    return path


def to_h5(path, hot=HOT):
    """As the public table: before and after grooming, other columns between."""
    columns = {"index": np.arange(40)}
    for name, values in zip(PUBLIC, X.T, strict=True):
        if name.endswith("_mmdt") and name != "j_mass_mmdt":
            columns[name.removesuffix("_mmdt")] = -values
        columns[name] = values
    columns |= {f"j_{k}": hot[:, n] for n, k in enumerate(CLASSES)}
    table = np.zeros(40, dtype=[(n, np.asarray(v).dtype) for n, v in columns.items()])
    for name, values in columns.items():
        table[name] = values
    with h5py.File(path, "w") as target:
        target["t_allpar_new"] = table
    return path


def to_images(path):
    names = ["j_ptfrac", *PUBLIC, *(f"j_{k}" for k in CLASSES), "j_undef"]
    with h5py.File(path, "w") as target:
        target["jetImage"] = np.zeros((40, 3, 3), dtype=np.float32)
        target["jets"] = np.concatenate([np.ones((40, 1)), X, HOT, np.zeros((40, 1))], axis=1)
        target["jetFeatureNames"] = np.array([n.encode() for n in names])
    return path


def to_npz(path, **more):
    np.savez(path, **({"X": X, "y": Y, "classes": np.array(CLASSES), "features": np.array(FEATURES)} | more))
    return path


def to_tutorial(folder):
    order = [CLASSES.index(k) for k in ("g", "q", "t", "w", "z")]
    for name, part in (("train_val", slice(0, 30)), ("test", slice(30, 40))):
        np.save(folder / f"X_{name}.npy", X[part])
        np.save(folder / f"y_{name}.npy", HOT[part][:, order])
    np.save(folder / "classes.npy", np.array(["g", "q", "t", "w", "z"], dtype=object), allow_pickle=True)
    return folder


def test_csv_in_all_spellings(tmp_path):
    check(to_csv(tmp_path / "a.csv"))
    check(to_csv(tmp_path / "b.csv", frame(PUBLIC, "jet_type")[["jet_type", *reversed(PUBLIC)]].assign(other="x")))
    check(to_csv(tmp_path / "c.csv", frame([n.removeprefix("j_") for n in PUBLIC], "label", Y)))
    check(to_csv(tmp_path / "d.csv", frame(label="target", kinds=Y.astype(float))))
    check(to_csv(tmp_path / "e.csv", frame(label="class", kinds=[f"b'{k}'" for k in KINDS])))
    check(to_csv(tmp_path / "f.csv", pd.DataFrame(X, columns=PUBLIC).assign(**{f"j_{k}": HOT[:, n] for n, k in enumerate(CLASSES)})))


def test_arff(tmp_path):
    check(to_arff(tmp_path / "a.arff"))
    check(to_arff(tmp_path / "b.arff", "'"))
    check(to_arff(tmp_path / "c.ARFF", '"'))


def test_hdf5(tmp_path):
    check(to_h5(tmp_path / "a.h5"))
    check(to_h5(tmp_path / "processed.z"))
    check(to_images(tmp_path / "b.hdf5"))


def test_arrays(tmp_path):
    check(to_npz(tmp_path / "a.npz"))
    check(to_npz(tmp_path / "b.npz", y=HOT))
    alphabetical = np.array([("g", "q", "t", "w", "z").index(k) for k in KINDS])
    check(to_npz(tmp_path / "c.npz", y=alphabetical, classes=np.array(["g", "q", "t", "w", "z"])))
    np.savez(tmp_path / "d.npz", X=X.astype(np.float64), y=alphabetical)
    check(tmp_path / "d.npz")
    check(to_npz(tmp_path / "e.npz", y=KINDS))


def test_folders(tmp_path):
    check(to_tutorial(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    to_npz(other / "b.npz", X=X[20:], y=Y[20:])
    to_csv(other / "a.csv", frame()[:20])
    (other / "notes.txt").write_text("not jets")
    check(other)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame(PUBLIC, "label", Y.astype(np.int8)).assign(j1_px=[[1.0, 2.0]] * 40).to_parquet(tmp_path / "a.parquet")
    check(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InvalidInput, match=r"b\.parquet"):
        files.read(tmp_path / "b.parquet")


def test_missing_libraries_are_explained(tmp_path, monkeypatch):
    for package, module, ending in (("pyarrow", "pyarrow.parquet", "parquet"), ("h5py", "h5py", "h5")):
        monkeypatch.setitem(sys.modules, module, None)
        (tmp_path / f"a.{ending}").write_bytes(b"x")
        with pytest.raises(ToolNotFound, match=f"pip install {package}"):
            files.read(tmp_path / f"a.{ending}")


def test_missing_inputs(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        files.read(tmp_path / "nothing.csv")
    with pytest.raises(MissingInput, match=r"X_train_val\.npy.*\.csv"):
        files.read(tmp_path)


def refuse(path, *words):
    with pytest.raises(InvalidInput) as caught:
        files.read(path)
    assert all(w in str(caught.value) for w in [*words, path.name]), caught.value


def spoilt(row, name, value):
    table = frame().astype(object)
    table.loc[row, name] = value
    return table


def test_bad_tables(tmp_path):
    path = tmp_path / "jets.csv"
    refuse(to_csv(path, frame().drop(columns="c2_b2")), "no column c2_b2", "j_c2_b2_mmdt")
    refuse(to_csv(path, frame().drop(columns="class")), "no column with the classes", "jet_type")
    refuse(to_csv(path, frame(kinds="x")), "'x' is not a class")
    refuse(to_csv(path, frame(kinds=Y + 1)), "'5' is not a class", "0 to 4")
    refuse(to_csv(path, spoilt(7, "n2_b1", "many")), "jet 7", "n2_b1", "'many' is not a number")
    refuse(to_csv(path, spoilt(7, "n2_b1", "")), "jet 7", "n2_b1")
    refuse(to_csv(path, spoilt(9, "d2_b1", "inf")), "jet 9", "d2_b1", "inf")
    refuse(to_csv(path, spoilt(9, "d2_b1", "1e30")), "jet 9", "d2_b1", "1e+30")
    refuse(to_csv(path, frame()[:0]), "0 jets")
    path.write_text("")
    refuse(path, "not a file of jets")
    path.write_bytes(b"\xff\xfe" * 50)
    refuse(path, "not a file of jets")
    path = tmp_path / "jets.arff"
    path.write_text("@relation x\n")
    refuse(path, "@data")
    path = tmp_path / "jets.root"
    path.write_text("x")
    refuse(path, ".arff", "README")


def test_bad_classes_of_one_hot_rows(tmp_path):
    for wrong in ([1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0]):
        hot = HOT.copy()
        hot[3] = wrong
        refuse(to_h5(tmp_path / "a.h5", hot), "jet 3", "one must be 1")


def test_bad_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5")
    refuse(path, "cannot be read")
    with h5py.File(path, "w") as target:
        target["other"] = np.zeros(3)
        target["jets"] = np.zeros((3, 4))
    refuse(path, "neither a table", "other")
    with h5py.File(path, "a") as target:
        target["jetFeatureNames"] = np.array([b"a", b"b"])
    refuse(path, "neither a table")


def test_links_to_other_files_are_not_followed(tmp_path):
    to_h5(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.h5", "w") as target:
        target["t_allpar_new"] = h5py.ExternalLink("secret.h5", "t_allpar_new")
    refuse(tmp_path / "a.h5", "neither a table")


def test_bad_arrays(tmp_path):
    path = tmp_path / "a.npz"
    refuse(to_npz(path, X=X[:, :15]), "(40, 15)", "16 numbers")
    refuse(to_npz(path, X=X.astype(str)), "16 numbers")
    refuse(to_npz(path, y=Y[:39]), "(39,)", "40 jets")
    refuse(to_npz(path, classes=np.array(["g", "q", "w", "z", "b"])), "its classes are")
    refuse(to_npz(path, features=np.array(FEATURES[::-1])), "in this order")
    refuse(to_npz(path, X=np.where(X == X[2, 3], np.nan, X)), "jet 2", FEATURES[3])
    np.savez(path, x=X)
    refuse(path, "no arrays X and y")
    path.write_bytes(b"no archive")
    refuse(path, "not an npz archive")
    to_npz(path)
    content = bytearray(path.read_bytes())
    content[300:900] = bytes(600)
    path.write_bytes(content)
    refuse(path, "not a file of jets")


def test_objects_are_never_unpickled(tmp_path):
    refuse(to_npz(tmp_path / "a.npz", y=KINDS.astype(object)), "allow_pickle=False")
    to_tutorial(tmp_path)
    np.save(tmp_path / "X_test.npy", X.astype(object), allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"X_test\.npy.*Python objects"):
        files.read(tmp_path)


def test_sizes_are_checked_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module(files.check_count.__module__), "MOST_JETS", 39)
    refuse(to_h5(tmp_path / "a.h5"), "40 jets", "39")
    refuse(to_npz(tmp_path / "a.npz"), "40 jets")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", bytes(10_000_000))
    monkeypatch.setattr(files, "MOST_BYTES", 1_000_000)
    refuse(tmp_path / "b.npz", "10,000,000 bytes")
