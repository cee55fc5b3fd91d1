"""Bit flips as the released code of Baldi et al., arXiv:2502.08355 (PyLandscape), makes them; for comparison only.

The flipped value is written into the float weight, and the layer quantizes all its weights again: with the scale max |w| / (2^(b-1) - 1),
by output channel of a convolution and for the whole of any other tensor, and into the range +-(2^(b-1) - 1). A flip that changes the
largest weight therefore moves the scale, and with it many other integers; one to -2^(b-1) is clipped. `flow.robustness.bit_flip` changes
one integer at a frozen scale instead. Bits are drawn with replacement, so one may be flipped back; biases are no targets, here as there.

The float weights are those of the trained network, whose scales are powers of two and frozen: with the released quantizer it is another
network, even without flips, and the change of the score is against that one. Cost: a forward pass and a score for each set of bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._bits import Ints
from flow.robustness._subject import Subject, Values
from flow.statistics import mean_interval

TITLE = "Bit flips of the released code of Baldi et al."
WORDS = "as the released code of Baldi et al. computes it"
LEAST_SCALE = 2e-16


@dataclass(frozen=True)
class Quantized:
    """A weight tensor behind the released quantizer: integers, and scales that broadcast against them."""

    codes: Tensor
    scales: Tensor

    @property
    def values(self) -> Tensor:
        """What the layer computes with."""
        return self.codes * self.scales


def quantize(weights: Tensor, bits: int) -> Quantized:
    """Quantize float weights (out, ...) with the scale of their largest magnitude: by channel if there are more than two axes."""
    most = 2 ** (bits - 1) - 1
    size = weights.abs()
    largest = size.amax(dim=tuple(range(1, weights.ndim)), keepdim=True) if weights.ndim > 2 else size.amax()
    scales = (largest / most).clamp(min=LEAST_SCALE)
    return Quantized((weights / scales).round().clamp(-most, most), scales)


def flip_bit(weights: Tensor, bits: int, bit: int) -> Tensor:
    """Return float weights after a flip of a bit of their quantized values: bit ``bit % bits`` of weight ``bit // bits``."""
    q = quantize(weights, bits)
    index, word = bit // bits, 1 << bits
    code = (int(q.codes.reshape(-1)[index]) % word) ^ (1 << (bit % bits))
    code -= word if code >= word // 2 else 0
    flipped = weights.clone()
    flipped.view(-1)[index] = code * q.scales.expand_as(weights).reshape(-1)[index]
    return flipped


def attack(weights: Mapping[str, Tensor], widths: Mapping[str, int], bits: Ints) -> dict[str, Tensor]:
    """Flip bits one after the other, each of the weights as the last one left them.

    Args:
        weights: float weights by name; not changed.
        widths: their bits.
        bits: which ones; all tensors in their order, weight by weight, the lowest bit first.

    Returns:
        Float weights, to be quantized again.
    """
    result = dict(weights)
    ends = np.cumsum([weights[name].numel() * widths[name] for name in weights])
    for bit in bits.tolist():
        at = int(np.searchsorted(ends, bit, side="right"))
        name = list(weights)[at]
        result[name] = flip_bit(result[name], widths[name], int(bit - (ends[at - 1] if at else 0)))
    return result


def _scores(subject: Subject, weights: Mapping[str, Quantized], samples: int) -> Values:
    """Return the score of the first samples with these weights in the place of the deployed ones, (samples,)."""
    twin = subject.twin
    with torch.no_grad():
        values = dict(twin.quantized(twin.params)) | {name: q.values.to(twin.dtype) for name, q in weights.items()}
        outputs = twin.forward_values(values, torch.from_numpy(np.ascontiguousarray(subject.x[:samples])))
    return subject.score_outputs(outputs)


def trials(subject: Subject, flips: int, config: RobustnessConfig, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return the mean change of the score for each random set of bits, positive is worse, and the number of integers that change."""
    names = [name for name, form in subject.formats.items() if form.role == "weight"]
    widths = {name: subject.formats[name].bits for name in names}
    floats = {name: subject.twin.params[name].detach().double() for name in names}
    clean = {name: quantize(w, widths[name]) for name, w in floats.items()}
    samples = min(config.flip_samples, len(subject.x))
    base, total = _scores(subject, clean, samples), subject.space(("weight",)).total
    worse = -1.0 if subject.score.direction == "higher" else 1.0
    changes, integers = np.empty(config.trials), np.empty(config.trials)
    for t in range(config.trials):
        faulty = {name: quantize(w, widths[name]) for name, w in attack(floats, widths, rng.integers(total, size=flips)).items()}
        changes[t] = worse * float(np.nanmean(_scores(subject, faulty, samples) - base))
        integers[t] = sum(int((faulty[name].codes != clean[name].codes).sum()) for name in names)
    return changes, integers


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``pylandscape_flips_n<flips>_integers`` and ``pylandscape_flips_n<flips>_change``; none has a better and a worse.

    The first is the mean number of weights whose integer changes, the second the mean change of the score; intervals over sets of bits.
    """
    metrics = {}
    for i, flips in enumerate(config.flips):
        progress(i / len(config.flips), f"{TITLE}, {flips}")
        changes, integers = trials(subject, flips, config, rng)
        number = f"{flips} bit flip{'s' * (flips > 1)}"
        source = f"{config.trials} sets of bits, drawn with replacement; weights are quantized again"
        value, ci = mean_interval(integers)
        metrics[f"pylandscape_flips_n{flips}_integers"] = Metric(
            value, "weights", ci=ci, source=source, title=f"Integers that change with {number}, {WORDS}"
        )
        value, ci = mean_interval(changes)
        samples = min(config.flip_samples, len(subject.x))
        metrics[f"pylandscape_flips_n{flips}_change"] = Metric(
            value, subject.score.unit, ci=ci, source=f"{source}; {samples} samples",
            title=f"Change of {subject.score.title} with {number}, {WORDS}",
        )  # fmt: skip
    return metrics
