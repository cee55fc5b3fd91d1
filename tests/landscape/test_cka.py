"""CKA and the debiased HSIC against the formulas with N x N matrices in float64, closed forms, and networks that are known to be alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from torch import nn

from flow.config import LandscapeConfig
from flow.landscape import _hsic, cka
from flow.landscape._hsic import Blocks, Sums, hsics
from flow.landscape._pairs import jackknife, over_pairs, pairs
from flow.landscape._problem import build_problem
from flow.twin import load_twin
from tests.qonnx_models import write_convolutions, write_mlp

CONFIG = LandscapeConfig()


def quiet(fraction, text):
    return None


def dense_hsic(x, y):
    """Song et al., equation 5, term by term."""
    k, q = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(q, 0)
    n, one = len(k), np.ones(len(k))
    ends = (one @ k @ one) * (one @ q @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ q) + ends - 2 / (n - 2) * (one @ k @ q @ one)) / (n * (n - 3))


def dense_cka(x, y):
    return dense_hsic(x, y) / np.sqrt(dense_hsic(x, x) * dense_hsic(y, y))


def features(n=70, p=6, q=4, seed=0):
    """Features that share a common part, with a mean far from zero."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return common @ rng.normal(size=(3, p)) + rng.normal(size=(n, p)) + 7, common @ rng.normal(size=(3, q)) + rng.normal(size=(n, q)) - 3


def run(x, y, memory=2**30, chunk=128, monkeypatch=None):
    """CKA and the values without a part of the samples, as the metric has them."""
    if monkeypatch is not None:
        monkeypatch.setattr(_hsic, "CHUNK", chunk)
    tasks = [("", 0, 0), ("", 1, 1), ("", 0, 1)]

    def chunks(count, size):
        step = max(1, memory // size)
        return [slice(start, start + step) for start in range(0, count, step)]

    found = hsics(lambda part: [{"": x[part]}, {"": y[part]}], len(x), tasks, chunks, lambda f: None)
    return cka.alignment(found, ("", 0, 1))


def test_is_the_formula_with_matrices():
    x, y = features()
    values = run(x, y)
    assert values[0] == pytest.approx(dense_cka(x, y), rel=1e-10)
    assert len(values) == 1 + _hsic.FOLDS
    for fold, value in enumerate(values[1:]):
        kept = np.arange(len(x)) % _hsic.FOLDS != fold
        assert value == pytest.approx(dense_cka(x[kept], y[kept]), rel=1e-9)


@pytest.mark.parametrize("chunk", [3, 8, 50])
def test_chunks_and_memory_change_nothing(chunk, monkeypatch):
    x, y = features()
    expected = run(x, y)
    np.testing.assert_allclose(run(x, y, 1, chunk, monkeypatch), expected, rtol=1e-10)


def test_order_of_the_samples_does_not_matter():
    x, y = features()
    assert run(x[::-1], y[::-1])[0] == pytest.approx(run(x, y)[0], rel=1e-10)


@pytest.mark.parametrize("wide", [False, True])
def test_rotated_scaled_and_shifted_features_are_the_same(wide, monkeypatch):
    if wide:
        monkeypatch.setattr(_hsic, "WIDEST", 2)
    x, _ = features()
    y = 0.01 * x @ ortho_group.rvs(x.shape[1], random_state=0) + 5
    np.testing.assert_allclose(run(x, y), 1.0, rtol=1e-9)
    assert run(x, (x - 7) ** 2)[0] < 0.9


def test_unrelated_features_have_none_on_average():
    """Debiased: the mean over draws is 0 within four standard errors, where the usual estimate is above 0.5."""
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(24, 20)), rng.normal(size=(24, 20))) for _ in range(200)]
    values = np.array([run(x, y)[0] for x, y in draws])
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5
    x, y = (part - part.mean(0) for part in draws[0])
    assert np.square(x.T @ y).sum() / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y) > 0.4


def test_hsic_of_gaussians_is_that_of_the_population():
    """For y = x A with x standard normal, the population HSIC is the squared norm of A; the estimate is unbiased."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 5))
    values = []
    for _ in range(300):
        x = rng.normal(size=(30, 3))
        sums = Sums(3, 5, 4)
        sums.add(x, x @ a)
        values.append(sums.values()[0])
    values = np.array(values)
    assert values.mean() == pytest.approx(np.square(a).sum(), abs=4 * values.std() / len(values) ** 0.5)
    assert values.std() / len(values) ** 0.5 < 0.05 * np.square(a).sum()


def test_wide_features_are_averaged_over_blocks():
    x, y = features(n=50)
    blocks = Blocks(12)
    for part in np.split(np.arange(50), [5, 31]):
        blocks.add(x[part], y[part])
    expected = [dense_hsic(x[start : start + 12], y[start : start + 12]) for start in (0, 12, 24, 36)]
    values = blocks.values()
    assert values[0] == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(values[1:], [np.mean(np.delete(expected, i)) for i in range(4)])


def test_constant_features_have_no_figure():
    x, _ = features()
    assert run(x, np.full((70, 2), 0.1)) is None


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=20)
    low, high = jackknife(values.mean(), (values.sum() - values) / 19)
    assert (high - low) / 2 == pytest.approx(2.093024 * values.std(ddof=1) / 20**0.5, rel=1e-6)


def test_interval_over_pairs_covers_the_truth_in_95_percent():
    """Pairs of networks of which each has an effect of its own: an interval from the spread of the pairs alone would cover 55 %."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        own = rng.normal(size=5)
        _, ci = over_pairs({(i, j): own[i] + own[j] for i, j in pairs(5)})
        hits += ci[0] <= 0 <= ci[1]
    assert 0.92 <= hits / 1000 <= 0.98
    assert over_pairs({(0, 1): 2.0}) == (2.0, None)


