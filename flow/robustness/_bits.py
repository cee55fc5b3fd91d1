"""The deployed bits of a network: each bit of each weight and bias, numbered, and what faults make of the words they are in.

Bit ``i`` of all is a bit of the two's-complement code of one word; the words are those of the first parameter, row by row, the lowest bit
of each first, then those of the next one. A fault changes the words and nothing else: scales are frozen, nothing is clamped or quantized
anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flow.core.errors import ConfigError
from flow.twin import WeightFormat

Ints = NDArray[np.int64]
ROLES = ("weight", "bias")


@dataclass(frozen=True)
class BitSpace:
    """Words (W,) and the bits in them (B,).

    Attributes:
        names: the parameters, in order.
        shapes: their shapes.
        formats: their number formats.
        words: the deployed codes (W,), all parameters one behind the other.
        widths: bits of each word (W,).
        signed: which words are in two's complement (W,).
        first: number of the lowest bit of each word (W,).
        tensor: which of `names` each word belongs to (W,).
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    formats: tuple[WeightFormat, ...]
    words: Ints
    widths: Ints
    signed: NDArray[np.bool_]
    first: Ints
    tensor: Ints

    @property
    def total(self) -> int:
        """Number of bits."""
        return int(self.widths.sum())

    def locate(self, bits: Ints) -> tuple[Ints, Ints]:
        """Return the word, and the place in it (0 is the lowest), of each bit; of the shape of `bits`."""
        word = np.searchsorted(self.first, bits, side="right") - 1
        return word.astype(np.int64), bits - self.first[word]

    def masks(self, bits: Ints) -> Ints:
        """Return sets of bits (M, k) as the bits of each word (M, W); a bit that a set has twice is not in it."""
        word, place = self.locate(bits)
        result = np.zeros((len(bits), len(self.words)), np.int64)
        np.bitwise_xor.at(result, (np.arange(len(bits))[:, None], word), np.left_shift(np.int64(1), place))
        return result

    def value(self, patterns: Ints) -> Ints:
        """Return the codes (..., W) that bit patterns (..., W) are; what lies above the width of a word is left out."""
        sign = np.where(self.signed, np.left_shift(np.int64(1), self.widths - 1), 0)
        inside = patterns & (np.left_shift(np.int64(1), self.widths) - 1)
        return np.asarray((inside ^ sign) - sign)

    def flipped(self, bits: Ints) -> Ints:
        """Return the words (M, W) with each of the sets of bits (M, k) flipped."""
        return self.value(self.words ^ self.masks(bits))

    def stuck(self, bits: Ints, at: int) -> Ints:
        """Return the words (M, W) with each of the sets of bits (M, k), none twice, stuck at 0 or 1."""
        masks = self.masks(bits)
        return self.value(self.words | masks if at else self.words & ~masks)

    def codes(self, words: Ints) -> dict[str, torch.Tensor]:
        """Return words (W,) as int64 tensors by parameter."""
        ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in self.shapes])[:-1]
        parts = zip(self.names, np.split(words, ends), self.shapes, strict=True)
        return {name: torch.from_numpy(np.ascontiguousarray(part)).reshape(shape) for name, part, shape in parts}

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """Draw distinct bits (count,).

        Raises:
            ConfigError: there are not as many.
        """
        if count > self.total:
            raise ConfigError(f"robustness.flips = {count}: the words of this network have {self.total} bits only. Take fewer.")
        return rng.choice(self.total, count, replace=False).astype(np.int64)


def bit_space(codes: Mapping[str, torch.Tensor], formats: Mapping[str, WeightFormat], roles: Iterable[str] = ROLES) -> BitSpace:
    """Number the bits of the parameters that have one of the roles.

    Args:
        codes: int64 codes by parameter.
        formats: their formats, in whose order the parameters are numbered.
        roles: ``weight``, ``bias``, or both.
    """
    wanted = set(roles)
    names = tuple(name for name, form in formats.items() if form.role in wanted)
    forms, sizes = tuple(formats[name] for name in names), [codes[name].numel() for name in names]
    widths = np.repeat(np.array([f.bits for f in forms], np.int64), sizes)
    return BitSpace(
        names, tuple(tuple(codes[name].shape) for name in names), forms,
        np.concatenate([np.zeros(0, np.int64), *(codes[name].numpy().reshape(-1) for name in names)]).astype(np.int64),
        widths, np.repeat(np.array([f.signed for f in forms], bool), sizes), np.cumsum(widths) - widths,
        np.repeat(np.arange(len(names)), sizes).astype(np.int64),
    )  # fmt: skip
