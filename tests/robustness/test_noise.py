"""Perturbations of the inputs against closed forms on a linear network with squared error, and what they have in common."""

import dataclasses

import numpy as np
import pytest
import torch

from flow.config import RobustnessConfig
from flow.core.plugins import load
from flow.landscape._engine import build_engine
from flow.landscape._problem import build_problem
from flow.robustness import (
    correlated_noise,
    dead_channels,
    gain,
    gauss,
    gauss_detector,
    gauss_snr,
    hot_channels,
    miscalibration,
    pedestal,
    resolution,
    salt_pepper,
    salt_pepper_detector,
    salt_pepper_snr,
    saturation,
    uniform,
    uniform_detector,
    uniform_snr,
)  # fmt: skip
from flow.robustness._noise import channels, full_scale, signal_power
from tests.robustness import linear

DRAWS = {
    gauss: gauss, gauss_snr: gauss, gauss_detector: gauss, salt_pepper: salt_pepper, salt_pepper_snr: salt_pepper,
    salt_pepper_detector: salt_pepper, uniform: uniform, uniform_snr: uniform, uniform_detector: uniform,
    correlated_noise: correlated_noise, dead_channels: salt_pepper, hot_channels: salt_pepper, miscalibration: gauss,
    gain: None, pedestal: None, resolution: None, saturation: None,
}  # fmt: skip
"""Plug-in -> whose numbers it takes; None: it takes a sign."""
LIVE = np.diag([0.0, 1, 1, 1, 1, 1])
ONES = np.ones((6, 6)) @ LIVE
ONES[0] = 0
COUNT = 0.125
DISTANCE = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))


def quiet(fraction, text):
    assert 0 <= fraction <= 1 and text


def outer(change):
    return np.einsum("ni,nj->nij", change, change)


def drawn(mean, square):
    """Second moments of changes that are independent between channels, from the mean and the mean square of each."""
    second = outer(mean)
    second[:, range(6), range(6)] = square
    return second


def hit(share, *changes):
    """Second moments where each channel has each of several changes with the same share of a probability, and else none."""
    return drawn(share * np.mean(changes, axis=0), share * np.mean(np.square(changes), axis=0))


def moments(subject):
    """Plug-in -> (level, second moments of the change of the inputs)."""
    x, live = subject.x.astype(float), np.diag(LIVE)
    power = np.square(x[:, 1:]).mean()
    low, high = float(min(x.min(), 0)), float(x.max())
    share = salt_pepper_snr.share(subject, 8)
    return {
        "gauss_snr": (20, power * 0.01 * LIVE),
        "uniform_snr": (20, power * 0.01 * LIVE),
        "salt_pepper_snr": (8, hit(share, (high - x) * live, (low - x) * live)),
        "gauss_detector": (4, (4 * COUNT) ** 2 * LIVE),
        "uniform_detector": (6, (6 * COUNT) ** 2 / 3 * LIVE),
        "salt_pepper_detector": (20, hit(0.01, 20 * COUNT * np.tile(live, (len(x), 1)), -20 * COUNT * np.tile(live, (len(x), 1)))),
        "correlated_noise": (30, 0.3**2 * (0.5 + 0.5 * 0.9**DISTANCE) * ONES),
        "dead_channels": (20, hit(0.2, -x * live)),
        "hot_channels": (20, hit(0.2, (32 - linear.SCALE - x) * live)),
        "miscalibration": (10, drawn(0 * x, 0.01 * x**2)),
        "gain": (10, 0.01 * outer(x)),
        "pedestal": (3.125, 2.0**2 * ONES),
    }


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return linear.make(tmp_path_factory.mktemp("linear"), detector=np.full((400, 1), COUNT, np.float32))


