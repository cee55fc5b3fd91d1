"""The Jacobian's norm against a matrix in closed form and autograd's own Jacobian."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import jacobian_norm
from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_mlp


@pytest.fixture
def problem(tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx", (4, 5, 3)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).requires_grad_(requires_grad=False)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1.5, (12, 4)).astype(np.float32))
    return build_problem(twin, head, lambda o, t: (o - t).square().mean(1), x, torch.zeros(12, 2))


def test_against_autograd(problem):
    def whole(x):
        return problem.head(problem.twin(problem.twin.params, x[None]).float())[0]

    def chip(x):
        return problem.twin(problem.twin.params, x[None])[0]

    for function, with_head in ((whole, True), (chip, False)):
        expected = [float(torch.autograd.functional.jacobian(function, x).double().square().sum()) for x in problem.x]
        assert min(expected) >= 0 and max(expected) > 0.01
        np.testing.assert_allclose(jacobian_norm.squared_norms(problem, with_head), expected, rtol=1e-5, atol=1e-9)


def test_a_linear_head_multiplies(problem):
    """Behind twice the identity the squared norm is four times that on chip."""
    double = nn.Linear(3, 3, bias=False)
    double.weight.data = 2 * torch.eye(3)
    made = build_problem(problem.twin, double, problem.loss_function, problem.x, torch.zeros(12, 3))
    np.testing.assert_allclose(jacobian_norm.squared_norms(made, True), 4 * jacobian_norm.squared_norms(made, False), rtol=1e-6)


def test_memory_and_order_change_nothing(problem):
    norms = jacobian_norm.squared_norms(problem, True)
    np.testing.assert_allclose(jacobian_norm.squared_norms(replace(problem, memory=1), True), norms, rtol=1e-6)
    turned = problem.subset(np.arange(12)[::-1].copy())
    np.testing.assert_allclose(jacobian_norm.squared_norms(turned, True)[::-1], norms, rtol=1e-6)
    metrics = jacobian_norm.measure(problem, LandscapeConfig(), np.random.default_rng(0), lambda f, t: None)
    assert metrics["jacobian_norm"].value == pytest.approx(norms.mean())
