from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import failed, point, study

from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.reporting import catalog, numbers, perturbation
from flow.reporting.publish import published, scrub
from flow.reporting.result import PointResult
from flow.reporting.scale import scale


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("emd_gauss_10", ("emd", "gauss", 10.0, "")),
        ("emd_flip_20_p95", ("emd", "flip", 20.0, "p95")),
        ("emd_salt_pepper_2.5", ("emd", "salt_pepper", 2.5, "")),
        ("emd_dead_link_3", ("emd", "dead_link", 3.0, "")),
        ("top_1_gauss", None),
        ("gradient_norm_p50", None),
        ("auc_gauss_5", ("auc", "gauss", 5.0, "")),
        ("lut", None),
    ],
)
def test_ids_under_perturbation_are_taken_apart(name, expected):
    found = perturbation.perturbed(name, {"emd": Metric(1.0)})
    assert found == (perturbation.Perturbed(*expected) if expected else None)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("lut", "hardware"), ("latency_cycles", "hardware"), ("lut_percent", "hardware"), ("clb", "hardware"), ("emd", "task"),
        ("emd_trivial", "task"), ("emd_gauss_5", "robustness"), ("hessian_trace_chip", "landscape"), ("gradient_norm_p95", "landscape"),
        ("gate_csim_mismatches", "gate"), ("samples_test", "facts"), ("validation_loss", "facts"),
        ("emd_float", "task"), ("pylandscape_hutchinson_sum", "compat"), ("pylandscape_flips_n20_change", "compat"),
        ("zero_weights", "facts"), ("approximation_max", "import"),
    ],
)  # fmt: skip
def test_groups(name, group):
    assert catalog.group_of(name, {"emd": Metric(1.0), "clb": Metric(1.0, kind="mapped")}) == group


def test_a_score_of_a_layer_is_no_degradation():
    """``hessian_trace_layer_head_3`` reads like the task score ``hessian_trace`` under ``layer_head`` of level 3."""
    names = ("hessian_trace", "hessian_trace_layer_head_3", "hessian_trace_layer_Conv_0", "sharpness_mean_0.5", "jacobian_norm", "emd")
    result = PointResult("p", "ok", metrics={name: Metric(1.0, direction="lower") for name in (*names, "emd_gauss_10")})
    groups = {name: catalog.group_of(name, result.metrics) for name in names}
    assert groups == {**dict.fromkeys(names, "landscape"), "emd": "task"}
    assert perturbation.levels([result]) == {"gauss": ["emd_gauss_10"]}
    assert catalog.task_score([result]) == "emd"
    assert catalog.landscape_scores([result]) == ["hessian_trace", "jacobian_norm", "sharpness_mean_0.5"]


def test_task_score_without_perturbations():
    def only(**metrics):
        return [PointResult("p", "ok", metrics=metrics)]

    assert (
        catalog.task_score(only(rmse=Metric(1.0, direction="lower"), rmse_trivial=Metric(2.0), aaa=Metric(1.0, direction="lower")))
        == "rmse"
    )
    assert catalog.task_score(only(b=Metric(1.0, direction="lower", ci=(0, 2)), a=Metric(1.0, direction="lower"))) == "b"
    assert catalog.task_score(only(lut=Metric(1.0))) is None
    assert catalog.task_score(study()) == "emd"


def test_an_imported_network_has_no_task_score_in_its_approximation():
    imported = {"approximation_max": Metric(0.1, direction="lower", ci=(0, 1)), "auc": Metric(0.9, direction="higher")}
    assert catalog.task_score([PointResult("p", "ok", metrics=imported)]) == "auc"


def test_the_float_score_stands_behind_the_quantized_one():
    metrics = {name: Metric(1.0, direction="lower") for name in ("accuracy", "emd_trivial", "emd_float", "emd")}
    assert catalog.ids_of("task", metrics, "emd") == ["emd", "emd_float", "emd_trivial", "accuracy"]


def test_plotted_scores_are_all_scores_once():
    main, other = catalog.plotted_scores(study())
    assert main == [
        "emd",
        "emd_flip_5",
        "emd_gauss_10",
        "emd_salt_10",
        "hessian_trace",
        "top_eigenvalue",
    ]
    assert len(set(main) | set(other)) == len(main) + len(other) == 13


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric(1.2345, ci=(1.2, 1.27)), "1.234 ± 0.036"), (Metric(1234.0), "1234"), (Metric(123.4, ci=(100, 130)), "123 ± 23"),
        (Metric(0.5, ci=(0.5, 0.5)), "0.5000 ± 0"), (Metric(2.5e7, ci=(2e7, 3e7)), "2.500e+07 ± 5000000"),
        (Metric(1000.5, ci=(1000.4998, 1000.5002)), "1000.5 ± 0.0002"), (Metric(0.0), "0"), (Metric(3.3e-7), "3.300e-07"),
    ],
)  # fmt: skip
def test_numbers_with_intervals(metric, text):
    assert numbers.plus_minus(metric) == text