# --- on networks


def problem_of(path, n=60, head=False, seed=0):
    twin = load_twin(path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).requires_grad_(requires_grad=False) if head else None
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1.5, (n, 4)).astype(np.float32))
    return build_problem(twin, module, lambda o, t: (o - t).square().mean(1), x, torch.zeros(n, 2 if head else 3))


@pytest.fixture
def problems(tmp_path):
    return [problem_of(write_mlp(tmp_path / f"{seed}.onnx", (4, 6, 3), seed=seed), head=True, seed=seed) for seed in range(3)]


def test_seeds_are_the_matrices_of_outputs_and_layers(problems):
    metrics = cka.compare(problems, CONFIG, np.random.default_rng(0), quiet)
    outputs = [p.head(p.twin(p.twin.params, p.x)).double().numpy() for p in problems]
    expected = np.mean([dense_cka(outputs[i], outputs[j]) for i, j in pairs(3)])
    assert metrics["cka_seeds"].value == pytest.approx(expected, rel=1e-6)
    layers = [p.twin.layers(p.twin.params, p.x) for p in problems]
    assert set(metrics) == {"cka_seeds", "cka_seeds_layer_Gemm_3", "cka_seeds_layer_Gemm_8"}
    for name, node in (("Gemm_3", "Quant_5"), ("Gemm_8", "Quant_9")):
        values = [layer[node].double().numpy() for layer in layers]
        expected = np.mean([dense_cka(values[i], values[j]) for i, j in pairs(3)])
        assert metrics[f"cka_seeds_layer_{name}"].value == pytest.approx(expected, rel=1e-6)
    assert all(m.ci is not None and m.ci[0] <= m.value <= m.ci[1] <= 1 for m in metrics.values())


def test_a_network_and_itself_are_the_same(problems):
    for metric in cka.compare([problems[0]] * 2, CONFIG, np.random.default_rng(0), quiet).values():
        assert metric.value == pytest.approx(1.0)
        assert "interval over samples" in metric.source


def test_order_and_memory_change_no_figure_of_a_network(problems):
    first = cka.compare(problems, CONFIG, np.random.default_rng(0), quiet)
    turned = [p.subset(np.arange(60)[::-1].copy()) for p in problems]
    for others in ([replace(p, memory=1) for p in problems], problems[::-1], turned):
        again = cka.compare(others, CONFIG, np.random.default_rng(0), quiet)
        assert {k: m.value for k, m in again.items()} == pytest.approx({k: m.value for k, m in first.items()}, rel=1e-6)


def test_noise_makes_outputs_unlike(problems):
    metrics = cka.measure(problems[0], CONFIG, np.random.default_rng(0), quiet)
    values = [metrics[f"cka_noise_{percent}"].value for percent in (1, 10, 20)]
    assert 1 > values[0] > values[1] > values[2] > 0
    small = cka.measure(replace(problems[0], memory=1), CONFIG, np.random.default_rng(0), quiet)
    assert {k: m.value for k, m in small.items()} == pytest.approx({k: m.value for k, m in metrics.items()})
    noise = np.random.default_rng(0).standard_normal((60, 4), dtype=np.float32)
    noisy = np.clip(problems[0].x.numpy() + np.float32(0.2) * noise, 0, problems[0].x.numpy().max())
    outputs = [problems[0].head(problems[0].twin(problems[0].twin.params, torch.from_numpy(x))).double().numpy() for x in
               (problems[0].x.numpy(), noisy)]  # fmt: skip
    assert values[2] == pytest.approx(dense_cka(*outputs), rel=1e-3)


def test_percents_are_of_the_unit_of_the_inputs(problems):
    plain = cka.measure(problems[0], CONFIG, np.random.default_rng(0), quiet)
    wide = cka.measure(replace(problems[0], unit=10.0), CONFIG, np.random.default_rng(0), quiet)
    assert wide["cka_noise_1"].value == pytest.approx(plain["cka_noise_10"].value)


def test_too_few_samples_give_no_figure(problems):
    few = [p.subset(slice(0, 7)) for p in problems]
    assert cka.measure(few[0], CONFIG, np.random.default_rng(0), quiet) == {}
    assert cka.compare(few, CONFIG, np.random.default_rng(0), quiet) == {}


def test_layers_of_a_convolutional_network(tmp_path):
    """Each layer hands on what is behind its activation and its quantizer; the input is none."""
    twin = load_twin(write_convolutions(tmp_path / "c.onnx"))
    nodes = {node.name: node for node in twin.nodes}
    found = cka.layer_nodes(twin)
    assert [nodes[layer].op for layer in found] == ["Conv", "Conv", "Gemm"]
    assert list(found.values()) == list(twin.activation_formats)[1:]
