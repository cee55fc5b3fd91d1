"""The laws: coefficients of a law that is known, coverage of what was held out, and the committed calibration."""

import dataclasses
import json

import numpy as np
import pytest

from flow.core.errors import InvalidInput
from flow.estimate import model

NOISE, LAW = 0.2, ("adder_bits", "digits")


def planted(rng, count, slope=0.8):
    """Networks whose look-up tables follow a known law with log-normal noise."""
    x = np.exp(rng.uniform(5, 11, count))
    digits = x ** rng.uniform(0.7, 0.9, count)
    lut = 2.0 * x**slope * digits**0.1 * np.exp(rng.normal(0, NOISE, count))
    features = tuple({"adder_bits": a, "digits": d, "stages": s} for a, d, s in zip(x, digits, rng.uniform(1, 9, count), strict=True))
    return model.Table("planted", features, {"lut": lut})


def share_inside(law, table):
    got = [law.predict(f) for f in table.features]
    return np.mean([e.low <= y <= e.high for e, y in zip(got, table.measured["lut"], strict=True)])


def test_a_known_law_is_found_again():
    law = model.fit(planted(np.random.default_rng(0), 4000), "lut", LAW)
    assert law.coefficients == pytest.approx([np.log(2), 0.8, 0.1], abs=0.1)
    assert law.spread == pytest.approx(NOISE, rel=0.05)


def test_nineteen_of_twenty_held_out_networks_lie_in_the_interval_also_with_few_to_fit():
    rng = np.random.default_rng(1)
    shares = [share_inside(model.fit(planted(rng, 12), "lut", LAW), planted(rng, 50)) for _ in range(60)]
    assert np.mean(shares) == pytest.approx(0.95, abs=0.015)


def test_wrong_models_do_not_cover():
    rng = np.random.default_rng(2)
    law = model.fit(planted(rng, 40), "lut", LAW)
    assert share_inside(dataclasses.replace(law, spread=law.spread / 3), planted(rng, 400)) < 0.7, "an interval that is too narrow"
    assert share_inside(law, planted(rng, 400, slope=0.95)) < 0.7, "networks of another kind"
    assert model.validate(planted(rng, 40), "lut", ("stages",)).median_error > 3 * model.validate(planted(rng, 40), "lut", LAW).median_error


def test_leaving_one_out_counts_by_hand():
    # The mean of logarithms of the two others: network 2 is predicted as 1 from 1 and 1, whose interval has no width.
    ones = tuple({"a": 1.0} for _ in range(3))
    found = model.validate(model.Table("", ones, {"y": np.array([1.0, 1.0, 2.0])}), "y", ())
    assert (found.inside, found.networks) == (2, 3)
    assert found.worst_error == pytest.approx(0.5)
    with pytest.raises(InvalidInput, match="too few"):
        model.fit(model.Table("", ones[:1], {"y": np.ones(1)}), "y", ())


def test_features_out_of_range_are_named():
    ranges = {"digits": (10.0, 300.0), "stages": (1.0, 5.0)}
    assert model.outside({"digits": 10.0, "stages": 5.0}, ranges) == []
    assert model.outside({"digits": 9.0, "stages": 6.0}, ranges) == ["digits 9 is below 10", "stages 6 is above 5"]


def test_the_calibration_holds_for_networks_it_was_not_fitted_to():
    table = model.calibration()
    assert len(table.features) >= 30
    assert table.source.startswith("yosys 0.")
    for figure, error in (("lut", 0.25), ("lut6_packed", 0.25), ("ff", 0.3), ("latency_cycles", 0.2)):
        found = model.validate(table, figure)
        # A binomial with 0.95 has at least 85 % inside with a probability above 0.99 at this number of networks.
        assert found.inside >= 0.85 * found.networks, figure
        assert found.median_error < error, figure
    shuffled = model.Table("", table.features[1:] + table.features[:1], table.measured)
    assert model.validate(shuffled, "lut").median_error > 0.5, "networks with the figures of others"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("source"),
        lambda d: d.update(rows=[]),
        lambda d: d["rows"][0].pop("lut"),
        lambda d: d["rows"][0].update(ff=0),
        lambda d: d["rows"][0]["features"].update(digits=float("nan")),
        lambda d: d["rows"][0]["features"].pop("digits"),
        lambda d: d["rows"][0].update(lut="many"),
        lambda d: d.update(rows=3),
    ],
)
def test_a_damaged_calibration_is_refused(change):
    document = json.loads(model.CALIBRATION.read_text())
    change(document)
    with pytest.raises(InvalidInput, match="calibration"):
        model.read_table(document)
