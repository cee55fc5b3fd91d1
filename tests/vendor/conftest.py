"""The vendor's programs as fakes, first on PATH, and a project small enough to write by hand."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from flow.config import DesignPoint
from flow.core.stage import Job
from flow.stages import load_stage

FAKES = Path(__file__).parents[1] / "fake_tools" / "vendor"
PART = "xcku115-flvb2104-2-i"
LAYERS = [
    {"name": "fc1", "kind": "Dense", "strategy": "latency", "reuse_factor": 1, "words": 5, "products": 20, "positions": 1},
    {"name": "act", "kind": "Activation", "strategy": "", "reuse_factor": 1, "words": 5},
]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put some of the fakes on PATH, and no other program of the vendor: ``install("vivado", vivado="hang", vivado_version="2023.1")``."""
    folder, state = tmp_path / "bin", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    for name in [name for name in os.environ if name.startswith(("FAKE_", "HLSCAPE_VI", "HLSCAPE_LAUNCHER"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FAKE_STATE", str(state))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def link(*names, **modes):
        for name in names:
            (folder / name).symlink_to(FAKES / name)
        for name, mode in modes.items():
            monkeypatch.setenv(f"FAKE_{name.upper()}", mode)
        return SimpleNamespace(state=state, calls=lambda: [json.loads(line) for line in (state / "calls").read_text().splitlines()])

    return link


@pytest.fixture
def project(tmp_path):
    """An hls4ml project of the convert stage as far as the stages of the vendor look at it; 6 samples of 2 outputs."""
    folder = tmp_path / "project"
    (folder / "firmware" / "weights").mkdir(parents=True)
    (folder / "firmware" / "ap_types").mkdir()
    (folder / "firmware" / "net.cpp").write_text("// the network\n")
    (folder / "firmware" / "weights" / "w2.txt").write_text("0.5\n")
    (folder / "net_test.cpp").write_text("// the testbench\n")
    (folder / "tb_data").mkdir()
    (folder / "tb_data" / "tb_input_features.dat").write_text("0.5 0.25\n" * 6)
    (folder / "tb_data" / "tb_output_predictions.dat").write_text("".join(f"{i / 8} {-i / 64}\n" for i in range(6)))
    describe(folder)
    return folder


def describe(folder, io="parallel", layers=LAYERS):
    info = {"top": "net", "io": io, "inputs": 2, "outputs": 2, "layers": {"fc1": 5, "act": 5}, "hls": layers}
    (folder / "hlscape.json").write_text(json.dumps(info))


def point(vendor=None, **hardware):
    table = {"licence_wait_s": 0.0, **(vendor or {})}
    return DesignPoint.model_validate({"model": "m", "hardware": {"backend": "vitis", "part": PART, **hardware}, "vendor": table})


@pytest.fixture
def execute(tmp_path, project):
    """Run a stage on the project; what it writes is there for the next."""
    made = {"project": project, "csim_gate": project / "hlscape.json"}

    def run(name, **settings):
        stage, folder, told = load_stage(name), tmp_path / "jobs" / name, []
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("out", "scratch"):
            (folder / part).mkdir(parents=True)
        inputs = {key: made[key] for key in stage.reads}
        job = Job(
            stage, point(**settings), inputs, folder / "out", folder / "scratch", folder / "log.txt", folder / "replay.sh",
            lambda fraction, text: told.append((fraction, text)),
        )  # fmt: skip
        try:
            stage.run(job)
        finally:
            run.last, run.told = job, told
        made.update({key: job.out / key for key in stage.writes})
        assert {path.name for path in job.out.iterdir()} == set(stage.writes)
        return job

    return run
