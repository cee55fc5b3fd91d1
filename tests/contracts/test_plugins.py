"""What every plug-in promises, whoever wrote it; a new file is tested the moment it exists."""

import inspect
import math
import re

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from flow.config import LandscapeConfig, NetworkConfig, RobustnessConfig
from flow.core.errors import FlowError
from flow.core.metric import Metric
from flow.core.plugins import file_of, load, names
from flow.core.tool import Tool
from flow.landscape._problem import build_problem
from flow.model import Score
from flow.quant.pruning import set_masks
from flow.quant.straight import set_shifts
from flow.regularizers import Batch
from flow.robustness._subject import build_subject
from flow.twin import load_twin
from tests.qonnx_models import Builder, write_mlp
from tests.quant import toy

CALLABLES = {
    "regularizers": {"penalty": ["batch"]},
    "landscape": {"measure": ["problem", "config", "rng", "progress"], "compare": ["problems", "config", "rng", "progress"]},
    "robustness": {"measure": ["subject", "config", "rng", "progress"]},
    "synth": {"stages": ["point"]},
    "quant.repairs": {"apply": ["model"]},
}
ALL = [(group, name) for group in CALLABLES for name in names(group)]


CHOICE = ("landscape",)  # groups of which a plug-in needs one of the functions only


def of(group):
    return pytest.mark.parametrize("name", names(group))


def functions(group, module):
    """The functions that the contract names, of which some groups ask for one only."""
    return {f: a for f, a in CALLABLES[group].items() if group not in CHOICE or hasattr(module, f)}


@pytest.mark.parametrize(("group", "name"), ALL)
def test_every_plugin(group, name):
    module = load(group, name)
    assert isinstance(module.TITLE, str)
    assert module.TITLE.strip()
    assert "\n" not in module.TITLE
    assert (module.__doc__ or "").strip(), "a plug-in says what it is and where it comes from"
    assert functions(group, module)
    for function, arguments in functions(group, module).items():
        parameters = inspect.signature(getattr(module, function)).parameters.values()
        options = [p for p in parameters if p.kind is p.KEYWORD_ONLY and group == "regularizers"]
        assert [p.name for p in parameters if p not in options] == arguments
        assert all(type(p.default) in (bool, int, float) for p in options), "an option has a default, and a value that a point can give"
        assert getattr(module, function).__doc__
    assert file_of(group, name).is_file()


def test_each_group_has_plugins():
    assert {group for group, _ in ALL} == set(CALLABLES)


# --- regularizers


X, Y = (torch.from_numpy(part["train"][:64]) for part in (toy.dataset().x, toy.dataset().y))


def penalty(name, chain, repeat=1, seed=0):
    """The penalty of what the training loop hands over."""
    x, y = X.repeat(repeat, 1, 1, 1).requires_grad_(), Y.repeat(repeat, 1)

    def evaluate(inputs, shifts):
        set_shifts(chain.on_chip, shifts)
        losses = toy.loss(chain(inputs), y)
        set_shifts(chain.on_chip, {})
        return losses

    output = chain(x)
    batch = Batch(chain.on_chip, x, output, torch.Generator().manual_seed(seed), toy.loss(output, y), evaluate)
    return load("regularizers", name).penalty(batch)


@of("regularizers")
@pytest.mark.parametrize(
    "network", [{"weight_bits": 4}, {"per_channel": True, "rounding": "FLOOR"}, {"scales": "learned"}, "pruned"], ids=str
)
def test_penalty_is_a_scalar_that_trains_the_network(name, network):
    chain = toy.quantized(NetworkConfig(**({} if network == "pruned" else network)))[0]
    if network == "pruned":
        set_masks(chain.on_chip, 0.5, "magnitude")
    state, before = torch.random.get_rng_state(), [p.detach().clone() for p in chain.parameters()]
    value = penalty(name, chain)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert math.isfinite(value)
    assert torch.equal(state, torch.random.get_rng_state()), "random numbers come from the generator of the batch only"
    assert all(p.grad is None and torch.equal(p, old) for p, old in zip(chain.parameters(), before, strict=True))
    value.backward()
    gradients = [p.grad for p in chain.on_chip.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert max(float(g.abs().max()) for g in gradients) > 0


@of("regularizers")
def test_a_strength_means_the_same_at_64_and_1024_samples(name):
    """Up to the draws of random numbers: the mean difference of 20 draws is below four standard errors, and these are small."""
    chain = toy.quantized()[0]
    few, many = (np.array([float(penalty(name, chain, n, seed).detach()) for seed in range(20)]) for n in (1, 16))
    error = (many - few).std() / len(few) ** 0.5
    assert abs((many - few).mean()) <= 4 * error + 1e-6
    assert error < 0.25 * np.sqrt(np.square(few).mean())
    assert penalty(name, chain, 1, 5) == penalty(name, chain, 1, 5)


# --- landscape and robustness


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return load_twin(write_mlp(tmp_path_factory.mktemp("contract") / "m.onnx", (4, 5, 3)))


def samples(n, outputs):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1.5, (n, 4)).astype(np.float32), rng.normal(size=(n, outputs)).astype(np.float32)


