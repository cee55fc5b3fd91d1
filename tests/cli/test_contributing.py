"""The examples of CONTRIBUTING.md do what the page says."""

import importlib.util
import inspect
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from flow.config import DesignPoint, LandscapeConfig, RobustnessConfig
from flow.core.plan import order, run_point
from flow.core.plugins import load
from flow.core.store import Store
from flow.core.tool import YOSYS, run
from flow.landscape._problem import Problem
from flow.rtl.ports import Manifest, Port, Word
from flow.stages import all_stages
from flow.synth._parts import find_part
from tests.cli.conftest import TINY
from tests.examples import FILES, PAGE, write_model
from tests.regularizers.networks import alone, layer

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {
    "flow/regularizers/grid.py": ("regularizers", "l1", ["penalty"]),
    "flow/landscape/test_loss.py": ("landscape", "hessian_trace", ["measure"]),
    "flow/robustness/dead_inputs.py": ("robustness", "gauss", ["draw", "apply", "measure"]),
    "flow/synth/flat.py": ("synth", "open", ["plan", "read"]),
    "flow/quant/repairs/name_nodes.py": ("quant.repairs", "strip_metadata", ["apply"]),
}


@pytest.fixture
def example(tmp_path):
    def module(path: str):
        file = tmp_path / Path(path).name
        file.write_text(FILES[path])
        spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return module


def test_every_example_is_tested():
    model = {f"models/sums/{name}" for name in ("network.py", "data.py", "score.py", "point.toml")}
    assert set(FILES) == {*PLUGINS, *model, "flow/stages/zeros.py"}


@pytest.mark.parametrize("path", PLUGINS)
def test_contract(example, path):
    group, other, functions = PLUGINS[path]
    ours, theirs = example(path), load(group, other)
    assert ours.TITLE
    for name in functions:
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(theirs, name))


def test_paths_of_the_table_exist():
    for path in re.findall(r"`(flow/[\w/.]+?)(?:<id>\.py)?`", PAGE):
        assert (ROOT / path).exists() or path in FILES, path


def test_regularizer(example):
    network = layer(torch.tensor([[1.1, -0.3]]), bits=4, exponent=-2)
    value = example("flow/regularizers/grid.py").penalty(alone(network))
    value.backward()
    assert float(value.detach()) == pytest.approx((0.4**2 + 0.2**2) / 2)
    assert network.weight.grad.flatten().tolist() == pytest.approx([0.4 * 4, -0.2 * 4])


def test_metric(example):
    class Loss(Problem):
        def __init__(self):
            self.__dict__["params"] = {"chip.w": torch.tensor(2.0)}

        def per_sample(self, params):
            return params["chip.w"] * torch.arange(4.0)

    problem = Loss()
    metric = example("flow/landscape/test_loss.py").measure(problem, LandscapeConfig(), np.random.default_rng(0), lambda f, t: None)[
        "test_loss"
    ]
    assert metric.value == 3.0
    assert metric.ci[0] < 3.0 < metric.ci[1]


def test_perturbation(example):
    class Subject:
        x = np.ones((1000, 10), np.float32)
        clean = np.full(1000, 10.0)
        score = type("Score", (), {"id": "sum", "title": "sum", "unit": "", "direction": "lower"})

        def score_inputs(self, x):
            return x.sum(axis=1).astype(float)

        def degradation(self, scores):
            return 10 - scores

    config = RobustnessConfig(noise_percent=(50.0,), noise_draws=2)
    metrics = example("flow/robustness/dead_inputs.py").measure(Subject(), config, np.random.default_rng(0), lambda f, t: None)
    assert metrics["sum_dead_inputs_50"].value == pytest.approx(5, abs=0.2)


ADDER = """module adder(input clk, input [7:0] x, output reg [7:0] y);
always @(posedge clk) y <= x + {x[3:0], x[7:4]};
endmodule
"""


def test_backend(example, tmp_path):
    backend = example("flow/synth/flat.py")
    port = Port("x", 8, (Word(0, 8, 0, False),))
    manifest = Manifest("adder", "clk", 1, 1, port, port, ("adder.v",), (), "y", "by hand")
    plan = backend.plan({"adder.v": ADDER}, manifest, find_part("xcku115"))
    plan.write(tmp_path)
    plan.execute(lambda command: run(YOSYS, command.args, cwd=tmp_path, log=tmp_path / "log"), 1)
    total = backend.read(tmp_path).total
    assert (total.lut, total.ff, total.carry) == (4, 8, 2), "bits i and i + 4 add the same two bits"


def test_repair(example):
    nodes = [helper.make_node("Relu", ["x"], ["y"], name=name) for name in ("a", "", "")]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert example("flow/quant/repairs/name_nodes.py").apply(model) == 2
    assert len({n.name for n in model.graph.node} - {""}) == 3
    assert isinstance(model, onnx.ModelProto)


def test_model(hlscape, tmp_path):
    folder = write_model(tmp_path / "models" / "sums")
    quick = [f"--set={text}" for text in ("data.samples=2000", "train.pretrain_epochs=5", "train.epochs=5", "gate.samples=64")]
    done = hlscape("run", folder / "point.toml", "--until", "convert", "--json", *quick)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["gate"]["levels"]["twin"] == {"mismatches": 0, "samples": 64}
    assert document["metrics"]["error"]["value"] < 0.5 * document["metrics"]["error_trivial"]["value"]


def test_stage(copy_without):
    store, names = copy_without(), {}
    # Under the name of a file of the package, because a stage is part of it.
    exec(compile(FILES["flow/stages/zeros.py"], str(ROOT / "flow" / "stages" / "csim.py"), "exec"), names)
    point = DesignPoint.model_validate_json(json.dumps(tomllib.loads(TINY)))
    state = run_point(order([*all_stages(), names["STAGE"]], "zeros"), point, Store(store))
    assert [r.stage for r in state.results.values() if not r.cached] == ["zeros"]
    assert 0 < state.metrics["zero_parameters"].value < 100
