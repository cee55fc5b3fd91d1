"""Campaigns: the same bytes whatever the pieces, the memory and the kills, and nothing taken from another campaign."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from flow.landscape._engine import build_engine
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness import _campaign
from flow.robustness._campaign import Campaign
from flow.robustness._faults import Sets
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import write_mlp
from tests.robustness.test_oracles import QUIET, mse

ROOT = Path(__file__).resolve().parents[2]
SAMPLES, FLIPS, TRIALS = 20, 3, 60
SCORE = Score("mse", "MSE", "u", "lower", mse, lambda t: t.mean(0))


def loss(output, target):
    return (output - target).square().mean(1)


def head(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)).requires_grad_(requires_grad=False)


def build(folder, engine=False, seed=0, shift=0.0, score=SCORE, **settings):
    """A small network with a head; `scratch` is kept in the folder."""
    twin = load_twin(write_mlp(folder / "m.onnx", (3, 4, 2), bits=4))
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 32, (30, 3)) / 16).astype(np.float32)
    y = (rng.normal(size=(30, 2)) + shift).astype(np.float32)
    problem = build_problem(twin, head(seed), loss, torch.from_numpy(x), torch.from_numpy(y))
    if engine:
        problem = replace(problem, engine=build_engine(twin, head(seed), loss, problem.x, problem.y, folder))
    return build_subject(twin, head(seed), score, x, y, problem=problem, **settings)


def campaign(subject, flips=FLIPS, seed=5, samples=SAMPLES, name=None):
    sets = Sets(subject.space(), flips, seed)
    return Campaign(subject, sets.space, name or f"flip_{flips}", lambda trials: sets.space.flipped(sets.bits(trials)), samples, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("campaign")


@pytest.fixture(scope="module")
def expected(folder):
    """One trial after the other, each by a forward pass of the twin and the score of all samples."""
    subject = build(folder)
    space, rows = subject.space(), []
    for trial in range(TRIALS):
        words = space.flipped(Sets(space, FLIPS, 5).bits(np.array([trial])))[0]
        outputs = subject.twin.forward_codes({**subject.codes, **space.codes(words)}, torch.from_numpy(subject.x[:SAMPLES]))
        final = head().double()(outputs.double()).float().numpy()
        rows.append(mse(final, subject.targets[:SAMPLES]) - subject.clean[:SAMPLES])
    return np.array(rows)


@pytest.mark.parametrize("engine", [False, True])
def test_degradations_are_those_of_the_twin_one_by_one(folder, expected, engine):
    found = campaign(build(folder, engine)).run(TRIALS, **QUIET)
    assert found.shape == (TRIALS, SAMPLES)
    assert np.allclose(found, expected, atol=1e-9)
    assert (found[np.abs(expected) < 1e-12] == 0).all(), "what does not change the words has exactly the clean score"
    assert 0.05 < (found == 0).mean() < 0.95


def test_a_higher_score_is_better(folder, expected):
    gain = replace(SCORE, direction="higher", per_sample=lambda o, t: -mse(o, t))
    assert np.allclose(campaign(build(folder, score=gain)).run(TRIALS, **QUIET), expected, atol=1e-9)


@pytest.mark.parametrize("engine", [False, True])
def test_pieces_and_memory_do_not_matter(folder, monkeypatch, engine):
    whole = campaign(build(folder, engine)).run(TRIALS, **QUIET)
    for piece, memory in ((1, 2**30), (7, 2**30), (64, 1), (64, 20_000)):
        monkeypatch.setattr(_campaign, "PIECE", piece)
        assert campaign(build(folder, engine, memory=memory)).run(TRIALS, **QUIET).tobytes() == whole.tobytes()
    few = campaign(build(folder, engine)).run(9, **QUIET)
    assert campaign(build(folder, engine)).run(TRIALS, **QUIET, done=few).tobytes() == whole.tobytes()


class Stopped(Exception):
    """Stands for a kill."""


def stop_at(trial):
    def progress(fraction, text):
        if fraction * TRIALS >= trial:
            raise Stopped

    return progress


def counted(subject, seed=5):
    """A campaign, and the trials that it makes."""
    made = []
    plain = campaign(subject, seed=seed)
    return replace(plain, make=lambda trials: made.extend(trials.tolist()) or plain.make(trials)), made


def test_it_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_campaign, "PIECE", 10)
    monkeypatch.setattr(_campaign, "KEEP_SECONDS", 0.0)
    subject = build(folder, scratch=tmp_path)
    with pytest.raises(Stopped):
        campaign(subject).run(TRIALS, stop_at(35))
    again, made = counted(subject)
    whole = campaign(build(folder)).run(TRIALS, **QUIET)
    assert again.run(TRIALS, **QUIET).tobytes() == whole.tobytes()
    assert made == list(range(30, TRIALS)), "the piece that was stopped had not been kept"
    more, made = counted(subject)
    assert more.run(TRIALS, **QUIET).tobytes() == whole.tobytes()
    assert more.run(12, **QUIET).tobytes() == whole[:12].tobytes()
    assert not made
    assert [file.suffix for file in tmp_path.iterdir()] == [".trials"]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "half written"])
def test_damaged_and_foreign_files_are_ignored(folder, tmp_path, damage):
    subject = build(folder, scratch=tmp_path)
    whole = campaign(subject).run(TRIALS, **QUIET)
    file = campaign(subject).file
    content = file.read_bytes()
    if damage == "half written":
        file.rename(file.with_suffix(".part"))
    elif damage == "foreign":
        _campaign._write(file, np.ones((TRIALS, SAMPLES + 1)))
    else:
        file.write_bytes({"cut": content[:-100], "changed": content[:-1] + bytes([content[-1] ^ 1]), "empty": b""}[damage])
    again, made = counted(subject)
    assert again.run(TRIALS, **QUIET).tobytes() == whole.tobytes()
    assert made == list(range(TRIALS))
    assert file.read_bytes() == content


def test_whatever_a_trial_depends_on_is_in_the_name(folder, tmp_path):
    subject = build(folder, scratch=tmp_path)
    codes = {name: code.clone() for name, code in subject.codes.items()}
    next(iter(codes.values()))[0, 0] += 1
    moved = subject.x.copy()
    moved[0, 0] += 1
    formats = {name: replace(form, scale=form.scale / 2) for name, form in subject.formats.items()}
    others = [
        campaign(subject, flips=1), campaign(subject, flips=10), campaign(subject, seed=6), campaign(subject, samples=19),
        campaign(build(folder, seed=1, scratch=tmp_path)), campaign(build(folder, shift=0.5, scratch=tmp_path)),
        campaign(build(folder, score=replace(SCORE, id="other"), scratch=tmp_path)),
        campaign(build(folder, score=replace(SCORE, direction="higher"), scratch=tmp_path)),
        campaign(replace(subject, codes=codes)), campaign(replace(subject, formats=formats)), campaign(replace(subject, x=moved)),
        replace(campaign(subject), space=subject.space(("weight",))),
    ]  # fmt: skip
    names = [one.file for one in (campaign(subject), *others)]
    assert len(set(names)) == len(names)
    assert campaign(build(folder, scratch=tmp_path)).file == names[0], "the same campaign has the same name in another process"
    assert campaign(build(folder)).file is None
    assert build(folder, seed=1).identity != subject.identity, "the head counts by itself, not by the clean scores alone"


CHILD = """
import sys, time
from dataclasses import replace
from pathlib import Path
from flow.robustness import _campaign
from tests.robustness.test_campaign import build, campaign

