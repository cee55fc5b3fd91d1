"""Certified Lipschitz bounds of the deployed network, by layer and as a whole.

For any two real inputs, |f(x) - f(x')| <= L |x - x'| + E in Euclidean norms, where f is the fixed-point network with its deployed weights:

- ``lipschitz_layer_<layer>``: largest singular value of a layer's linear operator on its actual input, with the weights as they are
  deployed (Gouk et al., arXiv:1804.04368; Sedghi, Gupta and Long, arXiv:1805.10408; see `flow.landscape._lipschitz_norms`).
- ``lipschitz_chip`` = L: the product along the graph; sums where branches are added, the root of squares where they are joined. ReLU,
  maxima and the clamping of quantizers have 1, sigmoid 1/4, and windows of a maximum that overlap the root of how often a pixel is used.
  L alone is a Lipschitz constant of the network without rounding.
- ``lipschitz_rounding_chip`` = E: a quantizer with step s moves a difference by at most s in each of n words, so by s sqrt(n), and what
  follows stretches this. No network with rounding is Lipschitz without it: two inputs that are almost equal can lie in two steps.
- ``lipschitz`` and ``lipschitz_rounding``: behind the head, which is real arithmetic here; its own rounding in float32 is not in E.
- ``lipschitz_local_chip`` and ``lipschitz_local``: mean over the samples of the largest singular value of the straight-through Jacobian. It
  is never above L and shows how much the product gives away.

Units: output per input, and output. A figure is absent if some part has no known bound, such as a product of two signals. Cost: singular
values of a matrix for each layer, once, and a backward pass for each output word.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._lipschitz_norms import Map, matrix_norm, schur_norm, torus_norm
from flow.landscape._problem import CHIP, HEAD, Floats, Problem, apply_head
from flow.statistics import mean_interval
from flow.twin.graph import Node
from flow.twin.ops import OPERATIONS, SILENT

TITLE = "Lipschitz bound"
GRAPH_BYTES = 2**16  # for each input word, more than the graph of any of the models here takes
WEIGHTED = ("Conv", "Gemm", "MatMul")
LINEAR = (*WEIGHTED, "AveragePool", "BatchNormalization", "Div", "GlobalAveragePool", "Mul", "ReduceMean")
SAME = (*SILENT, "Relu", "Tanh", "Pad", "GlobalMaxPool", "ReduceMax")
STRAIGHT = (nn.ReLU, nn.Tanh, nn.Flatten, nn.Unflatten, nn.Identity)
STRETCHING = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.AvgPool1d, nn.AvgPool2d,
)  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """|difference| <= slope |x - x'| + jump.

    Attributes:
        slope: output per input.
        jump: output.
    """

    slope: float
    jump: float

    def stretched(self, factor: float) -> "Bound":
        """Behind something with this Lipschitz constant."""
        return Bound(self.slope * factor, self.jump * factor)


@dataclass
class Found:
    """What is known of a network so far.

    Attributes:
        layers: norm of each layer with weights, and how it was found.
        chip: bound of the part on chip, or None.
        whole: bound behind the head, or None.
    """

    layers: dict[str, tuple[float, str]] = field(default_factory=dict)
    chip: Bound | None = None
    whole: Bound | None = None


def _norm(apply: Map, magnitude: Map, shape: torch.Size, memory: int, torus: float | None = None) -> tuple[float, str]:
    """Return the spectral norm of an operator, or the better of its bounds, and the way it was found."""
    exact = matrix_norm(apply, shape, memory)
    if exact is not None:
        return exact, "singular value of the operator"
    schur = schur_norm(magnitude, shape)
    return (schur, "Schur's test") if torus is None or schur < torus else (torus, "convolution on a torus")


def _node_norm(node: Node, values: Mapping[str, Tensor], data: str, memory: int) -> tuple[float, str]:
    """Return the norm of a linear node of the twin in the input `data`."""
    fixed = {name: values[name].double() for name in node.inputs if name and name != data}

    def run(x: Tensor, magnitude: bool) -> Tensor:
        inputs = [x if name == data else fixed[name].abs() if magnitude else fixed[name] for name in node.inputs if name]
        return OPERATIONS[node.op].run(node, inputs)

    torus, shape = None, values[data].shape[1:]
    if node.op == "Conv":
        rank = len(shape) - 1
        pads = node.attributes.get("pads") or (0,) * (2 * rank)
        padded = [int(shape[1 + i] + pads[i] + pads[i + rank]) for i in range(rank)]
        dilations = [int(d) for d in node.attributes.get("dilations") or (1,) * rank]
        torus = torus_norm(fixed[node.inputs[1]], int(node.attributes.get("group", 1)), dilations, padded, memory)
    return _norm(lambda x: run(x, False), lambda x: run(x, True), shape, memory, torus)


def _overlap(kernel: tuple[int, ...], strides: tuple[int, ...]) -> float:
    """Return the Lipschitz constant of a maximum over windows: the root of how many of them a pixel lies in at most."""
    return math.sqrt(math.prod(-(-k // s) for k, s in zip(kernel, strides, strict=True)))


def _factor(node: Node, values: Mapping[str, Tensor], data: str, found: Found, memory: int) -> float | None:
    """Return the Lipschitz constant of a node of one input, or None if it is not known."""
    if node.op in SAME:
        return 1.0
    if node.op in ("Add", "Sub"):  # of a constant; a sum with more words than its input repeats them
        return math.sqrt(values[node.output][0].numel() / values[data][0].numel())
    if node.op in ("LeakyRelu", "Sigmoid"):
        return 0.25 if node.op == "Sigmoid" else max(1.0, abs(float(node.attributes.get("alpha", 0.01))))
    if node.op == "MaxPool":
        kernel = tuple(node.attributes["kernel_shape"])
        return _overlap(kernel, tuple(node.attributes.get("strides") or (1,) * len(kernel)))
    if node.op not in LINEAR:
        return None
    norm = _node_norm(node, values, data, memory)
    if node.op in WEIGHTED:
        found.layers[node.name] = norm
    return norm[0]


def _through(node: Node, values: Mapping[str, Tensor], known: Mapping[str, Bound | None], found: Found, memory: int) -> Bound | None:
    """Return the bound behind a node of which at least one input is data, or None if there is no bound."""
    names = [name for name in node.inputs if name in known]
    parts = []
    for name in names:
        product = len(names) > 1 and node.op not in ("Add", "Sub", "Concat")
        factor = 1.0 if node.op == "Concat" else None if product else _factor(node, values, name, found, memory)
        bound = known[name]
        if bound is None or factor is None:
            return None
        parts.append(bound.stretched(factor))
    add = math.hypot if node.op == "Concat" else lambda *values: sum(values)
    return Bound(add(*(b.slope for b in parts)), add(*(b.jump for b in parts)))


def chip_bounds(problem: Problem, found: Found) -> None:
    """Follow the difference of two inputs through the twin, at its deployed weights."""
    twin = problem.twin
    params = {name.removeprefix(CHIP): problem.params[name].detach() for name in problem.chip}
    with torch.no_grad():
        values = twin._walk(twin.quantized(params), problem.x[:1], ste=False)
    known: dict[str, Bound | None] = {twin._graph.input: Bound(1.0, 0.0)}
    for node in twin.nodes:
        form = twin.activation_formats.get(node.name)
        if form is not None:
            bound = known[node.inputs[0]]
            jump = form.scale * math.sqrt(values[node.output][0].numel())
            known[node.output] = None if bound is None else Bound(bound.slope, bound.jump + jump)
        elif any(name in known for name in node.inputs):
            known[node.output] = _through(node, values, known, found, problem.memory)
    found.chip = known.get(twin._graph.output)


def _modules(head: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a head in their order, nested sequences unrolled."""
    if type(head) is not nn.Sequential:  # a subclass may do something else
        yield prefix, head
        return
    for name, layer in head.named_children():
        yield from _modules(layer, f"{prefix}.{name}" if prefix else name)


