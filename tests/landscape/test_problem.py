"""The loss at many points: against the network's own forward pass, one point after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_mlp


def squared(output, target):
    return (output - target).square().mean(1)


@pytest.fixture(params=[False, True], ids=["alone", "with head"])
def problem(request, tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx", (4, 5, 3)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).requires_grad_(requires_grad=False) if request.param else None
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0, 1.5, (24, 4)).astype(np.float32))
    return build_problem(twin, head, squared, x, torch.from_numpy(rng.normal(size=(24, 2 if head else 3)).astype(np.float32)))


def points(problem, count=6):
    return problem.point + 0.3 * np.random.default_rng(1).normal(size=(count, problem.point.size))


def test_losses_are_those_of_the_network(problem):
    many = points(problem)
    parts = problem.split(torch.from_numpy(many))
    for i, row in enumerate(problem.sample_losses(many)):
        expected = problem.per_sample({name: value[i] for name, value in parts.items()}).detach().numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-6)
    np.testing.assert_allclose(problem.mean_losses(many), problem.sample_losses(many).mean(axis=1))
    assert len(np.unique(problem.mean_losses(many))) == len(many)


def test_little_memory_changes_nothing(problem):
    many = points(problem)
    assert np.array_equal(problem.sample_losses(many), replace(problem, memory=1).sample_losses(many))


def test_quantized_points_are_the_deployed_codes(problem):
    codes = problem.twin.codes(problem.twin.params)
    deployed, steps = problem.quantized(problem.point[None])[0], problem.steps
    for name, where in problem.slices.items():
        if name in problem.chip:
            np.testing.assert_array_equal(deployed[where] / steps[where], codes[name.removeprefix("chip.")].reshape(-1).numpy())
        else:
            np.testing.assert_array_equal(deployed[where], problem.point[where])
            assert np.isnan(steps[where]).all()
    again = problem.quantized(deployed[None])[0]
    assert np.array_equal(deployed, again)


def test_real_weights_have_no_terraces(problem):
    """A shift far below half a step changes the loss of real weights, and not that of deployed ones."""
    shift = np.where(np.isnan(problem.steps), 0.0, 1e-3 * problem.steps)
    centre = problem.quantized(problem.point[None])[0]
    both = np.stack([centre, centre + shift])
    assert len(np.unique(problem.mean_losses(both))) == 1
    np.testing.assert_array_equal(problem.mean_losses(both[:1]), problem.mean_losses(both[:1], quantize=False))


def test_a_subset_has_its_own_samples(problem):
    few = problem.subset(slice(3, 7))
    np.testing.assert_array_equal(few.sample_losses(problem.point[None])[0], problem.sample_losses(problem.point[None])[0, 3:7])
