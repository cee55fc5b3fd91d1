"""The exactness gate: every output of every sample must be identical at each lowering."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import MismatchError

if TYPE_CHECKING:
    from flow.twin import Format

Values = NDArray[np.float64]


def channels_last(x: Values) -> Values:
    """Return samples (N, C, ...) as hls4ml wants them, (N, ..., C); (N, F) as they are."""
    return np.moveaxis(x, 1, -1)


def words(values: Values) -> Values:
    """Return the words (N, words) of samples (N, C, ...) in the order of a hardware port: channels last."""
    return channels_last(values).reshape(len(values), -1)


def vectors(test: NDArray[np.float32], count: int, words: "Format", rng: np.random.Generator) -> Values:
    """Return gate inputs on the grid of the input words: test samples, random words, and the two corners.

    Args:
        test: (N, ...) test inputs; rounded half to even and clipped, as the host does.
        count: how many; three quarters are test samples, fewer if there are not so many.
        words: format of the input words.
        rng: orders the test samples and draws the random words.
    """
    real = test[rng.permutation(len(test))[: count * 3 // 4]].astype(np.float64)
    codes = np.clip(np.round(real / words.scale), words.low, words.high)
    rest = rng.integers(words.low, words.high + 1, (count - len(codes) - 2, *test.shape[1:]))
    corners = np.stack([np.full(test.shape[1:], float(code)) for code in (words.low, words.high)])
    mixed = np.concatenate([codes, rest, corners])
    return np.asarray(mixed[rng.permutation(len(mixed))] * words.scale)


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
