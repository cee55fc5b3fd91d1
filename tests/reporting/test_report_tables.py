import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from report_samples import failed, point, study, untrained

from flow.core.metric import Metric
from flow.reporting.checklist import checklist
from flow.reporting.result import PointResult
from flow.reporting.tables import WIDTH, study_table, terminal_table

ROOT = Path(__file__).resolve().parents[2]


def line(text, start):
    return next(row for row in text.splitlines() if row.strip().startswith(start))


def test_a_table_has_values_intervals_units_share_of_the_part_class_and_source():
    text = terminal_table(point(6, "jacobian"))
    assert line(text, "LUT").split() == ["LUT", "9631", "LUT", "1.45", "%", "mapped", "yosys", "0.70"]
    assert "±" in line(text, "5 bit flips") and "+18.4 %" in line(text, "5 bit flips") and "measured" in line(text, "EMD ")
    assert line(text, "Latency, input").split()[-4:-2] == ["cycles", "measured"] and "(timing not" in text
    assert "[1] bootstrap over test samples, 2000 draws" in text
    assert "lut_percent" not in text and "LUT of part" not in text
    order = [text.index(word) for word in ("Hardware cost", "Task score", "Degradation under", "Loss landscape")]
    assert order == sorted(order)
    assert "passed, 0 mismatches in 4096 samples" in text


def test_no_line_is_too_wide():
    long = replace(point(), metrics={**point().metrics, "x" * 90: Metric(1.0, "u" * 40, source="s" * 90, title="t" * 90)})
    for result in (long, failed(), untrained(), replace(failed(), name="n" * 80)):
        assert max(map(len, terminal_table(result).splitlines())) <= WIDTH


def test_a_point_that_is_not_fine_says_so():
    assert "NOT PASSED, 12 mismatches" in terminal_table(failed())
    assert "MismatchError" in terminal_table(failed())
    assert "/tmp" not in terminal_table(failed())
    assert "Untrained: no better" in terminal_table(untrained()) and "not run" in terminal_table(untrained())
    inexact = terminal_table(replace(point(), gate={"mismatches": 3, "samples": 64}))
    assert "Withheld" in inexact and "Hardware cost" not in inexact


def test_an_empty_point_has_a_table():
    assert "p: OK" in terminal_table(PointResult("p", "ok"))


def test_mixed_precision_is_told():
    layers = {"conv": {"bits": 4, "rounding": None}, "relu": {"bits": None, "rounding": "FLOOR"}}
    config = {**point().config, "network": {**point().config["network"], "layers": layers}}
    assert "6-bit weights (conv 4), regularizer" in terminal_table(replace(point(), config=config))


def test_an_imported_network_has_neither_seed_nor_regularizer():
    imported = replace(point(), config={"model": "net.onnx", "onnx": "net.onnx", "data": {"seed": 42}, "network": {}})
    assert "(net.onnx, imported)" in terminal_table(imported)
    seeds = next(check for check in checklist([imported]) if "Seeds" in check.text)
    assert seeds.passed and "nothing was trained" in seeds.detail


def test_every_group_of_figures_is_shown():
    found = {"approximation_max": Metric(0.5), "zero_weights": Metric(12.5, "%"), "emd_float": Metric(1.25, title="EMD in float")}
    text = terminal_table(replace(point(), metrics={**point().metrics, **found}))
    assert line(text, "Approximation of") and line(text, "approximation max").split()[2] == "0.5000"
    assert line(text, "zero weights").split()[2:4] == ["12.50", "%"]
    assert text.index("EMD in float") < text.index("EMD of the mean image")


def test_the_study_table_has_a_row_a_point_and_reasons_below():
    text = study_table(study())
    assert len([row for row in text.splitlines() if row.startswith("econ-")]) == 12
    row = line(text, "econ-w4-plain").split()
    assert row[1:7] == ["4", "5658", "1754", "0", "7", "35"]
    assert "econ-w2-plain-s0  untrained, not ranked" in text and "mean image reaches" in text
    assert study_table([PointResult("p", "ok")]).splitlines()[-2].split() == ["p", "-"]
    assert study_table([]).startswith("point")


def test_a_missing_number_is_a_dash_and_an_inexact_point_is_below():
    less = replace(point(5), metrics={k: m for k, m in point(5).metrics.items() if k != "lut"})
    text = study_table([point(6), less, replace(point(4), gate={"mismatches": 1, "samples": 64, "levels": {}})])
    assert line(text, less.name).split()[2] == "-"
    assert "not exact, not ranked" in text


def test_importing_the_tables_is_cheap():
    code = "import sys, flow.reporting.tables; print([m for m in ('matplotlib', 'numpy', 'jinja2', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
