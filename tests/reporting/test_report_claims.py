"""Each claim on studies that are made so that it holds, does not hold, or cannot be told."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from claim_samples import study

from flow.core.metric import Metric
from flow.reporting.claims.all import claims_json, judge_claims
from flow.reporting.claims.bootstrap import Effect
from flow.reporting.claims.judge import Judgement, Part, judge
from flow.reporting.page_claims import claim_views, summary


def judged(points, number, screen=None):
    return next(c for c in judge_claims(points, screen) if c.id == f"Q{number}")


def flat_and_robust(slope, noise):
    def make(bits, name, seed, rng):
        sharp = rng.standard_normal()
        worse = slope * sharp + noise * rng.standard_normal()
        curvature = np.exp(0.5 * bits + sharp)
        kinds = dict.fromkeys(("emd_gauss_20", "emd_salt_20", "emd_flip_5"), 1 + 0.1 * bits + 0.1 * worse)
        return {"hessian_trace": curvature, "top_eigenvalue": 0.2 * curvature, **kinds}

    return make


def by_bits(slope, noise):
    return lambda bits, name, seed, rng: {
        "hessian_trace": np.exp(slope * bits + noise * rng.standard_normal()),
        "top_eigenvalue": np.exp(slope * bits + noise * rng.standard_normal()),
    }


def precision(shape, noise):
    return lambda bits, name, seed, rng: {"emd_gauss_20": shape[bits] + noise * rng.standard_normal()}


def regularized(effects, noise, names=("hessian_trace", "top_eigenvalue", "mode_connectivity_linear", "emd_gauss_20", "emd_flip_5")):
    """Multiply each metric by a factor where the regularizer is on."""
    return lambda bits, name, seed, rng: {
        key: (1 + 0.1 * bits) * effects.get((name, key), effects.get(name, 1.0)) * np.exp(noise * rng.standard_normal()) for key in names
    }


def similar(values, noise):
    return lambda bits, name, seed, rng: {
        f"cka_noise_{n}": v + noise * rng.standard_normal() for n, v in zip((1, 10, 20), values, strict=True)
    }


def barriers(values, noise):
    """Barriers of the curve after 0, 10 and 30 epochs; that of the straight line is 1."""
    names = ("mode_connectivity_curve_0", "mode_connectivity_curve_10", "mode_connectivity_curve")
    return lambda bits, name, seed, rng: {
        "mode_connectivity_linear": 1.0,
        **{name: v + noise * rng.standard_normal() for name, v in zip(names, values, strict=True)},
    }


def bend(values, noise):
    return lambda bits, name, seed, rng: {
        f"emd_gauss_{n}": v + noise * rng.standard_normal() for n, v in zip((10, 20, 30), values, strict=True)
    }


def ranked(factor, noise):
    def make(bits, name, seed, rng):
        worse = {f"emd_flip_{n}": 0.1 * n * np.exp(noise * rng.standard_normal()) for n in (1, 5, 20)}
        return worse | {f"emd_ranked_flip_fkeras_{n}": factor * 0.1 * n * np.exp(noise * rng.standard_normal()) for n in (1, 5, 20)}

    return make


def costly(slope, noise):
    """Two kinds of training are beaten in clean score and cost; with a negative slope they are the sturdier ones."""

    def make(bits, name, seed, rng):
        extra = 0.1 * ("jacobian", "", "orthogonality").index(name)
        return {
            "emd": 2 - 0.1 * bits + extra,
            "lut": 100.0 * bits + 10 * extra,
            "emd_gauss_20": 1 + slope * extra + noise * rng.standard_normal(),
        }

    return make


U = {3: 2.0, 4: 1.0, 6: 1.5, 8: 2.5}
CASES = {
    "Q1": (flat_and_robust(1, 0.3), flat_and_robust(-1, 0.3), flat_and_robust(0.3, 1)),
    "Q2": (by_bits(1, 0.5), by_bits(-1, 0.5), by_bits(0.1, 1)),
    "Q3": (precision(U, 0.1), precision({b: 3 - 0.3 * b for b in U}, 0.1), precision(dict.fromkeys(U, 1.0), 0.3)),
    "Q5": (
        regularized({"orthogonality": 0.5}, 0.02),
        regularized({"orthogonality": 0.5, ("orthogonality", "emd_gauss_20"): 1.5}, 0.02),
        regularized({"orthogonality": 0.8}, 1.0),
    ),
    "Q6": (
        regularized({("jacobian", "emd_gauss_20"): 0.5}, 0.02),
        regularized({"jacobian": 0.5}, 0.02),
        regularized({("jacobian", "emd_gauss_20"): 0.8}, 1.0),
    ),
    "Q7": (similar((0.99, 0.9, 0.8), 0.01), similar((0.99, 0.9, 0.95), 0.01), similar((0.9, 0.88, 0.86), 0.5)),
    "Q8": (barriers((0.9, 0.3, 0.05), 0.01), barriers((0.9, 0.05, 0.04), 0.01), barriers((0.6, 0.3, 0.05), 0.8)),
    "Q9": (bend((0.5, 1, 4), 0.1), bend((1, 2, 2.2), 0.05), bend((0.5, 1, 1.8), 2)),
    "Q10": (ranked(5, 0.2), ranked(1.2, 0.2), ranked(2.1, 1)),
    "Q12": (costly(-5, 0.01), costly(5, 0.01), None),
}


def case(name, k):
    return judged(study(CASES[name][k], half=0.01 if name == "Q12" else 0.0), int(name[1:]))


@pytest.mark.parametrize("name", CASES)
def test_a_claim_holds_where_it_is_made_true(name):
    found = case(name, 0)
    assert found.verdict == "holds", found
    assert found.clusters >= 3 and found.points >= 9
    assert all(p.effect.low <= p.effect.value <= p.effect.high for p in found.parts if p.effect)


@pytest.mark.parametrize("name", CASES)
def test_a_claim_does_not_hold_where_it_is_made_false(name):
    assert case(name, 1).verdict == "does not hold", case(name, 1)


@pytest.mark.parametrize("name", [name for name, cases in CASES.items() if cases[2]])
def test_a_claim_is_undecided_where_noise_hides_it_and_says_so(name):
    found = case(name, 2)
    assert found.verdict == "undecided", found
    assert "contains" in found.words or "Holm" in found.words


def test_a_curve_that_leaves_about_a_tenth_of_the_barrier_is_undecided():
    found = judged(study(barriers((0.9, 0.3, 0.1), 0.01)), 8)
    assert found.verdict == "undecided" and "contains" in found.words, found


@pytest.mark.parametrize("number", range(1, 13))
def test_missing_metrics_are_not_judged_with_words(number):
    for points in ([], study(lambda *_: {})):
        found = judged(points, number)
        assert found.verdict == "not judged" and len(found.words) > 15 and found.words.endswith("."), found


def test_a_sign_is_told_but_one_model_cannot_tell_of_models():
    found = judged(study(regularized({"jacobian": 0.5, "orthogonality": 2.0}, 0.02)), 4)
    assert found.verdict == "undecided" and "one model" in found.words
    assert "jacobian helps under 2 and hurts under 0 of 2" in found.words
    assert "orthogonality helps under 0 and hurts under 2 of 2" in found.words
    assert found.points == 12 and found.clusters == 4


def test_a_part_that_was_not_measured_leaves_a_claim_undecided():
    names = ("hessian_trace", "top_eigenvalue", "emd_gauss_20")
    found = judged(study(regularized({"orthogonality": 0.5}, 0.02, names)), 5)
    assert found.verdict == "undecided" and "no barrier between seeds" in found.words
    against = judged(study(regularized({"orthogonality": 2.0}, 0.02, names)), 5)
    assert against.verdict == "does not hold"


def test_a_curve_that_30_epochs_do_not_connect_is_against_the_claim():
    found = judged(study(barriers((0.9, 0.8, 0.5), 0.01)), 8)
    assert found.verdict == "does not hold" and "less what is left after 30 epochs" in found.words
    only = judged(study(lambda *_: {"mode_connectivity_linear": 1.0, "mode_connectivity_curve": 0.1}), 8)
    assert only.verdict == "not judged" and "after 30 epochs only" in only.words


def test_an_effect_within_the_margin_is_as_good_as_none():
    found = judged(study(similar((0.95, 0.9505, 0.951), 0.001)), 7)
    assert found.verdict == "does not hold"
    same = judged(study(regularized({}, 0.01)), 5)
    assert same.verdict == "does not hold" and any("as good as none" in p.why for p in same.parts)


def test_a_higher_score_is_better_where_the_metric_says_so():
    """Accuracy 0.9 with degradation 0.3 at 8 bits is worse than 0.88 with 0.1 at 4 bits; as an error it would be the other way round."""
    clean, worse = {3: 0.5, 4: 0.88, 6: 0.89, 8: 0.9}, {3: 0.0, 4: 0.1, 6: 0.2, 8: 0.3}

    def make(bits, name, seed, rng):
        return {"emd": clean[bits], "emd_gauss_20": worse[bits] + 0.001 * rng.standard_normal()}

    found = judged(study(make, direction="higher", trivial=0.2), 3)
    assert found.verdict == "holds" and "best at 4 bits (an inner width in 100 % of draws)" in found.words
    assert found.parts[0].effect.value == pytest.approx((0.88 - 0.1) - (0.9 - 0.3), abs=0.01)


def test_the_trace_as_a_proxy_of_the_bits_is_no_flatness():
    """Trace and degradation both follow the bits and nothing else: plain correlation is high, what decides is not."""

    def make(bits, name, seed, rng):
        trace = np.exp(bits + 0.1 * rng.standard_normal())
        return {
            "hessian_trace": trace,
            "top_eigenvalue": trace,
            "emd_gauss_20": bits + 0.1 * rng.standard_normal(),
            "emd_flip_5": 1.0 * bits,
        }

    found = judged(study(make), 1)
    plain = next(p for p in found.parts if "plain" in p.words)
    assert plain.effect.value > 0.85 and not plain.decides and found.verdict != "holds"


def test_pairs_need_the_same_settings_and_seed():
    points = [p for p in study(regularized({"jacobian": 0.5}, 0.02)) if p.regularizer != "none" or p.config["seed"] != 2]
    found = judged(points, 6)
    assert found.points == 8 and found.clusters == 4
    other = [replace(p, config={**p.config, "gate": {"samples": 64 + (p.regularizer == "none")}}) for p in points]
    assert judged(other, 6).verdict == "not judged"


def test_points_that_are_not_ranked_do_not_count():
    points = study(CASES["Q2"][0])
    assert judged([replace(p, status="untrained") if p.weight_bits == 8 else p for p in points], 2).points == 27


def test_the_q12_front_counts_only_what_is_beyond_the_intervals():
    points = study(CASES["Q12"][0], half=2.0)
    assert judged(points, 12).parts[0].effect.value == 0
    assert judged(study(CASES["Q12"][0], half=0.01), 12).parts[0].effect.value == pytest.approx(2 / 3, abs=0.05)


def screen(rho=(0.8, 0.5, 0.95), gain=(0.4, 0.1, 0.6), cost=0.08):
    target = {
        "title": "EMD degradation, Gaussian noise 20 %", "unit": "", "measured": 36, "spearman": rho[0], "spearman_ci": list(rho[1:]),
        "gain": gain[0], "gain_ci": list(gain[1:]), "recall": 0.6, "recall_random": 0.25, "cost_share": cost, "points": [],
    }  # fmt: skip
    return {"targets": {"emd_gauss_20": target}, "configurations": 12}


def test_screening_is_judged_by_rank_correlation_gain_and_cost():
    assert judged([], 11, screen()).verdict == "holds"
    assert judged([], 11, screen(gain=(-0.4, -0.6, -0.2))).verdict == "does not hold"
    assert judged([], 11, screen(gain=(0.0, -0.05, 0.06))).verdict == "does not hold"
    assert judged([], 11, screen(gain=(0.1, -0.3, 0.5))).verdict == "undecided"
    costly_one = judged([], 11, screen(cost=0.3))
    assert costly_one.verdict == "undecided" and "more than 10 %" in costly_one.words
    assert judged([], 11, screen(rho=(-0.8, -0.9, -0.5), cost=0.3)).verdict == "does not hold", "whatever it costs"
    nothing = screen()
    nothing["targets"]["emd_gauss_20"] |= {"spearman": None, "spearman_ci": None, "gain": None, "gain_ci": None}
    assert judged([], 11, nothing).verdict == "not judged"
    assert "60 % of the most robust quarter found (25 % by chance)" in judged([], 11, screen()).words


def part(value, low, high, p, **more):
    return Part("x", Effect(value, low, high, p, 9, 3), **more)


def test_verdicts_of_many_claims_must_stand_together():
    """p = 0.03 stands alone, and not among three; a conjunction is as weak as its weakest effect."""
    weak, strong, open_ = part(1, 0.1, 1.9, 0.03), part(1, 0.9, 1.1, 1e-6), part(1, -1, 3, 0.4)

    def claim(*parts, needs="all"):
        return Judgement("Q", "claim", "check", list(parts), needs)

    assert [c.verdict for c in judge([claim(weak)])] == ["holds"]
    assert [c.verdict for c in judge([claim(weak), claim(open_), claim(open_)])] == ["undecided"] * 3
    assert [c.verdict for c in judge([claim(strong), claim(strong, weak)])] == ["holds", "holds"]
    assert [c.verdict for c in judge([claim(strong, open_)])] == ["undecided"]
    assert [c.verdict for c in judge([claim(strong, open_, needs="any")])] == ["holds"]
    assert [c.verdict for c in judge([claim(weak, open_, needs="any")])] == ["undecided"], "the best of two is twice as likely by chance"
    against = part(-1, -1.1, -0.9, 1e-6)
    assert [c.verdict for c in judge([claim(strong, against)])] == ["does not hold"]
    assert [c.verdict for c in judge([claim(against, open_, needs="any")])] == ["undecided"]
    assert [c.verdict for c in judge([claim(against, against, needs="any")])] == ["does not hold"]


def test_the_document_is_the_same_whatever_the_order_and_has_no_nan():
    points = study(CASES["Q1"][0])
    first = json.dumps(claims_json(judge_claims(points)), sort_keys=True, allow_nan=False)
    random.Random(1).shuffle(points)
    assert json.dumps(claims_json(judge_claims(points)), sort_keys=True, allow_nan=False) == first
    assert [c["id"] for c in json.loads(first)["judged"]] == [f"Q{k}" for k in range(1, 13)]


def test_the_page_says_what_holds_in_a_sentence_and_nothing_when_there_is_nothing():
    found = judge_claims(study(CASES["Q2"][0]))
    assert summary(found).startswith("hold: Q2; undecided: Q5; not judged: Q1, Q3")
    views = claim_views(found)
    assert len(views) == 12 and views[1].css == "good" and views[1].counts == "36 / 12" and " to " in views[1].shown[0].interval
    assert claim_views(judge_claims([])) == [] and summary(judge_claims([])) == ""


def test_ids_of_ranked_flips_belong_to_the_task_score():
    from flow.reporting.perturbation import levels, perturbed

    metrics = {"emd": Metric(1.0), "emd_ranked_flip_fkeras_5": Metric(1.0)}
    assert perturbed("emd_ranked_flip_fkeras_5", metrics).kind == "ranked_flip_fkeras"
    assert list(levels(study(ranked(2, 0.1)))) == ["flip", "ranked_flip_fkeras"]
