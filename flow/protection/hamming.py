"""Single-error-correcting codes (Hamming, "Error detecting and error correcting codes", Bell System Technical Journal 29, 1950).

Each cell of a code word has a number: check bits 1, 2, 4, ..., data bits the others. A check bit is the parity of all data bits in whose
number it occurs, so that the sum of the numbers of all cells that are 1 (bit by bit, modulo 2) is 0. That sum, the *syndrome*, is the
number of the one cell that is wrong.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]


def check_bits(data: int) -> int:
    """Return how many check bits so many data bits need.

    >>> [check_bits(k) for k in (1, 4, 11, 12, 26, 27, 57)]
    [2, 3, 4, 5, 5, 6, 6]
    """
    r = 2
    while 2**r < data + r + 1:
        r += 1
    return r


def numbers(data: int) -> Ints:
    """Return the number of each cell (data + check,), the data bits first; numbers with few ones first, which make small parities."""
    checks = check_bits(data)
    free = [n for n in range(3, 2**checks) if n & (n - 1)]
    free.sort(key=lambda n: (n.bit_count(), n))
    return np.array(free[:data] + [1 << i for i in range(checks)], np.int64)


def encode(data: Bits) -> Bits:
    """Return the cells (..., data + check) of data bits (..., data), each 0 or 1."""
    count = data.shape[-1]
    codes = numbers(count)[:count]
    members = codes[:, None] >> np.arange(check_bits(count)) & 1
    return np.concatenate([data, (data.astype(np.int64) @ members % 2).astype(np.uint8)], axis=-1)
