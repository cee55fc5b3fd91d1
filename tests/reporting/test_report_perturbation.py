"""Ids of perturbations and faults, and which of them stand for all."""

import pytest
from fault_samples import CURVES, faulty

from flow.core.metric import Metric
from flow.reporting import catalog, perturbation
from flow.reporting.claim import claim
from flow.reporting.claims.frame import frames


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("emd_gauss_snr_-3", ("gauss_snr", -3.0, "")), ("emd_stuck_at_1_5_p95", ("stuck_at_1", 5.0, "p95")),
        ("emd_single_bit_map_1_visible_layer_Conv_0", ("single_bit_map", 1.0, "visible_layer_Conv_0")),
        ("emd_pgd_1e-05", ("pgd", 1e-05, "")), ("emd_stuck_at_1_area", None), ("emd_register_flip_1", ("register_flip", 1.0, "")),
        ("upset_days_to_visible_leo_1", None), ("harden_tmr_5_lut", None), ("register_flip_visible_percent", None),
        ("emd_gauss_area", None),
    ],
)  # fmt: skip
def test_ids_of_faults_are_taken_apart(name, parts):
    metrics = {"emd": Metric(1.0), "top_1": Metric(1.0)}
    assert perturbation.perturbed(name, metrics) == (parts and perturbation.Perturbed("emd", *parts))
    assert perturbation.perturbed("top_1_gauss_5", metrics) == perturbation.Perturbed("top_1", "gauss", 5.0)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("emd_gauss_area", "robustness"), ("emd_hot_channels_critical", "robustness"), ("emd_single_bit_map_1_worst", "robustness"),
        ("upset_days_to_visible_leo", "robustness"), ("register_flip_visible_percent", "robustness"),
        ("register_days_to_visible_leo", "robustness"), ("register_bits", "robustness"),
        ("harden_tmr_5_lut", "protection"), ("gate_upsets_mismatches", "gate"), ("emd_trivial", "task"), ("topology_area", "landscape"),
    ],
)  # fmt: skip
def test_groups_of_figures_of_faults(name, group):
    metrics = {"emd": Metric(1.0), name: Metric(1.0, kind="estimate" if name.startswith("upset") else "measured")}
    assert catalog.group_of(name, metrics) == group


def test_of_many_perturbations_a_few_stand_for_all(six):
    """What has room for each perturbation once takes all; plots, claims and screenings take those of the paper and the worst case."""
    by_kind = perturbation.levels(six)
    assert set(by_kind) == {*CURVES, "single_bit_map", "register_flip"}
    assert by_kind["gauss_snr"] == ["emd_gauss_snr_30", "emd_gauss_snr_20", "emd_gauss_snr_10"], "from weak to strong"
    assert perturbation.main_kinds(by_kind) == ["flip", "gauss", "measured_noise", "pgd", "salt"]
    main, other = catalog.plotted_scores(six)
    assert main == [
        "emd", "emd_flip_5", "emd_gauss_20", "emd_measured_noise_1", "emd_pgd_2", "emd_salt_20", "hessian_trace", "top_eigenvalue",
    ]  # fmt: skip
    assert not any(catalog.group_of(name, six[0].metrics) == "robustness" for name in other)
    frame = frames(six)[0]
    assert sorted(frame.noise) == ["gauss", "salt"] and list(frame.flips) == ["flip"]
    assert perturbation.main_kinds(["a", "gauss", "ranked_flip_x"]) == ["a", "gauss", "ranked_flip_x"]
    assert perturbation.main_kinds([*"abcdefg", "ranked_x"]) == [*"abcdef"]


def test_further_perturbations_are_correlated_in_a_table_of_their_own(tmp_path):
    points = [faulty(tmp_path, bits, regularizer, harden=False) for bits in (3, 4, 5, 6) for regularizer in ("", "jacobian")]
    found = claim(points)
    assert [name for name, _ in found.main.columns] == perturbation.main_levels(points)
    assert {name for name, _ in found.more["further perturbations"].columns} == {
        perturbation.middle(ids) for kind, ids in perturbation.levels(points).items() if kind not in perturbation.CHOSEN
    }


def test_what_a_perturbation_is_comes_from_its_file_without_an_import():
    about = perturbation.about("salt")
    assert about.title == "salt-and-pepper noise" and about.sentence.startswith("Salt-and-pepper") and about.sentence.endswith(".")
    assert perturbation.about("ranked_flip_taylor").title == perturbation.about("ranked_flip").title
    assert perturbation.about("gauss_snr").falling and not perturbation.about("gauss").falling
    assert perturbation.about("no_such_thing") == perturbation.About("no such thing", "", falling=False)
    for plugin in perturbation.plugins("robustness"):
        assert perturbation.about(plugin).sentence, plugin
