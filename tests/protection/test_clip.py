"""Bounded activations: the twin, the lowered graph, and what bounds buy, against all bits one by one."""

import numpy as np
import pytest
import torch

from flow.protection import clipping
from flow.protection.clip import Clipped, bounded_graph, bounds
from flow.protection.criticality import Criticality
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.stages import harden
from tests.protection.conftest import SAMPLES, lowered
from tests.rtl import tiny


@pytest.fixture(scope="module")
def limits(built):
    return bounds(built.twin, built.data.x["train"])


def outputs(twin, x):
    with torch.no_grad():
        return twin(twin.params, torch.from_numpy(x.astype(np.float32))).numpy()


def test_bounds_are_the_range_on_the_samples(built, limits):
    layers = built.twin.layers(built.twin.params, torch.from_numpy(built.data.x["train"]))
    hidden, last = list(built.twin.activation_formats)[1:]
    assert set(limits) == {hidden, last}
    for name in limits:
        values = layers[name].numpy()
        assert limits[name][0] == pytest.approx(values.min(axis=0))
        assert limits[name][1] == pytest.approx(values.max(axis=0))


def test_samples_within_the_bounds_stay_as_they_are_and_others_do_not(built, limits):
    clipped, train = Clipped(built.twin, limits), built.data.x["train"]
    assert np.array_equal(outputs(clipped, train), outputs(built.twin, train))
    wild = np.random.default_rng(1).uniform(0, 2, (200, 4)).astype(np.float32)
    bounded, last = outputs(clipped, wild), list(limits)[-1]
    assert (bounded != outputs(built.twin, wild)).any()
    assert (bounded >= limits[last][0] - 1e-9).all()
    assert (bounded <= limits[last][1] + 1e-9).all()


def test_the_lowered_graph_has_the_same_bounds(built, limits, tmp_path):
    graph = lowered(built.twin)
    x = tiny.inputs(np.random.default_rng(2), graph, 500)
    made = bounded_graph(graph, built.twin, limits, x[:16])
    assert [layer.name for layer in made.layers] == ["in", "fc1", "act", "act_bound", "fc2", "out", "out_bound"]
    assert made.layers[4].inputs == ("act_bound",)
    made.save(tmp_path / "bounded.npz")
    got = lower(Graph.load(tmp_path / "bounded.npz")).predict(x)
    assert np.array_equal(got, outputs(Clipped(built.twin, limits), x))
    assert (got != lower(graph).predict(x)).any()


def test_what_bounds_buy_is_what_all_flips_say(built, limits, monkeypatch):
    subject, space = built.subject, built.subject.space()
    found = Criticality(built.harm, 0.1 * subject.clean[:SAMPLES].mean(), SAMPLES)
    clipped = Clipped(built.twin, limits)
    truth = []
    for words in space.flipped(np.arange(space.total)[:, None]):
        with torch.no_grad():
            out = clipped.forward_codes({**subject.codes, **space.codes(words)}, torch.from_numpy(subject.x[:SAMPLES]))
        truth.append((subject.score.per_sample(out.numpy(), subject.targets[:SAMPLES]) - subject.clean[:SAMPLES]).mean())
    truth = np.array(truth)
    result = clipping.left(subject, limits, found, np.random.default_rng(0))
    assert result.degradation[0] == pytest.approx(truth.mean(), abs=1e-7)
    assert result.visible[0] == pytest.approx(100 * ((truth >= found.threshold) & (truth > 0)).mean())
    assert truth.mean() < built.harm.mean(), "bounds buy something on this network"
    monkeypatch.setattr(clipping, "WORST", 60)
    monkeypatch.setattr(clipping, "DRAWN", 60)
    draws = [clipping.left(subject, limits, found, np.random.default_rng(seed)).degradation for seed in range(20)]
    assert sum(low <= truth.mean() <= high for _, (low, high) in draws) >= 16
    assert len({value for value, _ in draws}) > 10


def test_the_stage_builds_and_prices_the_bounded_network(built, harden_job):
    job = harden_job("clip")
    harden.run(job)
    assert job.metrics["harden_clip_lut"].value > 0
    assert job.metrics["harden_clip_lut"].part == job.metrics["harden_clip_ff"].part != ""
    assert job.metrics["harden_clip_degradation"].ci is None, "all bits were flipped"
    assert job.metrics["harden_clip_degradation"].value < job.metrics["harden_bare_degradation"].value
    with np.load(job.output("hardened"), allow_pickle=False) as file:
        assert file["harden_clip_lut"] == [job.metrics["harden_clip_lut"].value + built.total["lut"]]
    assert (job.output("hardened_rtl") / "clip" / "manifest.json").is_file()


def test_a_network_that_uses_all_codes_has_no_bounds_and_pays_nothing(built, harden_job, monkeypatch):
    monkeypatch.setattr(clipping, "bounds", lambda twin, x: {})
    job = harden_job("clip")
    harden.run(job)
    assert job.metrics["harden_clip_lut"].value == job.metrics["harden_clip_ff"].value == job.metrics["harden_clip_clean"].value == 0
    assert job.metrics["harden_clip_degradation"].value == pytest.approx(built.harm.mean())