def head():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).requires_grad_(requires_grad=False)


def check_metrics(measure):
    """Run twice with the same numbers; nothing may depend on anything else."""
    told = []
    state = torch.random.get_rng_state()
    first, again = (measure(np.random.default_rng(3), lambda fraction, text: told.append((fraction, text))) for _ in range(2))
    assert first
    assert first == again
    assert all(isinstance(m, Metric) and isinstance(k, str) for k, m in first.items())
    assert all(0 <= f <= 1 and isinstance(t, str) for f, t in told)
    assert told
    assert torch.equal(state, torch.random.get_rng_state())
    for metric in first.values():
        assert metric.title
        assert metric.kind in ("measured", "estimate")
        assert metric.ci is None or metric.ci[0] <= metric.value <= metric.ci[1]
    return first


@pytest.mark.parametrize("name", [name for name in names("landscape") if hasattr(load("landscape", name), "measure")])
@pytest.mark.parametrize("with_head", [False, True])
def test_landscape_metric(name, with_head, twin):
    module, x, y = load("landscape", name), *map(torch.from_numpy, samples(24, 2 if with_head else 3))
    problem = build_problem(twin, head() if with_head else None, lambda o, t: (o - t).square().mean(1), x, y)
    before = {k: v.clone() for k, v in problem.params.items()}
    config = LandscapeConfig(samples=24, probes=4, surface_points=9, surface_planes=2)
    metrics = check_metrics(lambda rng, progress: module.measure(problem, config, rng, progress))
    assert all(k.startswith(name) or "trace" in k or "eigen" in k for k in metrics)
    assert all(torch.equal(before[k], v) for k, v in problem.params.items()), "the network is left as it was"


@pytest.mark.parametrize("name", [name for name in names("landscape") if hasattr(load("landscape", name), "compare")])
@pytest.mark.parametrize("count", [2, 3])
def test_landscape_comparison(name, count, tmp_path):
    """Networks of several seeds, of which the last has formats of its own."""
    module, x, y = load("landscape", name), *map(torch.from_numpy, samples(24, 2))
    problems = []
    for seed in range(count):
        other = load_twin(write_mlp(tmp_path / f"{seed}.onnx", (4, 5, 3), bits=5 if seed == count - 1 else 4, seed=seed))
        problems.append(build_problem(other, head(), lambda o, t: (o - t).square().mean(1), x, y))
    before = [{k: v.clone() for k, v in problem.params.items()} for problem in problems]
    config = LandscapeConfig(samples=24, probes=4, connectivity_epochs=2)
    metrics = check_metrics(lambda rng, progress: module.compare(problems, config, rng, progress))
    assert all(k.startswith(name) for k in metrics)
    assert all(metric.ci is not None and metric.source for metric in metrics.values())
    for problem, old in zip(problems, before, strict=True):
        assert all(torch.equal(old[k], v) for k, v in problem.params.items()), "the networks are left as they were"
        assert all(key.startswith(name) for key in problem.records)


