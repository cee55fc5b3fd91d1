"""The exact trace against a dense Hessian in float64, and where it has to step back for the estimator."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import hessian_trace
from flow.landscape._exact_trace import is_multilinear, multilinear_split
from flow.landscape._problem import build_problem
from tests.landscape.networks import KINDS, make, squared


@pytest.fixture(params=KINDS)
def problem(request, tmp_path):
    return make(request.param, tmp_path)


def diagonal(problem):
    """Second derivative of the mean loss in each parameter by double backward, one at a time, in float64 behind the chip."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in problem.params.items()}
    gradients = torch.autograd.grad(problem.loss(leaves), list(leaves.values()), create_graph=True)
    result = {}
    for (name, leaf), g in zip(leaves.items(), gradients, strict=True):
        flat = g.reshape(-1)
        rows = [torch.autograd.grad(v, leaf, retain_graph=True, materialize_grads=True)[0].reshape(-1)[i] for i, v in enumerate(flat)]
        result[name] = float(torch.stack(rows).double().sum())
    return result


def measure(problem, **config):
    return hessian_trace.measure(problem, LandscapeConfig(**config), np.random.default_rng(0), lambda fraction, text: None)


def test_equals_the_diagonal_of_the_hessian(problem):
    found, expected = measure(problem), diagonal(problem)
    assert found["hessian_trace"].source.startswith("exact")
    assert abs(sum(expected.values())) > 0.1
    assert found["hessian_trace"].value == pytest.approx(sum(expected.values()), rel=1e-4)
    assert found["hessian_trace_chip"].value == pytest.approx(sum(v for k, v in expected.items() if k.startswith("chip.")), rel=1e-4)
    layers = {}
    for name, value in expected.items():
        layers[hessian_trace.layer_of(problem, name)] = layers.get(hessian_trace.layer_of(problem, name), 0) + value
    assert len(layers) > 1
    for layer, value in layers.items():
        assert found[f"hessian_trace_layer_{layer}"].value == pytest.approx(value, rel=1e-3, abs=1e-5)


def test_order_and_memory_change_nothing(problem):
    before = {k: v.clone() for k, v in problem.params.items()}
    first, little = measure(problem), measure(replace(problem, memory=1))
    turned = measure(problem.subset(np.arange(len(problem.x))[::-1].copy()))
    for name, metric in first.items():
        assert little[name].value == pytest.approx(metric.value, rel=1e-5, abs=1e-7)
        assert turned[name].value == pytest.approx(metric.value, rel=1e-5, abs=1e-7)
        assert metric.ci[0] <= metric.value <= metric.ci[1]
    assert all(torch.equal(before[k], v) for k, v in problem.params.items())


def test_a_bend_inside_needs_the_estimator(tmp_path):
    """A tanh between two layers has curvature of its own, which the exact form would miss."""
    problem = make("alone", tmp_path)
    head = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    bent = build_problem(problem.twin, head, squared, problem.x, problem.y)
    assert multilinear_split(bent) is None
    assert measure(bent, probes=20)["hessian_trace"].source.startswith("Hutchinson")
    shared = nn.Linear(3, 3)
    assert multilinear_split(build_problem(problem.twin, nn.Sequential(shared, nn.ReLU(), shared), squared, problem.x, problem.y)) is None
    assert is_multilinear(problem.twin)


def test_the_estimator_stops_when_it_is_good_enough(tmp_path):
    problem = make("alone", tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bent = build_problem(problem.twin, nn.Sequential(nn.Tanh(), nn.Linear(3, 3)), squared, problem.x, problem.y)
        few = measure(replace(bent), probes=300, relative_error=0.5)["hessian_trace_chip"].source
        many = measure(replace(bent), probes=60, relative_error=1e-9)["hessian_trace_chip"].source
    assert "Hutchinson, 60 " in many
    assert int(few.split()[1]) < 300
