"""Generated code against the twin, on networks of every kind."""

import platform
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from flow.core.errors import ToolFailed
from flow.landscape import _engine
from flow.landscape._engine import Unsupported, build_engine, try_engine
from flow.landscape._engine.tiles import find_tiles
from flow.landscape._engine.values import Dots
from flow.landscape._problem import build_problem
from flow.stages import landscape
from tests.landscape.engine_networks import CASES, SAMPLES, curved_head, mlp
from tests.landscape.test_stages import job_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module", params=CASES)
def case(request, folder):
    """A problem without and with the engine."""
    torch.set_num_threads(1)
    work = folder / request.param.replace(" ", "_")
    work.mkdir()
    twin, head, loss, x, y = CASES[request.param](work)
    if head is not None:
        head.eval().requires_grad_(requires_grad=False)
    plain = build_problem(twin, head, loss, x, y)
    return plain, replace(plain, engine=build_engine(twin, head, loss, x, y, work))


def points(problem, count=5, size=0.2):
    moved = problem.point + size * np.random.default_rng(1).normal(size=(count, problem.point.size))
    return np.concatenate([problem.point[None], moved])


def test_losses_are_those_of_the_twin(case):
    plain, fast = case
    many = points(plain)
    expected, found = plain.sample_losses(many), fast.sample_losses(many)
    assert expected.shape == found.shape == (len(many), len(plain.x))
    assert len(np.unique(expected[0])) > 3 * len(plain.x) // 4
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6 * expected.max())


def test_words_are_those_of_the_twin_bit_by_bit(case):
    plain, fast = case
    deployed = plain.quantized(points(plain))
    found = fast.engine.outputs(deployed, plain.x)
    for i, row in enumerate(deployed):
        parts = plain.split(torch.from_numpy(row[None]))
        exact = plain.twin.forward_values({n.removeprefix("chip."): parts[n][0] for n in plain.chip}, plain.x).double().numpy()
        assert np.array_equal(found[i], exact)
    assert len(np.unique(found)) > 20


def test_number_and_order_of_samples_and_points_change_nothing(case):
    _, fast = case
    many, n = fast.quantized(points(fast)), len(fast.x)
    whole = fast.sample_losses(many)
    order = np.random.default_rng(0).permutation(n)
    assert np.array_equal(fast.subset(order).sample_losses(many), whole[:, order])
    for few in (slice(0, 1), slice(3, 20), slice(n - 17, n)):
        assert np.array_equal(fast.subset(few).sample_losses(many[::-1])[::-1], whole[:, few])
    assert np.array_equal(replace(fast, memory=1).sample_losses(many), whole)
    assert np.array_equal(replace(fast, engine=replace(fast.engine, memory=1)).sample_losses(many), whole)


def faulty(problem, count=24, faults=3, seed=2):
    """Deployed points with random words in a few places, some of them in one parameter only."""
    rng, deployed = np.random.default_rng(seed), problem.engine.deployed
    words = np.flatnonzero(np.isfinite(deployed.steps))
    result = np.repeat(deployed.point[None], count, axis=0)
    for i, row in enumerate(result[1:]):
        some = words if i % 3 else np.arange(*list(problem.slices.values())[i % len(problem.chip)].indices(len(row)))
        where = rng.choice(some, min(faults, len(some)), replace=False)
        row[where] = rng.integers(deployed.lowest[where], deployed.highest[where] + 1) * deployed.steps[where]
    return result


def test_faulty_networks_in_a_few_words_are_computed_as_any_other(case):
    """Bit by bit, words and losses, whatever is left out."""
    plain, fast = case
    many, whole = faulty(fast), replace(fast.engine, deployed=None, work=[0])
    assert len(np.unique(many, axis=0)) > 12
    assert np.array_equal(fast.engine.outputs(many, plain.x), whole.outputs(many, plain.x))
    assert np.array_equal(fast.engine.losses(many, plain.x, plain.y), whole.losses(many, plain.x, plain.y))
    assert fast.engine.deployed.changes(many) is not None
    assert whole.work[0] == 24 * len(plain.x) * whole.products
    assert fast.engine.work[0] <= whole.work[0] if fast.engine.codes["losses"].faults else fast.engine.work == whole.work
    order, x, y = np.random.default_rng(0).permutation(len(many)), plain.x[:19], plain.y[:19]
    assert np.array_equal(fast.engine.losses(many[order], x, y), whole.losses(many, x, y)[order])


def test_the_deployed_network_is_computed_once(folder):
    """What the faults of a campaign leave as it was is not computed again: a dead network has no work but its own."""
    twin, head, loss, x, y = mlp(folder)
    engine = build_engine(twin, head, loss, x, y, folder)
    points = np.repeat(engine.deployed.point[None], 9, axis=0)
    engine.losses(points, x, y)
    assert engine.codes["losses"].faults and engine.work == [0]
    problem = build_problem(twin, head, loss, x, y)
    last = problem.slices[problem.chip[-1]].start
    points[:, last] = np.where(points[:, last] == 0, 1, 0) * engine.deployed.steps[last]
    engine.losses(points, x, y)
    assert 0 < engine.work[0] < engine.products * 9 * SAMPLES // 2


