"""Each figure of the released code against its defect in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import _pylandscape as released
from flow.landscape._problem import build_problem
from flow.landscape.jacobian_norm import squared_norms
from flow.twin import load_twin
from tests.landscape.quadratic import network, quadratic
from tests.qonnx_models import write_mlp

CONFIG = LandscapeConfig(samples=24, surface_points=5)


def quiet(fraction, text):
    assert 0 <= fraction <= 1


def rng():
    return np.random.default_rng(0)


def test_trace_is_summed_over_the_probes(tmp_path):
    problem = network(tmp_path)
    curvature = np.linspace(0.5, 2.0, problem.point.size)
    flat = quadratic(problem, curvature)  # sign vectors see the trace of a diagonal matrix without any error
    metric = released.measure(flat, CONFIG, rng(), quiet)["pylandscape_hutchinson_sum"]
    assert metric.value == pytest.approx(100 * curvature.sum(), rel=1e-5)
    probes = released.summed_probes(flat, rng(), quiet)
    assert len(probes) == 100 and metric.value == pytest.approx(probes.sum())
    assert metric.ci[0] <= metric.value <= metric.ci[1]


@pytest.mark.parametrize(("shape", "ratio"), [((6, 1, 8, 8), 1 / (8 * 6)), ((5, 2, 3, 4), 1 / (4 * 5)), ((7, 9), 1.0)])
def test_jacobian_is_too_small_by_batch_and_row(shape, ratio):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    y = 3 * x  # dy/dx is 3 times the identity, so any vector of norm 1 over the batch gives 9
    exact = 0.5 * 9 * x[0].numel()
    assert released.penalty(x, y, rng()) == pytest.approx(ratio * exact, rel=1e-12)


@pytest.mark.parametrize("images", [False, True])
def test_jacobian_of_a_network_against_the_exact_one(images, tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx", (6, 8, 6)))
    x = torch.from_numpy(rng().uniform(0, 1.5, (256, 6)).astype(np.float32))
    problem = build_problem(twin, nn.Unflatten(1, (1, 6)) if images else None, lambda o, t: o.flatten(1).sum(1), x, x)
    if images:  # (B, 1, 6) from (B, 1, 6), through a network that takes (B, 6)
        with pytest.MonkeyPatch.context() as patch:
            call = type(twin).__call__
            patch.setattr(type(twin), "__call__", lambda self, params, x: call(self, params, x.flatten(1)))
            found = released.penalties(build_problem(twin, problem.head, problem.loss_function, x[:, None], x), rng())
    else:
        found = released.penalties(problem, rng())
    exact = 0.5 * squared_norms(problem, whole=True).mean() / (256 * 6 if images else 1)
    assert found.mean() == pytest.approx(exact, abs=4 * found.std(ddof=1) / len(found) ** 0.5)
    assert found.std(ddof=1) < 0.2 * exact


def test_directions_are_positive_and_not_normalised_by_filter():
    both = released.directions(5000, rng())
    assert (both >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1)
    # Two vectors of uniform numbers are far from orthogonal: their cosine is (1/2)^2 / (1/3).
    assert both[0] @ both[1] == pytest.approx(0.75, abs=0.02)


def test_lines_of_a_quadratic_loss(tmp_path):
    problem = network(tmp_path)
    flat = quadratic(problem, np.ones(problem.point.size), level=2.0)
    metrics = released.measure(flat, CONFIG, rng(), quiet)
    axis, losses = (flat.records[f"pylandscape_surface{name}"] for name in ("_axis", ""))
    np.testing.assert_allclose(axis, [-0.15, -0.075, 0, 0.075, 0.15])
    generator = rng()
    released.summed_probes(flat, generator, quiet)
    released.penalties(flat, generator)
    for row, direction in zip(losses, released.directions(problem.point.size, generator), strict=True):
        points = flat.quantized(problem.point + axis[:, None] * direction)
        np.testing.assert_allclose(row, 2 + np.square(points - flat.quantized(problem.point[None])).sum(1) / 2)
    assert metrics["pylandscape_surface_rise"].value == pytest.approx(losses.max() - losses[:, 2].mean())
    assert 0 <= metrics["pylandscape_surface_changed"].value <= 100


def test_figures_cannot_be_taken_for_scores(tmp_path):
    problem = network(tmp_path)
    before = {name: value.clone() for name, value in problem.params.items()}
    metrics = released.measure(problem, CONFIG, rng(), quiet)
    assert len(metrics) == 4
    for name, metric in metrics.items():
        assert name.startswith("pylandscape_") and metric.title.endswith("as the released code of Baldi et al. computes it")
        assert metric.direction == "none" and metric.source
        assert not any(word in name for word in ("trace", "eigen", "hessian", "gradient", "_layer_"))
    assert all(name.startswith("pylandscape_") for name in problem.records)
    assert all(torch.equal(value, before[name]) for name, value in problem.params.items())
    assert metrics == released.measure(problem, CONFIG, rng(), quiet)
