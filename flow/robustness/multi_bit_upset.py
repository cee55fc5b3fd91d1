"""One particle that flips several neighbouring memory cells at once.

Since cells are smaller than the track of charge that a particle leaves, a growing share of upsets is of this kind (Ibe et al., IEEE Trans.
Electron Devices 57, 2010, doi:10.1109/TED.2010.2047907). Level: k, the number of bits. The memory is that of the words one behind the
other, the lowest bit first, weights row by row, parameter by parameter, without interleaving: a cluster is k bits that follow each other in
this order (`flow.robustness._bits`), mostly of one word, else of two or more neighbours. All clusters of k bits are alike. In a memory that
interleaves words, neighbours are of different words; random flips, `flow.robustness.bit_flip`, come closer to that.

As there, two thirds of the clusters are drawn by the places of their bits, since few do most of the harm, and weighted to be uniform.
Cost: one scoring of `flip_samples` for each cluster, of those samples only whose on-chip output changes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._campaign import new_seed, trial_rng
from flow.robustness._faults import UNIFORM, Sets, fault_curve, sample_faults, whole_levels
from flow.robustness._intervals import Sampled
from flow.robustness._subject import Subject, Values

TITLE = "multi-bit upsets"
NAME = "multi_bit_upset"
LEVELS = (2, 3, 4)


@dataclass(frozen=True)
class Clusters:
    """Random clusters of neighbouring bits.

    Attributes:
        space: all bits (B,).
        size: bits of a cluster.
        seed: of the clusters.
    """

    space: BitSpace
    size: int
    seed: int

    @cached_property
    def chances(self) -> Values:
        """How often a cluster that is drawn by place begins at each bit, (B - size + 1,)."""
        ends = np.concatenate([[0.0], np.cumsum(Sets(self.space, 1, self.seed).chances)])
        sums = ends[self.size :] - ends[: -self.size]
        return np.asarray(sums / sums.sum())

    @cached_property
    def _ends(self) -> Values:
        return np.cumsum(self.chances)

    def bits(self, trials: Ints) -> Ints:
        """Return the clusters of these trials, (M, size)."""
        starts = np.array([self._draw(trial) for trial in trials.tolist()], dtype=np.int64)
        return starts[:, None] + np.arange(self.size, dtype=np.int64)

    def _draw(self, trial: int) -> int:
        rng = trial_rng(self.seed, trial)
        if rng.random() < UNIFORM:
            return int(rng.integers(len(self.chances)))
        return min(int(np.searchsorted(self._ends, rng.random() * self._ends[-1], side="right")), len(self.chances) - 1)

    def weights(self, bits: Ints) -> Values:
        """Return how often each of the clusters (M, size) counts, (M,); 1 in the mean."""
        return np.asarray(1 / (UNIFORM + (1 - UNIFORM) * len(self.chances) * self.chances[bits[:, 0]]))


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_multi_bit_upset_<k>``, the mean degradation by an upset of k neighbours, and the ``_area`` of the curve over k.

    Intervals are over clusters and samples, both random (see `flow.robustness._intervals`). ``_critical`` is there if k gets so far.

    Raises:
        ConfigError: a level is no whole number, or more than there are bits.
    """
    space, found = subject.space(), dict[int, Sampled]()
    levels = whole_levels(config, NAME, LEVELS, space.total)
    for i, size in enumerate(levels):
        clusters = Clusters(space, size, new_seed(rng))
        found[size], _ = sample_faults(
            subject, config, f"{NAME}_{size}", clusters, space.flipped, config.trials,
            lambda share, text, i=i: progress((i + share) / len(levels), text),  # type: ignore[misc]
        )  # fmt: skip
    return fault_curve(subject, config, NAME, "multi-bit upset", found, "clusters", rng)
