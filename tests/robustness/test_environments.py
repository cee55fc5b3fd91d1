"""The table of upset rates: units, sources, and what is not in it."""

import numpy as np
import pytest

from flow.config import RobustnessConfig
from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.robustness._environments import environments, read_table, visible_days

HEAD = '[there]\ntitle = "t"\nsource = "s"\nbasis = "quoted"\n'


def written(folder, text):
    (folder / "rates.toml").write_text(text)
    return read_table(folder / "rates.toml")


@pytest.mark.parametrize(
    ("numbers", "rate"),
    [
        ("per_bit_day = 2e-7", 2e-7),
        ("fit_per_mb = 100", 100 * 24 / 1e15),  # failures of 10^6 bits in 10^9 hours
        ("cross_section_cm2 = 1e-14\nflux_cm2_s = 3", 3e-14 * 86400),
        ("cross_section_cm2 = 1e-14\nflux_cm2_h = 3", 3e-14 * 24),
        # 10^10 particles in 1000 fb-1, which 10^35 cm-2 s-1 gives in 10^7 s, are 1000 a second.
        ("cross_section_cm2 = 1e-14\nfluence_cm2 = 1e10\nfluence_fb = 1000\nluminosity_cm2_s = 1e35", 1e-14 * 1000 * 86400),
    ],
)
def test_units(tmp_path, numbers, rate):
    (place,) = written(tmp_path, HEAD + numbers)
    assert (place.id, place.title, place.source) == ("there", "t", "s")
    assert place.rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD, "no rate from nothing"),
        (HEAD + "flux_cm2_s = 3", "no rate from flux_cm2_s"),
        (HEAD + "per_bit_day = 1\nfit_per_mb = 1", "no rate from fit_per_mb, per_bit_day"),
        (HEAD + "per_bit_day = -1", "positive"),
        (HEAD + 'per_bit_day = "many"', "positive"),
        (HEAD.replace("quoted", "guessed") + "per_bit_day = 1", "basis"),
        (HEAD.replace('source = "s"\n', "") + "per_bit_day = 1", "source"),
    ],
)
def test_rows_that_are_refused(tmp_path, text, why):
    with pytest.raises(ConfigError, match=why):
        written(tmp_path, text)


def test_what_is_recalled_says_so(tmp_path):
    assert written(tmp_path, HEAD.replace("quoted", "recalled") + "per_bit_day = 1")[0].source == "s; recalled"


def test_the_table_is_in_order():
    """At sea level, neutrons upset 28 nm cells of an FPGA at some 90 failures in time a megabit; flights see hundreds of times as many."""
    rates = {place.id: place.rate for place in read_table()}
    assert 50 < rates["ground_fpga_28nm"] / 24 * 1e15 < 150
    assert rates["aircraft_fpga_28nm"] / rates["ground_fpga_28nm"] == pytest.approx(6000 / 13)
    assert rates["ground_fpga_28nm"] < rates["aircraft_fpga_28nm"] < rates["hl_lhc_muon_fpga_28nm"] < rates["iter_fpga_28nm"]
    assert all(30 < len(place.source) < 110 and place.title for place in read_table())


def test_which_rates_a_point_asks_for():
    assert environments(RobustnessConfig()) == read_table()
    (one,) = environments(RobustnessConfig(environment="leo_sram"))
    assert one.id == "leo_sram"
    (own,) = environments(RobustnessConfig(environment="leo_sram", upset_rate=0.5))
    assert (own.id, own.rate, own.source) == ("own", 0.5, "robustness.upset_rate")
    with pytest.raises(ConfigError, match=r"'moon' is none of ground_fpga_28nm, .*\. Leave it out"):
        environments(RobustnessConfig(environment="moon", upset_rate=0.5))


def test_days_are_the_mean_wait_for_the_first_visible_upset():
    """Each of 400 bits waits an exponential time; 30 of them are visible."""
    (own,) = environments(RobustnessConfig(upset_rate=0.01))
    days = visible_days([own], Metric(7.5, "%", ci=(5.0, 10.0), source="n"), 400, "much")["own"]
    waits = np.random.default_rng(0).exponential(1 / 0.01, (20000, 400))[:, :30].min(axis=1)
    assert days.value == pytest.approx(waits.mean(), rel=0.02)
    assert days.ci == pytest.approx((1 / 0.4, 1 / 0.2))


def test_an_interval_down_to_no_bit_ends_at_one():
    (own,) = environments(RobustnessConfig(upset_rate=0.01))
    days = visible_days([own], Metric(1.0, "%", ci=(0.0, 2.0), source="n"), 400, "much")["own"]
    assert days.ci == pytest.approx((1 / 0.08, 100))
    assert visible_days([own], Metric(0.0, "%", ci=(0.0, 2.0)), 400, "much") == {}
