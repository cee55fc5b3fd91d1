"""The promise of the tool: zero differing values from Brevitas to RTL, and a planted error of one LSB is named at its level."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from flow.config import DesignPoint, GateConfig, LandscapeConfig, RobustnessConfig
from flow.core.errors import MismatchError
from flow.core.plan import order, run_point
from flow.core.stage import Job
from flow.core.state import State
from flow.core.store import Store
from flow.points import build_point
from flow.results import gate_of
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.rtl.verilog import write
from flow.stages import all_stages, load_stage

SMALL = {"model": "econ_t", "name": "gate", "data": {"samples": 3000}, "train": {"pretrain_epochs": 6, "epochs": 2}}


def small_point(seed: int = 0, **network: object) -> DesignPoint:
    return build_point({**SMALL, "seed": seed, "network": {"size": "small", **network}}, "test")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all workers: it is made for many processes."""
    base = tmp_path_factory.getbasetemp()
    return Store((base.parent if "popen" in base.name else base) / "store")


def run(point: DesignPoint, store: Store, until: str = "rtlsim") -> State:
    return run_point(order(all_stages(), until), point, store)


BITS, ROUNDINGS, SEEDS = (3, 4, 6, 8, 12), ("FLOOR", "ROUND"), (0, 1, 2)
# Half of all combinations, in which every two of width, rounding mode and seed meet: a network is half a minute of work.
NETWORKS = [(bits, ROUNDINGS[(i + seed) % 2], seed) for i, bits in enumerate(BITS) for seed in SEEDS]


@pytest.mark.parametrize(("bits", "rounding", "seed"), NETWORKS)
def test_no_value_differs_from_brevitas_to_rtl(store: Store, bits: int, rounding: str, seed: int) -> None:
    state = run(small_point(seed, weight_bits=bits, rounding=rounding), store)
    assert [f.message for f in state.failures] == []
    gate = gate_of(state.metrics)
    assert gate is not None
    assert gate["mismatches"] == 0
    assert {level: v["samples"] for level, v in gate["levels"].items()} == {"twin": 4096, "csim": 4096, "alkaid": 4096, "rtl": 256}


@pytest.fixture(scope="session")
def good(store: Store) -> State:
    state = run(small_point(weight_bits=4), store)
    assert not state.failures
    return state


def execute(stage_id: str, state: State, tmp_path: Path, replaced: dict[str, Path]) -> str:
    """Run one stage on the good point's artifacts, some of them replaced, and return the message of the gate."""
    stage = load_stage(stage_id)
    inputs = {name: replaced.get(name, state.paths[name]) for name in stage.reads}
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    job = Job(stage, small_point(weight_bits=4), inputs, tmp_path / "out", tmp_path / "scratch", tmp_path / "log", tmp_path / "replay")
    with pytest.raises(MismatchError) as caught:
        stage.run(job)
    level = {"export": "twin", "rtl": "alkaid", "rtlsim": "rtl"}.get(stage_id, stage_id)
    assert job.metrics[f"gate_{level}_mismatches"].value > 0
    assert list((tmp_path / "out").glob("*_gate")) == []
    return str(caught.value)


def off_by_one_lsb(state: State, path: Path) -> Path:
    """Write the lowered graph with one weight of the dense layer off by one LSB."""
    graph = Graph.load(state.paths["lowered"])
    layers = []
    for layer in graph.layers:
        weights = dict(layer.weights)
        if layer.kind == "Dense":
            values, kept = weights["weight"]
            changed = values.copy()
            codes = changed * 2.0**kept.fraction
            busiest = np.unravel_index(int(np.argmin(codes)), codes.shape)
            changed[busiest] += 2.0**-kept.fraction
            weights["weight"] = (changed, kept)
        layers.append(replace(layer, weights=weights))
    replace(graph, layers=tuple(layers)).save(path)
    return path


def test_an_lsb_planted_in_the_export_is_named(good: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flow.quant import export as module

    original = module.export

    def planted(network: object, example: object, path: Path, log: object) -> dict[str, int]:
        changes = original(network, example, path, log)
        model = onnx.load(str(path))
        weight = next(i for i in model.graph.initializer if len(i.dims) == 2 and np.prod(i.dims) > 16)
        quant = next(n for n in model.graph.node if n.input[0] == weight.name)
        scale = float(onnx.numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == quant.input[1])))
        values = onnx.numpy_helper.to_array(weight).copy()
        values[np.unravel_index(int(np.argmin(np.abs(values))), values.shape)] += scale  # a code that is not clipped
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        onnx.save(model, str(path))
        return changes

    monkeypatch.setattr(module, "export", planted)
    message = execute("export", good, tmp_path, {})
    assert "level 'twin' differs from 'brevitas'" in message
    assert "layer Gemm_0" in message


def test_an_lsb_planted_in_the_c_plus_plus_is_named(good: State, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(good.paths["project"], project)
    largest = max((project / "firmware" / "weights").glob("w*.txt"), key=lambda p: p.stat().st_size)
    words = largest.read_text().split(",")
    lowest = int(np.argmin([float(w) for w in words]))
    lsb = min(abs(float(w)) for w in words if float(w))
    words[lowest] = f"{float(words[lowest]) + lsb:.20f}"
    largest.write_text(",".join(words))
    message = execute("csim", good, tmp_path, {"project": project})
    assert "level 'csim' differs from 'twin'" in message
    assert "layer Gemm_0" in message or "layer Quant" in message


def test_an_lsb_planted_in_the_logic_is_named(good: State, tmp_path: Path) -> None:
    message = execute("rtl", good, tmp_path, {"lowered": off_by_one_lsb(good, tmp_path / "lowered.npz")})
    assert "level 'alkaid' differs from 'twin'" in message
    assert "layer Gemm_0" in message or "layer Quant" in message


def test_an_lsb_planted_in_the_verilog_is_named(good: State, tmp_path: Path) -> None:
    wrong = lower(Graph.load(off_by_one_lsb(good, tmp_path / "lowered.npz")))
    graph = Graph.load(good.paths["lowered"])
    hardware = small_point().hardware
    write(wrong, graph, tmp_path / "verilog", part=hardware.part, clock_ns=hardware.clock_ns, logic_per_stage=hardware.logic_per_stage)
    message = execute("rtlsim", good, tmp_path, {"verilog": tmp_path / "verilog"})
    assert "level 'rtl' differs from 'alkaid'" in message


def test_no_resource_of_a_point_that_fails_the_gate_is_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from flow.hls import csim

    original = csim.Csim.run
    monkeypatch.setattr(csim.Csim, "run", lambda self, x: original(self, x) + np.eye(1, 16) * 2.0**-9)
    measured = {
        "landscape": LandscapeConfig(metrics=("gradient_norm",), samples=64),
        "robustness": RobustnessConfig(perturbations=("gauss",), samples=64, noise_draws=2),
    }
    point = small_point(weight_bits=4).model_copy(update={"gate": GateConfig(samples=512, rtl_samples=32), **measured})
    state = run_point(all_stages(), point, store)
    assert [f.stage for f in state.failures] == ["csim"]
    assert state.results["synth"].status == "skipped"
    assert state.results["landscape"].status == "ok"
    assert "lut" not in state.metrics
