"""The stages that measure an exported network, on a model folder made on the spot."""

import numpy as np
import pytest
import torch

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, UnknownPlugin
from flow.core.stage import Job
from flow.model import Dataset
from flow.stages import landscape, robustness
from flow.stages._measuring import plugin_files
from flow.stages.data import write_dataset
from tests.qonnx_models import write_mlp

NETWORK = """
from torch import nn
SIZES, INPUT_MAX = ("baseline",), 2.0
def on_chip(layers, size):
    raise NotImplementedError
def off_chip(size):
    return {head}
def loss(output, target):
    return (output - target).square().mean(1)
"""
SCORE = """
from flow.model import Score
SCORE = Score("mse", "MSE", "", "lower", lambda o, t: ((o - t) ** 2).mean(1).astype("f8"), lambda t: t.mean(0))
"""


def job_for(stage, tmp_path, head):
    folder = tmp_path / ("with" if head else "without")
    folder.mkdir(exist_ok=True)
    (folder / "network.py").write_text(NETWORK.format(head="nn.Linear(2, 2)" if head else "None"))
    (folder / "data.py").write_text("def load(config):\n    raise NotImplementedError\n")
    (folder / "score.py").write_text(SCORE)
    rng = np.random.default_rng(0)
    x = {s: rng.random((20, 3)).astype(np.float32) for s in ("train", "validation", "test")}
    write_dataset(folder / "dataset.npz", Dataset(x, {s: v[:, :2] for s, v in x.items()}))
    write_mlp(folder / "m.onnx", (3, 4, 2))
    state = {"weight": torch.eye(2), "bias": torch.zeros(2)} if head else {}
    torch.save(state, folder / "head.pt")
    point = DesignPoint.model_validate({
        "model": str(folder), "landscape": {"samples": 12, "probes": 3},
        "robustness": {"samples": 12, "noise_draws": 2, "noise_percent": [10.0], "flips": [2], "trials": 3, "flip_samples": 6},
    })  # fmt: skip
    inputs = {"dataset": folder / "dataset.npz", "qonnx": folder / "m.onnx", "head": folder / "head.pt"}
    shown = []
    job = Job(stage, point, inputs, folder, folder, folder / "log", folder / "replay", lambda f, t: shown.append(f))
    return job, shown


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("stage", [landscape.STAGE, robustness.STAGE], ids=lambda s: s.id)
def test_stage_measures_what_it_declares(stage, head, tmp_path):
    from fnmatch import fnmatch

    job, shown = job_for(stage, tmp_path, head)
    stage.run(job)
    assert all(any(fnmatch(name, pattern) for pattern in stage.measures) for name in job.metrics)
    assert shown == sorted(shown)
    expected = {
        "landscape": {
            "hessian_trace", "hessian_trace_chip", "top_eigenvalue", "top_eigenvalue_chip",
            "gradient_norm_mean", "gradient_norm_p50", "gradient_norm_p95", "jacobian_norm", "jacobian_norm_chip",
                *(f"sharpness_{case}_{steps}" for case in ("mean", "worst") for steps in ("0.5", "1", "2")),
        },
        "robustness": {"mse_gauss_10", "mse_salt_10", "mse_flip_2", "mse_flip_2_p95"},
    }  # fmt: skip
    assert {name for name in job.metrics if "_layer_" not in name} == expected[stage.id]
    again, _ = job_for(stage, tmp_path, head)
    stage.run(again)
    assert again.metrics == job.metrics


def test_sources_name_the_model_and_each_plugin(tmp_path):
    job, _ = job_for(landscape.STAGE, tmp_path, head=True)
    files = landscape.sources(job.full_point)
    assert set(files) == {"model", *(f"landscape {name}" for name in job.full_point.landscape.metrics)}
    assert files["landscape hessian_trace"].name == "hessian_trace.py"
    assert set(robustness.sources(job.full_point)) == {"model", "robustness bit_flip", "robustness gauss", "robustness salt_pepper"}
    with pytest.raises(UnknownPlugin, match="gauss"):
        plugin_files("robustness", ["gaus"])


def test_weights_of_another_head_are_refused(tmp_path):
    job, _ = job_for(robustness.STAGE, tmp_path, head=True)
    torch.save({"weight": torch.eye(3)}, job.input("head"))
    with pytest.raises(InvalidInput, match="do not fit"):
        robustness.STAGE.run(job)
