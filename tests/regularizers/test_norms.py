"""L1 and L2 of the on-chip weights."""

import torch
from torch import nn

from flow.regularizers import l1, l2
from tests.regularizers.networks import alone, layer


def test_closed_forms_and_gradients():
    network = nn.Sequential(layer(torch.tensor([[1.0, -2.0]])), nn.BatchNorm1d(1), layer(torch.tensor([[[[0.5, 0.0]]]])))
    for module, expected, slopes in ((l1, 3.5, ([[1, -1]], [[[[1, 0]]]])), (l2, 2.625, ([[1, -2]], [[[[0.5, 0]]]]))):
        network.zero_grad()
        value = module.penalty(alone(network))
        value.backward()
        assert float(value.detach()) == expected
        assert (network[0].weight.grad.tolist(), network[2].weight.grad.tolist()) == slopes
        assert network[1].weight.grad is None, "normalisations are no weights of the chip"


def test_clamped_weights_come_back():
    """The float weights count: a weight far outside of its range has no other gradient."""
    made = layer(torch.tensor([[3.0]]), bits=4, exponent=-3)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        l2.penalty(alone(made)).backward()
        optimizer.step()
    assert 0 < float(made.weight.detach()) < 0.02
