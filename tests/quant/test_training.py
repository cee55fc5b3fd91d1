"""Training is deterministic, goes on after a kill to the same bits, and stops early."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.config import TrainConfig
from flow.core.errors import NotTrained
from flow.quant.training import Chain, Task, fit, predict, rate, seeded
from flow.regularizers import combine
from tests.quant import toy

DATA = toy.dataset()


def draws(seed):
    return lambda purpose: np.random.default_rng([seed, *purpose.encode()])


def train(folder, epochs=6, seed=0, loss=toy.loss, score=toy.SCORE, progress=lambda f, t: None, penalty=None, config=toy.TRAIN, lost=False):
    chain, _ = toy.quantized()
    if lost:  # a new process; what it starts from must not matter
        for parameter in chain.parameters():
            parameter.data.fill_(float("nan"))
    history = fit(chain, DATA, Task(loss, score), config, epochs, draws(seed), folder / "checkpoint.pt", progress, penalty=penalty)
    return chain, history


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def folder(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_it_learns_and_keeps_the_best(tmp_path):
    told = []
    chain, history = train(tmp_path, epochs=8, progress=lambda fraction, text: told.append((fraction, text)))
    assert len(history.train) == 8
    assert len(history.validation) == 9
    assert history.best == int(np.argmin(history.validation)) > 0
    assert history.validation[history.best] < 0.5 * history.validation[0]
    assert history.train[-1] < history.train[0]
    output = predict(chain, DATA.x["validation"])
    assert float(toy.loss(output, torch.from_numpy(DATA.y["validation"])).mean()) == pytest.approx(history.validation[history.best])
    assert [f for f, _ in told] == [n / 8 for n in range(1, 9)]
    assert told[0][1].startswith("epoch 1/8, validation loss ")
    assert history.score == pytest.approx(history.validation, rel=1e-6), "the score of the toy is its loss"


def test_same_seed_same_bits(tmp_path):
    one, _ = train(folder(tmp_path, "1"), 2)
    torch.rand(3)
    two, _ = train(folder(tmp_path, "2"), 2)
    other, _ = train(folder(tmp_path, "3"), 2, seed=1)
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("penalty", [None, combine({"jacobian": 0.01, "orthogonality": 0.01})], ids=["plain", "regularized"])
@pytest.mark.parametrize("when", ["after epoch 1", "after epoch 4", "within epoch 3"])
def test_killed_and_resumed_is_bit_identical(tmp_path, when, penalty):
    whole, expected = train(folder(tmp_path, "whole"), penalty=penalty)
    broken = folder(tmp_path, "broken")
    calls = []

    def progress(fraction, text):
        if text.startswith(when.replace("after epoch ", "epoch ") + "/"):
            raise KeyboardInterrupt

    def loss(output, target):
        calls.append(1)
        if when == "within epoch 3" and len(calls) == 1 + 2 * 4 + 2:
            raise KeyboardInterrupt
        return toy.loss(output, target)

    with pytest.raises(KeyboardInterrupt):
        train(broken, progress=progress, penalty=penalty, loss=loss)
    resumed, history = train(broken, penalty=penalty, lost=True)
    assert history == expected
    assert same(resumed, whole)


def test_finished_training_is_not_repeated(tmp_path):
    whole, expected = train(tmp_path, 3)
    again, history = train(tmp_path, 3, progress=lambda f, t: pytest.fail("nothing is left to do"), lost=True)
    assert history == expected
    assert same(again, whole)


def test_early_stopping(tmp_path):
    start, _ = toy.quantized()
    flat = replace(toy.SCORE, per_sample=lambda output, target: np.ones(len(target)))
    chain, history = train(
        tmp_path,
        50,
        score=flat,
        loss=lambda o, t: 0 * o.sum(1) + 1,
        config=TrainConfig(batch=32, patience=3),
        penalty=combine({"orthogonality": 1.0}),
    )
    assert (len(history.train), history.best) == (3, 0), "nothing ever becomes better"
    assert same(chain, start), "so the weights that it began with are kept"


@pytest.mark.parametrize(("select", "sign"), [("score", 1), ("loss", 1), ("score", -1), ("last", -1)])
def test_the_kept_epoch_is_the_best_by_score_or_by_loss(tmp_path, select, sign):
    """The score is the number of calls, so the last epoch is the best of it, or the first if lower is better."""
    calls = []

    def count(output, target):
        calls.append(1)
        return np.full(len(target), float(len(calls)))

    score = replace(toy.SCORE, per_sample=count, direction="higher" if sign > 0 else "lower")
    _, history = train(tmp_path, 4, score=score, config=toy.TRAIN.model_copy(update={"select": select}))
    assert history.score == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert history.best == (int(np.argmin(history.validation)) if select == "loss" else 4 if sign > 0 or select == "last" else 0)


def test_nothing_to_score(tmp_path):
    score = replace(toy.SCORE, per_sample=lambda output, target: np.full(len(target), np.nan))
    with pytest.raises(NotTrained, match="Only 0 of 40 validation samples have a score"):
        train(tmp_path, 3, score=score)


def test_learning_rates():
    def rates(schedule):
        return [rate(TrainConfig(learning_rate=1.0, schedule=schedule), epoch, 10) for epoch in range(1, 11)]

    assert rates("constant") == [1.0] * 10
    assert rates("step") == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]
    cosine = rates("cosine")
    assert cosine[0] == 1.0
    assert cosine[5] == pytest.approx(0.5)
    assert cosine == sorted(cosine, reverse=True)
    assert 0 < cosine[-1] < 0.03


def test_no_epochs(tmp_path):
    start, _ = toy.quantized()
    chain, history = train(tmp_path, 0)
    assert (history.train, history.best, len(history.validation)) == ([], 0, 1)
    assert same(chain, start)


def test_penalty_moves_the_weights(tmp_path):
    plain, _ = train(folder(tmp_path, "1"), 3)
    penalty = combine({"orthogonality": 1.0})
    pushed, _ = train(folder(tmp_path, "2"), 3, penalty=penalty)

    def distance(chain):
        from flow.regularizers import Batch

        return float(penalty(Batch(chain.on_chip, None, None, None, None, None)).detach())

    assert distance(pushed) < 0.5 * distance(plain)


def test_seeded_puts_the_global_generator_back():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with seeded(np.random.default_rng(1)):
        one = torch.rand(2)
    assert torch.equal(before, torch.random.get_rng_state())
    with seeded(np.random.default_rng(1)):
        assert torch.equal(torch.rand(2), one)


def test_predict_in_pieces():
    chain, _ = toy.floats()
    x = DATA.x["test"]
    assert torch.allclose(predict(chain, x, batch=7), predict(chain, x), atol=1e-6)
    assert not predict(chain, x).requires_grad
    assert not chain.training


def test_chain_without_an_off_chip_part():
    chain = Chain(torch.nn.Flatten(), None)
    assert chain(torch.zeros(2, 1, 4, 4)).shape == (2, 16)
    assert list(chain.off_chip.state_dict()) == []
