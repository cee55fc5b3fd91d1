"""Brevitas -> QONNX file, and the repairs on the way."""

import io
import sys

import numpy as np
import onnx
import pytest
import torch

from flow.config import NetworkConfig
from flow.core.plugins import names
from flow.quant.export import ON_EXPORT, export, first_divergence, quiet
from flow.quant.repairs import rounding_names, strip_metadata
from flow.quant.training import predict_exactly
from flow.twin import load_twin
from tests.qonnx_models import Builder
from tests.quant import toy

X = toy.dataset().x["test"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    config = NetworkConfig(weight_bits=4, rounding="FLOOR")
    network = toy.brevitas(*(lambda chain, scales: (chain, config, scales))(*toy.quantized(config)))
    path = tmp_path_factory.mktemp("export") / "m.onnx"
    log = io.StringIO()
    return network, path, export(network, torch.from_numpy(X[:1]), path, log)


def test_file_is_the_network(exported):
    network, path, changes = exported
    twin = load_twin(path)
    with torch.no_grad():
        got = twin(twin.params, torch.from_numpy(X.astype(np.float64)))
    assert torch.equal(got, predict_exactly(network, X))
    assert set(changes) == set(ON_EXPORT) <= set(names("quant.repairs"))
    assert all(isinstance(n, int) for n in changes.values())
    assert changes["strip_metadata"] > 0
    assert list(path.parent.iterdir()) == [path], "one file, no external data"


def test_equal_networks_give_equal_files_without_paths(exported, tmp_path):
    network, path, _ = exported
    export(network, torch.from_numpy(X[1:2]), tmp_path / "again.onnx", io.StringIO())
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert b"site-packages" not in path.read_bytes()
    assert b".py" not in path.read_bytes()


def test_first_divergence(exported):
    network, path, _ = exported
    twin, sample = load_twin(path), torch.from_numpy(X[:1])
    assert first_divergence(network, twin, sample) == "output"
    relu = next(
        name for name in twin.layers(twin.params, sample) if "relu" in name.lower() or "act" in name.lower() or "quant" in name.lower()
    )
    with torch.no_grad():
        network[1].weight.neg_()
    try:
        found = first_divergence(network, twin, sample)
    finally:
        with torch.no_grad():
            network[1].weight.neg_()
    layers = list(twin.layers(twin.params, sample))
    assert relu in layers
    assert layers.index(found) == 1, "the input is the same, the first layer after it is not"


def test_quiet(capsys):
    log = io.StringIO()
    with quiet(log):
        sys.stdout.write("words\n")
    with pytest.raises(RuntimeError), quiet(log):
        raise RuntimeError
    sys.stdout.write("heard\n")
    assert log.getvalue() == "words\n"
    assert capsys.readouterr().out == "heard\n"


def test_rounding_names():
    b = Builder(3)
    y = b.quant(b.quant(b.quant("x", 4, 0.5, rounding_mode="floor"), 4, 0.5, rounding_mode="Round"), 4, 0.5)
    model = b.model(y)
    assert rounding_names.apply(model) == 2
    modes = [a.s for n in model.graph.node for a in n.attribute if a.name == "rounding_mode"]
    assert modes == [b"FLOOR", b"ROUND", b"ROUND"]
    assert rounding_names.apply(model) == 0


def test_strip_metadata():
    b = Builder(3)
    model = b.model(b.node("Relu", b.node("Neg", "x")))
    bare = model.SerializeToString()
    assert strip_metadata.apply(model) == 0
    model.doc_string = "m"
    model.graph.node[0].doc_string = "File /home/someone/model.py, line 3"
    entry = onnx.StringStringEntryProto(key="pkg.torch.onnx.stack_trace", value="File /home/someone/model.py")
    model.graph.node[1].metadata_props.append(entry)
    model.graph.input[0].doc_string = "i"
    model.graph.output[0].metadata_props.append(entry)
    assert strip_metadata.apply(model) == 5
    assert model.SerializeToString() == bare
