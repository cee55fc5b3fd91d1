"""The stage `import`: what it checks, writes and measures."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flow import gate
from flow.core.errors import InvalidInput, NotTrained
from flow.core.state import Failure
from flow.imported.execute import execute
from flow.imported.tasks import TASKS
from flow.results import point_result, request_failure
from flow.stages.data import read_dataset
from flow.twin import load_twin
from tests.imported.networks import GOOD, inputs, outputs, write_data, write_signed
from tests.qonnx_models import write_mlp


@pytest.mark.parametrize("targets", ["classes", "values", "none"])
def test_stage(world, tmp_path, targets):
    network = write_mlp(tmp_path / "net.onnx", seed=GOOD)
    path = write_data(tmp_path / "d.npz", network, targets)
    state, point, store = world(network, path)
    assert not state.failures
    assert (state.metrics["gate_twin_mismatches"].value, state.metrics["gate_twin_samples"].value) == (0, 32)
    assert state.metrics["samples_test"].value == 240
    assert state.metrics["samples_clipped"].value == 0
    data = read_dataset(state.paths["dataset"])
    with np.load(path) as given:
        order_ = np.lexsort(given["x"].T), np.lexsort(data.x["test"].T)
        assert np.array_equal(given["x"][order_[0]], data.x["test"][order_[1]]), "the same samples in another order"
        assert not np.array_equal(given["x"], data.x["test"])
        said = outputs(load_twin(network), data.x["test"])
        if targets == "classes":
            assert state.metrics["accuracy"].value == (said.argmax(1) == data.y["test"].argmax(1)).mean()
            assert np.array_equal(np.bincount(data.y["test"].argmax(1)), np.bincount(given["y"]))
            assert state.metrics["accuracy_trivial"].value == np.bincount(given["y"]).max() / 240
        elif targets == "values":
            assert state.metrics["mse"].value == pytest.approx(0.05**2, rel=0.2)
            assert state.metrics["mse_trivial"].value == pytest.approx(given["y"].astype(np.float32).var(axis=0).mean())
        else:
            assert np.array_equal(data.y["test"], said)
            assert not {"accuracy", "mse", "output_change"} & set(state.metrics), "a score of 0 by construction is no measurement"
    result = point_result(point, state, store, "")
    assert result.notes["compared_with"] == TASKS[targets].words
    assert (result.config["model"], result.config["onnx"], result.config["data"]["path"]) == ("net.onnx", "net.onnx", "d.npz")
    assert result.weight_bits is None
    assert str(tmp_path) not in json.dumps(result.to_json())
    assert "seed" not in request_failure(point, Failure("import", "MissingInput", ""), "").config


def test_samples_and_clipping(world, tmp_path):
    network = write_mlp(tmp_path / "net.onnx")
    x = inputs(load_twin(network), 300)
    x[:, 0] = -1
    np.save(tmp_path / "d.npy", x)
    state, _, _ = world(network, tmp_path / "d.npy", "data.samples=200")
    assert (state.metrics["samples_test"].value, state.metrics["samples_clipped"].value) == (200, 200)


def test_content_counts_and_place_does_not(world, tmp_path):
    network = write_mlp(tmp_path / "net.onnx", seed=GOOD)
    data = write_data(tmp_path / "d.npz", network)
    first, _, _ = world(network, data)
    (tmp_path / "other").mkdir()
    moved = [shutil.copy(p, tmp_path / "other" / f"moved{p.suffix}") for p in (network, data)]
    again, _, _ = world(*moved, "name=b")
    assert again.results["import"].key == first.results["import"].key
    assert again.results["import"].cached
    other, _, _ = world(write_mlp(tmp_path / "other.onnx", seed=GOOD, clip=1.5), data)
    assert other.results["import"].key != first.results["import"].key


def test_a_network_that_is_no_better_than_a_constant(world, tmp_path):
    network = write_mlp(tmp_path / "net.onnx", seed=GOOD)
    x = inputs(load_twin(network))
    np.savez(tmp_path / "d.npz", x=x, y=np.random.default_rng(0).integers(0, 3, len(x)))
    state, point, store = world(network, tmp_path / "d.npz")
    assert state.failures[0].error == NotTrained.__name__
    assert "Prepare the inputs as for its training" in state.failures[0].message
    assert point_result(point, state, store, "").status == "untrained"


def test_a_twin_that_differs_is_seen(world, tmp_path, monkeypatch):
    """One code of the second layer is one higher for the second execution."""
    network = write_mlp(tmp_path / "net.onnx", seed=GOOD)
    model = onnx.load(network)
    gemm = [n for n in model.graph.node if n.op_type == "Gemm"][1]
    quant = next(n for n in model.graph.node if n.output[0] == gemm.input[1])
    tensor = next(t for t in model.graph.initializer if t.name == quant.input[0])
    value = numpy_helper.to_array(tensor).copy()
    value[1, 2] += 0.125 if value[1, 2] < 0.7 else -0.125
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    from flow.imported import execute as module

    original, layers = module.execute, module.execute_layers
    monkeypatch.setattr(module, "execute", lambda path, x: original(tmp_path / "other.onnx", x))
    monkeypatch.setattr(module, "execute_layers", lambda path, x: layers(tmp_path / "other.onnx", x))
    state, _, _ = world(network, write_data(tmp_path / "d.npz", network))
    failure = state.failures[0]
    assert failure.error == "MismatchError"
    assert f"gate: level 'twin' differs from 'onnx' in {int(state.metrics['gate_twin_mismatches'].value)} of 32 samples" in failure.message
    assert f"first: layer {gemm.name}," in failure.message
    assert ", output 1:" in failure.message


@pytest.mark.parametrize("lower", [False, True])
def test_signed_inputs(world, tmp_path, lower):
    network = write_signed(tmp_path / "net.onnx")
    if lower:  # Brevitas exports some modes so
        model = onnx.load(network)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "rounding_mode":
                    attribute.s = attribute.s.lower()
        onnx.save(model, network)
    state, _, _ = world(network, write_data(tmp_path / "d.npz", network, "values"))
    assert not state.failures
    x, y = gate.read_vectors(state.paths["vectors"])
    assert x.min() < 0 < x.max()
    assert np.array_equal(execute(network, x), y)


def test_tensors_elsewhere_are_refused(world, tmp_path):
    network = write_mlp(tmp_path / "net.onnx", sizes=(4, 40, 3))
    np.save(tmp_path / "d.npy", inputs(load_twin(network)))
    onnx.save(onnx.load(network), network, save_as_external_data=True, location="t.bin", size_threshold=16)
    with pytest.raises(InvalidInput, match="some tensors lie in other files"):
        world(network, tmp_path / "d.npy")


def test_an_exact_network_is_not_approximated(world, tmp_path):
    network = write_signed(tmp_path / "net.onnx")
    state, _, _ = world(network, write_data(tmp_path / "d.npz", network, "none"), "network.allow_approximate=true")
    assert not state.failures
    assert not [name for name in state.metrics if name.startswith("approximation")]


@pytest.mark.parametrize("targets", ["classes", "values"])
def test_approximation(world, tmp_path, targets):
    """The errors are those of the second execution of both files, and everything behind belongs to the approximated one."""
    exact = write_signed(tmp_path / "exact.onnx")
    data = write_data(tmp_path / "d.npz", exact, targets)
    network = write_signed(tmp_path / "net.onnx", weight_scale=0.11)
    with pytest.raises(InvalidInput, match="not a power of two"):
        world(network, data)
    state, _, _ = world(network, data, "network.allow_approximate=true")
    assert not state.failures
    x = read_dataset(state.paths["dataset"]).x["test"].astype(np.float64)
    was, is_ = execute(network, x), execute(state.paths["qonnx"], x)
    assert load_twin(state.paths["qonnx"])
    found = {name.removeprefix("approximation_"): m for name, m in state.metrics.items() if name.startswith("approximation_")}
    assert found["max_error"].value == np.abs(is_ - was).max() > 0
    assert found["rms_error"].value == pytest.approx(np.sqrt(np.mean((is_ - was) ** 2)))
    assert found["rms_error"].ci[0] < found["rms_error"].value < found["rms_error"].ci[1]
    changed = (is_.argmax(1) != was.argmax(1)).mean() if targets == "classes" else (is_ != was).mean()
    assert found["changed_fraction"].value == pytest.approx(changed)
    x, y = gate.read_vectors(state.paths["vectors"])
    assert np.array_equal(execute(state.paths["qonnx"], x), y)
