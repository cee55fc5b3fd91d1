"""Memory cells that read 0, or 1, for good: defects of production and of ageing, and upsets of cells that are not rewritten.

The stuck-at model is that of manufacturing tests (Bushnell and Agrawal, Essentials of Electronic Testing, 2000). Level: k, the number of
stuck bits of weights and biases; all sets of k different bits are alike. A bit that had the value anyway does nothing: of the flips of
`flow.robustness.bit_flip`, stuck-at-zero makes those of ones and stuck-at-one those of zeros, which do not harm alike in two's complement.

Sets are drawn and weighted as `flow.robustness._faults` says, but the bit that is drawn by its place is one that changes. The two values
share the `trials` of a level. Cost: one scoring of `flip_samples` for each set, of those samples only whose on-chip output changes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._campaign import new_seed
from flow.robustness._faults import Sets, fault_curve, sample_faults, whole_levels
from flow.robustness._intervals import Sampled
from flow.robustness._subject import Subject, Values

TITLE = "stuck bits"
NAME = "stuck_at"
LEVELS = (1, 20)
VALUES = ("zero", "one")


@dataclass(frozen=True)
class StuckSets(Sets):
    """Random sets of different bits, of which those that change when they are stuck are drawn more often.

    Attributes:
        at: the value at which they are stuck.
    """

    at: int

    @cached_property
    def chances(self) -> Values:
        """How often the one bit that is drawn by its place is each of the bits (B,)."""
        word, place = self.space.locate(np.arange(self.space.total, dtype=np.int64))
        changes = (self.space.words[word] >> place & 1) != self.at
        chances = super().chances
        return np.asarray(chances * changes / (chances @ changes)) if changes.any() else chances


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_stuck_at_zero_<k>`` and ``<score>_stuck_at_one_<k>``, mean degradations, and of each the ``_area`` over k.

    Intervals are over sets and samples, both random (see `flow.robustness._intervals`). ``_critical`` is there if k gets so far.

    Raises:
        ConfigError: a level is no whole number, or more than there are bits.
    """
    space, metrics = subject.space(), dict[str, Metric]()
    levels = whole_levels(config, NAME, LEVELS, space.total)
    for at, value in enumerate(VALUES):
        found = dict[int, Sampled]()
        for i, bits in enumerate(levels):
            done = at * len(levels) + i
            found[bits], _ = sample_faults(
                subject, config, f"{NAME}_{value}_{bits}", StuckSets(space, bits, new_seed(rng), at),
                lambda chosen, at=at: space.stuck(chosen, at), max(2, config.trials // 2),  # type: ignore[misc]
                lambda share, text, done=done: progress((done + share) / (2 * len(levels)), text),  # type: ignore[misc]
            )  # fmt: skip
        metrics |= fault_curve(subject, config, f"{NAME}_{value}", f"bits stuck at {value}", found, "sets of bits", rng)
    return metrics
