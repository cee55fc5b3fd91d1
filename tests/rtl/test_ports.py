"""Packing of words, and the manifest."""

import numpy as np
import pytest

from flow.core.errors import InvalidInput, MissingInput
from flow.rtl.ports import Manifest, Port, Word
from flow.rtl.simulate import read_hex

PORT = Port("p", 13, (Word(0, 4, 2, False), Word(4, 6, 3, True), Word(10, 3, 0, True)))


def test_every_code_survives_packing():
    codes = np.stack(np.meshgrid(np.arange(16), np.arange(-32, 32), np.arange(-4, 4)), -1).reshape(-1, 3)
    values = np.ldexp(codes.astype(float), -np.array([2, 3, 0]))
    packed = PORT.pack(values)
    assert packed.shape == (len(codes), 2)
    assert np.array_equal(PORT.unpack_codes(packed), codes)
    assert np.array_equal(PORT.unpack(packed), values)
    # by hand: word 0 = 5, word 1 = -1 = 0b111111, word 2 = -3 = 0b101
    row = np.flatnonzero((codes == [5, -1, -3]).all(axis=1))[0]
    assert int.from_bytes(packed[row].tobytes(), "little") == 0b101_111111_0101
    assert PORT.hex_lines(packed[row : row + 1]) == "17f5\n"


def test_hex_lines_are_read_back_and_unknown_digits_are_seen():
    packed = PORT.pack(np.array([[1.25, -0.125, -3.0], [0.0, 0.5, 1.0]]))
    raw, unknown = read_hex([*PORT.hex_lines(packed).split(), "0xX5"], 13)
    assert np.array_equal(raw[:2], packed)
    assert raw[2].tolist() == [5, 0]
    assert unknown.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("values", "words"), [([[4.0, 0, 0]], "cannot be held"), ([[0.1, 0, 0]], "0.1"), ([[-0.25, 0, 0]], "p"), ([[0, 0]], "3 words")]
)
def test_values_that_do_not_fit_are_refused(values, words):
    with pytest.raises(InvalidInput, match=words):
        PORT.pack(np.array(values, float))


def test_the_manifest_survives_its_file(tmp_path):
    manifest = Manifest("top", "clk", 3, 1, PORT, PORT, ("src/a.v",), ("logic0",), "out", "alkaid 1")
    manifest.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json") == manifest
    with pytest.raises(MissingInput):
        Manifest.load(tmp_path / "none.json")
    for text in ("{", "[]", '{"top": "t"}', '{"input": 1, "output": 2}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InvalidInput):
            Manifest.load(tmp_path / "bad.json")
