"""Exactly the asked bits change: counted in two's complement patterns, and in the values that the twin and compiled code compute with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flow.core.errors import ConfigError
from flow.landscape._engine import build_engine
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import Builder

INPUTS, OUTPUTS, MASKS = 3, 2, 1000
KINDS = {"signed": (1, 0), "narrow": (1, 1), "unsigned": (0, 0), "channels": (1, 1)}


def scales(kind, width):
    """The scale of each row of the weights, and that of the biases."""
    return 2.0 ** -np.array([width, width + 2 * (kind == "channels")]), 2.0**-3


def network(folder, kind, width):
    """One layer whose output is the accumulator: y = w x + b, with words of one width."""
    signed, narrow = KINDS[kind]
    rows, bias = scales(kind, width)
    rng = np.random.default_rng(width)
    b = Builder(INPUTS)
    weight = b.quant(
        b.constant(rng.uniform(-signed, 1, (OUTPUTS, INPUTS))), width, rows[:, None] if kind == "channels" else rows[0], signed, narrow
    )
    offset = b.quant(b.constant(rng.uniform(-signed, 1, OUTPUTS)), width, bias, signed, narrow)
    return load_twin(b.save(folder / "m.onnx", b.node("Gemm", b.quant("x", 4, 0.25, signed=0), weight, offset, transB=1)))


def probe(twin, folder=None):
    """A subject that scores the single numbers: sample (i, j) is output i of the j-th unit vector, or of zero, which is weight and bias.

    With a folder, compiled code computes them.
    """
    vectors = np.concatenate([np.eye(INPUTS), np.zeros((1, INPUTS))]).astype(np.float32)
    x, y = np.tile(vectors, (OUTPUTS, 1)), np.repeat(np.eye(OUTPUTS, dtype=np.float32), len(vectors), axis=0)

    def loss(output, target):
        return (output * target).sum(1)

    problem = build_problem(twin, None, loss, *map(torch.from_numpy, (x, y)))
    if folder is not None:
        problem = replace(problem, engine=build_engine(twin, None, loss, problem.x, problem.y, folder))
    score = Score("value", "value", "", "lower", lambda o, t: (o * t).sum(1).astype(np.float64), lambda t: t.mean(0))
    return build_subject(twin, None, score, x, y, problem=problem)


def asked(space, bits):
    """Which bits of each word (W,) a set asks for, counted word by word in the order of the parameters."""
    table = [(word, place) for word, width in enumerate(space.widths) for place in range(width)]
    masks = [0] * len(space.words)
    for bit in bits:
        word, place = table[bit]
        masks[word] |= 1 << place
    return masks


def check(subject, kind, width, run=MASKS):
    """Count in all masks, and run some of them."""
    space, rng = subject.space(), np.random.default_rng(width)
    assert space.total == (INPUTS + 1) * OUTPUTS * width
    rows, bias = scales(kind, width)
    steps = np.concatenate([np.repeat(rows, INPUTS), np.full(OUTPUTS, bias)])
    assert [form.role for form in space.formats] == ["weight", "bias"]
    for flips in (1, 2, 5, 11):
        bits = np.stack([space.draw(rng, flips) for _ in range(MASKS // 4)])
        words = space.flipped(bits)
        changed = (words ^ space.words) & (2**width - 1)  # two's complement patterns
        assert (np.bitwise_count(changed).sum(axis=1) == flips).all()
        assert changed.tolist() == [asked(space, one) for one in bits]
        low, high = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if KINDS[kind][0] else (0, 2**width - 1)
        assert words.min() >= low
        assert words.max() <= high
        words = words[: run // 4]
        moved = subject.degradations(space, words, len(subject.x)).reshape(-1, OUTPUTS, INPUTS + 1)
        offset = moved[:, :, -1]
        got = np.concatenate([(moved[:, :, :-1] - offset[:, :, None]).reshape(len(words), -1), offset], axis=1)
        assert np.array_equal(got, (words - space.words) * steps)
        assert np.array_equal(space.flipped(bits)[: len(words)], words), "the deployed words are left as they were"
        assert np.array_equal(replace(space, words=words[0]).flipped(bits[:1])[0], space.words), "the same flips again bring them back"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", range(2, 13))
def test_exactly_the_asked_bits_change(tmp_path, kind, width):
    check(probe(network(tmp_path, kind, width)), kind, width, 100)


@pytest.mark.parametrize(("kind", "width"), [("channels", 5), ("unsigned", 12)])
def test_compiled_code_computes_with_the_same_values(tmp_path, kind, width):
    check(probe(network(tmp_path, kind, width), tmp_path), kind, width)


def test_a_flip_reaches_the_code_that_a_narrow_quantizer_never_makes(tmp_path):
    space = probe(network(tmp_path, "narrow", 3)).space()
    assert space.words.min() > -4
    assert space.flipped(np.arange(space.total)[:, None]).min() == -4


def test_stuck_bits_and_bits_listed_twice(tmp_path):
    space = probe(network(tmp_path, "signed", 4)).space()
    everything = np.arange(space.total)[None]
    assert (space.stuck(everything, 0) == 0).all()
    assert (space.stuck(everything, 1) == -1).all()
    assert np.array_equal(space.flipped(np.array([[3, 3]]))[0], space.words)
    assert not np.array_equal(space.flipped(np.array([[3, 4]]))[0], space.words)
    with pytest.raises(ConfigError, match=f"{space.total} bits only"):
        space.draw(np.random.default_rng(0), space.total + 1)
