"""Problems whose loss has a closed form around the deployed weights, in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from flow.landscape._problem import Problem, build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_mlp


@dataclass(frozen=True)
class Closed(Problem):
    """The loss is a function of a point, (P, D) -> (P,) in torch, and the same for every sample."""

    function: Any = None

    def _losses(self, points, quantize):
        values = self.function(torch.from_numpy(self.quantized(points) if quantize else points)).numpy()
        return np.repeat(values[:, None], len(self.x), axis=1)


def network(path, sizes=(4, 5, 3), samples=24, **options):
    """A small network with inputs and targets that are far from what it says."""
    twin = load_twin(write_mlp(path / "m.onnx", sizes, **options))
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1.5, (samples, sizes[0])).astype(np.float32))
    return build_problem(twin, None, lambda o, t: (o - t).square().mean(1), x, torch.ones(samples, sizes[-1]))


def closed(problem, function):
    """The same network with another loss, and an off-chip part so that nothing takes the layers for the loss."""

    def losses(params, x, _):
        point = torch.cat([params[name].double().reshape(-1) for name in problem.params])
        return function(point[None]).expand(len(x))

    fields = {name: getattr(problem, name) for name in Problem.__dataclass_fields__}
    return Closed(**{**fields, "losses": losses, "head": nn.Identity(), "records": {}}, function=function)


def quadratic(problem, matrix, slope=0.0, level=0.0):
    """``level + slope d + d matrix d / 2`` with d the distance from the deployed weights; matrix (D, D) or its diagonal (D,)."""
    centre = torch.from_numpy(problem.quantized(problem.point[None])[0])
    slopes = torch.as_tensor(slope, dtype=torch.float64).expand(len(centre))
    curvature = torch.as_tensor(matrix, dtype=torch.float64)

    def function(points):
        d = points - centre
        bent = d * curvature if curvature.ndim == 1 else d @ curvature
        return level + d @ slopes + (bent * d).sum(1) / 2

    return closed(problem, function)
