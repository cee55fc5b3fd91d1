"""One small network behind all stages that ``harden`` reads, each run once."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flow.config import DesignPoint
from flow.core.stage import Job
from flow.model import Dataset, model_for
from flow.robustness._subject import build_subject
from flow.rtl.graph import FixedType, Graph, Layer
from flow.stages import harden, rtl, synth
from flow.stages.data import write_dataset
from flow.twin import load_twin
from tests.protection.mapping import PARTS
from tests.qonnx_models import write_mlp
from tests.rtl import tiny

NETWORK = """
SIZES, INPUT_MAX = ("baseline",), 2.0
def on_chip(layers, size):
    raise NotImplementedError
def off_chip(size):
    return None
def loss(output, target):
    return (output - target).square().mean(1)
"""
SCORE = """
from flow.model import Score
SCORE = Score("mse", "MSE", "", "lower", lambda o, t: ((o - t) ** 2).mean(1).astype("f8"), lambda t: t.mean(0))
"""
SAMPLES = 12


def lowered(twin):
    """The graph of `write_mlp`, as stage convert would lower it."""
    codes = [c.numpy().astype(float) for c in twin.codes(twin.params).values()]
    kernel, bias, wide = FixedType(True, 4, 1), FixedType(True, 8, 1), FixedType(True, 20, 13)
    unsigned = FixedType(False, 5, 1, "RND_CONV", "SAT")

    def weights(w, b):
        return {"weight": (w.T / 8, kernel), "bias": (b / 128, bias)}

    return Graph((
        Layer("in", "Input", (), (4,), unsigned),
        Layer("fc1", "Dense", ("in",), (5,), wide, {}, weights(*codes[:2]), wide),
        Layer("act", "Activation", ("fc1",), (5,), unsigned, {"activation": "relu"}),
        Layer("fc2", "Dense", ("act",), (3,), wide, {}, weights(*codes[2:]), wide),
        Layer("out", "Activation", ("fc2",), (3,), FixedType(True, 8, 2, "RND_CONV", "SAT"), {"activation": "linear"}),
    ))  # fmt: skip


def write_model(folder, twin):
    """Write a model folder and a data set, whose targets are near what the network gives."""
    (folder / "network.py").write_text(NETWORK)
    (folder / "data.py").write_text("def load(config):\n    raise NotImplementedError\n")
    (folder / "score.py").write_text(SCORE)
    rng = np.random.default_rng(0)
    x = {split: rng.uniform(0, 1.2, (n, 4)).astype(np.float32) for split, n in (("train", 2000), ("validation", 40), ("test", 40))}
    with torch.no_grad():
        y = {
            split: twin(twin.params, torch.from_numpy(v)).numpy() + rng.normal(0, 0.1, (len(v), 3)).astype(np.float32)
            for split, v in x.items()
        }
    data = Dataset(x, y)
    write_dataset(folder / "dataset.npz", data)
    return data


def write_map(folder, subject):
    """Flip every bit by itself."""
    space = subject.space()
    words = space.flipped(np.arange(space.total)[:, None])
    harm = np.concatenate([subject.degradations(space, row[None], SAMPLES).mean(axis=1) for row in words])
    threshold = 0.1 * subject.clean[:SAMPLES].mean()
    np.savez(folder / "faults.npz", single_bit_map_degradation=harm, single_bit_map_threshold=threshold)
    return harm


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Artifacts, the subject and its map."""
    folder = tmp_path_factory.mktemp("built")
    write_mlp(folder / "net.onnx")
    twin = load_twin(folder / "net.onnx")
    data = write_model(folder, twin)
    lowered(twin).save(folder / "lowered.npz")
    x = tiny.inputs(np.random.default_rng(0), lowered(twin), 64)
    with torch.no_grad():
        np.savez(folder / "vectors.npz", x=x, y=twin(twin.params, torch.from_numpy(x.astype(np.float32))).numpy().astype(float))
    paths = {"lowered": folder / "lowered.npz", "vectors": folder / "vectors.npz", "qonnx": folder / "net.onnx"}
    jobs = [tiny.job(rtl.STAGE, folder / "rtl", **paths)]
    rtl.run(jobs[0])
    paths["verilog"] = jobs[0].out / "verilog"
    jobs.append(tiny.job(synth.STAGE, folder / "synth", verilog=paths["verilog"]))
    jobs[1].pieces = folder / "pieces"
    synth.run(jobs[1])
    paths |= {"netlist": jobs[1].out / "netlist", "synth_report": jobs[1].out / "synth_report", "dataset": folder / "dataset.npz"}
    torch.save({}, folder / "head.pt")
    model = model_for(str(folder), data)
    subject = build_subject(twin, None, model.score, data.x["test"], data.y["test"])
    harm = write_map(folder, subject)
    paths |= {"head": folder / "head.pt", "faults": folder / "faults.npz"}
    total = json.loads(paths["synth_report"].read_text())["total"]
    return SimpleNamespace(folder=folder, paths=paths, subject=subject, harm=harm, data=data, twin=twin, total=total)


@pytest.fixture
def harden_job(built, tmp_path):
    """Make a job of the stage for some methods."""

    def make(*methods, **inputs):
        point = DesignPoint.model_validate({
            "model": str(built.folder), "hardware": {"part": PARTS["plus"], "logic_per_stage": 3.0},
            "protection": {"methods": methods, "shares": [0.1, 0.5, 1.0]},
            "robustness": {"perturbations": ["single_bit_map"], "map_samples": SAMPLES},
        })  # fmt: skip
        (tmp_path / "out").mkdir()
        job = Job(harden.STAGE, point, built.paths | inputs, tmp_path / "out", tmp_path, tmp_path / "log", tmp_path / "replay")
        job.pieces = built.folder / "pieces"
        return job

    return make