@pytest.mark.parametrize("change", ["few points", "head", "between the steps", "too large", "many"])
def test_points_that_are_no_faulty_networks_are_computed_in_full(change, folder):
    twin, head, loss, x, y = (mlp if change == "many" else curved_head)(folder)
    engine = build_engine(twin, head if head is None else head.eval(), loss, x, y, folder)
    deployed, moved = engine.deployed, np.repeat(engine.deployed.point[None], 9, axis=0)
    assert deployed.changes(moved) is not None
    moved[4, 0] = (deployed.highest[0] if moved[4, 0] != deployed.highest[0] * deployed.steps[0] else 0) * deployed.steps[0]
    starts, places, values = deployed.changes(moved)
    assert (starts.tolist(), places.tolist(), values.tolist()) == ([0] * 5 + [1] * 5, [0], [moved[4, 0]])
    if change == "few points":
        moved = moved[:5]
    elif change == "many":
        moved = np.where(np.isfinite(deployed.steps), deployed.highest * deployed.steps, moved)
    else:
        moved[4, -1 if change == "head" else 0] = deployed.steps[0] * (0.5 if change == "between the steps" else 2.0**12)
    assert deployed.changes(moved) is None
    whole = replace(engine, deployed=None)
    np.testing.assert_array_equal(engine.losses(moved, x, y), whole.losses(moved, x, y))


def test_weights_between_the_steps(case):
    """Weights that are not on the grid make sums that depend on their order by rounding, which moves a word of few samples."""
    plain, fast = case
    many = points(plain, 2)
    expected, found = (p.sample_losses(many, quantize=False) for p in (plain, fast))
    assert np.isclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max()).mean() > 0.98


