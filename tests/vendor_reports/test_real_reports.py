"""Every report of a collection of real projects, against figures that were read by hand. Skipped where there is no collection."""

import csv
import os
from functools import cache
from pathlib import Path

import pytest

from flow.core.errors import InvalidInput
from flow.vendor.reports import read_cosim, read_csynth, read_export, read_project, read_utilization
from tests.vendor_reports.test_hostile import contradictions

ROOT = Path(__file__).resolve().parents[3] / "shared" / "reports"
ROWS = list(csv.DictReader((ROOT / "manifest.csv").open())) if (ROOT / "manifest.csv").is_file() else []
# Their estimates were read from files that are not in the collection; only what Vivado wrote is.
WITHOUT_CSYNTH = {"06f9ce", "146819", "5850d5", "6933ba", "cadaf5"}
pytestmark = pytest.mark.skipif(not ROWS, reason="there is no collection of real reports")


@cache
def project(local):
    return read_project(ROOT / local)


def plain(part):
    return part.lower().replace("-", "")


def number(text):
    return float(text) if text else None


@pytest.mark.parametrize("row", ROWS, ids=[row["local"][-40:] for row in ROWS])
def test_figures_read_by_hand(row):
    found = project(row["local"])
    summary = found.summary
    assert plain(summary["part"].value) == plain(row["part"])
    assert float(summary["clock_target_ns"].value) == float(row["clock_ns"])
    network = found.network or found.csynth
    if row["local"][-6:] in WITHOUT_CSYNTH:
        assert network is None
        assert "hls_version" not in summary
        assert summary["vivado_version"].value == row["hls_version"]
    else:
        assert summary["hls_version"].value == row["hls_version"]
        names = ("II_min", "latency_min", "hls_LUT", "hls_FF", "hls_DSP")
        used = (network.interval_min_cycles, network.latency_min_cycles, network.used.lut, network.used.ff, network.used.dsp)
        assert used == tuple(number(row[name]) for name in names)
    mapped = {f.name: f.value for f in found.figures() if f.kind == "mapped"}
    assert [mapped.get(name) for name in ("lut", "ff", "dsp")] == [number(row[f"vs_{name}"]) for name in ("LUT", "FF", "DSP")]


def test_every_report_is_read():
    readers = {"csynth.xml": read_csynth, "csynth.rpt": read_csynth, "_cosim.rpt": read_cosim, "_export.rpt": read_export}
    readers |= {"_utilization_synth.rpt": read_utilization, "vivado_synth.rpt": read_utilization}
    count = 0
    for path in sorted(ROOT.rglob("*.[rx][pm][tl]")):
        read = next(read for end, read in readers.items() if path.name.endswith(end))
        report = read(path)
        count += 1
        if path.name.endswith("csynth.xml"):
            assert None not in (report.used.lut, report.used.ff, report.used.dsp, report.latency_min_cycles, report.interval_min_cycles)
            assert report.module == path.name.removesuffix("_csynth.xml")
    assert count == len(list(ROOT.rglob("*.rpt"))) + len(list(ROOT.rglob("*.xml"))) > 300


def test_the_two_forms_say_the_same():
    """But for the interval of modules that are not pipelined, where the text of Vivado HLS 2018 and 2019 has the latency."""
    compared = 0
    for xml in sorted(ROOT.rglob("*_csynth.xml")):
        if (text := xml.with_suffix(".rpt")).is_file():
            a, b = read_csynth(xml), read_csynth(text)
            assert (a.tool, a.version, a.part, a.used, a.available) == (b.tool, b.version, b.part, b.used, b.available), xml
            assert (a.latency_min_cycles, a.latency_max_cycles) == (b.latency_min_cycles, b.latency_max_cycles), xml
            assert a.interval_min_cycles - b.interval_min_cycles in (0, 1), xml
            compared += 1
    assert compared > 100


def test_tiles_are_half_the_blocks_of_the_export():
    """Vivado counts tiles of 36 Kibit, the export counts halves; both are in eight projects."""
    pairs = 0
    for row in ROWS:
        found = project(row["local"])
        for export in found.exports:
            assert 2 * found.utilization[0].bram_tiles.used == export.used.bram_18k
            assert found.utilization[0].lut.used == export.used.lut
            pairs += 1
        for counts in found.utilization:
            assert counts.bram_tiles.used == counts.ramb36.used + counts.ramb18.used / 2
    assert pairs == 8


def test_cuts_of_real_reports(tmp_path):
    for name, read in (("model4_latency__results/myproject_utilization_synth.rpt", read_utilization), ("results/csynth.rpt", read_csynth)):
        path = next(p for p in sorted(ROOT.rglob("*.rpt")) if p.as_posix().endswith(name))
        data, whole, copy = path.read_bytes(), read(path), tmp_path / path.name
        copy.write_bytes(data)
        for length in range(len(data) - 1, 0, -61):
            os.truncate(copy, length)
            try:
                assert contradictions(whole, read(copy)) == [], length
            except InvalidInput:
                continue