@of("robustness")
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_perturbation(name, direction, twin, tmp_path):
    sign = 1 if direction == "lower" else -1

    def error(output, target):
        return sign * ((output - target) ** 2).mean(1).astype(np.float64)

    x, y = samples(24, 2)
    problem = build_problem(twin, head(), lambda o, t: (o - t).square().mean(1), *map(torch.from_numpy, samples(16, 2)))
    score, unit = Score("err", "Error", "u", direction, error, lambda t: t.mean(0)), np.full((24, 1), 0.125, np.float32)
    subject = build_subject(twin, head(), score, x, y, problem=problem, detector=unit, detector_unit="counts")
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(0, 0.1, (50, 4)))
    before = subject.x.copy(), {k: v.clone() for k, v in subject.codes.items()}
    config = RobustnessConfig(
        samples=24, noise_percent=(5, 50), noise_draws=2, flips=(1, 30), trials=6, flip_samples=10, noise_file=str(tmp_path / "noise.npy")
    )
    metrics = check_metrics(lambda rng, progress: load("robustness", name).measure(subject, config, rng, progress))
    middle = {"bit_flip": "flip", "salt_pepper": "salt"}.get(name, name)
    assert all(key.startswith((f"err_{middle}", "upset_")) for key in metrics)
    levels = {key: metric for key, metric in metrics.items() if re.fullmatch(rf"err_{middle}\w*_\d+(\.\d+)?", key)}
    assert levels
    for metric in levels.values():
        assert (metric.unit, metric.direction) == ("u", "lower"), "a degradation: less is better, whatever the score"
        assert metric.ci is not None
    assert all(key.startswith((name, "upset_")) for key in subject.records)
    assert np.array_equal(before[0], subject.x)
    assert all(torch.equal(before[1][k], v) for k, v in subject.codes.items())


# --- synthesis back ends


@of("synth")
def test_back_end_names_stages_that_exist(name):
    from flow.core.plan import order
    from flow.points import build_point
    from flow.stages import KNOWN, SCORES, SOFTWARE, all_stages

    point = build_point({"model": "econ_t", "hardware": {"backend": name}}, "here")
    module = load("synth", name)
    assert module.TITLE
    assert set(module.stages(point)) <= set(KNOWN) - {*SOFTWARE, *SCORES}
    assert len(order(all_stages(point))) == len(all_stages(point)), "every artifact has a writer"


@of("synth")
def test_back_end_plans_without_its_tool(name, monkeypatch):
    from flow.rtl.ports import Manifest, Port, Word
    from flow.synth._parts import PARTS
    from flow.synth._plan import BuildPlan

    monkeypatch.setenv("PATH", "")
    module = load("synth", name)
    if not hasattr(module, "plan"):
        pytest.skip("it does not take Verilog")
    assert all(isinstance(tool, Tool) and tool.hint for tool in module.TOOLS)
    port = Port("a", 4, (Word(0, 4, 0, signed=False),))
    manifest = Manifest("top", "clk", 1, 1, port, port, ("top.v", "s0.v"), ("s0",), "out", "test")
    sources = {"top.v": "module top; endmodule", "s0.v": "module s0; endmodule"}
    plans = [module.plan(dict(sources), manifest, part) for part in (PARTS[0], PARTS[0])]
    assert plans[0] == plans[1]
    assert isinstance(plans[0], BuildPlan)
    assert {c.tool for group in plans[0].groups for c in group} <= {tool.name for tool in module.TOOLS}
    assert not any("/" == file[0] or ".." in file for file in plans[0].files)
    assert sources.items() <= plans[0].files.items()


@of("synth")
def test_back_end_refuses_to_read_what_is_not_there(name, tmp_path):
    module = load("synth", name)
    if not hasattr(module, "read"):
        pytest.skip("it does not take Verilog")
    with pytest.raises(FlowError):
        module.read(tmp_path)


# --- repairs


@of("quant.repairs")
def test_repair_keeps_what_the_network_computes_and_is_done_once(name, tmp_path):
    b = Builder(3)
    w = b.weight(np.random.default_rng(0).uniform(-1, 1, (2, 3)))
    model = b.model(b.quant(b.node("Gemm", b.quant("x", 5, 0.25, rounding_mode="FLOOR"), w, transB=1), 6, 0.25, rounding_mode="ROUND"))
    x = torch.from_numpy(np.random.default_rng(1).uniform(0, 4, (50, 3)).astype(np.float32))

    def outputs():
        onnx.save(model, str(tmp_path / "m.onnx"))
        twin = load_twin(tmp_path / "m.onnx")
        return twin(twin.params, x)

    before = outputs()
    load("quant.repairs", name).apply(model)
    assert torch.equal(before, outputs())
    assert load("quant.repairs", name).apply(model) == 0
