"""Bit flips in the deployed weights, as radiation causes them in configuration or weight memory.

Baldi et al., arXiv:2502.08355, measure the same; their released code flips bits of float weights that are then quantized anew, which moves
many other integers. Here a bit of the two's-complement code of one weight changes, at frozen scales, and nothing else.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._subject import Codes, Subject, Values
from flow.statistics import mean_interval, quantile_interval
from flow.twin import WeightFormat

TITLE = "bit flips"
Bits = NDArray[np.int64]


def _targets(codes: Codes, formats: Mapping[str, WeightFormat]) -> Iterator[tuple[str, int, int]]:
    """Yield name, first bit and number of bits of each weight tensor; biases are not targets."""
    first = 0
    for name, form in formats.items():
        if form.role == "weight":
            count = codes[name].numel() * form.bits
            yield name, first, count
            first += count


def count_bits(codes: Codes, formats: Mapping[str, WeightFormat]) -> int:
    """Return the number of weight bits."""
    return sum(count for _, _, count in _targets(codes, formats))


def flip(codes: Codes, formats: Mapping[str, WeightFormat], bits: Bits) -> Codes:
    """Flip bits of the weight codes.

    Bit ``i`` of all is bit ``i % b`` (0 is the lowest) of weight ``i // b`` of the first tensor, which has ``b`` bits a weight; the other
    tensors follow in the order of `formats`.

    Args:
        codes: int64 codes by parameter; not changed.
        formats: their formats.
        bits: which bits, from 0 to ``count_bits(codes, formats) - 1``. A bit that is listed twice is flipped twice.

    Returns:
        Codes with the flips. Tensors without a flip are shared with `codes`.
    """
    result = dict(codes)
    for name, first, count in _targets(codes, formats):
        mine = bits[(bits >= first) & (bits < first + count)] - first
        if not len(mine):
            continue
        width, signed = formats[name].bits, formats[name].signed
        words = codes[name].numpy().reshape(-1) & ((1 << width) - 1)
        np.bitwise_xor.at(words, mine // width, np.left_shift(1, mine % width))
        if signed:
            words = np.where(words >= 1 << (width - 1), words - (1 << width), words)
        result[name] = torch.from_numpy(words).reshape(codes[name].shape)
    return result


def trial_means(subject: Subject, flips: int, config: RobustnessConfig, rng: np.random.Generator) -> Values:
    """Return the mean degradation over samples for each random set of bits, (trials,).

    Args:
        subject: what is perturbed.
        flips: number of bits in a set; they are distinct.
        config: number of trials, and of samples scored in each.
        rng: source of the sets. They depend on it, on the shape and on the widths only.

    Raises:
        ConfigError: the weights do not have as many bits.
    """
    total = count_bits(subject.codes, subject.formats)
    if flips > total:
        raise ConfigError(f"robustness.flips = {flips}: the weights of this network have {total} bits only. Take fewer.")
    index = np.arange(min(config.flip_samples, len(subject.x)))
    means = np.empty(config.trials)
    for t in range(config.trials):
        bits = rng.choice(total, flips, replace=False).astype(np.int64)
        scores = subject.score_codes(flip(subject.codes, subject.formats, bits), index)
        means[t] = subject.degradation(scores, index).mean()
    return means


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``<score>_flip_<n>``, the mean degradation over sets of n bits, and ``<score>_flip_<n>_p95``, its 95 % quantile over sets.

    Confidence intervals are over sets (Student's t; percentile bootstrap for the quantile), for the samples as they are: all sets are
    scored on the same ones.
    """
    metrics = {}
    for i, flips in enumerate(config.flips):
        progress(i / len(config.flips), f"{flips} {TITLE}")
        means = trial_means(subject, flips, config, rng)
        source = f"{config.trials} sets of bits, {min(config.flip_samples, len(subject.x))} samples"
        name, title = f"{subject.score.id}_flip_{flips}", f"{subject.score.title} degradation, {flips} bit flip{'s' * (flips > 1)}"
        figures = {
            name: (*mean_interval(means), title),
            f"{name}_p95": (*quantile_interval(means, 0.95, rng), f"{title}, 95 % quantile"),
        }
        for key, (value, ci, words) in figures.items():
            metrics[key] = Metric(value, subject.score.unit, direction="lower", ci=ci, source=source, title=words)
    return metrics
