"""The comparison with Vivado: what it reads, its interval by hand, and what it says when there is nothing to read."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks import vendor
from benchmarks.vendor_networks import NETWORKS

REPORTS = Path(__file__).resolve().parents[3] / "shared" / "reports"
real = pytest.mark.skipif(not REPORTS.is_dir(), reason="no folder of reports")


def test_the_interval_of_a_ratio_by_hand():
    # Means by repository 0, 1 and 2: centre 1. Squares of all four around it: 1, 0, 1, 1; their spread is 1. t(0.975, 2) = 4.302653.
    low, high = vendor.interval({"a": [0.0], "b": [1.0], "c": [2.0, 2.0]})
    assert low == pytest.approx(np.exp(1 - 4.302653 * (4 / 3) ** 0.5), rel=1e-5)
    assert high == pytest.approx(np.exp(1 + 4.302653 * (4 / 3) ** 0.5), rel=1e-5)


def test_ratios_need_both_figures(tmp_path):
    file = tmp_path / "manifest.csv"
    head = "repo,hls_LUT,hls_FF,hls_DSP,vs_LUT,vs_FF,vs_DSP"
    file.write_text(f"{head}\na,100,10,0,50,20,0\nb,100,10,4,50,20,2\nb,100,10,4,25,20,4\nc,100,10,4,,,\n")
    rows = vendor.ratios(file)
    assert rows[2].startswith("| LUT | 3 | 2 | 0.50 | 0.25 | 0.50 |")
    assert rows[3].startswith("| FF | 3 | 2 | 2.00 | 2.00 | 2.00 | 2.00 to 2.0 |")
    assert rows[4].startswith("| DSP | 2 | 1 |") and rows[4].endswith("| – |"), "one repository has no spread"


def test_without_reports_it_says_what_to_give(tmp_path, capsys):
    assert vendor.main([str(tmp_path)]) == 2
    assert "manifest.csv: there is no such file. Give a folder of reports." in capsys.readouterr().err


@real
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.title)
def test_figures_of_the_reports_are_those_of_the_manifest(network):
    with (REPORTS / "manifest.csv").open(newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["local"] == network.folder)
    found = vendor.theirs(REPORTS / network.folder)
    hls, vivado = (next(v for k, v in found.items() if k.startswith(tool)) for tool in ("HLS", "Vivado"))
    assert [hls[k] for k in ("lut6_packed", "ff", "dsp")] == [float(row[f"hls_{k}"]) for k in ("LUT", "FF", "DSP")]
    assert [vivado[k] for k in ("lut6_packed", "ff", "dsp")] == [float(row[f"vs_{k}"]) for k in ("LUT", "FF", "DSP")]
    cells = vendor.primitives(REPORTS / network.folder / "vivado_synth.rpt")
    assert cells["FDRE"] + cells.get("FDSE", 0) == vivado["ff"]
    assert vivado["lut"] > vivado["lut6_packed"], "tables that share a LUT6"


def test_a_finished_network_is_not_mapped_again(tmp_path):
    (tmp_path / "counts.json").write_text('{"lut": 10, "lut6_packed": 8, "ff": 3, "dsp": 0, "carry": 2, "latency_cycles": 4, "tool": "x"}')
    assert vendor.ours(None, "part", 5.0, tmp_path)["lut6_packed"] == 8
