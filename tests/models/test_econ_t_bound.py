import importlib

import numpy as np
import pytest

from flow.core.errors import ToolFailed
from flow.model import load_model

SCORE = load_model("econ_t").score
PACKAGE = SCORE.per_sample.__module__.rpartition(".")[0]
bound, geometry = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("bound", "geometry"))


def wafers(n, occupancy, seed):
    rng = np.random.default_rng(seed)
    cells = rng.exponential(1.0, (n, 48)) * (rng.random((n, 48)) < occupancy)
    cells[:, 7] += 0.1
    return geometry.to_image(cells.astype(np.float32))


@pytest.fixture(scope="module", params=[(0.05, 0.05), (0.1, 1.0), (1.0, 0.02), (1.0, 1.0)], ids=str)
def samples(request):
    """Outputs, targets, and the functions that prove their distances."""
    output, target = (wafers(60, occupancy, seed) for seed, occupancy in enumerate(request.param))
    output[0] = target[0]
    return output, target, bound.potentials(output, target)


def test_it_is_the_distance_at_the_clean_output(samples):
    output, target, functions = samples
    found, exact = bound.lower_bound(functions, output, target), SCORE.per_sample(output, target)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11)
    assert found[0] == 0 and (exact[1:] > 0).all()


def test_functions_change_no_faster_than_the_distance(samples):
    *_, functions = samples
    assert (functions[:, :, None] - functions[:, None] <= geometry.DISTANCE + 1e-12).all()


@pytest.mark.parametrize("size", [0.01, 0.3, 10.0])
def test_it_is_never_above_the_distance_of_another_output(samples, size):
    output, target, functions = samples
    moved = np.clip(output + size * np.random.default_rng(3).normal(size=output.shape), 0, None).astype(np.float32)
    for other in (target, wafers(60, 0.3, 9)):  # whatever the functions were made for
        found, exact = bound.lower_bound(functions, moved, other), SCORE.per_sample(moved, other)
        assert (found <= exact + 1e-11).all() and (found >= 0).all()
    assert bound.lower_bound(functions, moved, target).sum() > (0.5 if size == 0.01 else 0) * SCORE.per_sample(moved, target).sum()


def test_it_is_tight_near_the_clean_output(samples):
    output, target, functions = samples
    moved = (output * (1 + 0.01 * np.random.default_rng(4).random(output.shape))).astype(np.float32)
    exact = SCORE.per_sample(moved, target)[1:]
    ratio = bound.lower_bound(functions, moved, target)[1:] / exact
    assert ratio.mean() > 0.98, "a perturbation of a per cent moves an optimal plan little"


def test_outputs_and_targets_without_charge(samples):
    output, target, _ = (array.copy() for array in samples)
    output[1], target[2], output[3] = 0, 0, np.nan
    functions = bound.potentials(output, target)
    assert np.isfinite(functions).all()
    found, exact = bound.lower_bound(functions, output, target), SCORE.per_sample(output, target)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11)
    assert np.isnan(found).tolist() == [n == 2 for n in range(60)]


def test_a_solver_that_gives_up_is_told(monkeypatch):
    monkeypatch.setattr(bound, "emd_c", lambda *args: (None, 0.0, None, np.zeros(48), 3))
    with pytest.raises(ToolFailed, match="status 3"):
        bound.potentials(wafers(2, 1.0, 0), wafers(2, 1.0, 1))