_campaign.PIECE, _campaign.KEEP_SECONDS = 5, 0.2
folder, made = Path(sys.argv[1]), open(sys.argv[1] + "/made", "a")
plain = campaign(build(folder, scratch=folder / "scratch"))

def make(trials):
    time.sleep(float(sys.argv[2]) * len(trials))
    print(*trials.tolist(), file=made, sep="\\n", flush=True)
    return plain.make(trials)

values = replace(plain, make=make).run(200, lambda fraction, text: None)
(folder / "values").write_bytes(values.tobytes())
"""


def child(folder, seconds):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(seconds)], env=environment, cwd=ROOT, start_new_session=True)


def trials_made(folder):
    file = folder / "made"
    return [int(trial) for trial in file.read_text().split()] if file.is_file() else []


def test_a_killed_process_loses_little_and_ends_in_the_same_bytes(folder, tmp_path):
    """Each trial takes 10 ms, and trials are kept every 0.2 s: a kill loses at most these 20, the piece of 5 it comes in and one before."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process, end = child(tmp_path, 0.01), time.monotonic() + 60
    while len(trials_made(tmp_path)) < 70 and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 70 <= len(trials_made(tmp_path)) < 200
    assert child(tmp_path, 0.0).wait(60) == 0
    (tmp_path / "whole").mkdir()
    undisturbed = campaign(build(folder, scratch=tmp_path / "whole"))
    assert (tmp_path / "values").read_bytes() == undisturbed.run(200, **QUIET).tobytes()
    assert (scratch / undisturbed.file.name).read_bytes() == undisturbed.file.read_bytes()
    made = np.bincount(trials_made(tmp_path), minlength=200)
    assert len(made) == 200
    assert made.min() == 1
    assert (made - 1).sum() <= 30, "trials that were made twice"
