"""Files of recorded noise: the three formats give the same records, large ones are sampled, and wrong ones are explained."""

import re

import h5py
import numpy as np
import pytest

from flow.core.errors import ConfigError, FlowError, InvalidInput, MissingInput
from flow.robustness import _noise_file, _noise_text
from flow.robustness._noise_file import check_file, read_noise

NOISE = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def text(rows, before=""):
    return before + "".join(",".join(map(repr, map(float, row))) + "\n" for row in rows)


def write(path, content):
    """Write bytes, text, an NPY array, or HDF5 with a function."""
    if callable(content):
        with h5py.File(path, "w") as file:
            content(file)
    elif isinstance(content, np.ndarray):
        with path.open("wb") as stream:
            np.save(stream, content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path, shape=(4,), unit="input", detector="counts"):
    return read_noise(path, shape, unit, detector, lambda fraction, text: None)


def put(name="noise", data=NOISE, **attributes):
    def content(file):
        file.create_dataset(name, data=data).attrs.update(attributes)

    return content


GOOD = {
    "a.csv": text(NOISE), "named.csv": text(NOISE, "# recorded on a bench\n#\n\nch0,ch1,ch2,ch3\n"),
    "bom.csv": b"\xef\xbb\xbf" + text(NOISE).encode(),
    "end.csv": text(NOISE).replace("\n", "\r\n").rstrip(), "space.csv": text(NOISE).replace(",", ", ").replace("\n", "\n\n"),
    "a.npy": NOISE, "double.npy": NOISE.astype(">f8"), "fortran.npy": np.asfortranarray(NOISE), "image.npy": NOISE.reshape(300, 1, 2, 2),
    "v2.npy": None, "a.h5": put("any/name"), "image.hdf5": put(data=NOISE.reshape(300, 2, 2)), "named.data": put(data=NOISE, unit="input"),
    "packed.h5": lambda file: [file.create_dataset("noise", data=NOISE, chunks=(7, 3), compression="gzip"), put("x", [1])(file)],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_every_format_gives_the_same_records(name, tmp_path):
    path = tmp_path / name
    if name == "v2.npy":
        with path.open("wb") as stream:
            np.lib.format.write_array(stream, NOISE, (2, 0))
    else:
        write(path, GOOD[name])
    shape = (1, 2, 2) if name.startswith("image") else (4,)
    assert np.prod(check_file(path, "input")) == 4
    recording = read(path, shape)
    assert np.array_equal(recording.records, NOISE)
    assert recording.records.dtype == np.float32
    assert recording.taken == "all 300 records"
    assert recording.rms == pytest.approx(np.sqrt((NOISE.astype(float) ** 2).mean()))
    assert np.array_equal(read(path, (1, 4) if shape == (4,) else (2, 2)).records, NOISE), "axes of length 1 make no difference"


def bad(rows=NOISE[:5], at=(3, 2), value=np.nan):
    rows = np.array(rows, dtype=np.float64)
    rows[at] = value
    return rows


def header(shape, descr="<f8", data=b""):
    line = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + data


def link(file):
    file["noise"] = h5py.ExternalLink("other.h5", "/noise")


def virtual(file):
    layout = h5py.VirtualLayout((300, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "noise", (300, 4))
    file.create_virtual_dataset("noise", layout)


def outside(file):
    file.create_dataset("noise", (300, 4), "f4", external=[("/etc/passwd", 0, 4800)])


def several(file):
    file["a"], file["b/c"] = NOISE, NOISE


WRONG = {
    "empty.csv": ("", "no record in this file"),
    "names.csv": ("a,b,c,d\n", "no record in this file"),
    "short.csv": ("1,2,3,4\n1,2,3\n", "line 2: 3 values, where the first record has 4"),
    "long.csv": ("a,b,c,d\n1,2,3,4\n\n1,2,3,4,5\n", "line 4: 5 values, where the first record has 4"),
    "word.csv": ("1,2,3,4\n1,2,x,4\n", "line 2, column 3: 'x' is not a number"),
    "mixed.csv": ("x,2,3,4\n", "line 1, column 1: 'x' is not a number"),
    "hole.csv": ("1,2,3,4\n1,,3,4\n", "line 2, column 2: the value is missing"),
    "nan.csv": ("# made\n1,2,3,4\n1,2,3,NaN\n", "line 3, column 4: 'NaN' is not finite"),
    "inf.csv": ("1,2,3,4\n-inf,2,3,4\n", "line 2, column 1: '-inf' is not finite"),
    "huge.csv": ("1,2,3,4\n\n1,1e200,3,4\n", "line 3, input 1: 1e+200 is too large"),
    "comma.csv": ("1;2;3;4\n1,5;2,5;3;4\n", "separated by commas, with a point"),
    "under.csv": ("1,2,3,4\n1_0,2,3,4\n", "line 2, column 1: '1_0' is not a number"),
    "quote.csv": ('1,2,3,4\n"1,2,3,4\n1,2,3,4\n', "line 2: 1 values"),
    "wide.csv": ("1,2,3\n4,5,6\n", "a record has 3 numbers, but the network has 4 inputs of shape [4]"),
    "one.csv": ("1\n2\n3\n", "a record has 1 number, but the network has 4 inputs"),
    "single.csv": ("1,2,3,4\n", "1 record; at least 2"),
    "utf16.csv": (text(NOISE).encode("utf-16"), "not UTF-8 text"),
    "latin.csv": (b"1,2,3,4\n1,2,3,\xb5\n", "line 2, column 4"),
    "zero.csv": (b"1,2,3,4\n1,2\0,3,4\n", r"line 2, column 2: '2\x00' is not a number"),
    "mac.csv": ("1,2,3,4\r5,6,7,8\r", "carriage returns"),
    "line.csv": ("1" * 2**22, "a line of more than 2 MiB"),
    "columns.csv": ("1," * 70_000 + "1\n", "70001 columns; at most 65536"),
    "noise.csv": (text(np.zeros((9, 4))), "all numbers are 0"),
    "nothing.npz": (b"PK\x03\x04", "an archive"),
    "packed.csv.gz": (b"\x1f\x8b\x08", "compressed"),
    "text.npy": ("1,2,3,4\n", "this is no NPY file"),
    "cut.npy": (header((1000, 4), data=bytes(800)), "promised, but the file was cut off"),
    "header.npy": (header((1000, 4))[:30], "no NPY file that can be read"),
    "long.npy": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "the header is too long"),
    "huge.npy": (header((10**12, 4)), "promised, but the file was cut off"),
    "digits.npy": (header(f"({'9' * 6000}, 4)"), "no NPY file that can be read"),
    "minus.npy": (header((-1, 4), data=bytes(32)), "lengths that cannot be"),
    "axes.npy": (header(f"({'1,' * 2000})", data=bytes(8)), "2000 axes"),
    "code.npy": (header("__import__('os').getcwd()"), "no NPY file that can be read"),
    "scalar.npy": (np.array(1.0), "0 axes"),
    "none.npy": (np.zeros((0, 4)), "no numbers"),
    "flat.npy": (NOISE[:, 0], "a record has 1 number"),
    "turned.npy": (NOISE.T, "it is transposed|Rows and columns seem to be exchanged"),
    "image.npy": (NOISE.reshape(300, 2, 2), "4 numbers of shape [2, 2]"),
    "object.npy": (header((2, 4), "|O", b"cos\nsystem\n(S'true'\ntR."), "Python objects"),
    "complex.npy": (NOISE.astype(complex), "holds complex128, not real numbers"),
    "table.npy": (np.zeros(5, [("a", "f8"), ("b", "f8")]), "not real numbers"),
    "bool.npy": (NOISE > 0, "holds bool"),
    "text_array.npy": (NOISE.astype("U9"), "not real numbers"),
    "nan.npy": (bad(), "record 3 (the first is 0), input 2: nan is not a finite number"),
    "large.npy": (bad(value=1e30), "record 3 (the first is 0), input 2: 1e+30 is too large"),
    "text.h5": ("1,2,3,4\n", "damaged, was cut off"),
    "cut.h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "damaged, was cut off"),
    "none.h5": (lambda file: file.create_group("a"), "no array in this file"),
    "several.h5": (several, "several arrays: 'a', 'b/c'. Call the one with the noise 'noise'"),
    "link.h5": (link, "links to other places are not followed"),
    "virtual.h5": (virtual, "numbers lie in other files"),
    "outside.h5": (outside, "numbers lie in other files"),
    "complex.h5": (put(data=NOISE.astype(complex)), "not real numbers"),
    "table.h5": (put(data=np.zeros(5, [("a", "f8")])), "not real numbers"),
    "texts.h5": (lambda file: file.create_dataset("noise", (5, 4), h5py.string_dtype()), "Python objects or texts"),
    "scalar.h5": (put(data=1.0), "one record a row"),
    "null.h5": (put(data=h5py.Empty("f8")), "one record a row"),
    "nan.h5": (put(data=bad(at=(4, 0))), "record 4 (the first is 0), input 0: nan"),
    "rows.h5": (lambda file: file.create_dataset("noise", (2**55, 4), "f8", chunks=(1000, 4)), "all numbers are 0"),
    "columns.h5": (lambda file: file.create_dataset("noise", (9, 2**55), "f8", chunks=(1, 1000)), "the network has 4 inputs"),
    "chunk.h5": (lambda file: file.create_dataset("noise", (2**26, 4), "f8", chunks=(2**26, 4)), "chunks of shape [67108864, 4] are too"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_explained(name, tmp_path):
    content, words = WRONG[name]
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert re.search(words, str(caught.value)) or words in str(caught.value)


@pytest.mark.parametrize("name", ["short.csv", "utf16.csv", "nan.npy", "object.npy", "several.h5", "link.h5"])
def test_most_is_seen_before_any_work(name, tmp_path):
    with pytest.raises(InvalidInput):
        check_file(write(tmp_path / name, WRONG[name][0]), "input")


def test_missing(tmp_path):
    for path, words in ((tmp_path / "no.csv", "there is no such file"), (tmp_path, "this is a folder")):
        with pytest.raises(MissingInput, match=words):
            check_file(path, "input")


SAID = [
    (put(unit="ADC counts"), "detector", None),
    (put(units=b"count"), "detector", None),
    (put(unit=np.array(["Normalised"], "S")), "input", None),
    ("# unit: counts\n" + text(NOISE), "detector", None),
    ("# Run 7, units = input; bench\n" + text(NOISE), "input", None),
    (put(unit="ADC counts"), "input", "in 'ADC counts', says the file, but robustness.noise_unit = 'input'"),
    (put(unit="mV"), "detector", "takes each as in counts"),
    (put(unit="input"), "detector", "in 'input', says the file"),
    ("# unit: fC\n" + text(NOISE), "input", "in 'fC', says the file"),
    (lambda file: [put()(file), file.attrs.update(unit="mV")], "input", "in 'mV', says the file"),
]


@pytest.mark.parametrize(("content", "unit", "words"), SAID)
def test_what_the_file_says_about_its_unit(content, unit, words, tmp_path):
    path = write(tmp_path / "n.dat", content)
    if words is None:
        assert len(read(path, unit=unit).records) == 300
        check_file(path, unit)
    else:
        with pytest.raises(ConfigError, match=re.escape(words)):
            read(path, unit=unit)


def test_a_model_without_a_detector_unit(tmp_path):
    path = write(tmp_path / "n.npy", NOISE)
    with pytest.raises(ConfigError, match="have no detector unit"):
        read(path, unit="detector", detector=None)


@pytest.mark.parametrize("name", ["n.csv", "n.npy", "n.h5"])
def test_a_large_file_is_taken_evenly(name, tmp_path, monkeypatch):
    """Records i, i, i, i of which few are read; the file says 50,000."""
    rows = np.repeat(np.arange(50_000.0)[:, None], 4, axis=1)
    path = write(tmp_path / name, text(rows) if name == "n.csv" else rows if name == "n.npy" else put(data=rows))
    monkeypatch.setattr(_noise_file, "MOST_RECORDS", 2000)
    monkeypatch.setattr(_noise_text, "MOST_BYTES", 60_000)
    recording = read(path)
    taken = recording.records
    assert (taken == taken[:, :1]).all(), "no record is cut"
    assert 500 <= len(taken) <= 2000
    assert np.array_equal(taken[:, 0], np.unique(taken[:, 0])), "none twice, in the order of the file"
    counts = np.histogram(taken[:, 0], bins=10, range=(0, 50_000))[0]
    assert counts.min() > 0.8 * counts.mean()
    assert recording.taken == f"{len(taken)} records, taken evenly from {'a longer file' if name == 'n.csv' else '50000 of them'}"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"], ids=repr)
def test_lines_are_read_once_wherever_pieces_begin(ending, tmp_path):
    path = write(tmp_path / "n.csv", "a,b\n" + ending.join(["1,2", "30,4", "5,60"]))
    with _noise_file.open_noise(path) as records:
        whole = records.read(0, records.extent)
        assert whole.tolist() == [[1, 2], [30, 4], [5, 60]]
        for cut in range(records.extent + 1):
            assert np.array_equal(np.concatenate([records.read(0, cut), records.read(cut, records.extent)]), whole), cut


def test_an_error_far_into_a_large_file_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(_noise_text, "MOST_BYTES", 6000)
    lines = ["0.25,0.5,0.75,1.0"] * 20_000
    lines[-3] = "0.25,0.5,?,1.0"
    with pytest.raises(InvalidInput, match=r"line 19998, column 3: '\?' is not a number"):
        read(write(tmp_path / "n.csv", "\n".join(lines)))


def test_8_gib_are_not_read(tmp_path):
    """A sparse file; an array in memory of its size would not fit the limit of many machines."""
    path = tmp_path / "n.npy"
    array = np.lib.format.open_memmap(path, "w+", np.float64, (2**28, 4))
    array[-1] = 1
    array.flush()
    del array
    recording = read(path)
    assert recording.records.nbytes < 2**22
    assert recording.records[-1].all()
    assert recording.taken.endswith(f"taken evenly from {2**28} of them")
    path.unlink()


@pytest.mark.parametrize("name", ["a.npy", "a.csv"])
def test_damaged_files_raise_nothing_else(name, tmp_path):
    whole, rng = write(tmp_path / name, GOOD[name]).read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole[: rng.integers(len(whole)) if rng.random() < 0.3 else len(whole)])
        for place in rng.integers(0, min(len(damaged), 400), 3) if damaged else ():
            damaged[place] = rng.integers(256)
        try:
            read(write(tmp_path / "x.npy", bytes(damaged)))
        except FlowError:
            refused += 1
    assert refused > 50
