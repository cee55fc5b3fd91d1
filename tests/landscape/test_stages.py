"""The stages that measure an exported network, on a model folder made on the spot."""

from fnmatch import fnmatch

import numpy as np
import pytest
import torch

from flow.config import DesignPoint
from flow.core.errors import InvalidInput, UnknownPlugin
from flow.core.plugins import load, names
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


def job_for(stage, tmp_path, head, metrics=None, compat=""):
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
        "model": str(folder), "compat": compat,
        "landscape": {"samples": 12, "probes": 3, "surface_points": 5, "surface_planes": 2} | ({"metrics": metrics} if metrics else {}),
        "robustness": {"samples": 12, "noise_draws": 2, "noise_percent": [10.0], "flips": [2], "trials": 3, "flip_samples": 6},
    })  # fmt: skip
    inputs = {"dataset": folder / "dataset.npz", "qonnx": folder / "m.onnx", "head": folder / "head.pt"}
    shown = []
    job = Job(stage, point, inputs, folder, folder, folder / "log", folder / "replay", lambda f, t: shown.append(f))
    return job, shown


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("stage", [landscape.STAGE, robustness.STAGE], ids=lambda s: s.id)
def test_stage_measures_what_it_declares(stage, head, tmp_path):
    job, shown = job_for(stage, tmp_path, head)
    stage.run(job)
    assert all(any(fnmatch(name, pattern) for pattern in stage.measures) for name in job.metrics)
    assert shown == sorted(shown)
    some = {
        "landscape": {
            "hessian_trace", "hessian_trace_chip", "top_eigenvalue", "top_eigenvalue_chip", "gradient_norm_mean", "jacobian_norm",
            "sharpness_mean_0.5", "surface_rise", "gauss_newton_trace", "lipschitz", "cka_noise_10",
        },
        "robustness": {"mse_gauss_10", "mse_salt_10", "mse_flip_2", "mse_flip_2_p95", "mse_ranked_flip_fkeras_2"},
    }  # fmt: skip
    assert some[stage.id] <= set(job.metrics)
    assert not any(name.startswith("pylandscape") for name in job.metrics)
    if stage.id == "landscape":
        measuring = {name for name in names("landscape") if hasattr(load("landscape", name), "measure")}
        assert measuring == {name for name in measuring if any(metric.startswith(name) for metric in job.metrics)}
        with np.load(job.output("shapes")) as shapes:
            assert {"surface_random_float", "surface_random_quantized", "top_eigenvalue_vectors"} <= set(shapes)
    again, _ = job_for(stage, tmp_path, head)
    stage.run(again)
    assert again.metrics == job.metrics


@pytest.mark.parametrize("stage", [landscape.STAGE, robustness.STAGE], ids=lambda s: s.id)
def test_compat_adds_figures_and_changes_none(stage, tmp_path):
    job, _ = job_for(stage, tmp_path, head=False, metrics=["hessian_trace"], compat="pylandscape")
    stage.run(job)
    plain, _ = job_for(stage, tmp_path, head=False, metrics=["hessian_trace"])
    stage.run(plain)
    added = {name for name in job.metrics if name.startswith("pylandscape_")}
    assert added
    assert {name: metric for name, metric in job.metrics.items() if name not in added} == plain.metrics
    assert all(job.metrics[name].direction == "none" for name in added), "they are no scores"
    assert all(any(fnmatch(name, pattern) for pattern in stage.measures) for name in added)


def test_sources_name_the_model_and_each_plugin(tmp_path):
    job, _ = job_for(landscape.STAGE, tmp_path, head=True)
    files = landscape.sources(job.full_point)
    assert set(files) == {"model", *(f"landscape {name}" for name in job.full_point.landscape.metrics)}
    assert files["landscape hessian_trace"].name == "hessian_trace.py"
    assert set(robustness.sources(job.full_point)) == {"model", "upset rates", *(f"robustness {name}" for name in names("robustness"))}
    with pytest.raises(UnknownPlugin, match="gauss"):
        plugin_files("robustness", ["gaus"])


def test_weights_of_another_head_are_refused(tmp_path):
    job, _ = job_for(robustness.STAGE, tmp_path, head=True)
    torch.save({"weight": torch.eye(3)}, job.input("head"))
    with pytest.raises(InvalidInput, match="do not fit"):
        robustness.STAGE.run(job)
