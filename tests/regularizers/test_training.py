"""A short training with a regularizer lowers what the regularizer measures, on samples it was not trained with.

Not for `sam`: ten epochs of this toy are too few for a difference that stands out from that between seeds.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import NetworkConfig
from flow.core.plugins import load
from flow.quant.calibrate import calibrate
from flow.quant.straight import StraightLayers, load_float, set_shifts
from flow.quant.training import Chain, fit
from flow.regularizers import Batch, combine
from tests.quant import toy

DATA, CONFIG, SEEDS = toy.dataset(samples=160), NetworkConfig(weight_bits=6), range(3)
X, Y = (torch.from_numpy(part["test"]) for part in (DATA.x, DATA.y))
TERMS = {
    "bit_flip": {"strength": 1.0, "flips": 8}, "input_noise": {"strength": 1.0, "sigma": 0.3}, "jacobian": {"strength": 0.05},
    "l1": {"strength": 0.01}, "l2": {"strength": 0.01}, "orthogonality": {"strength": 0.01},
    "spectral": {"strength": 0.02}, "weight_noise": {"strength": 1.0, "sigma": 4.0},
}  # fmt: skip


def train(chain, seed, folder, penalty=None, epochs=10):
    folder.mkdir()
    config = toy.TRAIN.model_copy(update={"learning_rate": 0.01})
    rng = lambda purpose: np.random.default_rng([seed, *purpose.encode()])  # noqa: E731
    fit(chain, DATA, toy.TASK, config, epochs, rng, folder / "checkpoint", lambda f, t: None, penalty=penalty)
    return chain


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """Quantized networks with trained float weights."""
    made, folder = [], tmp_path_factory.mktemp("floats")
    for seed in SEEDS:
        chain, layers = toy.floats(CONFIG, seed)
        train(chain, seed, folder / str(seed), epochs=20)
        scales = calibrate(chain.on_chip, layers, torch.from_numpy(DATA.x["train"]), toy.INPUT_MAX)
        made.append(Chain(toy.on_chip(StraightLayers(CONFIG, scales)), nn.Linear(3, 2)))
        load_float(made[-1], chain.state_dict())
    return made


@pytest.fixture(scope="module")
def plain(starts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return [train(copy.deepcopy(start), seed, folder / str(seed)) for seed, start in zip(SEEDS, starts, strict=True)]


def evaluate(chain, x, shifts):
    set_shifts(chain.on_chip, shifts)
    losses = toy.loss(chain(x), Y)
    set_shifts(chain.on_chip, {})
    return losses


def measure(chain, name, draws=20):
    """The penalty on the test samples without its strength, and the clean loss."""
    options = {key: value for key, value in TERMS[name].items() if key != "strength"}
    values = []
    for seed in range(draws):
        x = X.clone().requires_grad_()
        output = chain(x)
        info = Batch(chain.on_chip, x, output, torch.Generator().manual_seed(seed), toy.loss(output, Y), lambda x, s: evaluate(chain, x, s))
        values.append(float(load("regularizers", name).penalty(info, **options).detach()))
    return np.mean(values), float(info.loss.detach().mean())


@pytest.mark.parametrize("name", TERMS)
def test_it_lowers_what_it_measures(name, starts, plain, tmp_path):
    ours = [
        train(copy.deepcopy(start), seed, tmp_path / str(seed), combine({name: TERMS[name]}))
        for seed, start in zip(SEEDS, starts, strict=True)
    ]
    with_it, without = (np.array([measure(chain, name) for chain in chains]) for chains in (ours, plain))
    assert with_it[:, 0].mean() < 0.9 * without[:, 0].mean()
    if name == "bit_flip":
        assert with_it.sum(axis=1).mean() < without.sum(axis=1).mean(), "the loss with faults falls, clean loss and all"
