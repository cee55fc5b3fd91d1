"""Losses and scores of imported networks."""

import numpy as np
import pytest
import torch

from flow.imported.tasks import TASKS
from flow.model import model_for, model_sources, project_name
from flow.twin import load_twin
from tests.imported.networks import inputs
from tests.qonnx_models import write_mlp


def test_accuracy_and_cross_entropy():
    output = np.array([[2, 1, 0], [0, 3, 3], [1, 0, 2]], np.float32)
    target = np.eye(3, dtype=np.float32)[[0, 2, 2]]
    task = TASKS["classes"]
    assert task.score.per_sample(output, target).tolist() == [1, 0, 1], "of two equal outputs the first one is taken"
    assert task.score.trivial(target).tolist() == [0, 0, 1]
    p = np.exp(output.astype(float)) / np.exp(output.astype(float)).sum(1, keepdims=True)
    expected = -np.log(p[[0, 1, 2], [0, 2, 2]])
    assert task.loss(torch.from_numpy(output), torch.from_numpy(target)).numpy() == pytest.approx(expected, rel=1e-5)
    extra = task.score.extras(output, target, np.random.default_rng(0))["cross_entropy"]
    assert extra.value == pytest.approx(expected.mean())
    assert extra.ci[0] < extra.value < extra.ci[1]


def test_values():
    output, target = np.array([[1.0, 2.0], [0.0, 0.0]], np.float32), np.array([[0.0, 4.0], [0.0, 2.0]], np.float32)
    for kind, expected in (("values", [2.5, 2.0]), ("none", [1.5, 1.0])):
        assert TASKS[kind].score.per_sample(output, target).tolist() == expected
        assert TASKS[kind].score.trivial(target).tolist() == [0, 3]
    assert TASKS["values"].loss(torch.from_numpy(output), torch.from_numpy(target)).tolist() == [2.5, 2.0]
    assert TASKS["none"].vacuous == ("gradient_norm", "gradient_noise")


def test_without_targets_the_gradient_is_zero(tmp_path):
    twin = load_twin(write_mlp(tmp_path / "m.onnx"))
    x = torch.from_numpy(inputs(twin))
    target = twin(twin.params, x).detach()
    gradient = torch.func.grad(lambda p: TASKS["none"].loss(twin(p, x), target).sum())(twin.params)
    assert all((g == 0).all() for g in gradient.values())


def test_which_task():
    class Data:
        notes = {"targets": "values"}  # noqa: RUF012

    assert model_for("", Data) is TASKS["values"]
    assert model_for("econ_t", Data).score.id == "emd"
    assert (model_sources(""), list(model_sources("econ_t"))) == ({}, ["model"])
    assert (project_name(""), project_name("econ_t")) == ("imported", "econ_t")
