"""What faults of bits have in common: sets that are drawn by importance, and the figures of as many as the interval needs.

Few bits do most of the harm: the high ones, and those of the few biases above all. Uniform draws hardly meet them, so two thirds of the
sets have one bit that is drawn by its place: each parameter tensor as often, and in it a bit ``2^place`` as often as the lowest one. A
set counts ``1 / (1/3 + 2/3 B/k q(set))`` times, B the number of bits and q the sum of these probabilities, which makes the mean that of
uniform sets without bias (importance sampling from a defensive mixture: Hesterberg, Technometrics 37, 1995; Owen and Zhou, JASA 95, 2000).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._campaign import Campaign, trial_rng
from flow.robustness._curve import curve
from flow.robustness._intervals import Sampled, sample_until
from flow.robustness._subject import Subject, Values

UNIFORM = 1 / 3
"""Share of the sets that are drawn uniformly; no set counts more than 1 / this."""


class Drawn(Protocol):
    """Random sets of bits by trial."""

    @property
    def space(self) -> BitSpace:
        """All bits."""
        ...

    @property
    def seed(self) -> int:
        """Of the sets."""
        ...

    def bits(self, trials: Ints) -> Ints:
        """Return the sets of these trials, (M, k)."""
        ...

    def weights(self, bits: Ints) -> Values:
        """Return how often each of the sets (M, k) counts, (M,); 1 in the mean."""
        ...


@dataclass(frozen=True)
class Sets:
    """Random sets of different bits; they depend on the seed, and on the shapes and widths of the parameters.

    Attributes:
        space: all bits.
        flips: bits of a set.
        seed: of the sets.
    """

    space: BitSpace
    flips: int
    seed: int

    @cached_property
    def chances(self) -> Values:
        """How often the one bit that is drawn by its place is each of the bits (B,)."""
        word, place = self.space.locate(np.arange(self.space.total, dtype=np.int64))
        weights, tensor = np.exp2(place), self.space.tensor[word]
        totals = np.bincount(tensor, weights)
        return np.asarray(weights / totals[tensor] / np.count_nonzero(totals))

    @cached_property
    def _ends(self) -> Values:
        return np.cumsum(self.chances)

    def bits(self, trials: Ints) -> Ints:
        """Return the sets of these trials, (M, flips)."""
        return np.array([self._draw(trial) for trial in trials.tolist()], dtype=np.int64).reshape(len(trials), self.flips)

    def _draw(self, trial: int) -> Ints:
        rng = trial_rng(self.seed, trial)
        bits = self.space.draw(rng, self.flips)
        if rng.random() < UNIFORM:
            return bits
        first = min(int(np.searchsorted(self._ends, rng.random() * self._ends[-1], side="right")), self.space.total - 1)
        return np.concatenate([[first], bits[bits != first]])[: self.flips]

    def weights(self, bits: Ints) -> Values:
        """Return how often each of the sets (M, flips) counts, (M,); 1 in the mean."""
        return np.asarray(1 / (UNIFORM + (1 - UNIFORM) * self.space.total / self.flips * self.chances[bits].sum(axis=1)))


def sample_faults(
    subject: Subject,
    config: RobustnessConfig,
    name: str,
    drawn: Drawn,
    make: Callable[[Ints], Ints],
    most: int,
    progress: Progress,
) -> tuple[Sampled, Values]:
    """Make faults until the mean degradation is known well enough.

    Args:
        subject: what is perturbed.
        config: samples scored with each, and how well is enough.
        name: of the campaign.
        drawn: bits by trial, and their weights.
        make: bits (M, k) -> words (M, W).
        most: faults.
        progress: shows life.

    Returns:
        Degradations (T, n) times the weights of the faults, and the weights (T,).

    Raises:
        ConfigError: the parameters do not have as many bits, or one sample is asked for.
    """
    samples, done, weights = min(config.flip_samples, len(subject.x)), None, np.zeros(0)
    if samples < 2:
        raise ConfigError(f"robustness.flip_samples = {samples}: an interval over samples needs two of them. Take more.")
    campaign = Campaign(subject, drawn.space, name, lambda trials: make(drawn.bits(trials)), samples, drawn.seed)

    def rows(count: int) -> Values:
        nonlocal done, weights
        done = campaign.run(count, lambda share, text: progress(share * count / most, text), done)
        weights = np.concatenate([weights, drawn.weights(drawn.bits(np.arange(len(weights), count, dtype=np.int64)))])
        return done * weights[:, None]

    return sample_until(rows, most, config.relative_error), weights


def whole_levels(config: RobustnessConfig, name: str, default: Sequence[int], total: int) -> list[int]:
    """Return the numbers of bits that a point asks for, rising.

    Args:
        config: has those of the plug-in, or not.
        name: of the plug-in.
        default: where it has not; those that the network does not have are left out.
        total: bits of the network.

    Raises:
        ConfigError: one is no whole number, or more than there are bits.
    """
    levels = config.levels.get(name, tuple(level for level in default if level <= total))
    if any(level != int(level) or level < 1 for level in levels):
        raise ConfigError(f"robustness.levels.{name} = {list(levels)}: numbers of bits are whole numbers from 1 on.")
    if any(level > total for level in levels):
        raise ConfigError(f"robustness.levels.{name} = {list(levels)}: this network has {total} bits only. Take fewer.")
    return sorted({int(level) for level in levels})


def fault_curve(
    subject: Subject, config: RobustnessConfig, name: str, title: str, found: dict[int, Sampled], what: str, rng: np.random.Generator
) -> dict[str, Metric]:
    """Make the figures of sampled faults: of each number of bits, and of the curve over them (see `flow.robustness._curve`).

    Args:
        subject: what was perturbed.
        config: its `tolerance`.
        name: the part of the ids.
        title: words for a table.
        found: what each number of bits did, rising.
        what: name of the faults, for the source.
        rng: of the bootstrap.
    """
    levels, tables = list(found), [sampled.table for sampled in found.values()]
    source = f"{'/'.join(str(len(table)) for table in tables)} {what}, weighted to be uniform; {tables[0].shape[1]} samples"
    metrics = curve(subject, config, name, title, "bits", levels, tables, rng, source)
    for bits, sampled in found.items():
        low, high = sampled.interval
        metrics[f"{subject.score.id}_{name}_{bits}"] = Metric(
            sampled.mean, subject.score.unit, direction="lower", ci=(min(low, sampled.mean), max(high, sampled.mean)),
            source=f"{len(sampled.table)} {what} ({sampled.why}), weighted to be uniform; {sampled.table.shape[1]} samples",
            title=f"{subject.score.title} degradation, {title}, {bits} bit{'s' * (bits > 1)}",
        )  # fmt: skip
    return metrics
