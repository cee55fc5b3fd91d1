"""The twin is Brevitas: values, gradients and integers, on the file that Brevitas itself exports."""

import numpy as np
import pytest
import torch

from flow.twin import load_twin
from tests.qonnx_models import brevitas_network, export_brevitas


@pytest.fixture(scope="module", params=["ROUND", "FLOOR"])
def pair(request, tmp_path_factory):
    network = brevitas_network(request.param, clip=1.4)
    twin = load_twin(export_brevitas(network, tmp_path_factory.mktemp("b") / "net.onnx"))
    return network, twin


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(np.random.default_rng(1).uniform(-0.2, 1.4, (4096, 1, 8, 8)).astype(np.float32))


def values(output):
    return getattr(output, "value", output)


def test_every_value_is_equal(pair, x):
    network, twin = pair
    with torch.no_grad():
        expected, got = values(network(x)), twin(twin.params, x)
    assert len(expected.unique()) > 50
    assert int((expected != got).sum()) == 0


def test_every_gradient_is_equal(pair, x):
    network, twin = pair
    weight = torch.randn(5, generator=torch.Generator().manual_seed(0))
    network.zero_grad()
    ((values(network(x[:256])) @ weight).square().mean()).backward()
    params = {k: v.clone().requires_grad_() for k, v in twin.params.items()}
    ((twin(params, x[:256]) @ weight).square().mean()).backward()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(trained) == len(params) == 6
    clipped = 0
    for name, mine in params.items():
        theirs = next(p.grad for p in trained if p.shape == mine.shape and torch.equal(p.data, mine.data))
        assert float((mine.grad - theirs).norm() / theirs.norm()) < 1e-6
        clipped += int(((mine.grad == 0) & (mine.abs() > twin.weights[name].scale * twin.weights[name].high)).sum())
    assert clipped > 5  # the mask of the straight-through estimator was put to the test


def test_codes_are_the_integers_of_brevitas(pair):
    network, twin = pair
    theirs = [layer.quant_weight().int() for layer in network if hasattr(layer, "quant_weight") and layer.weight is not None]
    mine = [code for name, code in twin.codes(twin.params).items() if twin.weights[name].role == "weight"]
    assert len(theirs) == len(mine) == 3
    for a, b in zip(theirs, mine, strict=True):
        assert torch.equal(a.to(torch.int64), b)


def test_codes_forward_is_the_float_forward(pair, x):
    _, twin = pair
    assert torch.equal(twin.forward_codes(twin.codes(twin.params), x), twin(twin.params, x))


def test_batch_size_and_layers(pair, x):
    _, twin = pair
    whole = twin(twin.params, x[:7])
    assert torch.equal(whole, torch.cat([twin(twin.params, row[None]) for row in x[:7]]))
    layers = twin.layers(twin.params, x[:7])
    assert torch.equal(list(layers.values())[-1], whole)
    assert [name.split("_")[0] for name in layers] == ["Quant", "Conv", "Relu", "Quant", "Conv", "Relu", "Quant", "Gemm", "Quant"]
    assert twin.input_shape == (1, 8, 8)
    assert (twin.input_format.bits, twin.input_format.signed) == (6, False)
    assert twin.output_format is not None
    assert (twin.output_format.bits, twin.output_format.signed) == (7, True)
