"""The exactness gate: every output of every sample must be identical at each lowering."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import MismatchError

Values = NDArray[np.float64]


def channels_last(x: Values) -> Values:
    """Return (N, C, H, W) samples as hls4ml wants them, (N, H, W, C); others as they are."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def vectors(test: NDArray[np.float32], count: int, bits: int, exponent: int, rng: np.random.Generator) -> Values:
    """Return gate inputs on the grid of the input words: test samples, random words, and the two corners.

    Args:
        test: (N, ...) test inputs; rounded half to even and clipped, as the host does.
        count: how many; three quarters are test samples, fewer if there are not so many.
        bits: width of the unsigned input words.
        exponent: log2 of their scale.
        rng: orders the test samples and draws the random words.
    """
    top = 2**bits - 1
    real = test[rng.permutation(len(test))[: count * 3 // 4]].astype(np.float64)
    codes = np.clip(np.round(real * 2.0**-exponent), 0, top)
    rest = rng.integers(0, top + 1, (count - len(codes) - 2, *test.shape[1:]))
    corners = np.stack([np.zeros(test.shape[1:]), np.full(test.shape[1:], top)])
    mixed = np.concatenate([codes, rest, corners])
    return np.asarray(mixed[rng.permutation(len(mixed))] * 2.0**exponent)


def mismatches(expected: Values, got: Values) -> tuple[int, tuple[int, int] | None]:
    """Return how many samples of (N, M) differ, and the first differing sample and output."""
    if expected.shape != got.shape:
        raise MismatchError(f"gate: the outputs have shapes {expected.shape} and {got.shape}")
    wrong = expected != got
    rows = np.flatnonzero(wrong.any(axis=1))
    return (len(rows), (int(rows[0]), int(np.argmax(wrong[rows[0]])))) if len(rows) else (0, None)


def first_layer(reference: Mapping[str, Values], other: Mapping[str, Values]) -> str | None:
    """Name the first layer of `reference` that the other level does not compute.

    That is the layer behind the last one that agrees: a layer that the other level fuses with the next (a ReLU with its
    quantizer) is no divergence, and a chain of layers whose output is wrong cannot agree again once it differs.

    Args:
        reference: flat values of one sample by layer, in order of execution, channels last.
        other: the same of another level, whose layers have other names and may be more.
    """
    names = list(reference)
    for position in reversed(range(len(names))):
        values = reference[names[position]]
        if any(v.size == values.size and np.array_equal(np.ravel(v), np.ravel(values)) for v in other.values()):
            return names[position + 1] if position + 1 < len(names) else None
    return names[0] if names else None


def report(level: str, reference: str, expected: Values, got: Values, layer: str, where: tuple[int, int], count: int) -> MismatchError:
    """Return the error for a level that differs."""
    sample, output = where
    return MismatchError(
        f"gate: level '{level}' differs from '{reference}' in {count} of {len(expected)} samples; first: layer {layer}, sample "
        f"{sample}, output {output}: expected {expected[sample, output]:g}, got {got[sample, output]:g}. "
        "No hardware figure of this point is published."
    )


def read_vectors(path: Path) -> tuple[Values, Values]:
    """Return inputs and expected outputs of the gate."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["x"], archive["y"]
