"""Upsets of pipeline registers: the model against the simulated Verilog bit by bit, and the stage."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flow.config import DataConfig, DesignPoint, HardwareConfig, NetworkConfig, RegistersConfig, RobustnessConfig
from flow.core.errors import ConfigError, InvalidInput, MismatchError
from flow.core.stage import Job, Stage
from flow.gate import words
from flow.model import Dataset
from flow.rtl import injection, verilog
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.rtl.simulate import simulator
from flow.rtl.upsets import Register, StageLogic, pipeline
from flow.stages import upsets
from flow.stages.data import write_dataset
from flow.twin import load_twin
from tests.rtl import test_stages, tiny
from tests.rtl.conftest import PART
from tests.rtl.test_simulate import missing

exported = test_stages.exported  # the fixture
TOOLS = simulator()
TOY = Stage("toy", lambda job: None, tools=TOOLS)
SETTINGS = {"part": PART, "clock_ns": 4.0, "logic_per_stage": 3.0}
needs_simulator = pytest.mark.skipif(missing(TOOLS), reason="there is no simulator")


def made(graph, folder, seed=0, samples=24):
    lowered = lower(graph)
    x = tiny.inputs(np.random.default_rng(seed), graph, samples)
    manifest = verilog.write(lowered, graph, folder, **SETTINGS)
    return SimpleNamespace(folder=folder, lowered=lowered, x=x, y=lowered.predict(x), manifest=manifest)


def test_a_flipped_bit_is_that_bit_of_the_code():
    register = Register("r", np.array([3, 0, 4]), np.array([1, 0, -1]), np.array([True, False, False]))
    values = np.array([[-2.0, 0, 30], [1.5, 0, 6]])
    expected = [[-1.5, 0, 30], [-1, 0, 30], [0, 0, 30], [-2, 0, 28], [-2, 0, 26], [-2, 0, 22], [-2, 0, 14]]
    assert register.flip(values[[0] * 7], np.arange(7)).tolist() == expected  # codes -4 and 15
    assert register.flip(values[1:], np.array([2])).tolist() == [[-0.5, 0, 6]], "code 3 with its sign bit is -1"


def alone(model, case):
    """The same pipeline as alkaid's interpreter alone computes it: it keeps what does not fit a word."""
    fsm = verilog.pipelined(case.lowered.logic, PART, 4.0, 3.0)
    return dataclasses.replace(model, stages=tuple(StageLogic(fsm.logic[f"logic{i}"]) for i in range(len(model.stages))))


@needs_simulator
@pytest.mark.parametrize("name", ["convolution", "image"])
def test_the_model_is_the_verilog_for_every_register_bit(name, tmp_path):
    """Every bit once, other samples before and behind. Words go out of their ranges and wrap; one graph has tables and a maximum."""
    case = made(getattr(tiny, name)(np.random.default_rng(2)), tmp_path / "v")
    model = pipeline(case.lowered, case.folder, **SETTINGS)
    assert np.array_equal(model.outputs(case.x)[0], case.y)
    bits = np.arange(model.ends[-1])
    sample = np.random.default_rng(1).integers(0, len(case.x), len(bits))
    if name == "convolution":  # where it matters that words wrap
        every, x = np.repeat(bits, len(case.x)), np.concatenate([case.x] * len(bits))
        wraps = (alone(model, case).outputs(x, every)[0] != model.outputs(x, every)[0]).any(axis=1).reshape(len(bits), -1)
        assert wraps.any(axis=1).sum() > 3
        sample = np.where(wraps.any(axis=1), wraps.argmax(axis=1), sample)
    outputs, unknown = model.outputs(case.x[sample], bits)
    assert unknown.any() == (name == "image")
    bits, sample, outputs = bits[~unknown], sample[~unknown], outputs[~unknown]
    rows, at = injection.schedule(case.manifest.latency, len(bits), len(case.x))
    rows[at] = sample
    expected = case.y[rows]
    expected[at] = outputs
    got, _ = injection.inject(tiny.job(TOY, tmp_path / "job"), case.folder, case.x[rows], at, *model.locate(bits), expected, TOOLS)
    assert np.array_equal(got, expected)
    last = model.locate(bits)[0] == len(model.stages)
    assert (outputs[last] != case.y[sample[last]]).sum(axis=1).tolist() == [1] * last.sum(), "behind the last stage there is no logic"
    assert 0.1 < (outputs != case.y[sample]).any(axis=1).mean() < 1, "some flips are masked"