def test_samples_of_the_build_are_no_part_of_the_code(case):
    """Other inputs than those at hand when the code was made."""
    plain, fast = case
    x = plain.x.flip(-1) * 0.7
    np.testing.assert_allclose(
        replace(fast, x=x).sample_losses(points(plain)), replace(plain, x=x).sample_losses(points(plain)), rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize("channel_last", [False, True])
def test_tiles_have_each_product_of_a_convolution_once(channel_last):
    """Sums over the uses of a tile against the convolution itself, edges and a hole included."""
    rng, channels, side = np.random.default_rng(0), 3, 6
    image, kernel = rng.normal(size=(channels, side, side)), rng.normal(size=(channels, 3, 3))
    ids = np.pad(2 + np.arange(image.size).reshape(image.shape), ((0, 0), (1, 1), (1, 1)))  # 0 is no number, 1 is the number one
    rows = [ids[:, i : i + 3, j : j + 3].reshape(-1) for i in range(side) for j in range(side)]
    data = np.column_stack([rows, np.ones(len(rows), np.int64)])
    out = np.where(np.arange(len(rows)) == 20, -1, np.arange(len(rows)))
    place = np.concatenate([[0, 1], 2 + np.arange(image.size).reshape(side, side, channels).transpose(2, 0, 1).reshape(-1)])
    place = place if channel_last else np.arange(2 + image.size)
    memory = np.zeros(2 + image.size)
    memory[place] = np.concatenate([[0, 1], image.reshape(-1)])
    weights = np.append(kernel, 0.5)
    groups, bias, tiles = find_tiles(Dots(out, False, (), data, 100 + np.arange(28)[None]), place)
    assert bias == 27 and groups.shape == (3, 9) and len(tiles) == 3
    expected = functional.conv2d(torch.from_numpy(image)[None], torch.from_numpy(kernel)[None], padding=1).numpy().reshape(-1) + 0.5
    found = np.zeros(len(rows))
    for tile in tiles:
        for terms, shift in zip(groups, tile.shifts, strict=True):
            for at, pairs in tile.uses:
                for row, term in pairs:
                    found[tile.rows[row]] += memory[at + shift] * weights[terms[term]]
        found[tile.rows] += weights[bias]
    np.testing.assert_allclose(np.delete(found, 20), np.delete(expected, 20), rtol=1e-12)


def test_nan_stays_nan(folder):
    twin, head, loss, x, y = curved_head(folder)
    problem = build_problem(twin, head.eval(), loss, x, y)
    fast = replace(problem, engine=build_engine(twin, head.eval(), loss, x, y, folder))
    point = problem.point[None].copy()
    point[0, -1] = np.nan
    assert np.isnan(fast.sample_losses(point)).all()


def test_the_library_is_built_once(folder):
    twin, head, loss, x, y = mlp(folder)
    folder = folder / "once"
    folder.mkdir()
    runs = []

    def compile_(args, where):
        from flow.core import tool

        runs.append(args)
        tool.run(tool.GXX, args, cwd=where, log=where / "log")

    for _ in range(2):
        engine = build_engine(twin, head, loss, x, y, folder, compile_)
    assert len(runs) == 1
    other, _ = try_engine(twin, head, lambda o, t: loss(o, t) + 1, x, y, folder, compile_)
    assert len(runs) == 2
    at = build_problem(twin, head, loss, x, y).point[None]
    np.testing.assert_allclose(other.losses(at, x, y), engine.losses(at, x, y) + 1, rtol=1e-6)


def test_what_is_not_known_is_left_to_the_twin(folder):
    twin, head, loss, x, y = mlp(folder)
    for strange, word in (
        (lambda o, t: torch.special.erfcx(o).sum(1), "erfcx"),
        (lambda o, t: loss(o, t).mean(), "shape"),
        (lambda o, t: o.sort(dim=1).values[:, 0], "sort"),
        (lambda o, t: (o[:, :2].relu_() + o[:, :2]).sum(1), "relu_"),
        (lambda o, t: torch.zeros(len(o), 2).add_(o[:, :2]).sum(1), "add_"),
        (lambda o, t: o.square().sum(1).pow(0.3), "power"),
    ):
        with pytest.raises(Unsupported, match=word):
            build_engine(twin, head, strange, x, y, folder)
        engine, why = try_engine(twin, head, strange, x, y, folder)
        assert engine is None
        assert word in why
    with pytest.raises(Unsupported, match="samples of"):
        build_engine(twin, head, loss, x, y.long(), folder)


def test_code_that_computes_something_else_is_found(folder):
    """The loss looks at the values of the sample, which a recording cannot follow."""
    twin, head, _, x, y = mlp(folder)

    def fickle(output, target):
        return output.square().sum(1) if len(output) == 1 else output.abs().sum(1)

    with pytest.raises(Unsupported, match="losses of the twin"):
        build_engine(twin, head, fickle, x, y, folder)


def test_a_compiler_that_fails_leaves_the_twin(tmp_path):
    twin, head, loss, x, y = mlp(tmp_path)

    def compile_(args, where):
        raise ToolFailed("no such option")

    assert try_engine(twin, head, loss, x, y, tmp_path, compile_) == (None, "no such option")
    assert not list(tmp_path.glob("*.so"))


def test_shapes_that_do_not_fit_are_refused(folder):
    twin, head, loss, x, y = mlp(folder)
    engine = build_engine(twin, head, loss, x, y, folder)
    point = build_problem(twin, head, loss, x, y).point[None]
    for wrong in ((point[:, 1:], x, y), (point, x[:, 1:], y), (point, x, y[:5]), (point[0], x, y)):
        with pytest.raises(ValueError, match="do not fit"):
            engine.losses(*wrong)


@pytest.mark.parametrize("kind", ["compiled", "twin", "not known"])
def test_the_stage_says_which_engine_it_used(kind, tmp_path, monkeypatch):
    job, _ = job_for(landscape.STAGE, tmp_path, head=True)
    if kind == "not known":
        network = tmp_path / "with" / "network.py"
        network.write_text(network.read_text().replace("return (output", "return (0 * output.cumsum(1) + output"))
    chosen = replace_in(job.full_point, metrics=("sharpness",), engine="twin" if kind == "twin" else "compiled")
    job = replace(job, full_point=chosen)
    monkeypatch.setattr(landscape, "measure_all", lambda job, group, problem, *rest: seen.append(problem))
    seen = []
    landscape.STAGE.run(job)
    (problem,) = seen
    assert (problem.engine is not None) == (kind == "compiled")
    words = {"compiled": "engine: compiled\n", "not known": "engine: the twin, because of operator aten.cumsum.default\n"}
    log = job.log.read_text() if job.log.exists() else ""
    assert words.get(kind, "") in log
    assert ("engine" in log) == (kind != "twin")
    if kind == "compiled":
        assert "-march=native" in job.replay.read_text()
        plain = replace(problem, engine=None)
        np.testing.assert_allclose(problem.sample_losses(points(problem)), plain.sample_losses(points(problem)), rtol=2e-5, atol=1e-7)


def replace_in(point, **settings):
    return point.model_copy(update={"landscape": point.landscape.model_copy(update=settings)})


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are those of this architecture")
@pytest.mark.parametrize("flags", [("-mno-avx512f",), ("-mno-avx512f", "-mno-avx2", "-mno-avx")], ids=["8 lanes", "4 lanes"])
@pytest.mark.parametrize("name", ["curved head", "curved chip", "windows"])
def test_other_vector_units(name, flags, tmp_path, monkeypatch):
    monkeypatch.setattr(_engine, "FLAGS", (*_engine.FLAGS, *flags))
    twin, head, loss, x, y = CASES[name](tmp_path)
    head = None if head is None else head.eval().requires_grad_(requires_grad=False)
    plain = build_problem(twin, head, loss, x, y)
    fast = replace(plain, engine=build_engine(twin, head, loss, x, y, tmp_path))
    many = points(plain)
    np.testing.assert_allclose(fast.sample_losses(many), plain.sample_losses(many), rtol=2e-5, atol=1e-6)
    some, whole = faulty(fast), replace(fast.engine, deployed=None)
    assert np.array_equal(fast.engine.losses(some, plain.x, plain.y), whole.losses(some, plain.x, plain.y))
