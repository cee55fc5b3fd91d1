"""Centred kernel alignment (CKA): how alike two sets of features are, up to a rotation and a factor; 1: the same, 0: unrelated.

CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) with linear kernels (Kornblith et al., arXiv:1905.00414), of the features of the same
samples in two networks, or of clean and noisy inputs in one. HSIC is debiased (`flow.landscape._hsic`): the usual estimate grows with the
ratio of features to samples even where nothing is alike (Murphy et al., arXiv:2405.01012). Baldi et al., arXiv:2502.08355, compare final
outputs with the biased one.

Cost: a forward pass of each network, and N p^2 operations for a layer of p values, or 128 N p if it is wider than 512. Memory does not
depend on the number N of samples.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._hsic import FEWEST, Features, Floats, Task, hsics
from flow.landscape._pairs import Interval, jackknife, over_pairs, pairs, plural
from flow.landscape._problem import Problem, apply_head
from flow.twin import Twin
from flow.twin.ops import PASSING
from flow.twin.quantizer import QUANTIZERS

TITLE = "CKA"
NOISE = (1, 10, 20)
ACTIVATIONS = (*PASSING, *QUANTIZERS, "AveragePool", "GlobalAveragePool", "LeakyRelu", "ReduceMean", "Sigmoid", "Tanh")
OUTPUT = ""


def layer_nodes(twin: Twin) -> dict[str, str]:
    """Return the node whose values a layer hands on, behind its activation and its quantizer, by the name of the layer."""
    origin: dict[str, str] = {}
    found: dict[str, str] = {}
    for node in twin.nodes:
        origin[node.output] = origin.get(node.inputs[0], "") if node.op in ACTIVATIONS else node.name
        if node.name in twin.activation_formats and origin[node.output]:
            found[origin[node.output]] = node.name
    return found


def output_features(problem: Problem, x: torch.Tensor) -> Floats:
    """Return the final outputs (n, p), behind the off-chip part."""
    with torch.no_grad():
        chip = problem.twin.forward_values(problem.twin.quantized(problem.twin.params), x).to(torch.float32)
        return np.asarray(apply_head(problem.head, problem.params, chip).flatten(1).double().numpy())


def all_features(problem: Problem, x: torch.Tensor) -> dict[str, Floats]:
    """Return the outputs and what each layer on chip hands on, (n, p) by layer."""
    with torch.no_grad():
        values = problem.twin.layers(problem.twin.params, x)
    layers = {layer: values[node].flatten(1).double().numpy() for layer, node in layer_nodes(problem.twin).items()}
    return {OUTPUT: output_features(problem, x), **layers}


def alignment(found: dict[Task, Floats], task: Task) -> Floats | None:
    """Return the CKA of all samples, followed by those without a part of them each; None if a side does not depend on the samples."""
    name, i, j = task
    scales = found[name, i, i] * found[name, j, j]
    return None if min(found[name, i, i].min(), found[name, j, j].min()) <= 0 else found[task] / np.sqrt(scales)


def capped(ci: Interval) -> Interval:
    """Return an interval without what no CKA can be."""
    return ci[0], min(1.0, ci[1])


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``cka_noise_<percent>``: of the outputs for clean inputs and for x + (percent / 100) u N(0, 1), clamped to the range of x.

    u is `problem.unit`, 1 for inputs that are normalised to 1. Intervals are from the jackknife over parts of the samples, each with noise
    of its own; they cover both choices.
    """
    if len(problem.x) < FEWEST:
        return {}
    noise = torch.from_numpy(rng.standard_normal(problem.x.shape, dtype=np.float32))
    low, high = min(0.0, float(problem.x.min())), float(problem.x.max())

    def features(part: slice) -> Features:
        inputs = [problem.x[part], *((problem.x[part] + percent / 100 * problem.unit * noise[part]).clamp(low, high) for percent in NOISE)]
        return [{OUTPUT: output_features(problem, x)} for x in inputs]

    numbers = range(1, 1 + len(NOISE))
    tasks = [(OUTPUT, i, i) for i in (0, *numbers)] + [(OUTPUT, 0, i) for i in numbers]
    found = hsics(features, len(problem.x), tasks, problem.chunks, lambda f: progress(f, TITLE))
    metrics = {}
    for i, percent in zip(numbers, NOISE, strict=True):
        values = alignment(found, (OUTPUT, 0, i))
        if values is not None:
            metrics[f"cka_noise_{percent}"] = Metric(
                float(values[0]), direction="higher", ci=capped(jackknife(float(values[0]), values[1:])),
                source=f"{len(problem.x)} samples, one draw of noise each", title=f"CKA of outputs, clean and with {percent} % noise",
            )  # fmt: skip
    return metrics


def compare(problems: Sequence[Problem], config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``cka_seeds`` of the final outputs, and ``cka_seeds_layer_<name>`` of what each layer on chip hands on; mean over pairs.

    Intervals are over the choice of seeds, or over samples where there are only two seeds. A layer that is constant in one of the
    networks has no figure.
    """
    first = problems[0]
    if len(first.x) < FEWEST:
        return {}
    names = (OUTPUT, *layer_nodes(first.twin))
    count = len(problems)
    tasks = [(name, i, j) for name in names for i in range(count) for j in range(i, count)]
    found = hsics(
        lambda part: [all_features(problem, problem.x[part]) for problem in problems],
        len(first.x), tasks, first.chunks, lambda f: progress(f, TITLE),
    )  # fmt: skip
    metrics = {}
    for name in names:
        values = {pair: alignment(found, (name, *pair)) for pair in pairs(count)}
        known = {pair: value for pair, value in values.items() if value is not None}
        if len(known) < len(values):
            continue
        value, ci = over_pairs({pair: float(v[0]) for pair, v in known.items()})
        over = f"interval over {count} seeds"
        if ci is None:
            ((_, only),) = known.items()
            ci, over = jackknife(value, only[1:]), "interval over samples"
        label = re.sub(r"\W+", "_", name).strip("_")
        metrics["cka_seeds" + (f"_layer_{label}" if label else "")] = Metric(
            value, direction="higher", ci=capped(ci), source=f"{plural(len(known), 'pair')}, {len(first.x)} samples, {over}",
            title="CKA of seeds, " + (f"layer {label}" if label else "output"),
        )  # fmt: skip
    return metrics