@given(st.floats(-1e12, 1e12, allow_nan=False), st.floats(0, 1e6))
def test_every_number_can_be_written_and_stays_close(value, half):
    text, _ = numbers.value_and_error(Metric(value, ci=(value - half, value + half)))
    assert float(text) == pytest.approx(value, rel=1e-2, abs=max(half * 0.06, 1e-300))


def test_p_values():
    assert [numbers.p_value(p) for p in (0.0001, 0.05, 0.5)] == ["<0.001", "0.050", "0.50"]


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=8))
def test_scales_keep_the_order_and_show_a_few_ticks(values):
    axis = scale(values, [])
    places = [axis(v) for v in sorted(values)]
    assert places == sorted(places) and 0 <= places[0] and places[-1] <= 1
    assert all(axis.low - 1e-9 * abs(axis.low) <= v <= axis.high + 1e-9 * abs(axis.high) for v, _ in axis.ticks)
    assert len(axis.ticks) <= 16


def test_a_wide_positive_range_is_logarithmic():
    axis = scale([0.01, 1.0, 100.0], [])
    assert axis.log and axis(1.0) == pytest.approx(0.5) and axis(-1.0) == 0
    assert not scale([0.0, 100.0], []).log


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see /home/me/store/a.txt now", "see …/a.txt now"), ("--out=/data/x/", "--out=…/x"), ("file:///a/b/c.html", "…/c.html"),
        (r"C:\Users\me\x.csv", "…/x.csv"), ("https://arxiv.org/abs/2502.08355", "https://arxiv.org/abs/2502.08355"),
        ("TC pitch / 2", "TC pitch / 2"), ("models/econ_t/point.toml", "models/econ_t/point.toml"), ("and/or", "and/or"),
    ],
)  # fmt: skip
def test_absolute_paths_are_shortened(text, clean):
    assert scrub(text) == clean
    assert scrub({"k": [text], "n": 1}) == {"k": [clean], "n": 1}


def test_results_are_json_both_ways_and_names_are_unique():
    for result in (point(), failed()):
        assert PointResult.from_json(result.to_json()) == result
    with pytest.raises(ConfigError, match="two results"):
        published([point(), point()])
    with pytest.raises(ConfigError, match="'done' is not one of"):
        PointResult("p", "done")  # type: ignore[arg-type]


def test_costs_of_an_inexact_point_are_withheld_and_it_is_not_ranked():
    wrong = replace(point(), gate={"mismatches": 1, "samples": 64, "levels": {}})
    (shown,), hidden = published([wrong])
    assert "lut" in hidden[wrong.name] and "latency_cycles" in hidden[wrong.name] and "emd" not in hidden[wrong.name]
    assert "lut" not in shown.metrics and "emd" in shown.metrics and not wrong.ranked and not wrong.exact


def test_one_landscape_score_stands_for_each_plug_in():
    ids = (
        "hessian_trace", "hessian_trace_chip", "hessian_trace_layer_a", "sharpness_mean_0.5", "sharpness_mean_1", "sharpness_mean_2",
        "sharpness_worst_1", "jacobian_norm", "gradient_norm_p95", "gradient_norm_mean", "top_eigenvalue", "top_eigenvalue_2",
        "sharpness_relative_mean_0.05", "sharpness_relative_mean_0.1", "sharpness_relative_mean_0.2", "surface_lsb", "surface_rise",
        "cka_noise_1", "cka_noise_10", "cka_noise_20",
    )  # fmt: skip
    found = catalog.main_landscape_scores([PointResult("p", "ok", metrics={name: Metric(1.0) for name in ids})])
    assert found == [
        "hessian_trace", "top_eigenvalue", "gradient_norm_mean", "cka_noise_10", "jacobian_norm", "sharpness_mean_1",
        "sharpness_relative_mean_0.1", "surface_rise",
    ]  # fmt: skip


def test_of_ranked_flips_only_the_middle_number_is_plotted():
    ids = [f"emd_ranked_flip_fkeras_{n}" for n in (1, 5, 20)]
    metrics = {name: Metric(1.0, direction="lower") for name in ("emd", "emd_gauss_5", *ids)}
    main, other = catalog.plotted_scores([PointResult("p", "ok", metrics=metrics)])
    assert main == ["emd", "emd_gauss_5"] and other == ["emd_ranked_flip_fkeras_5"]


def test_figures_of_the_released_code_are_neither_plotted_nor_correlated():
    metrics = {name: Metric(1.0, direction="lower") for name in ("emd", "emd_gauss_5", "hessian_trace")}
    metrics |= {"pylandscape_jacobian": Metric(1.0), "pylandscape_flips_n5_integers": Metric(1.0)}
    result = PointResult("p", "ok", metrics=metrics)
    assert catalog.landscape_scores([result]) == ["hessian_trace"] and catalog.task_score([result]) == "emd"
    assert list(perturbation.levels([result])) == ["gauss"]
    assert catalog.plotted_scores([result]) == (["emd", "emd_gauss_5", "hessian_trace"], [])
