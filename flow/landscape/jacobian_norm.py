"""Mean squared Frobenius norm of the input-output Jacobian, exactly.

J = E_x ||dy/dx||_F^2, with straight-through gradients of the quantizers; twice what the Jacobian regularizer estimates (Hoffman, Roberts,
Yaida, arXiv:1908.02729). To first order, input noise of variance s^2 in each input moves the output by s^2 J in mean square. Cost: one
backward pass for each output word.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._problem import CHIP, Problem, apply_head
from flow.statistics import mean_interval

TITLE = "Squared input-output Jacobian"
GRAPH_BYTES = 2**16  # for each input word, more than the graph of any of the models here takes


def squared_norms(problem: Problem, whole: bool, progress: Progress = lambda fraction, text: None) -> NDArray[np.float64]:
    """Return ||dy/dx||_F^2 of each sample, (N,), in (output unit / input unit)^2.

    Args:
        problem: parameters and inputs.
        whole: of the whole network, with its head; else of the part on chip.
        progress: told after each output word.
    """

    def outputs(x: Tensor) -> Tensor:
        parts = {name.removeprefix(CHIP): problem.params[name].detach() for name in problem.chip}
        chip = problem.twin(parts, x).to(torch.float32)
        return (apply_head(problem.head, problem.params, chip) if whole else chip).flatten(1)

    rows = []
    for part in problem.chunks(len(problem.x), GRAPH_BYTES * problem.x[0].numel()):
        x = problem.x[part].detach().clone().requires_grad_()
        y = outputs(x)
        total = torch.zeros(len(x), dtype=torch.float64)
        for k in range(y.shape[1]):
            (gradient,) = torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)
            total += gradient.double().flatten(1).square().sum(1)
            progress((part.start + (part.stop - part.start) * (k + 1) / y.shape[1]) / len(problem.x), TITLE)
        rows.append(total)
    return np.asarray(torch.cat(rows).numpy(), np.float64)


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure ``jacobian_norm`` of the whole network and ``jacobian_norm_chip`` of its part on chip; intervals over samples."""
    metrics: dict[str, Metric] = {}
    parts = {"jacobian_norm_chip": ", on chip"} | ({} if problem.head is None else {"jacobian_norm": ""})
    for i, (name, words) in enumerate(parts.items()):

        def tick(done: float, text: str, part: int = i) -> None:
            progress((part + done) / len(parts), text)

        value, ci = mean_interval(squared_norms(problem, not words, tick))
        metrics[name] = Metric(value, direction="lower", ci=ci, source=f"exact, {len(problem.x)} samples", title=TITLE + words)
    return {"jacobian_norm": metrics["jacobian_norm_chip"], **metrics}
