"""Small networks with their dense Hessians and Jacobians in float64, for oracles."""

import numpy as np
import torch
from torch import nn

from flow.landscape._problem import CHIP, HEAD, build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_convolutions, write_mlp

KINDS = ("alone", "with head", "convolutions", "classifier")


def squared(output, target):
    return (output - target).square().flatten(1).mean(1)


def telescope(output, target):
    """Not quadratic in the output."""
    return ((output - target).square() * torch.maximum(output, target)).flatten(1).mean(1)


def entropy(output, target):
    return nn.functional.cross_entropy(output, target, reduction="none")


def flat(output, target):
    """Constant."""
    return torch.ones(len(target), dtype=output.dtype)


def make(kind, folder, samples=20, loss=None):
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "convolutions":
            twin = load_twin(write_convolutions(folder / "b.onnx"))
            x, outputs, head = rng.random((samples, 1, 8, 8)), 5, None
        else:
            twin = load_twin(write_mlp(folder / "m.onnx", (4, 6, 3), clip=1.2))
            x, outputs, head = rng.uniform(0, 1.5, (samples, 4)), 3, None
        if kind == "with head":
            head = nn.Sequential(
                nn.Linear(3, 8), nn.ReLU(), nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 3, stride=2), nn.Sigmoid()
            ).requires_grad_(requires_grad=False)
            outputs = (1, 5, 5)
    shape = (samples, *np.atleast_1d(outputs))
    y = np.eye(3)[rng.integers(0, 3, samples)] if kind == "classifier" else rng.random(shape)
    loss = loss or {"with head": telescope, "classifier": entropy}.get(kind, squared)
    return build_problem(twin, head, loss, *(torch.from_numpy(a.astype(np.float32)) for a in (x, y)))


def whole(problem, params, x):
    """The network as a function of its parameters, in float64 behind the chip."""
    output = problem.twin({k.removeprefix(CHIP): v.to(problem.twin.dtype) for k, v in params.items() if k.startswith(CHIP)}, x).double()
    if problem.head is None:
        return output
    head = {k.removeprefix(HEAD): v for k, v in params.items() if k.startswith(HEAD)}
    return torch.func.functional_call(problem.head, head, (output,))


def wide(problem):
    """Parameters in float64."""
    return {k: v.detach().double() for k, v in problem.params.items()}


def dense_gauss_newton(problem):
    """mean_n J_n^T A_n J_n from whole Jacobians, (D, D); rows in the order of the parameters."""
    jacobian = torch.func.jacrev(lambda p: whole(problem, p, problem.x))(wide(problem))
    u = whole(problem, wide(problem), problem.x).detach()
    rows = torch.cat([jacobian[k].reshape(len(u), u[0].numel(), -1) for k in problem.params], 2)
    y = problem.y.double()
    bends = torch.stack([torch.func.hessian(lambda v, i=i: problem.loss_function(v[None], y[i : i + 1])[0])(u[i]) for i in range(len(u))])
    bends = bends.reshape(len(u), u[0].numel(), -1)
    return torch.einsum("nia,nij,njb->ab", rows, bends, rows).numpy() / len(u)


def dense_hessian(problem):
    """The Hessian of the mean loss, (D, D)."""
    params = wide(problem)
    blocks = torch.func.hessian(lambda p: problem.loss_function(whole(problem, p, problem.x), problem.y.double()).mean())(params)
    return torch.cat([torch.cat([blocks[a][b].reshape(params[a].numel(), -1) for b in params], 1) for a in params]).numpy()


def chip_size(problem):
    return sum(problem.params[name].numel() for name in problem.chip)


def block(problem, matrix, suffix):
    """Cut the rows and columns of the parameters on chip, which come first."""
    size = chip_size(problem) if suffix else len(matrix)
    return matrix[:size, :size]