def _pair(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * rank


def head_bounds(problem: Problem, found: Found) -> None:
    """Follow the difference through the head; layers of kinds that are not known leave no bound."""
    bound, head = found.chip, problem.head
    if head is None:
        found.whole = bound
        return
    with torch.no_grad():
        value = problem.twin({name.removeprefix(CHIP): problem.params[name] for name in problem.chip}, problem.x[:1]).double()
    for name, layer in _modules(head):
        prefix = HEAD + (name + "." if name else "")
        params = {k.removeprefix(prefix): v.detach().double() for k, v in problem.params.items() if k.startswith(prefix)}

        def run(x: Tensor, layer: nn.Module = layer, params: dict[str, Tensor] = params) -> Tensor:
            result: Tensor = torch.func.functional_call(layer, params, (x,))
            return result

        def magnitude(x: Tensor, layer: nn.Module = layer, params: dict[str, Tensor] = params) -> Tensor:
            result: Tensor = torch.func.functional_call(layer, {k: v.abs() for k, v in params.items()}, (x,))
            return result

        factor: float | None = None
        if type(layer) in STRETCHING:
            factor, how = _norm(run, magnitude, value.shape[1:], problem.memory)
            if params:
                found.layers[f"head_{name}"] = factor, how
        elif type(layer) in STRAIGHT:
            factor = 1.0
        elif isinstance(layer, nn.Sigmoid | nn.LeakyReLU):
            factor = 0.25 if isinstance(layer, nn.Sigmoid) else max(1.0, abs(layer.negative_slope))
        elif isinstance(layer, nn.MaxPool1d | nn.MaxPool2d) and layer.dilation == 1:
            rank = 1 if isinstance(layer, nn.MaxPool1d) else 2
            factor = _overlap(_pair(layer.kernel_size, rank), _pair(layer.stride, rank))
        if factor is None:
            return
        bound = None if bound is None else bound.stretched(factor)
        with torch.no_grad():
            value = run(value)
    found.whole = bound


def local_norms(problem: Problem, whole: bool) -> Floats:
    """Return the largest singular value of the straight-through Jacobian at each sample, (N,); behind the head if `whole`."""
    params = {name.removeprefix(CHIP): problem.params[name].detach() for name in problem.chip}
    rows = []
    with torch.no_grad():
        chip = problem.twin(params, problem.x[:1]).to(torch.float32)
        width = (apply_head(problem.head, problem.params, chip) if whole else chip).numel()
    words = problem.x[0].numel()
    for part in problem.chunks(len(problem.x), words * (GRAPH_BYTES + 24 * width)):
        x = problem.x[part].detach().clone().requires_grad_()
        chip = problem.twin(params, x).to(torch.float32)
        y = (apply_head(problem.head, problem.params, chip) if whole else chip).flatten(1)
        jacobian = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0].double().flatten(1) for k in range(width)]
        rows.append(torch.linalg.matrix_norm(torch.stack(jacobian, 1), 2))
    return np.asarray(torch.cat(rows).numpy(), np.float64)


