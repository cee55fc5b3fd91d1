"""Paths between networks: closed forms, permutations that are known, gradients against autograd and finite differences."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import _alignment, _curve, mode_connectivity
from flow.landscape._alignment import align
from flow.landscape._channels import find_channels
from flow.landscape._curve import Ends, bernstein, curve_gradient, straight, train
from flow.landscape._problem import Problem, build_problem
from flow.landscape.mode_connectivity import T, dips, rises
from flow.model import load_model
from flow.twin import load_twin
from tests.qonnx_models import Builder, write_mlp

CONFIG = LandscapeConfig(connectivity_epochs=3)


def quiet(fraction, text):
    return None


def squared(output, target):
    return (output - target).square().flatten(1).mean(1)


def problem_of(path, head=None, n=64, learnt=False):
    """A network, and targets: random, or what it computes, so that its loss is 0."""
    twin = load_twin(path)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0, 1.5, (n, *twin.input_shape)).astype(np.float32))
    output = twin(twin.params, x).to(torch.float32)
    output = output if head is None else head(output)
    y = output if learnt else torch.from_numpy(rng.normal(size=output.shape).astype(np.float32))
    return build_problem(twin, head, squared, x, y)


def head_of(*modules, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*(make() for make in modules)).requires_grad_(requires_grad=False)


@pytest.fixture
def problems(tmp_path):
    """Three networks on the same data, of which the last has other scales than the first two."""
    paths = [write_mlp(tmp_path / f"{seed}.onnx", (4, 6, 3), bits=5 if seed == 2 else 4, seed=seed) for seed in range(3)]
    heads = [head_of(lambda: nn.Linear(3, 7), nn.Tanh, lambda: nn.Linear(7, 2), seed=seed) for seed in range(3)]
    return [problem_of(path, head) for path, head in zip(paths, heads, strict=True)]


def ends_of(first, second):
    return Ends(first, second, np.arange(len(first.point)))


def moved(problem, index):
    """The same network with its parameters in another order."""
    parts = problem.split(torch.from_numpy(problem.point[index][None]))
    return replace(problem, params={name: part[0] for name, part in parts.items()}, records={})


def shuffled(problem, seed=2):
    channels, rng = find_channels(problem), np.random.default_rng(seed)
    return channels.index(problem, {group: rng.permutation(size) for group, size in channels.sizes.items()})


# --- curves


def test_bernstein_polynomials():
    t = np.linspace(0, 1, 7)
    np.testing.assert_allclose(bernstein(t, 3), np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1))
    np.testing.assert_allclose(bernstein(t, 5).sum(1), 1)
    np.testing.assert_allclose(bernstein(t, 2), np.stack([1 - t, t], axis=1))


def test_a_curve_begins_as_the_straight_line(problems):
    ends = ends_of(*problems[:2])
    np.testing.assert_allclose(bernstein(T, 5) @ straight(ends, 5), bernstein(T, 2) @ ends.points, atol=1e-12)


def test_the_ends_are_the_networks_themselves_with_their_own_scales(problems):
    first, _, third = problems
    losses = ends_of(first, third).losses(T, bernstein(T, 2) @ ends_of(first, third).points)
    for row, problem in ((losses[0], first), (losses[-1], third)):
        np.testing.assert_array_equal(row, problem.sample_losses(problem.point[None])[0])
        np.testing.assert_allclose(row, problem.per_sample(problem.params).detach().numpy(), rtol=1e-5)
    assert losses.shape == (26, 64)


@dataclass(frozen=True)
class Hill(Problem):
    """Minus half of the squared distance from a point, the same for every sample but for a factor."""

    def _losses(self, points, quantize):
        return -0.5 * np.square(points - 0.3).sum(1)[:, None] * np.linspace(0.5, 1.5, len(self.x))


def test_barrier_of_a_quadratic(problems):
    """L(t) = -|theta(t) - c|^2 / 2 is above its chord by t (1 - t) |a - b|^2 / 2."""
    first, second = (Hill(**{name: getattr(p, name) for name in Problem.__dataclass_fields__}) for p in problems[:2])
    ends = ends_of(first, second)
    losses = ends.losses(T, bernstein(T, 2) @ ends.points)
    distance = np.square(first.point - second.point).sum()
    assert rises(losses).mean() == pytest.approx(0.48 * 0.52 * distance / 2)
    assert rises(-losses).mean() == 0, "a valley has no barrier"
    np.testing.assert_allclose(rises(losses), 0.48 * 0.52 * distance / 2 * np.linspace(0.5, 1.5, 64))


def test_mc_of_a_barrier_is_negative_and_of_a_dip_positive():
    path = (4 * T * (1 - T))[:, None]
    assert dips(path).mean() == pytest.approx(-4 * 0.48 * 0.52)
    assert dips(-path).mean() == pytest.approx(4 * 0.48 * 0.52)
    tilted = 2 * T[:, None]
    assert rises(tilted).mean() == 0
    assert abs(dips(tilted).mean()) == pytest.approx(1.0), "the paper's figure takes a slope for a barrier"


@pytest.mark.parametrize("order", ["as they are", "another"])
def test_gradient_of_the_curve_is_that_of_autograd(order, problems):
    """Through the polynomials, the order of the channels, the quantizers and the head at once."""
    first, _, third = problems
    ends = Ends(first, third, shuffled(third) if order == "another" else np.arange(len(first.point)))
    nodes = straight(ends, 4) + 0.1 * np.random.default_rng(0).normal(size=(4, len(first.point)))
    samples = [np.arange(0, 20), np.arange(20, 64)]
    leaf = torch.from_numpy(nodes).requires_grad_()
    total = torch.zeros(())
    for t, some in zip((0.3, 0.7), samples, strict=True):
        point = (torch.from_numpy(bernstein(np.array([t]), 4)) @ leaf)[0]
        problem = first if t < 0.5 else third
        own = point if t < 0.5 else torch.empty_like(point).index_put((torch.from_numpy(ends.order),), point)
        parts = {name: part[0] for name, part in problem.split(own[None]).items()}
        total = total + problem.losses(parts, problem.x[some], problem.y[some]).mean() / 2
    (expected,) = torch.autograd.grad(total, leaf)
    gradient = curve_gradient(ends, nodes, (0.3, 0.7), samples)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-6)


def test_gradient_of_the_curve_against_finite_differences(problems):
    def smooth(params, x, y):
        total = sum((0.5 * (p - 0.2).square()).sum() + (0.3 * p).sum() for p in params.values())
        return total * x.flatten(1).mean(1)

    first, second = (replace(p, losses=smooth) for p in problems[:2])
    ends, samples = ends_of(first, second), [np.arange(10), np.arange(10, 30)]
    nodes, ts = straight(ends, 3), (0.2, 0.9)

    def value(inner):
        points = bernstein(np.array(ts), 3) @ np.stack([nodes[0], inner, nodes[2]])
        parts = [0.5 * np.square(p - 0.2).sum() + 0.3 * p.sum() for p in points]
        factors = [float(first.x[s].flatten(1).mean(1).double().mean()) for s in samples]
        return np.mean([p * f for p, f in zip(parts, factors, strict=True)])

    gradient, rng = curve_gradient(ends, nodes, ts, samples)[1], np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=len(nodes[1]))
        slope = (value(nodes[1] + 1e-4 * direction) - value(nodes[1] - 1e-4 * direction)) / 2e-4
        assert gradient @ direction == pytest.approx(slope, rel=1e-4)


def test_training_moves_the_bends_and_lowers_the_barrier(tmp_path):
    """Between a network without loss and one that has its channels in another order."""
    problem, seen = problem_of(write_mlp(tmp_path / "m.onnx", (4, 6, 3)), learnt=True), {}
    ends = ends_of(problem, moved(problem, shuffled(problem)))
    nodes = straight(ends, 4)
    train(ends, nodes, 60, np.random.default_rng(0), lambda epoch, now: seen.update({epoch: now.copy()}))
    assert list(seen) == list(range(61))
    assert np.array_equal(seen[0], nodes)
    assert all(np.array_equal(now[[0, -1]], nodes[[0, -1]]) for now in seen.values()), "the ends stay"
    assert (np.abs(seen[60] - nodes)[1:-1].max(axis=1) > 0.01).all(), "every bend is trained"
    before, after = (rises(ends.losses(T, bernstein(T, 4) @ seen[epoch])).mean() for epoch in (0, 60))
    assert before > 0.01
    assert after < 0.7 * before


def test_every_step_trains_both_halves_and_an_epoch_every_sample(problems, monkeypatch):
    ends, steps = ends_of(*problems[:2]), []

    def record(ends, nodes, t, samples):
        steps.append((t, samples))
        return np.zeros_like(nodes)

    monkeypatch.setattr(_curve, "curve_gradient", record)
    monkeypatch.setattr(_curve, "BATCH", 16)
    train(ends, straight(ends, 3), 50, np.random.default_rng(0), lambda epoch, nodes: None)
    t = np.array([one for one, _ in steps])
    assert t.shape == (200, 2)
    np.testing.assert_allclose([t.min(0), t.max(0)], [[0, 0.5], [0.5, 1]], atol=0.02)
    for epoch in range(50):
        parts = [part for _, samples in steps[4 * epoch : 4 * epoch + 4] for part in samples]
        assert sorted(np.concatenate(parts)) == list(range(64))
        assert {len(part) for part in parts} == {8}


# --- symmetry


def residual(b):
    y = b.quant("x", 5, 0.0625, signed=0)
    rng = np.random.default_rng(0)
    weights = [b.weight(rng.uniform(-1, 1, shape)) for shape in ((6, 2, 3, 3), (6, 6, 1, 1), (5, 6, 1, 1), (3, 45))]
    trunk = b.quant(b.node("Relu", b.conv(y, weights[0], kernel_shape=[3, 3])), 5, 0.25, signed=0)
    branch = b.quant(b.conv(trunk, weights[1], kernel_shape=[1, 1]), 5, 0.25)
    y = b.quant(b.node("Relu", b.node("Add", trunk, branch)), 5, 0.5, signed=0)
    y = b.quant(b.node("Relu", b.conv(y, weights[2], kernel_shape=[1, 1])), 5, 0.5, signed=0)
    return b.node("Gemm", b.node("Flatten", y), weights[3], transB=1)


def depthwise(b):
    rng = np.random.default_rng(0)
    weights = [b.weight(rng.uniform(-1, 1, shape)) for shape in ((4, 2, 1, 1), (4, 1, 3, 3), (3, 4))]
    biases = [b.weight(rng.uniform(-0.5, 0.5, 4), 8, 2.0**-6, narrow=0) for _ in range(2)]
    y = b.conv(b.quant("x", 5, 0.0625, signed=0), weights[0], biases[0], kernel_shape=[1, 1])
    y = b.quant(b.node("Relu", y), 5, 0.25, signed=0)
    y = b.quant(b.conv(y, weights[1], biases[1], kernel_shape=[3, 3], group=4), 5, 0.25)
    y = b.node("Flatten", b.node("MaxPool", y, kernel_shape=[3, 3], strides=[3, 3]))
    return b.node("MatMul", y, b.node("Transpose", weights[2], perm=[1, 0]))


def joined(b):
    rng = np.random.default_rng(0)
    weights = [b.weight(rng.uniform(-1, 1, shape)) for shape in ((4, 2, 3, 3), (3, 2, 3, 3), (5, 7, 3, 3), (2, 5))]
    y = b.quant("x", 5, 0.0625, signed=0)
    parts = [b.quant(b.conv(y, w, kernel_shape=[3, 3]), 5, 0.25) for w in weights[:2]]
    y = b.conv(b.node("Concat", *parts, axis=1), weights[2], kernel_shape=[3, 3])
    return b.node("Gemm", b.node("Flatten", b.quant(y, 5, 0.5)), weights[3], transB=1)


def channel_scales(b):
    rng = np.random.default_rng(0)
    scales = 2.0 ** -rng.integers(1, 4, (6, 1))
    y = b.quant("x", 5, 0.0625, signed=0)
    y = b.node("Gemm", y, b.quant(b.constant(rng.uniform(-1, 1, (6, 2))), 4, scales, 1, 1), transB=1)
    bias = b.quant(b.constant(rng.uniform(-1, 1, 6)), 8, 0.0625)
    y = b.quant(b.node("Relu", b.node("Add", y, bias)), 5, 0.125, signed=0)
    return b.node("Gemm", y, b.weight(rng.uniform(-1, 1, (3, 6))), transB=1)


GRAPHS = {
    "residual": (residual, (2, 5, 5), [6, 5]), "depthwise": (depthwise, (2, 5, 5), [4]), "joined": (joined, (2, 5, 5), [5]),
    "channel scales": (channel_scales, (2,), [6]),
}  # fmt: skip


def graph_of(name, folder):
    build, shape, sizes = GRAPHS[name]
    b = Builder(*shape)
    return problem_of(b.save(folder / "m.onnx", build(b)), learnt=True), sizes


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "channel scales"])
def test_permuted_channels_compute_the_same(name, tmp_path):
    problem, sizes = graph_of(name, tmp_path)
    assert sorted(find_channels(problem).sizes.values()) == sorted(sizes)
    index = shuffled(problem)
    assert not np.array_equal(problem.point[index], problem.point)
    values = {name: part[0] for name, part in problem.split(torch.from_numpy(problem.point[index][None])).items()}
    outputs = [problem.twin({n.removeprefix("chip."): v for n, v in params.items()}, problem.x) for params in (problem.params, values)]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("model", ["econ_t", "classifier"])
def test_channels_go_on_through_the_head(model, tmp_path):
    if model == "econ_t":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head, sizes = load_model("econ_t").off_chip("baseline").requires_grad_(requires_grad=False), [5, 16, 8, 8]
    else:
        head, sizes = head_of(lambda: nn.Linear(16, 9), nn.ReLU, lambda: nn.Linear(9, 2)), [5, 16, 9]
    problem = problem_of(write_mlp(tmp_path / "m.onnx", (4, 5, 16)), head)
    assert sorted(find_channels(problem).sizes.values()) == sorted(sizes)
    again = problem.sample_losses(problem.point[shuffled(problem)][None])
    np.testing.assert_allclose(again, problem.sample_losses(problem.point[None]), rtol=1e-4)


def test_a_head_that_is_not_understood_keeps_its_order(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(x.flip(1))

    with torch.random.fork_rng():
        for head in (Own(), nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2))):
            problem = problem_of(write_mlp(tmp_path / "m.onnx", (4, 6, 3)), head.requires_grad_(requires_grad=False))
            assert list(find_channels(problem).sizes.values()) == [6]


@pytest.mark.parametrize("name", GRAPHS)
def test_alignment_undoes_a_permutation_exactly(name, tmp_path):
    """The barrier to a network with permuted channels is 0 after alignment, and was not before."""
    problem, _ = graph_of(name, tmp_path)
    second = moved(problem, shuffled(problem))
    index = align(problem, problem.point, second.point, np.random.default_rng(0))
    np.testing.assert_array_equal(second.point[index], problem.point)
    if name == "channel scales":  # the formats of the copy would have to be permuted, too
        return
    line = bernstein(T, 2)
    before, after = ends_of(problem, second), Ends(problem, second, index)
    assert rises(before.losses(T, line @ before.points)).mean() > 1e-3
    assert rises(after.losses(T, line @ after.points)).mean() == pytest.approx(0, abs=1e-12)


def test_more_starts_come_closer(tmp_path, monkeypatch):
    """Networks that are no copies: a single start ends in a local optimum that is often not the best."""
    found = [problem_of(write_mlp(tmp_path / f"{seed}.onnx", (4, 10, 10, 3), seed=seed), n=2) for seed in range(5)]
    reached = {}
    for starts in (1, 16):
        monkeypatch.setattr(_alignment, "STARTS", starts)
        for i, other in enumerate(found[1:]):
            index = align(found[0], found[0].point, other.point, np.random.default_rng(0))
            reached[starts, i] = found[0].point @ other.point[index]
    gains = np.array([reached[16, i] / reached[1, i] for i in range(4)])
    assert (gains >= 1 - 1e-12).all()
    assert (gains > 1.001).sum() >= 2


def test_scales_of_channels_move_with_them(tmp_path):
    """Two files of one network, one with its channels and their scales permuted: the barrier is 0 after alignment."""
    order = np.random.default_rng(3).permutation(6)
    found = []
    for index in (np.arange(6), order):
        rng = np.random.default_rng(0)
        b = Builder(2)
        scales = 2.0 ** -rng.integers(1, 4, (6, 1))[index]
        w, bias, last = rng.uniform(-1, 1, (6, 2))[index], rng.uniform(-1, 1, 6)[index], rng.uniform(-1, 1, (3, 6))[:, index]
        y = b.node("Gemm", b.quant("x", 5, 0.0625, signed=0), b.quant(b.constant(w), 4, scales, 1, 1), transB=1)
        y = b.quant(b.node("Relu", b.node("Add", y, b.quant(b.constant(bias), 8, 0.0625))), 5, 0.125, signed=0)
        found.append(problem_of(b.save(tmp_path / "m.onnx", b.node("Gemm", y, b.weight(last), transB=1))))
    np.testing.assert_array_equal(*(p.sample_losses(p.point[None]) for p in found))
    ends = Ends(*found, align(found[0], found[0].point, found[1].point, np.random.default_rng(0)))
    losses = ends.losses(T, bernstein(T, 2) @ ends.points)
    np.testing.assert_array_equal(losses, np.repeat(losses[:1], len(T), axis=0))


# --- the metric


def test_every_figure(problems):
    before = [p.point for p in problems]
    metrics = mode_connectivity.compare(problems, CONFIG, np.random.default_rng(0), quiet)
    names = ("linear", "aligned", "mc", "curve", "curve_0", "curve_1")
    assert set(metrics) == {f"mode_connectivity_{name}" for name in names}
    assert all(m.ci[0] <= m.value <= m.ci[1] and "3 pairs" in m.source and "seeds" in m.source for m in metrics.values())
    assert "32 samples" in metrics["mode_connectivity_curve"].source
    assert all(np.array_equal(p.point, old) for p, old in zip(problems, before, strict=True))
    line, held = [], []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        ends = ends_of(problems[i], problems[j])
        losses = ends.losses(T, bernstein(T, 2) @ ends.points)
        for values, mean in ((line, losses.mean(1)), (held, losses[:, 1::2].mean(1))):
            values.append(max(mean - (1 - T) * mean[0] - T * mean[-1]))
    assert metrics["mode_connectivity_linear"].value == pytest.approx(np.mean(line))
    assert metrics["mode_connectivity_curve_0"].value == pytest.approx(np.mean(held)), "on samples that the curve was not trained on"
    records = problems[0].records
    assert set(records) == {"mode_connectivity_t"} | {f"mode_connectivity_{name}" for name in names if name != "mc"}
    assert all(paths.shape == (3, 26) for name, paths in records.items() if name != "mode_connectivity_t")


def test_order_and_memory_change_nothing(problems):
    first = mode_connectivity.compare(problems, CONFIG, np.random.default_rng(0), quiet)
    small = mode_connectivity.compare([replace(p, memory=1) for p in problems], CONFIG, np.random.default_rng(0), quiet)
    assert {k: m.value for k, m in small.items()} == pytest.approx({k: m.value for k, m in first.items()}, rel=1e-6)
    turned = [p.subset(np.arange(64)[::-1].copy()) for p in problems]
    for others in (turned, problems[::-1]):
        again = mode_connectivity.compare(others, CONFIG, np.random.default_rng(0), quiet)
        for name in ("mode_connectivity_linear", "mode_connectivity_mc"):
            assert again[name].value == pytest.approx(first[name].value, rel=1e-6)


def test_a_network_and_itself_are_connected(problems):
    for name, metric in mode_connectivity.compare([problems[0]] * 2, CONFIG, np.random.default_rng(0), quiet).items():
        assert "1 pair, " in metric.source
        assert "over samples" in metric.source
        if name in ("mode_connectivity_linear", "mode_connectivity_aligned", "mode_connectivity_mc"):
            assert metric.value == pytest.approx(0, abs=1e-9)


def test_without_epochs_there_is_no_curve(problems):
    config = LandscapeConfig(connectivity_epochs=0)
    metrics = mode_connectivity.compare(problems[:2], config, np.random.default_rng(0), quiet)
    assert set(metrics) == {f"mode_connectivity_{name}" for name in ("linear", "aligned", "mc")}