@pytest.mark.parametrize(
    "name",
    ["gauss_snr", "uniform_snr", "salt_pepper_snr", "gauss_detector", "uniform_detector", "salt_pepper_detector", "correlated_noise",
     "dead_channels", "hot_channels", "miscalibration", "gain", "pedestal"],
)  # fmt: skip
def test_squared_error_of_a_linear_network(subject, name):
    """E |W d|^2 is exact for any change d of the inputs; rounding adds about 1e-7."""
    level, second = moments(subject)[name]
    config = RobustnessConfig(levels={name: (level,)}, noise_draws=10)
    metric = load("robustness", name).measure(subject, config, np.random.default_rng(2), quiet)[f"mse_{name}_{level}"]
    truth = linear.expected(second)
    if name in ("gain", "pedestal"):
        assert metric.value == pytest.approx(truth, rel=1e-3)
    else:
        assert metric.ci[0] <= truth <= metric.ci[1]
        assert metric.value == pytest.approx(truth, rel=0.2)
    assert metric.ci[1] - metric.ci[0] < 0.6 * truth
    assert "samples" in metric.source


def case(module, subject, seed=0, sign=1.0):
    source = DRAWS[module]
    return sign if source is None else source.draw(subject, np.random.default_rng(seed))


def short(module):
    return module.__name__.rsplit(".", 1)[1]


@pytest.mark.parametrize("ratio", [20, 10, 1])
@pytest.mark.parametrize("module", [gauss_snr, uniform_snr, salt_pepper_snr], ids=short)
def test_power_is_what_was_asked_for(subject, module, ratio):
    draws = 200 if module is salt_pepper_snr else 20  # few cells are hit
    changes = np.stack([module.apply(subject, case(module, subject, seed), ratio) - subject.x for seed in range(draws)])
    assert np.all(changes[..., 0] == 0), "an input that never changes is no channel"
    power = 10 * np.log10(np.square(subject.x[:, 1:]).mean() / np.square(changes[..., 1:]).mean())
    assert power == pytest.approx(ratio, abs=0.3 if module is salt_pepper_snr else 0.1)


