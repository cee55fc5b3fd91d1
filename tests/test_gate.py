"""The exactness gate: its inputs, its comparison, its words."""

import numpy as np
import pytest

from flow import gate
from flow.core.errors import MismatchError
from flow.twin import Format


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("available", "shape"), [(1000, (1, 4, 4)), (10, (1, 4, 4)), (0, (7,))])
@pytest.mark.parametrize(
    "words", [Format(8, 2.0**-7, False), Format(3, 1.0, False), Format(5, 2.0**-9, True), Format(2, 4.0, True), Format(4, 0.5, True, True)]
)
def test_vectors(available, shape, words):
    low, high = words.low, words.high
    test = rng(1).uniform((low - 2) * words.scale, (high + 3) * words.scale, (available, *shape)).astype(np.float32)
    x = gate.vectors(test, 64, words, rng())
    assert x.shape == (64, *shape)
    assert x.dtype == np.float64
    codes = x / words.scale
    assert np.array_equal(codes, np.round(codes))
    assert (codes.min(), codes.max()) == (low, high)
    flat = {tuple(row) for row in codes.reshape(64, -1)}
    assert {tuple(np.full(np.prod(shape), low)), tuple(np.full(np.prod(shape), high))} <= flat
    real = {tuple(row) for row in np.clip(np.rint(test / words.scale), low, high).reshape(available, int(np.prod(shape)))}
    assert len(real & flat) == min(48, available), "three quarters are samples of the test set"


def test_vectors_round_half_to_even_and_are_the_same_again():
    test = (np.arange(-8, 8, dtype=np.float32) / 2)[:, None]
    x = gate.vectors(test, 64, Format(4, 1.0, True), rng(3))
    assert np.array_equal(x, gate.vectors(test, 64, Format(4, 1.0, True), rng(3)))
    assert not np.array_equal(x, gate.vectors(test, 64, Format(4, 1.0, True), rng(4)))
    only = gate.vectors(np.full((48, 1), 2.5, np.float32), 64, Format(4, 1.0, False), rng())
    assert (only == 2.0).sum() >= 48


def test_mismatches():
    expected = np.arange(12.0).reshape(4, 3)
    assert gate.mismatches(expected, expected.copy()) == (0, None)
    got = expected.copy()
    got[1, 2] += 2.0**-40
    got[3] = np.nan
    assert gate.mismatches(expected, got) == (2, (1, 2))
    assert gate.mismatches(expected, np.full((4, 3), np.nan))[0] == 4
    with pytest.raises(MismatchError, match=r"shapes \(4, 3\) and \(3, 4\)"):
        gate.mismatches(expected, expected.T)


def test_first_layer():
    reference = {"input": np.ones(2), "relu": np.array([1.0, 2.0, 3.0]), "output": np.array([5.0])}
    same = {"q0": np.ones((1, 2)), "q1": np.array([[1.0], [2.0], [3.0]]), "extra": np.zeros(9), "q2": np.array([5.0])}
    assert gate.first_layer(reference, same) is None
    assert gate.first_layer(reference, {**same, "q1": np.array([1.0, 2.0, 4.0]), "q2": np.array([6.0])}) == "relu"
    assert gate.first_layer(reference, {**same, "q1": np.array([1.0, 2.0]), "q2": np.array([6.0])}) == "relu", (
        "another size is another layer"
    )
    fused = {"input": np.ones(2), "bare relu": np.ones(7), "relu": np.array([1.0, 2.0, 3.0]), "output": np.array([5.0])}
    assert gate.first_layer(fused, {**same, "q2": np.array([6.0])}) == "output", "a layer that the other level fuses is no divergence"
    assert gate.first_layer(reference, {}) == "input"


def test_report():
    expected, got = np.zeros((5, 3)), np.zeros((5, 3))
    got[2, 1] = -0.25
    error = gate.report("csim", "twin", expected, got, "dense", (2, 1), 1)
    assert isinstance(error, MismatchError)
    assert not error.transient
    assert str(error) == (
        "gate: level 'csim' differs from 'twin' in 1 of 5 samples; first: layer dense, sample 2, output 1: expected 0, got -0.25. "
        "No hardware figure of this point is published."
    )


def test_channels_last():
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert gate.channels_last(x).shape == (2, 4, 5, 3)
    assert gate.channels_last(x)[1, 2, 3, 0] == x[1, 0, 2, 3]
    assert gate.channels_last(x[:, 0]).shape == (2, 5, 4)
    assert gate.channels_last(x[:, 0, 0]).shape == (2, 5)
    assert gate.words(x)[1, :4].tolist() == [60.0, 80.0, 100.0, 61.0]
    assert np.array_equal(gate.words(x[:, 0, 0]), x[:, 0, 0])


def test_read_vectors(tmp_path):
    np.savez(tmp_path / "v.npz", x=np.ones((2, 3)), y=np.zeros((2, 1)))
    x, y = gate.read_vectors(tmp_path / "v.npz")
    assert (x.shape, y.shape) == ((2, 3), (2, 1))
    np.savez(tmp_path / "evil.npz", x=np.array([object()], dtype=object), y=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        gate.read_vectors(tmp_path / "evil.npz")
