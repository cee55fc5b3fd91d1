"""The map of single bits: every deployed bit, of weights and biases, flipped alone.

No other perturbation says which bits matter, and this one is exact over the bits: only the samples are a choice. FKeras (Weng et al.,
doi:10.1145/3665334) judges its rankings by such a map. Level: 1, the number of bits that flip. Cost: one scoring of `map_samples` for each
bit, of those samples only whose on-chip output changes.

A bit *matters* if its flip changes the score of at least one of the samples. It is *visible* if its flip makes the mean score worse by
`tolerance` of the clean mean.

Expected time to a visible error: upsets come to each bit as a Poisson process with the rate of an environment (see
`flow.robustness._environments`), and memory is rewritten (scrubbed) before a second one comes. The first upset that by itself makes a
visible error then comes after an exponentially distributed time, whose mean is 1 / (rate x number of visible bits). Each deployed bit is
taken for one memory cell of that kind, of one chip: with n chips the first error comes n times sooner, and where weights are wired
into lookup tables, a bit is several configuration cells.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flow.config import RobustnessConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.robustness._bits import BitSpace, Ints
from flow.robustness._campaign import Campaign
from flow.robustness._environments import environments, visible_days
from flow.robustness._subject import Subject, Values
from flow.statistics import RESAMPLES, mean_interval

TITLE = "map of single bits"
NAME = "single_bit_map"
MOST = 2**24
"""Scores of a map; a network of more than 262,144 bits has fewer samples than 64, and one of which two are too many has no map."""
BLOCK = 4096  # bits that are looked at together; not what memory allows, for the last digits of sums depend on it
Interval = tuple[float, float]


@dataclass(frozen=True)
class BitMap:
    """What each bit does.

    Attributes:
        space: the bits (B,).
        values: degradation of each sample by each bit (B, n).
        clean: clean scores (n,).
        tolerance: share of the clean mean from which on a degradation is visible.
    """

    space: BitSpace
    values: Values
    clean: Values
    tolerance: float

    @cached_property
    def means(self) -> Values:
        """Mean degradation by bit (B,)."""
        return np.asarray(self.values.mean(axis=1))

    @cached_property
    def threshold(self) -> float:
        """Degradation from which on a bit is visible."""
        return self.tolerance * abs(float(self.clean.mean()))

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """Whether a bit changes the score of a sample (B, n)."""
        return np.asarray(self.values != 0)

    @cached_property
    def tensor(self) -> Ints:
        """Parameter of each bit (B,)."""
        return np.repeat(self.space.tensor, self.space.widths)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Layer of each parameter, as a part of an id."""
        pairs = zip(self.space.names, self.space.formats, strict=True)
        return tuple(re.sub(r"\W+", "_", form.layer or name).strip("_") for name, form in pairs)

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Return which bits (B,) belong to all and to each layer, by what stands for them in an id: nothing, ``_layer_<name>``."""
        layers = np.array(self.layers)[self.tensor]
        return {"": np.ones(self.space.total, bool), **{f"_layer_{name}": layers == name for name in dict.fromkeys(self.layers)}}

    def visible(self, means: Values, threshold: Values | float) -> NDArray[np.bool_]:
        """Tell which mean degradations (..., B) are visible; none is where nothing got worse, be the clean score 0."""
        return np.asarray((means >= threshold) & (means > 0))

    def describe(self, bit: int) -> str:
        """Say where a bit is."""
        word, place = (int(part) for part in self.space.locate(np.array(bit)))
        tensor = int(self.space.tensor[word])
        form, index = self.space.formats[tensor], word - int(np.argmax(self.space.tensor == tensor))
        where = ", ".join(str(i) for i in np.unravel_index(index, self.space.shapes[tensor]))
        sign = " (sign)" if form.signed and place == form.bits - 1 else ""
        return f"bit {place}{sign} of {form.role} {index} [{where}] of {self.layers[tensor]}"


def bit_map(subject: Subject, config: RobustnessConfig, progress: Progress) -> BitMap | None:
    """Flip each bit alone; None if there are too many."""
    space = subject.space()
    samples = min(config.map_samples, len(subject.x), MOST // max(1, space.total))
    if samples < 2:
        progress(1.0, f"{TITLE}: {space.total} bits are too many")
        return None
    campaign = Campaign(subject, space, NAME, lambda bits: space.flipped(bits[:, None]), samples)
    values = campaign.run(space.total, lambda fraction, _: progress(fraction, f"{TITLE}: {round(fraction * space.total)}/{space.total}"))
    return BitMap(space, values, subject.clean[:samples], config.tolerance)


def resampled(found: BitMap, groups: Values, rng: np.random.Generator) -> tuple[Values, Values, Values]:
    """Draw samples with replacement, the same for all bits, and look again.

    Args:
        found: the map.
        groups: which bits (B, G) are counted together, as 0 and 1.
        rng: source of the 1000 resamples.

    Returns:
        Shares in percent of the bits that matter and of those that are visible (1000, G), and the largest mean degradation (1000,).
    """
    samples = len(found.clean)
    weights = rng.multinomial(samples, np.full(samples, 1 / samples), RESAMPLES) / samples
    thresholds = found.tolerance * np.abs(weights @ found.clean)[:, None]
    matter, visible, worst = np.zeros((RESAMPLES, groups.shape[1])), np.zeros((RESAMPLES, groups.shape[1])), np.full(RESAMPLES, -np.inf)
    for start in range(0, len(groups), BLOCK):
        part = slice(start, start + BLOCK)
        means = weights @ found.values[part].T
        matter += (weights @ found.changed[part].T > 0).astype(np.float64) @ groups[part]
        visible += found.visible(means, thresholds).astype(np.float64) @ groups[part]
        worst = np.maximum(worst, means.max(axis=1))
    sizes = groups.sum(axis=0) / 100
    return matter / sizes, visible / sizes, worst


def bootstrap_interval(value: float, again: Values, low: float = -np.inf, high: float = np.inf) -> Interval:
    """Return the 95 % interval that holds those of the percentile and of the basic bootstrap.

    A count of bits above a threshold, and a largest mean, are biased upwards by the noise of few samples, in the resamples once more, and
    a count of bits that matter downwards: the basic bootstrap mirrors that, and overshoots where the noise is skewed. On subsets of 64 of
    1,000 samples of an autoencoder, the one or the other covers in 83 % of the cases only, both together in 95 to 99 %.

    Args:
        value: of the samples.
        again: of resamples (R,).
        low: the least possible.
        high: the most possible.
    """
    lower, upper = (float(end) for end in np.quantile(again, [0.025, 0.975]))
    return max(low, min(value, lower, 2 * value - upper)), min(high, max(value, upper, 2 * value - lower))


def metrics_of(found: BitMap, subject: Subject, rng: np.random.Generator) -> dict[str, Metric]:
    """Make the figures of a map; see `measure`."""
    score, metrics, groups = subject.score, dict[str, Metric](), found.groups()
    matter, visible, worst = resampled(found, np.stack(list(groups.values()), axis=1).astype(np.float64), rng)
    name, source = f"{score.id}_{NAME}_1", f"all {found.space.total} bits, {len(found.clean)} samples"
    for i, (suffix, mine) in enumerate(groups.items()):
        words = suffix.replace("_layer_", ", layer ")
        value, ci = mean_interval(found.values[mine].mean(axis=0))
        metrics[f"{name}{suffix}"] = Metric(
            value, score.unit, direction="lower", ci=ci, source=source, title=f"{score.title} degradation, one bit, mean of all{words}"
        )
        shares = {
            "matter": (found.changed[mine].any(axis=1), matter, f"Bits that change {score.title} of a sample{words}"),
            "visible": (found.visible(found.means[mine], found.threshold), visible, f"Bits that cost {_cost(found, subject)}{words}"),
        }
        for key, (flags, again, title) in shares.items():
            share = 100 * float(flags.mean())
            # What was seen to matter does.
            ci = bootstrap_interval(share, again[:, i], share if key == "matter" else 0.0, 100.0)
            metrics[f"{name}{suffix}_{key}"] = Metric(share, "%", direction="lower", ci=ci, source=source, title=title)
    bit = int(np.argmax(found.means))
    value = float(found.means[bit])
    metrics[f"{name}_worst"] = Metric(
        value, score.unit, direction="lower", ci=bootstrap_interval(value, worst), source=f"{source}; {found.describe(bit)}",
        title=f"{score.title} degradation, the worst bit",
    )  # fmt: skip
    return metrics


def _cost(found: BitMap, subject: Subject) -> str:
    return f"{100 * found.tolerance:g} % of {subject.score.title}"


def measure(subject: Subject, config: RobustnessConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure the map; the first three also come by layer, with ``_layer_<name>`` behind ``_1``.

    - ``<score>_single_bit_map_1``: mean degradation over all bits, Student's t over samples.
    - ``<score>_single_bit_map_1_matter``, ``..._visible``: shares of the bits, in percent, bootstrap over samples.
    - ``<score>_single_bit_map_1_worst``: the largest mean degradation by one bit; the source says which. Its interval, of the same
      bootstrap, allows for the choice of the largest.
    - ``upset_days_to_visible_<environment>``: expected time to a visible error, with the interval of the share of visible bits.

    Raises:
        ConfigError: there is no such environment.
    """
    places = environments(config)
    found = bit_map(subject, config, progress)
    if found is None:
        return {}
    metrics = metrics_of(found, subject, rng)
    word, place = found.space.locate(np.arange(found.space.total, dtype=np.int64))
    shapes = np.zeros((len(found.space.names), max(1, *(len(shape) for shape in found.space.shapes))), np.int64)
    for row, shape in zip(shapes, found.space.shapes, strict=True):
        row[: len(shape)] = shape
    arrays = {
        "degradation": found.means, "changed": found.changed.mean(axis=1), "word": word, "place": place, "tensor": found.tensor,
        "names": np.array(found.space.names), "layers": np.array(found.layers),
        "roles": np.array([form.role for form in found.space.formats]), "widths": np.array([form.bits for form in found.space.formats]),
        "signed": np.array([form.signed for form in found.space.formats]), "shapes": shapes, "threshold": np.array(found.threshold),
    }  # fmt: skip
    subject.records.update({f"{NAME}_{key}": array for key, array in arrays.items()})
    share = metrics[f"{subject.score.id}_{NAME}_1_visible"]
    days = visible_days(places, share, found.space.total, _cost(found, subject))
    subject.records["upset_names"] = np.array([place.id for place in places])
    subject.records["upset_rates"] = np.array([place.rate for place in places])
    subject.records["upset_days"] = np.array([days[place.id].value if place.id in days else np.inf for place in places])
    return metrics | {f"upset_days_to_visible_{name}": metric for name, metric in days.items()}
