"""Reports of C synthesis in each of their layouts, against what was written into them by hand."""

import shutil

import pytest

from flow.core.errors import InvalidInput
from flow.vendor.reports import Resources, read_csynth
from tests.vendor_reports.reports import DATA

# tool, version, part, clock (target, estimated, uncertainty), latency and interval (min, max), used, available
EXPECTED = {
    "net2016": (
        ("Vivado HLS", "2016.4", "xc7vx485tffg1761-2"),
        (4.0, 3.51, 0.5),
        (21, 23, 2, 3),
        Resources(1913, 2721, 57, 3, None),
        Resources(303600, 607200, 2800, 2060, None),
    ),
    "net2020": (
        ("Vivado HLS", "2020.1", "xc7z010-clg400-1"),
        (10.0, 8.127, 1.25),
        (310, 412, 64, 72),
        Resources(6929, 4346, 88, 7, 0),
        Resources(17600, 35200, 80, 120, 0),
    ),
    "net2022": (
        ("Vitis HLS", "2022.2", "xcvu13p-flga2577-2-e"),
        (2.78, 2.012, 0.75),
        (14, 14, 1, 1),
        Resources(45006, 23014, 1204, 9, 0),
        Resources(1728000, 3456000, 12288, 5376, 1280),
    ),
    "net2024": (
        ("Vitis HLS", "2024.2", "xczu7ev-ffvc1156-2-e"),
        (5.0, 3.65, 1.35),
        (35, 38, 16, 16),
        Resources(2404, 912, 0, 0, 2),
        Resources(230400, 460800, 1728, 624, 96),
    ),
    "loop": (
        ("Vitis HLS", "2023.1", "xc7z020-clg400-1"),
        (8.0, 5.799, 2.16),
        (None, None, None, None),
        Resources(77, None, None, None, None),
        Resources(53200, 106400, 220, 280, 0),
    ),
}


@pytest.mark.parametrize("form", ["rpt", "xml"])
@pytest.mark.parametrize("module", EXPECTED)
def test_every_figure(module, form):
    report = read_csynth(DATA / f"{module}_csynth.{form}")
    names, clock, cycles, used, available = EXPECTED[module]
    assert report.module == module
    assert (report.tool, report.version, report.part) == names
    assert (report.clock_target_ns, report.clock_estimated_ns, report.clock_uncertainty_ns) == clock
    found = (report.latency_min_cycles, report.latency_max_cycles, report.interval_min_cycles, report.interval_max_cycles)
    assert found == cycles
    assert report.used == used
    assert report.available == available


def test_modules_inside_are_known_from_the_text():
    assert read_csynth(DATA / "net2016_csynth.rpt").calls == ("dense_a", "relu_b")
    assert read_csynth(DATA / "loop_csynth.rpt").calls == ()
    assert read_csynth(DATA / "net2022_csynth.rpt").project == "net2022_prj"


def test_summary_of_newer_tools():
    report = read_csynth(DATA / "csynth.rpt")
    assert (report.module, report.tool, report.version, report.part) == ("net2024", "Vitis HLS", "2024.2", "xczu7ev-ffvc1156-2-e")
    assert report.used == Resources(lut=2404, ff=912, dsp=None, bram_18k=None, uram=2), "a hyphen is absent, not zero"
    assert report.latency_min_cycles is None, "it does not say whether its latency is the least or the most"
    assert report.calls == ("net2024_Pipeline_loop",)


def test_what_hls4ml_prints():
    report, alone = read_csynth(DATA / "printed_csynth.rpt"), read_csynth(DATA / "net2020_csynth.rpt")
    assert (report.module, report.used, report.latency_max_cycles) == (alone.module, alone.used, alone.latency_max_cycles)


def test_the_content_counts_not_the_name(tmp_path):
    for name, copy in (("net2022_csynth.xml", "a.rpt"), ("net2022_csynth.rpt", "b.xml.txt")):
        shutil.copy(DATA / name, tmp_path / copy)
        assert read_csynth(tmp_path / copy).used.lut == 45006


def edited(tmp_path, name, old, new):
    text = (DATA / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("net2022_csynth.rpt", "|Available            |", "|Availoble            |", "the row 'Available'"),
        ("net2022_csynth.rpt", "|    45006|", "|   4500", "'Utilization Estimates / Summary' is not whole"),
        ("net2022_csynth.rpt", "== Utilization Estimates", "", "'Utilization Estimates / Summary' is missing"),
        (
            "net2022_csynth.rpt",
            "  Interval | Pipeline|\n    |   min",
            "  Spread   | Pipeline|\n    |   min",
            "header of the table 'Latency",
        ),
        ("net2022_csynth.rpt", "Report for 'net2022'", "Report for 'net\x1b[2J'", "title"),
        ("net2016_csynth.rpt", "+ Latency (clock cycles): \n    * Summary", "+ Latency (clock cycles): \n    * Summory", "is missing"),
        ("net2022_csynth.xml", "<unit>ns</unit>\n<Est", "<unit>ps</unit>\n<Est", "ns, ps, not ns"),
        ("net2022_csynth.xml", "<unit>clock cycles</unit>", "<unit>us</unit>", "not in clock cycles"),
        ("net2022_csynth.xml", "<TopModelName>net2022</TopModelName>", "", "<TopModelName> is missing"),
        ("net2022_csynth.xml", "AreaEstimates>", "AreaGuesses>", "<AreaEstimates> is missing"),
        ("net2022_csynth.xml", "profile>", "project>", "its root is <project>"),
        ("csynth.rpt", "|+ net2024*", "|+ net2025*", "the row of 'net2024' is missing"),
    ],
)
def test_damage_is_named(tmp_path, name, old, new, words):
    with pytest.raises(InvalidInput) as caught:
        read_csynth(edited(tmp_path, name, old, new))
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_two_modules_in_one_file(tmp_path):
    path = tmp_path / "all_csynth.rpt"
    path.write_text((DATA / "net2016_csynth.rpt").read_text() + (DATA / "net2020_csynth.rpt").read_text())
    with pytest.raises(InvalidInput, match="one file for each"):
        read_csynth(path)


def test_several_clocks(tmp_path):
    row = "    |ap_clk  |  2.78 ns|  2.012 ns|     0.75 ns|\n"
    path = edited(tmp_path, "net2022_csynth.rpt", row, row.replace("ap_clk", "slow  ").replace("2.78", "9.99") + row)
    assert read_csynth(path).clock_target_ns == 2.78
    path = edited(tmp_path, "net2022_csynth.rpt", row, 2 * row.replace("ap_clk", "clk   "))
    assert read_csynth(path).clock_target_ns is None


def test_other_digits_are_no_digits(tmp_path):
    path = edited(tmp_path, "net2022_csynth.xml", "<LUT>45006</LUT>", "<LUT>४५००६</LUT>")
    report = read_csynth(path)
    assert report.used.lut is None
    assert report.used.ff == 23014