def test_the_result_does_not_depend_on_the_size_of_a_batch(tmp_path):
    case = made(tiny.dense(np.random.default_rng(2)), tmp_path / "v")
    model = pipeline(case.lowered, case.folder, **SETTINGS)
    bits = np.random.default_rng(0).integers(0, model.ends[-1], len(case.x))
    small = dataclasses.replace(model, memory=1)
    assert np.array_equal(model.outputs(case.x, bits)[0], small.outputs(case.x, bits)[0])


def test_each_upset_has_a_cycle_of_its_own_and_others_around():
    rows, at = injection.schedule(5, 7, 3)
    assert (np.diff(at) >= 5).all()
    assert sorted(rows[rows < 0]) == [*range(-7, 0)]
    assert at[0] >= 2
    assert len(rows) - at[-1] >= 2
    assert rows[at].tolist() == [-1 - k for k in range(7)]


def test_verilog_of_another_network_or_form_is_refused(small, tmp_path):
    other = lower(tiny.changed(small.graph, "fc"))
    with pytest.raises(InvalidInput, match="not the Verilog of the lowered network"):
        pipeline(other, small.folder, **SETTINGS)
    with pytest.raises(InvalidInput, match="in which no upset"):
        injection.registers("always @(posedge clk) begin a[3:0] <= b[3:0]; end")
    twice = np.array([1, 0])
    with pytest.raises(InvalidInput, match="two upsets in one"):
        job = tiny.job(TOY, tmp_path)
        injection.inject(job, small.folder, small.x, twice, 1 - twice, twice, small.y, TOOLS)


def test_words_are_put_back_as_the_twin_has_them():
    image = np.random.default_rng(0).random((5, 3, 2, 4))
    assert np.array_equal(upsets.images(words(image), image.shape[1:]), image)
    assert np.array_equal(upsets.images(words(image[:, :, 0, 0]), (3,)), image[:, :, 0, 0])


def test_of_each_register_as_many_are_picked_as_there_are():
    register = np.array([2, 0, 2, 2, 3, 0, 1])  # 3: not to be picked
    assert register[upsets.pick(register, 3, 5)].tolist() == [2, 0, 1, 2, 0]
    assert len(upsets.pick(register, 3, 99)) == 6


@pytest.fixture(scope="module")
def trained(exported, tmp_path_factory):
    """The artifacts of a point."""
    folder = tmp_path_factory.mktemp("trained")
    for name, source in (("qonnx", "net.onnx"), ("lowered", "lowered.npz")):
        (folder / name).write_bytes((exported / source).read_bytes())
    case = made(Graph.load(folder / "lowered"), folder / "verilog")
    rng, twin = np.random.default_rng(3), load_twin(folder / "qonnx")
    x = (rng.random((40, 4)) * 1.9).astype(np.float32)  # not on the grid of the input words
    with torch.no_grad():
        y = twin(twin.params, torch.from_numpy(x)).numpy() + rng.normal(0, 0.2, (40, 3)).astype(np.float32)
    parts = ("train", "validation", "test")
    write_dataset(folder / "dataset", Dataset(dict.fromkeys(parts, x), dict.fromkeys(parts, y), {"targets": "values"}))
    (folder / "head").write_bytes(b"")
    return SimpleNamespace(folder=folder, case=case, twin=twin, x=x, y=y)


def job_of(trained, folder, flips=3000, **config):
    point = DesignPoint.model_construct(
        model="", network=NetworkConfig(), data=DataConfig(), registers=RegistersConfig(flips=flips, rtl_flips=60),
        robustness=RobustnessConfig(**config), hardware=HardwareConfig(part=PART, clock_ns=4.0, logic_per_stage=3.0),
    )  # fmt: skip
    (folder / "out").mkdir()
    inputs = {name: trained.folder / name for name in upsets.STAGE.reads}
    return Job(upsets.STAGE, point, inputs, folder / "out", folder / "scratch", folder / "log", folder / "replay")


