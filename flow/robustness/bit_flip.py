"""Random bit flips in the deployed weights and biases, as radiation causes them in configuration or weight memory.

Baldi et al., arXiv:2502.08355, measure the same; their released code flips bits of float weights that are then quantized anew, which moves
many other integers, draws bits with replacement and leaves biases out. Here each of k different bits of two's-complement codes changes, at
frozen scales, and nothing else. Level: k, the number of flipped bits; all sets of k bits are alike.

Few bits do most of the harm: the high ones, and those of the few biases above all. Uniform draws hardly meet them, so two thirds of the
sets have one bit that is drawn by its place: each parameter tensor as often, and in it a bit ``2^place`` as often as the lowest one. A
set counts ``1 / (1/3 + 2/3 B/k q(set))`` times, B the number of bits and q the sum of these probabilities, which makes the mean that of
uniform sets without bias (importance sampling from a defensive mixture: Hesterberg, Technometrics 37, 1995; Owen and Zhou, JASA 95, 2000).

Cost: one scoring of `flip_samples` for each set, of those samples only whose on-chip output changes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._campaign import Campaign, new_seed, trial_rng
from flow.robustness._curve import curve
from flow.robustness._intervals import Sampled, crossed_quantile, sample_until
from flow.robustness._subject import Subject, Values

TITLE = "random bit flips"
UNIFORM = 1 / 3
"""Share of the sets that are drawn uniformly; no set counts more than 1 / this."""


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


def campaign(subject: Subject, flips: int, config: RobustnessConfig, seed: int, progress: Progress) -> tuple[Sampled, Values]:
    """Flip sets of bits until the mean degradation is known well enough.

    Args:
        subject: what is perturbed.
        flips: bits of a set.
        config: most sets, samples scored with each, and how well is enough.
        seed: of the sets.
        progress: shows life.

    Returns:
        Degradations (T, n) times the weights of the sets, and the weights (T,).

    Raises:
        ConfigError: the parameters do not have as many bits, or one sample is asked for.
    """
    space, samples = subject.space(), min(config.flip_samples, len(subject.x))
    if samples < 2:
        raise ConfigError(f"robustness.flip_samples = {samples}: an interval over samples needs two of them. Take more.")
    sets = Sets(space, flips, seed)
    many = Campaign(subject, space, f"bit_flip_{flips}", lambda trials: space.flipped(sets.bits(trials)), samples, seed)
    done: Values | None = None
    weights = np.zeros(0)

    def rows(count: int) -> Values:
        nonlocal done, weights
        done = many.run(count, lambda share, text: progress(share * count / config.trials, text), done)
        weights = np.concatenate([weights, sets.weights(sets.bits(np.arange(len(weights), count, dtype=np.int64)))])
        return done * weights[:, None]

    return sample_until(rows, config.trials, config.relative_error), weights


def levels_of(config: RobustnessConfig, plugin: str) -> list[int]:
    """Return the numbers of flips of a plug-in, rising.

    Raises:
        ConfigError: one is no whole number.
    """
    levels = config.levels.get(plugin, config.flips)
    if any(level != int(level) for level in levels):
        raise ConfigError(f"robustness.levels.{plugin} = {list(levels)}: numbers of bits are whole numbers.")
    return sorted({int(level) for level in levels})


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure what k random flips do, over sets of bits and samples.

    - ``<score>_flip_<k>``: mean degradation; interval of crossed random sets and samples (see `flow.robustness._intervals`).
    - ``<score>_flip_<k>_p95``: the degradation, mean over samples, that 95 % of the sets do not exceed; pigeonhole bootstrap.
    - ``<score>_flip_area``, ``<score>_flip_critical``: of the curve over k, see `flow.robustness._curve`.

    Records ``bit_flip_levels``, and for each level k ``bit_flip_<k>_means``, the degradation by each set, and ``bit_flip_<k>_weights``.

    Raises:
        ConfigError: the network does not have as many bits, or a level is no whole number.
    """
    levels, tables, metrics, score = levels_of(config, "bit_flip"), [], dict[str, Metric](), subject.score
    for i, flips in enumerate(levels):
        found, weights = campaign(
            subject,
            flips,
            config,
            new_seed(rng),
            lambda share, text, i=i: progress((i + share) / len(levels), text),  # type: ignore[misc]
        )
        tables.append(found.table)
        many, samples = found.table.shape
        source = f"{many} sets of bits ({found.why}), weighted to be uniform; {samples} samples"
        title = f"{score.title} degradation, {flips} bit flip{'s' * (flips > 1)}"
        means = found.table / weights[:, None]
        quantile, ci = crossed_quantile(means, weights, 0.95, rng)
        for suffix, value, interval, words in (("", found.mean, found.interval, ""), ("_p95", quantile, ci, ", 95 % quantile of the sets")):
            metrics[f"{score.id}_flip_{flips}{suffix}"] = Metric(
                value, score.unit, direction="lower", ci=interval, source=source, title=title + words
            )
        subject.records[f"bit_flip_{flips}_means"], subject.records[f"bit_flip_{flips}_weights"] = means.mean(axis=1), weights
    subject.records["bit_flip_levels"] = np.array(levels)
    source = f"{'/'.join(str(len(table)) for table in tables)} sets of bits, weighted to be uniform; {tables[0].shape[1]} samples"
    return {**curve(subject, config, "flip", TITLE, "", levels, tables, rng, source), **metrics}
