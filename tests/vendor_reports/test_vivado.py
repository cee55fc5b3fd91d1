"""Reports of Vivado: utilisation, timing, power, and the results of export and co-simulation."""

import pytest

from flow.core.errors import InvalidInput
from flow.vendor.reports import (
    Resources,
    Site,
    read_cosim,
    read_export,
    read_power,
    read_timing,
    read_utilization,
)
from tests.vendor_reports.reports import DATA


def test_utilization_of_series_7():
    report = read_utilization(DATA / "vivado_synth.rpt")
    assert (report.tool, report.version, report.design) == ("Vivado", "2020.1", "net2020")
    assert (report.device, report.state, report.kind) == ("7z010clg400-1", "Synthesized", "mapped")
    assert (report.lut, report.ff, report.dsp) == (Site(3021, 17600), Site(3990, 35200), Site(80, 80))
    assert (report.bram_tiles, report.ramb36, report.ramb18) == (Site(3.5, 60), Site(2, 60), Site(3, 120))
    assert report.uram is None, "the part has none, and the report has no row"


def test_utilization_of_ultrascale_after_routing():
    report = read_utilization(DATA / "net2024_utilization_routed.rpt")
    assert (report.kind, report.state, report.version, report.design) == ("routed", "Routed", "2024.2", "bd_0_wrapper")
    assert (report.lut, report.ff) == (Site(1187, 230400), Site(901, 460800)), "not those of one SLR, nor what is prohibited"
    assert (report.dsp, report.bram_tiles, report.uram) == (Site(0, 1728), Site(0, 312), Site(2, 96)), "a true zero stays"


def test_utilization_by_hierarchy():
    report = read_utilization(DATA / "hierarchy_utilization.rpt")
    assert (report.lut, report.ff, report.dsp, report.uram) == (Site(20444), Site(15015), Site(1204), Site(0))
    assert report.bram_tiles == Site(5.5), "3 of 36 Kibit and 5 of 18"
    assert (report.kind, report.state) == ("mapped", "Fully Placed")


def test_two_reports_in_one_file(tmp_path):
    text = (DATA / "vivado_synth.rpt").read_text()
    path = tmp_path / "vivado_synth.rpt"
    path.write_text(text + text.replace("3021", "2999"))
    with pytest.raises(InvalidInput, match="more than one report"):
        read_utilization(path)


def test_provenance_follows_the_state_then_the_name(tmp_path):
    text = (DATA / "net2024_utilization_routed.rpt").read_text()
    path = tmp_path / "net2024_utilization_routed.rpt"
    path.write_text(text.replace("Design State : Routed", "Design State : Synthesized"))
    assert read_utilization(path).kind == "mapped", "the report knows better than its name"
    path.write_text(text.replace("| Design State : Routed\n", ""))
    assert read_utilization(path).kind == "routed"


def test_timing_met():
    report = read_timing(DATA / "net2020_timing_synth.rpt")
    assert (report.wns_ns, report.tns_ns, report.failing_endpoints, report.whs_ns, report.ths_ns) == (1.589, 0.0, 0, 0.142, 0.0)
    assert (report.clocks, report.clock_ns) == ((("ap_clk", 10.0),), 10.0)
    assert (report.kind, report.version, report.state) == ("mapped", "2020.1", None)


def test_timing_not_met():
    report = read_timing(DATA / "net2024_timing_summary_routed.rpt")
    assert (report.wns_ns, report.tns_ns, report.failing_endpoints, report.whs_ns) == (-0.114, -1504.273, 31, 0.010)
    assert report.clocks == (("ap_clk", 5.0), ("clk_out1", 2.5))
    assert (report.clock_ns, report.kind) == (5.0, "routed")


def test_timing_without_constraints():
    report = read_timing(DATA / "idle_timing_synth.rpt")
    assert report.wns_ns is None, "inf is no slack"
    assert report.whs_ns is None
    assert report.tns_ns == 0.0
    assert report.clock_ns is None, "two clocks, and none is called ap_clk"


def test_a_blank_column_is_absent_and_does_not_shift_the_others(tmp_path):
    text = (DATA / "net2020_timing_synth.rpt").read_text()
    path = tmp_path / "x_timing_synth.rpt"
    path.write_text(text.replace("      1.589      0.000                        0", "      1.589      0.000                         "))
    report = read_timing(path)
    assert report.failing_endpoints is None
    assert (report.wns_ns, report.whs_ns) == (1.589, 0.142)


def test_power():
    report = read_power(DATA / "net2024_power_routed.rpt")
    assert (report.total_w, report.dynamic_w, report.static_w, report.confidence) == (0.711, 0.118, 0.593, "Low")
    assert (report.kind, report.version, report.design) == ("routed", "2024.2", "bd_0_wrapper")
    small = read_power(DATA / "small_power.rpt")
    assert (small.total_w, small.dynamic_w, small.static_w, small.kind) == (0.092, None, 0.092, "mapped")


def test_cosim():
    old = read_cosim(DATA / "net2020_cosim.rpt")
    assert [run.status for run in old.runs] == ["NA", "Pass"]
    run = old.run
    assert (run.language, run.latency_min_cycles, run.latency_avg_cycles, run.latency_max_cycles) == ("Verilog", 305, 333, 410)
    assert (run.interval_min_cycles, run.interval_avg_cycles, run.interval_max_cycles, run.total_cycles) == (61, 66, 70, None)
    new = read_cosim(DATA / "net2024_cosim.rpt").run
    assert (new.latency_min_cycles, new.latency_max_cycles, new.interval_min_cycles, new.total_cycles) == (36, 36, None, 36)


def test_cosim_that_failed_or_never_ran():
    failed = read_cosim(DATA / "failed_cosim.rpt").run
    assert (failed.status, failed.latency_min_cycles) == ("Fail", None)
    assert read_cosim(DATA / "never_cosim.rpt").run is None


def test_export():
    mapped = read_export(DATA / "net2020_export.rpt")
    assert (mapped.kind, mapped.version, mapped.part) == ("mapped", "2020.1", "xc7z010-clg400-1")
    assert (mapped.used, mapped.srl) == (Resources(3021, 3990, 80, 7, None), 126)
    assert (mapped.clock_required_ns, mapped.clock_synth_ns, mapped.clock_routed_ns, mapped.timing_met) == (10.0, 8.411, None, True)
    routed = read_export(DATA / "net2024_export.rpt")
    assert (routed.kind, routed.used) == ("routed", Resources(1187, 901, 0, 0, 2))
    assert (routed.clock_synth_ns, routed.clock_routed_ns, routed.timing_met) == (3.702, 5.114, False)


def test_one_tile_is_two_halves():
    tiles, halves = read_utilization(DATA / "vivado_synth.rpt"), read_export(DATA / "net2020_export.rpt")
    assert 2 * tiles.bram_tiles.used == halves.used.bram_18k == 7


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_utilization, "net2020_timing_synth.rpt"),
        (read_timing, "vivado_synth.rpt"),
        (read_power, "vivado_synth.rpt"),
        (read_cosim, "vivado_synth.rpt"),
        (read_export, "net2020_csynth.rpt"),
    ],
)
def test_the_wrong_report(read, name):
    with pytest.raises(InvalidInput, match="this is not a"):
        read(DATA / name)
