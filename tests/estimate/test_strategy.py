"""DSP slices and block RAMs of the hls4ml project, against counts by hand and figures of public reports."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.vendor_networks import NETWORKS
from flow.estimate.strategy import Multipliers, count
from flow.rtl.graph import FixedType, Graph, Layer

REPORTS = Path(__file__).resolve().parents[3] / "shared" / "reports"


def dense(matrix, word_bits, weight_bits):
    codes = np.array(matrix, float)
    weights = {"weight": (codes, FixedType(True, weight_bits, weight_bits))}
    return Graph((
        Layer("in", "Input", (), codes.shape[:1], FixedType(True, word_bits, word_bits)),
        Layer("fc", "Dense", ("in",), codes.shape[1:], FixedType(True, 40, 40), {}, weights),
    ))  # fmt: skip


def test_constants_with_three_digits_become_dsp_slices():
    graph = dense([[0, 8, 7], [11, -21, 3]], 16, 8)  # 11 = 8 + 4 - 1 and 21 = 16 + 4 + 1; 7 = 8 - 1 and 3 = 4 - 1
    assert count(graph, "latency", 1) == Multipliers(2, 0)
    assert count(graph, "distributed_arithmetic", 1) == Multipliers(0, 0)
    assert count(dense([[11], [21]], 8, 8), "latency", 1) == Multipliers(0, 0), "narrow words"


def test_a_shared_multiplier_serves_as_many_weights_as_are_reused():
    graph = dense(np.ones((16, 64)), 16, 7)
    assert count(graph, "resource", 64) == Multipliers(16, 4), "as Vivado HLS 2019.2 reported for 16 x 7 bits"
    assert count(dense(np.ones((64, 32)), 7, 7), "resource", 64) == Multipliers(0, 7), "as reported for 7 x 7 bits"
    assert count(dense(np.ones((32, 32)), 7, 7), "resource", 64) == Multipliers(0, 4)
    assert count(dense(np.ones((32, 5)), 7, 7), "resource", 32) == Multipliers(0, 1)
    assert count(graph, "latency", 4) == Multipliers(256, 0)
    assert count(graph, "resource", 1) == Multipliers(1024, 0)


@pytest.mark.skipif(not REPORTS.is_dir(), reason="no folder of reports")
@pytest.mark.parametrize(("index", "reported"), [(0, 132), (1, 3317 - 5)])
def test_public_reports_are_met_within_an_eighth(index, reported):
    dsp = count(NETWORKS[index].graph(REPORTS), "latency", 1).dsp
    assert dsp == pytest.approx(reported, rel=0.125)
