"""Random bit flips in the deployed weights and biases, as radiation causes them in configuration or weight memory.

Baldi et al., arXiv:2502.08355, measure the same; their released code flips bits of float weights that are then quantized anew, which moves
many other integers, draws bits with replacement and leaves biases out. Here each of k different bits of two's-complement codes changes, at
frozen scales, and nothing else. Level: k, the number of flipped bits; all sets of k bits are alike.

Sets are drawn and weighted as `flow.robustness._faults` says. Cost: one scoring of `flip_samples` for each set, of those samples only whose
on-chip output changes.
"""

import numpy as np

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._campaign import new_seed
from flow.robustness._curve import curve
from flow.robustness._faults import Sets, sample_faults
from flow.robustness._intervals import crossed_quantile
from flow.robustness._subject import Subject

TITLE = "random bit flips"


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
    levels, tables, metrics, score, space = levels_of(config, "bit_flip"), [], dict[str, Metric](), subject.score, subject.space()
    for i, flips in enumerate(levels):
        found, weights = sample_faults(
            subject, config, f"bit_flip_{flips}", Sets(space, flips, new_seed(rng)), space.flipped, config.trials,
            lambda share, text, i=i: progress((i + share) / len(levels), text),  # type: ignore[misc]
        )  # fmt: skip
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
