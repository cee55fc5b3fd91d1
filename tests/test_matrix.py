"""The matrix of layers: every cell that is published holds, and a cell that becomes worse is seen."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flow import cli
from flow.core.errors import ConfigError, InvalidInput, MismatchError, ToolFailed, ToolNotFound
from flow.matrix import bench, run, samples, streams
from flow.matrix.bench import Effort, measure
from flow.matrix.cases import CASES
from flow.matrix.imported import IMPORTED, Imported
from flow.matrix.table import Cell, Matrix, Row, better, load_matrix, render, save, worse
from flow.quant.calibrate import Scales
from flow.stream.simulate import Run
from tests.stream import networks

DOCS = Path(__file__).parent.parent / "docs"
CASE = {case.id: case for case in (*CASES, *IMPORTED)}
QUICK = Effort(seeds=1, vectors=1024, rtl_vectors=0)


@pytest.fixture(scope="session")
def published():
    return load_matrix(DOCS / "layers.json")


@pytest.mark.parametrize("id_", CASE)
def test_a_cell_is_not_worse_than_published(id_, published, tmp_path):
    """Only `make matrix` simulates the Verilog of all rows; its logic is compared here."""
    before = next(row for row in published.rows if row.id == id_)
    before = replace(before, cells={column: cell for column, cell in before.cells.items() if column not in bench.RTL.values()})
    after = measure(CASE[id_], before.group, QUICK, tmp_path)
    assert worse([before], [after]) == []
    if lines := better([before], [after]):
        warnings.warn(f"Run `make matrix`, docs/layers.md can say more: {lines}", RuntimeWarning, stacklevel=1)


def test_the_page_is_what_the_measurement_says(published):
    assert render(published) == (DOCS / "layers.md").read_text(encoding="utf-8")
    assert [row.id for row in published.rows] == list(run.rows())
    assert published.vectors >= 1000
    assert published.seeds >= 3
    assert published.rtl_vectors >= 64


def test_nothing_that_is_published_is_silently_wrong(published):
    for row in published.rows:
        assert not row.wrong
        assert set(row.cells) == {"parallel", "stream", "logic", "rtl", "stream_logic", "stream_rtl"}
        for cell in row.cells.values():
            assert (cell.error is not None) == (cell.status == "approximate")
            assert bool(cell.reason) == (cell.status == "refused")
            assert "/" not in cell.reason.replace("1/", "")  # no folder of the machine it was measured on
            if cell.status == "refused":
                assert "'" in cell.reason, "the layer must be named"


def test_a_refused_import_names_its_layer(published):
    for row in published.rows:
        case = CASE[row.id]
        if isinstance(case, Imported):
            assert all(case.layer in cell.reason for cell in row.cells.values() if cell.status == "refused"), row.id


CELLS = {"parallel": Cell("exact"), "stream": Cell("approximate", error=1.0), "logic": Cell("exact"), "rtl": Cell("repaired"),
         "stream_rtl": Cell("refused", "no")}  # fmt: skip
ROW = Row("conv", "Conv", "g", CELLS, ("gemm",))
MATRIX = Matrix((ROW,), 3, 1024, 64, {"torch": "2"})


def with_cell(column, cell):
    return [replace(ROW, cells={**ROW.cells, column: cell})]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("parallel", Cell("repaired"), "conv, parallel: exact -> repaired"),
        ("parallel", Cell("wrong", "gate: 3 differ"), "conv, parallel: exact -> wrong (gate: 3 differ)"),
        ("rtl", Cell("refused", "no"), "conv, RTL: repaired -> refused (no)"),
        ("logic", Cell("wrong", "no"), "conv, logic: exact -> wrong (no)"),
        ("stream", Cell("approximate", error=1.2), "conv, stream: approximate, error 1 LSB -> approximate, error 1.2 LSB"),
    ],
)
def test_a_planted_worse_cell_is_named(column, cell, expected):
    assert worse([ROW], with_cell(column, cell)) == [expected]
    assert better([ROW], with_cell(column, cell)) == []
    was, now = expected.removeprefix(expected.split(": ")[0] + ": ").split(" -> ")
    assert better(with_cell(column, cell), [ROW]) == [f"{expected.split(': ')[0]}: {now} -> {was}"]


def test_what_is_gone_is_worse_and_what_is_new_is_better():
    assert worse([ROW], []) == [
        "conv, parallel: exact -> absent",
        "conv, stream: approximate, error 1 LSB -> absent",
        "conv, logic: exact -> absent",
        "conv, RTL: repaired -> absent",
        "conv, streaming RTL: refused (no) -> absent",
    ]
    assert better([], [ROW])[0] == "conv, parallel: absent -> exact"
    assert worse([ROW], [ROW]) == better([ROW], [ROW]) == []


def test_a_matrix_is_the_same_after_reading_it(tmp_path):
    document, page = save(MATRIX, tmp_path / "docs")
    assert load_matrix(document) == MATRIX
    assert "| Conv | exact | approximate (1 LSB) | repaired | – | repairs: `gemm`; no |" in page.read_text()
    document.write_text("{}")
    with pytest.raises(InvalidInput, match="no matrix of layers"):
        load_matrix(document)


def test_a_planted_error_of_one_bit_is_wrong_at_each_level(tmp_path, monkeypatch):
    """The dense row, which computes 1024 vectors right, with the last bit of one output of one sample changed."""
    original = bench.Bench.csim

    def planted(self, io, sample):
        graph, got = original(self, io, sample)
        got[17, 2] += 2.0**-9
        return graph, got

    monkeypatch.setattr(bench.Bench, "csim", planted)
    row = measure(CASE["dense"], "g", QUICK, tmp_path)
    for io in ("parallel", "stream"):
        assert row.cells[io].status == "wrong"
        assert "level 'csim' differs from 'twin' in 1 of 1024 samples; first: layer output, sample 17, output 2" in row.cells[io].reason
    assert row.cells["logic"].status == row.cells["stream_logic"].status == "repaired"
    assert row.wrong


@pytest.mark.parametrize(
    ("word", "mark", "words"),
    [(1, False, "with pauses the streaming Verilog gives other values"), (0, True, "marks whole frames as damaged")],
)
def test_streaming_verilog_that_pauses_change_or_that_marks_whole_frames_is_wrong(tmp_path, monkeypatch, word, mark, words):
    made = streams.design(networks.vector(), bench.HARDWARE.part, bench.HARDWARE.clock_ns, reused=True)
    assert set(made.reuse.values()) == {12, 8, 6}, "each as often as it has words"

    def simulate(job, work, manifest, x, gap=0, stall=0):
        outputs, damaged = np.zeros((len(x), 3)), np.zeros(len(x), np.bool_)
        outputs[3, 1] += word * (gap > 0)
        damaged[5] |= mark and stall > 0
        return Run(outputs, np.arange(len(x)), np.arange(len(x)), damaged, {})

    monkeypatch.setattr(streams, "build_simulation", lambda *args: tmp_path)
    monkeypatch.setattr(streams, "simulate", simulate)
    job = bench.Bench(tmp_path, None)._job("stream")
    with pytest.raises(MismatchError, match=words):
        streams.simulated(job, made, np.zeros((9, 12)), tmp_path / "verilog")


def test_a_second_draw_of_weights_is_not_compiled_again(tmp_path, monkeypatch):
    built, original = [], bench.build
    monkeypatch.setattr(bench, "build", lambda job, project: built.append(project.name) or original(job, project))
    row = measure(CASE["dense"], "g", Effort(seeds=2, vectors=128, rtl_vectors=16), tmp_path)
    assert built == ["network_0_parallel", "network_0_stream"]
    columns = ("parallel", "stream", "logic", "stream_logic", "rtl", "stream_rtl")
    assert {column: cell.status for column, cell in row.cells.items()} == dict.fromkeys(columns, "repaired")


def test_what_a_library_throws_is_a_cell_and_what_is_not_installed_is_not(tmp_path):
    path = tmp_path / "network_0.onnx"
    assert bench._failed(InvalidInput(f"{path}: Node 'a':\n no."), path) == Cell("refused", "Node 'a': no.")
    assert bench._failed(KeyError("a"), path) == Cell("wrong", "KeyError: 'a'")
    assert bench._failed(ToolFailed("crash"), path).status == bench._failed(MismatchError("x"), path).status == "wrong"
    with pytest.raises(ToolNotFound):
        bench._failed(ToolNotFound("no g++"), path)


def test_a_case_that_shows_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "LEAST_DISTINCT", 2000)
    with pytest.raises(ConfigError, match="case 'dense', seed 0: its outputs hardly differ"):
        measure(CASE["dense"], "g", QUICK, tmp_path)


@pytest.mark.parametrize("id_", ["dense_per_channel", "conv1d_per_channel", "conv2d_per_channel"])
def test_scales_of_channels_differ_where_the_row_says_so(id_):
    _, scales = samples._brevitas(CASE[id_], np.random.default_rng(0), None)
    assert isinstance(scales, Scales)
    exponents = scales.exponents["linear" if id_.startswith("dense") else "conv"]
    assert isinstance(exponents, list)
    assert len(set(exponents)) > 1


@pytest.mark.parametrize(("id_", "steps"), [("add", 0), ("add_scales", 2), ("concat", 2), ("add_residual", 1)])
def test_scales_of_branches_differ_as_the_row_says(id_, steps):
    _, scales = samples._brevitas(CASE[id_], np.random.default_rng(0), None)
    assert scales.exponents["left"] - scales.exponents["right"] == steps


def fake(monkeypatch, row):
    monkeypatch.setattr(run, "measure_all", lambda effort, jobs, say, ids: Matrix((row,), 3, 1024, 64, {}))


def test_the_command_writes_and_compares(tmp_path, monkeypatch, capsys):
    arguments = ["matrix", "--output", str(tmp_path)]
    fake(monkeypatch, ROW)
    assert cli.main(arguments) == 0
    assert (tmp_path / "layers.md").read_text() == capsys.readouterr().out.rstrip("\n") + "\n"
    fake(monkeypatch, with_cell("parallel", Cell("refused", "no"))[0])
    assert cli.main(arguments) == 1
    assert "worse: conv, parallel: exact -> refused (no)" in capsys.readouterr().err
    assert load_matrix(tmp_path / "layers.json").rows == (ROW,)
    assert cli.main([*arguments, "other"]) == 0
    assert load_matrix(tmp_path / "layers.json").rows == (ROW,)


def test_a_wrong_cell_fails_even_the_first_time(tmp_path, monkeypatch, capsys):
    fake(monkeypatch, with_cell("parallel", Cell("wrong", "3 differ"))[0])
    assert cli.main(["matrix", "--output", str(tmp_path)]) == 1
    assert "wrong: conv" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rows_that_do_not_exist_are_refused(capsys):
    assert cli.main(["matrix", "conv2"]) == 2
    assert "'conv2' is not a row of the matrix" in capsys.readouterr().err


def test_two_processes_measure_in_the_order_of_the_table():
    lines = []
    matrix = run.measure_all(QUICK, 2, lines.append, ["import_softmax", "import_ceil"])
    assert [row.id for row in matrix.rows] == ["import_ceil", "import_softmax"]
    assert len(lines) == 2
    assert "[ 2/2] import_" in lines[1]
    assert "left ~0:00" in lines[1]
