"""Detector CSV files and ONNX files that are not what they should be."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

COLUMNS = [f"CALQ_{i}" for i in range(48)]


def table(rows: int = 300, columns=COLUMNS) -> list[list[str]]:
    values = np.random.default_rng(0).integers(0, 1000, (rows, len(columns)))
    return [list(columns), *([str(v) for v in row] for row in values)]


def changed(text: str) -> list[list[str]]:
    lines = table()
    lines[17][5] = text
    return lines


CSV = {
    "missing column": (table(columns=[c for c in COLUMNS if c != "CALQ_7"]), ["line 1", "no column CALQ_7"]),
    "NaN": (changed("nan"), ["line 18", "column CALQ_5", "not finite"]),
    "gap": (changed(""), ["line 18", "column CALQ_5", "missing"]),
    "negative": (changed("-3"), ["line 18", "column CALQ_5", "negative"]),
    "text": (changed("many"), ["line 18", "column CALQ_5", "'many' is not a number"]),
    "short line": ([*table(), ["1", "2"]], ["line 302", "2 values"]),
    "header only": (table(0), ["no wafer"]),
    "empty": ([], ["the file is empty"]),
    "too few": (table(150), ["150 wafers", "at least 200"]),
}


@pytest.mark.parametrize(("lines", "words"), CSV.values(), ids=CSV)
def test_csv(hlscape, tiny, tmp_path, lines, words):
    path = tmp_path / "wafers.csv"
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    hlscape("run", tiny, "--until", "data", "--set", f"data.path={path}").refused(str(path), *words)
    assert not list((tmp_path / "store" / "data").glob("*"))


def test_csv_missing(hlscape, tiny, tmp_path):
    hlscape("run", tiny, "--until", "data", "--set", "data.path=gone.csv").refused("gone.csv", "no such file")
    hlscape("run", tiny, "--until", "data", "--set", f"data.path={tmp_path}").refused(str(tmp_path), "no *.csv")


def test_csv_good(hlscape, tiny, tmp_path):
    (tmp_path / "wafers.csv").write_text("".join(",".join(line) + "\n" for line in table()))
    tiny.write_text(tiny.read_text().replace("samples = 2000", 'path = "wafers.csv"'))
    done = hlscape("run", tiny, "--until", "data", "--json")
    assert done.code == 0
    assert json.loads(done.out)["metrics"]["samples_train"]["value"] == 240


@pytest.mark.parametrize(
    ("text", "words"), [("1,2,x\n", "line 1, column 3: 'x' is not a number"), ("# unit: mV\n1,2\n", "noise_unit = 'detector'")]
)
def test_recorded_noise_is_looked_at_before_any_work(hlscape, tiny, tmp_path, text, words):
    path = tmp_path / "noise.csv"
    path.write_text(text)
    hlscape("run", tiny, "--until", "robustness", "--set", f"robustness.noise_file={path}").refused(str(path), words)
    assert not list((tmp_path / "store" / "data").glob("*"))


@pytest.fixture
def exported(finished):
    return next((finished / "export").glob("*/out/qonnx"))


def test_check(hlscape, exported):
    done = hlscape("check", exported)
    assert done.code == 0
    assert "bit for bit" in done.out
    rows = json.loads(hlscape("check", exported, "--json").out)["layers"]
    assert [r["parameters"] for r in rows if r["parameters"]] == [10, 272]
    assert {r["weight_bits"] for r in rows if r["op"] in ("Conv", "Gemm", "MatMul")} == {3}


def test_check_truncated(hlscape, exported, tmp_path):
    whole = exported.read_bytes()
    for part in (0.2, 0.5, 0.9):
        (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * part)])
        hlscape("check", tmp_path / "cut.onnx").refused("cut.onnx")


@pytest.mark.parametrize("content", [b"", os.urandom(4096), b"weights, biases\n1, 2\n" * 50], ids=["empty", "random", "text"])
def test_check_foreign(hlscape, tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    hlscape("check", tmp_path / "x.onnx").refused("x.onnx", "brevitas.export.export_qonnx")


def test_check_float_network(hlscape, tmp_path):
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("x", 4), ("y", 3)))
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph), str(tmp_path / "float.onnx"))
    hlscape("check", tmp_path / "float.onnx").refused("float.onnx", "no node of this network is quantized")


def test_check_missing(hlscape, tmp_path):
    hlscape("check", "gone.onnx").refused("gone.onnx: there is no such file")
    hlscape("check", tmp_path).refused(str(tmp_path))
