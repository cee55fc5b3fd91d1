"""Data files: what is refused, and what the targets are taken for."""

import io
import zipfile

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.imported import files


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(shape, version=(1, 0)):
    stream = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version](stream, description)
    return stream.getvalue()


def archive(**arrays):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


X = np.zeros((200, 4), np.float32)
OBJECTS = np.array([None] * 200, dtype=object)
BROKEN = [
    ("d.csv", b"1,2", "ends in .npz or .npy"),
    ("d.npy", b"1,2", "this is no array of NumPy"),
    ("d.npy", npy(X)[:-1], "or it was cut off"),
    ("d.npy", npy(OBJECTS, allow_pickle=True), "pickled Python objects, which are never loaded"),
    ("d.npz", archive(x=npy(OBJECTS, allow_pickle=True)), "array x: it holds pickled"),
    ("d.npy", npy(X.astype(complex)), "it holds complex128, not real numbers"),
    ("d.npy", npy(np.zeros(200, [("a", "f4")])), "not real numbers"),
    ("d.npy", npy(np.zeros(200, [("μ", "f4")])), "version (3, 0)"),
    ("d.npy", header((2**20, 2**20)), "takes more than 4 GiB"),
    ("d.npy", header((2**40,), (2, 0)), "takes more than 4 GiB"),
    ("d.npy", npy(np.where(np.arange(200) == 7, np.nan, 0)), "the value at [7]"),
    ("d.npy", npy(np.float32(np.inf)), "is not finite"),
    ("d.npy", npy(X[:199]), "it has 199 samples; at least 200"),
    ("d.npy", npy(np.float32(1)), "it has 0 samples"),
    ("d.npz", b"PK", "this is no .npz file"),
    ("d.npz", archive(x=npy(X))[:-30], "this is no .npz file"),
    ("d.npz", archive(x=npy(X), labels=npy(X)), "it has the arrays x, labels; x and y are read"),
    ("d.npz", archive(y=npy(X)), "it has the arrays y"),
    ("d.npz", archive(), "(none)"),
    ("d.npz", archive(x=npy(X), y=npy(X[1:])), "x has 200 samples and y has 199"),
]


@pytest.mark.parametrize(("name", "content", "words"), BROKEN)
def test_broken_data_files(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as error:
        files.read_arrays(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_flipped_byte_of_a_compressed_file_is_seen(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((200, 4)))
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="cut off"):
        files.read_arrays(path)


def test_data_files(tmp_path):
    x, y = np.arange(800).reshape(200, 4), np.arange(200) % 3
    np.savez_compressed(tmp_path / "d.npz", y=y, x=x)
    np.save(tmp_path / "d.npy", x)
    read = files.read_arrays(tmp_path / "d.npz")
    assert np.array_equal(read[0], x)
    assert np.array_equal(read[1], y)
    assert files.read_arrays(tmp_path / "d.npy")[1] is None
    assert files.read_inputs(tmp_path, x, (4,)).dtype == np.float32
    with pytest.raises(InvalidInput, match=r"a sample of x has the shape \[4\], but the network's input has \[2, 2\]"):
        files.read_inputs(tmp_path, x, (2, 2))


HOT = np.eye(3)[np.arange(200) % 3]


@pytest.mark.parametrize(
    ("y", "shape", "kind"),
    [
        (np.arange(200) % 3, (3,), "classes"), (np.arange(200) % 2 == 0, (2,), "classes"), (HOT, (3,), "classes"),
        (HOT.astype(int), (3,), "classes"), (HOT + 1e-3, (3,), "values"), (np.arange(200), (1,), "values"),
        (np.ones((200, 2, 3)), (2, 3), "values"), (np.ones((200, 1)), (1,), "values"), (np.zeros((200, 3)), (3,), "values"),
    ],
)  # fmt: skip
def test_targets(tmp_path, y, shape, kind):
    found, values = files.read_targets(tmp_path, y, shape)
    assert found == kind
    assert values.shape == (200, *shape)
    assert values.dtype == np.float32
    if kind == "classes" and y.ndim == 1:
        assert np.array_equal(values.argmax(1), y)
        assert (values.sum(1) == 1).all()
    else:
        assert np.array_equal(values.ravel(), y.astype(np.float32).ravel())


@pytest.mark.parametrize(
    ("y", "shape", "words"),
    [
        (np.arange(200) % 4, (3,), "classes from 0 to 3; the outputs are 0 to 2"), (np.arange(200) - 1, (3,), "from -1"),
        (np.zeros(200), (3,), "integer class numbers"), (np.ones((200, 4)), (3,), "shape (N, 3,)"),
        (np.ones((200, 6)), (2, 3), "(N, 2, 3)"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit(tmp_path, y, shape, words):
    with pytest.raises(InvalidInput) as error:
        files.read_targets(tmp_path, y, shape)
    assert words in str(error.value)
