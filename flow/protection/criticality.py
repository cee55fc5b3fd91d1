"""What the map of single bits says, for what is protected by it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Criticality:
    """The harm that each deployed bit does alone.

    Attributes:
        harm: mean degradation by each deployed bit (B,).
        threshold: degradation from which on it is visible.
        samples: how many it is the mean of.
    """

    harm: Values
    threshold: float
    samples: int

    @cached_property
    def visible(self) -> Values:
        """1 for bits whose upset is visible, else 0 (B,)."""
        return self.seen(self.harm)

    def seen(self, harm: Values) -> Values:
        """Return 1 for each harm that is visible, else 0; the definition is that of `flow.robustness.single_bit_map`."""
        return ((harm >= self.threshold) & (harm > 0)).astype(np.float64)
