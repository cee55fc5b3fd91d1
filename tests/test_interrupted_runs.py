"""Real points on real tools, killed at random moments and run by several processes at once."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flow.stages import IDS
from tests.examples import write_model

ROOT = Path(__file__).resolve().parent.parent
POINT = """
model = "../sums"
data = { samples = 1000 }
train = { pretrain_epochs = 4, epochs = 2 }
gate = { samples = 64, rtl_samples = 16 }
landscape = { samples = 32, probes = 4, metrics = ["hessian_trace", "sharpness"] }
robustness = { samples = 32, noise_draws = 2, perturbations = ["bit_flip", "gauss"], flips = [1], trials = 4, flip_samples = 32 }
[network]
size = "small"
weight_bits = 4
"""
MOMENTS = 5
STUDY = """
name = "killed"
point = "point.toml"
axes = { "network.weight_bits" = [3, 4] }
"""


def start(folder: Path, gxx: str, *args: str) -> "subprocess.Popen[str]":
    paths = {"HLSCAPE_STORE": str(folder / "store"), "PYTHONPATH": str(ROOT), "HLSCAPE_G__": gxx}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **paths}
    return subprocess.Popen(
        [sys.executable, "-m", "flow", *args], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def prepare(folder: Path) -> Path:
    """Write a study of the model of CONTRIBUTING.md, which is small: what is killed are all stages and programs of the flow."""
    folder.mkdir()
    if not (folder.parent / "sums").exists():
        write_model(folder.parent / "sums")
    (folder / "point.toml").write_text(POINT)
    (folder / "study.toml").write_text(STUDY)
    return folder


def finished(folder: Path) -> dict[Path, int]:
    """Return the results in the store and when each was written."""
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in (folder / "store").glob("*/*/result.json") if p.parts[-3] != "tmp"}


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_in_the_same_bytes(tmp_path: Path, gxx: str) -> None:
    whole = prepare(tmp_path / "whole")
    process = start(whole, gxx, "sweep", "study.toml", "-j", "2")
    began = time.monotonic()
    _, log = process.communicate()
    duration = time.monotonic() - began
    assert process.returncode == 0, log

    killed = prepare(tmp_path / "killed")
    moments = random.Random(0)
    for _ in range(MOMENTS):
        process = start(killed, gxx, "sweep", "study.toml", "-j", "2")
        try:
            process.communicate(timeout=moments.uniform(0.05, 0.3) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for result in finished(killed):
            folder = (killed / result).parent
            assert (folder / "key.json").is_file()
            document = json.loads((killed / result).read_text())
            assert sorted(document["artifacts"]) == sorted(p.name for p in (folder / "out").iterdir())
    before = finished(killed)
    process = start(killed, gxx, "sweep", "study.toml", "-j", "2")
    _, log = process.communicate()
    assert process.returncode == 0, log
    after = finished(killed)
    assert {p: t for p, t in after.items() if p in before} == before, "what was finished is not run again"
    assert set(after) == set(finished(whole)), "nothing more and nothing less than an undisturbed sweep"
    name = "reports/killed/metrics.json"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_four_processes_on_one_point_run_each_stage_once(tmp_path: Path, gxx: str) -> None:
    folder = prepare(tmp_path / "four")
    processes = [start(folder, gxx, "run", "point.toml") for _ in range(4)]
    logs = [p.communicate()[1] for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, logs
    runs = [re.findall(r"\] (\w+) +[\d.]+ s  ", log) for log in logs]
    stages = [json.loads(p.read_text())["stage"] for p in (folder / "store").glob("*/*/result.json")]
    assert sorted(stage for run in runs for stage in run) == sorted(stages)
    assert len(stages) == len(IDS)