def _bounds(bound: Bound, suffix: str, words: str) -> dict[str, Metric]:
    source = "certified, deployed weights, any two real inputs"
    title = f"Step that rounding adds to the {TITLE}{words}"
    return {
        f"lipschitz{suffix}": Metric(bound.slope, direction="lower", source=source, title=TITLE + words),
        f"lipschitz_rounding{suffix}": Metric(bound.jump, direction="lower", source=source, title=title),
    }


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure the ids above; bounds are not sampled, the intervals of local norms are over samples (Student's t)."""
    found, metrics = Found(), {}
    progress(0.0, TITLE)
    chip_bounds(problem, found)
    progress(0.2, TITLE)
    head_bounds(problem, found)
    for layer, (norm, how) in found.layers.items():
        name = re.sub(r"\W+", "_", layer).strip("_")
        source = f"certified, {how}, {'deployed' if not layer.startswith('head_') else 'float'} weights"
        metrics[f"lipschitz_layer_{name}"] = Metric(norm, direction="lower", source=source, title=f"{TITLE}, layer {name}")
    for bound, suffix, words in ((found.chip, "_chip", ", on chip"), (found.whole, "", "")):
        if bound is not None:
            metrics |= _bounds(bound, suffix, words)
    for i, (suffix, words) in enumerate((("_chip", ", on chip"), ("", ""))):
        progress(0.4 + 0.3 * i, TITLE)
        name = "lipschitz_local"
        if not suffix and problem.head is None:
            metrics[name] = metrics[name + "_chip"]
        elif len(problem.x) > 1:
            value, ci = mean_interval(local_norms(problem, not suffix))
            title = f"Norm of the straight-through Jacobian{words}"
            metrics[name + suffix] = Metric(value, direction="lower", ci=ci, source=f"mean of {len(problem.x)} samples", title=title)
    return metrics
