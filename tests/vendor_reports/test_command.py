"""The command line of the readers."""

import json

import pytest

from flow.cli import main
from tests.vendor_reports.reports import DATA


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(["read-report", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_table(run):
    code, out, err = run(DATA / "net2020_csynth.xml")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["top", "net2020", "net2020_csynth.xml"]
    assert "figure           value  unit      available  %      class   module   tool               file" in lines
    assert "lut              6929   LUT       17600      39.4   csynth  net2020  Vivado HLS 2020.1  net2020_csynth.xml" in lines
    assert "uram             0      URAM      0                 csynth  net2020  Vivado HLS 2020.1  net2020_csynth.xml" in lines


def test_json(run):
    code, out, _ = run(DATA / "vivado_synth.rpt", "--json")
    assert code == 0
    tiles = next(row for row in json.loads(out)["figures"] if row["name"] == "bram_tiles")
    assert (tiles["value"], tiles["unit"], tiles["class"], tiles["file"]) == (3.5, "BRAM36", "mapped", "vivado_synth.rpt")


def test_co_simulation_and_notes_are_shown(run, tmp_path):
    for name in ("failed_cosim.rpt", "vivado_synth.rpt", "net2020_export.rpt"):
        (tmp_path / name).write_text((DATA / name).read_text().replace("3021", "3022" if name == "vivado_synth.rpt" else "3021"))
    code, out, _ = run(tmp_path)
    assert code == 0
    assert "co-simulation" in out
    assert "Fail (Verilog)" in out
    assert "note: vivado_synth.rpt has 3022 LUT, net2020_export.rpt 3021; the first is used" in out
    (tmp_path / "failed_cosim.rpt").write_text((DATA / "never_cosim.rpt").read_text())
    assert "not run" in run(tmp_path)[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Looked for"),
        ("nothing of interest", "is not a report"),
        ((DATA / "net2024_csynth.xml").read_text()[:-99], "cut off or damaged; it ends inside <"),
    ],
)
def test_refusals(run, tmp_path, content, words):
    if content is not None:
        (tmp_path / "x_csynth.xml").write_text(content)
    code, out, err = run(tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("hlscape read-report: ")
    assert words in err
    assert str(tmp_path) in err
    assert "Traceback" not in err