def exact(trained):
    """Degradation and whether a word changed, of every bit in every sample, each flip by itself."""
    model = pipeline(trained.case.lowered, trained.case.folder, **SETTINGS)
    x = np.clip(np.round(trained.x * 16.0), 0, 31) / 16
    clean = trained.case.lowered.predict(x)
    score = np.square(clean - trained.y).mean(axis=1)
    worse, changed = [], []
    for bit in range(model.ends[-1]):
        outputs, _ = model.outputs(x, np.full(len(x), bit))
        worse.append(np.square(outputs.astype(np.float32).astype(float) - trained.y).mean(axis=1) - score)
        changed.append((outputs != clean).any(axis=1))
    return model, np.array(worse), np.array(changed), score.mean()


@needs_simulator
def test_the_stage_measures_what_all_flips_do(trained, tmp_path):
    job = job_of(trained, tmp_path, tolerance=0.5)
    upsets.run(job)
    model, worse, changed, clean = exact(trained)
    figures = {name: metric.value for name, metric in job.metrics.items()}
    assert figures["register_bits"] == worse.shape[0] == model.ends[-1]
    assert (figures["gate_upsets_mismatches"], figures["gate_upsets_samples"]) == (0, 61 * trained.case.manifest.latency)
    truth = {
        "mse_register_flip_1": worse.mean(), "register_flip_changed_percent": 100 * changed.mean(),
        "register_flip_visible_percent": 100 * (worse >= 0.5 * clean)[changed].sum() / changed.size,
        "mse_register_flip_1_p95": np.quantile(worse, 0.95),
    }  # fmt: skip
    for name, value in truth.items():
        low, high = job.metrics[name].ci
        assert low - 0.5 * (high - low) <= value <= high + 0.5 * (high - low), name
        assert low < figures[name] < high
        assert f"3000 draws of {len(worse)} register bits and 40 samples" in job.metrics[name].source
    with np.load(job.out / "upsets") as archive:
        found = dict(archive)
    visible = figures["register_flip_visible_percent"] / 100 * len(worse)
    days = {name: metric for name, metric in job.metrics.items() if name.startswith("register_days_to_visible_")}
    assert days["register_days_to_visible_leo_sram"].value == pytest.approx(1 / (4.04e-7 * visible))
    assert len(days) == len(found["upsets_environments"]) > 1
    assert "flip-flop" in days["register_days_to_visible_leo_sram"].source
    assert found["upsets_bits"].sum() == len(worse)
    assert found["upsets_names"].tolist()[:: len(model.stages)] == ["model_inp_reg", "model_out"]
    assert (found["upsets_degradation"] * found["upsets_draws"]).sum() / 3000 == pytest.approx(figures["mse_register_flip_1"])
    assert (found["upsets_changed"] * found["upsets_draws"]).sum() / 30 == pytest.approx(figures["register_flip_changed_percent"])


@pytest.mark.parametrize(("row", "words"), [("hit", "Register that was hit: model_out"), ("other", "a sample beside"), (None, "unknown")])
def test_verilog_that_differs_is_no_result(trained, tmp_path, monkeypatch, row, words):
    def wrong(job, verilog, x, at, register, place, expected, tools):
        got = expected.copy()
        if row:
            got[at[register == register.max()][0] if row == "hit" else 0, 1] += 2.0**-6
        return got, np.full(len(x), row is None)

    monkeypatch.setattr(injection, "inject", wrong)
    with pytest.raises(MismatchError, match=words):
        upsets.run(job_of(trained, tmp_path))


def test_what_cannot_work_is_refused_before_any_work():
    for settings, why in (({"registers": {"flips": 1}}, "no confidence interval"), ({"robustness": {"environment": "moon"}}, "moon")):
        with pytest.raises(ConfigError, match=why):
            upsets.check(DesignPoint.model_validate({"model": "econ_t", **settings}))
    assert "driver" in upsets.sources(DesignPoint.model_validate({"model": "econ_t"}))
