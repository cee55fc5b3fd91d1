import numpy as np
import pytest
import torch

from flow.config import NetworkConfig
from flow.model import load_model
from flow.quant.layers import FloatLayers, fold_norms

MODEL = load_model("plasma")


def build(size="baseline"):
    """The network as it is deployed, with batch normalisation folded."""
    torch.manual_seed(0)
    network = MODEL.on_chip(FloatLayers(NetworkConfig()), size).double().eval()
    fold_norms(network)
    return network


def multiplications(network):
    """Products of one image, counted on the layers as they run."""
    count = []

    def look(module, _inputs, output):
        count.append(output[0].numel() * module.weight[0].numel())

    hooks = [m.register_forward_hook(look) for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    network(torch.rand(1, 1, 32, 32, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    return sum(count)


@pytest.mark.parametrize(("size", "parameters", "products"), [("small", 1318, 62_144), ("baseline", 12_916, 581_120)])
def test_sizes(size, parameters, products):
    network = build(size)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert multiplications(network) == products
    assert network(torch.rand(3, 1, 32, 32, dtype=torch.float64)).shape == (3, 2)


def test_normalisation_keeps_all_filters_alive():
    """Frames are positive and nearly alike; without normalisation most filters of a fresh network end up answering 0 to all."""
    torch.manual_seed(0)
    network = MODEL.on_chip(FloatLayers(NetworkConfig()), "baseline")
    assert sum(p.numel() for p in network.parameters()) == 12_916 + 2 * (16 + 16 + 24 + 42 + 64)
    out = 0.27 + 0.03 * torch.rand(64, 1, 32, 32)
    for layer in network:
        out = layer(out)
        if isinstance(layer, torch.nn.ReLU):
            assert (out.transpose(0, 1).flatten(1).amax(dim=1) > 0).all()


def test_constants():
    assert MODEL.sizes == ("small", "baseline")
    assert MODEL.input_max == 1.0
    assert MODEL.off_chip("baseline") is None


def test_loss_by_closed_form():
    output = torch.tensor([[1.0, 2.0], [0.5, -0.5]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(MODEL.loss(output, target), [2.0, 0.25])
    assert MODEL.loss(output, target).dtype == torch.float64


def test_loss_can_be_transformed():
    output, target = torch.randn(4, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def one(o, t):
        return MODEL.loss(o[None], t[None])[0]

    torch.testing.assert_close(torch.func.vmap(torch.func.grad(one))(output, target), output - target)
    torch.testing.assert_close(torch.func.hessian(one)(output[0], target[0]), torch.eye(2, dtype=torch.float64))