@pytest.mark.parametrize("module", DRAWS, ids=short)
def test_without_strength_nothing_changes(subject, module):
    nothing = 400 if module in (gauss_snr, uniform_snr, salt_pepper_snr) else 0
    assert np.allclose(module.apply(subject, case(module, subject), nothing), subject.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("module", DRAWS, ids=short)
def test_levels_differ_by_strength_alone_and_shapes_are_kept(subject, module):
    """What is added, masked or scaled by a level is also there at a stronger one."""
    levels, random = getattr(module, "LEVELS", (5.0, 10.0)), case(module, subject)
    weak, strong = (module.apply(subject, random, level) for level in (levels[0], levels[-1]))
    assert weak.shape == strong.shape == subject.x.shape and weak.dtype == strong.dtype == np.float32
    assert np.abs(strong - subject.x).sum() > np.abs(weak - subject.x).sum() * (0.999 if module is resolution else 1)
    hit = (np.abs(weak - subject.x) > 1e-3) & (module is not resolution)
    assert np.all(strong[hit] != subject.x[hit])


@pytest.mark.parametrize("module", DRAWS, ids=short)
def test_measured_by_a_plain_loop(subject, module):
    """Ids, levels of the point, and the mean over draws or signs."""
    level = {gauss_snr: 12.5, uniform_snr: 12.5, salt_pepper_snr: 12.5, resolution: 11, saturation: 96}.get(module, 7.5)
    config = RobustnessConfig(levels={short(module): (level,)}, noise_draws=3)
    key = f"mse_{short(module).removesuffix('_pepper') if module is salt_pepper else short(module)}_{level:g}"
    metrics = module.measure(subject, config, np.random.default_rng(4), quiet)
    rng, source = np.random.default_rng(4), DRAWS[module]
    cases = (1.0, -1.0) if source is None else [source.draw(subject, rng) for _ in range(3)]
    table = [linear.mse(linear.forward(module.apply(subject, one, level)), subject.targets) for one in cases]
    assert metrics[key].value == pytest.approx(np.mean(table) - subject.clean.mean(), rel=1e-5)
    assert metrics[key].value > 0
    assert all(metrics[k].ci[0] <= metrics[k].value <= metrics[k].ci[1] for k in metrics)


@pytest.mark.parametrize("module", [gauss_detector, uniform_detector, salt_pepper_detector], ids=short)
def test_without_a_detector_unit_nothing_is_measured(subject, module):
    told = []
    none = dataclasses.replace(subject, detector=None)
    assert module.measure(none, RobustnessConfig(), np.random.default_rng(0), lambda *words: told.append(words)) == {}
    assert told, "a plug-in shows life"


def test_units_of_each_sample(subject):
    """As in images that are normalised one by one."""
    detector = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    each = dataclasses.replace(subject, detector=detector)
    noise = gauss_detector.apply(each, np.ones((400, 6), np.float32), 3) - each.x
    assert np.allclose(noise[:, 1:], 3 * detector, atol=1e-5)


def test_uniform_noise_of_the_paper(subject):
    """x + (p / 100) U(0, 0.1), with the unit of inputs that are not normalised to 1."""
    wide = dataclasses.replace(subject, unit=4.0)
    noise = uniform.apply(wide, uniform.draw(wide, np.random.default_rng(0)), 50) - wide.x
    assert -1e-6 <= noise.min() < 0.001 and 0.199 < noise.max() <= 0.2 + 1e-6
    assert noise.mean() == pytest.approx(0.1, rel=0.03)


def test_channels_power_and_scale(subject):
    assert channels(subject).tolist() == [[False, True, True, True, True, True]]
    assert signal_power(subject) == pytest.approx(np.square(subject.x[:, 1:].astype(float)).mean())
    assert full_scale(subject) == 64
    constant = dataclasses.replace(subject, x=np.ones((400, 6), np.float32))
    assert signal_power(constant) == 0
    for module in (gauss_snr, uniform_snr, salt_pepper_snr):
        assert np.array_equal(module.apply(constant, case(module, constant), 0), constant.x)


def test_salt_and_pepper_that_cannot_be_so_strong_is_left_out(tmp_path):
    """Inputs of 12 +- 2 between 0 and 1: pepper at all of them is hardly more than the signal."""
    subject = linear.make(tmp_path, signed=False)
    config = RobustnessConfig(levels={"salt_pepper_snr": (0.1, 10.0)})
    assert salt_pepper_snr.share(subject, 10) < 1
    subject = dataclasses.replace(subject, unit=12.0)
    assert salt_pepper_snr.share(subject, 0.1) > 1
    ids = salt_pepper_snr.measure(subject, config, np.random.default_rng(0), quiet)
    assert "mse_salt_pepper_snr_10" in ids and "mse_salt_pepper_snr_0.1" not in ids


def test_correlated_noise_has_the_covariance_it_names(subject):
    x = np.random.default_rng(0).normal(size=(40_000, 6)) * np.diag(LIVE)
    many = dataclasses.replace(subject, x=x.astype(np.float32))
    noise = correlated_noise.draw(many, np.random.default_rng(1))
    assert np.allclose(noise.T @ noise / len(noise), (0.5 + 0.5 * 0.9**DISTANCE) * ONES, atol=0.02)
    assert abs(np.mean(noise[1:, 1] * noise[:-1, 1])) < 0.02, "samples are independent"


def test_compiled_code_gives_the_same_figures(subject, tmp_path):
    """Also for inputs far outside the range of the words."""

    def loss(output, target):
        return (output - target).square().mean(1)

    problem = build_problem(subject.twin, None, loss, *map(torch.from_numpy, (subject.x[:8], subject.targets[:8])))
    engine = build_engine(subject.twin, None, loss, problem.x, problem.y, tmp_path)
    fast = dataclasses.replace(subject, problem=dataclasses.replace(problem, engine=engine))
    config = RobustnessConfig(levels={"gauss_detector": (1, 800, 1e6), "hot_channels": (20,)}, noise_draws=2)
    for module in (gauss_detector, hot_channels):
        slow, quick = (module.measure(one, config, np.random.default_rng(0), quiet) for one in (subject, fast))
        assert slow == quick
