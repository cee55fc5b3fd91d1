"""What the commands print when all is well."""

import json
import shlex

import pytest

from flow.cli import build_parser
from flow.core.plugins import names
from flow.core.stage import Stage
from flow.stages import IDS, KNOWN, load_stage

COMMANDS = ("run", "sweep", "screen", "report", "explain", "check", "matrix", "read-report", "doctor", "list", "gc")


def test_help(hlscape):
    done = hlscape("--help")
    assert done.code == 0
    assert all(command in done.out for command in COMMANDS)
    assert "HLSCAPE_STORE" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_parses(hlscape, command):
    done = hlscape(command, "--help")
    assert done.code == 0
    example = done.out.split("example:\n")[1].strip().splitlines()[0]
    program, *arguments = shlex.split(example)
    assert program == "hlscape"
    assert build_parser().parse_args(arguments).command == command


@pytest.mark.parametrize(
    ("what", "group"),
    [
        ("regularizers", "regularizers"),
        ("metrics", "landscape"),
        ("perturbations", "robustness"),
        ("backends", "synth"),
        ("repairs", "quant.repairs"),
    ],
)
def test_list(hlscape, what, group):
    rows = json.loads(hlscape("list", what, "--json").out)[what]
    assert sorted(rows) == names(group)
    assert all(rows.values()), "each has a title"
    lines = hlscape("list", what).out.splitlines()
    assert [line.split()[0] for line in lines] == list(rows)


def test_list_stages_and_models(hlscape):
    rows = json.loads(hlscape("list", "stages", "--json").out)["stages"]
    assert set(rows) == set(KNOWN)
    assert all(rows.values())
    assert isinstance(load_stage(IDS[0]), Stage)
    assert "econ_t" in hlscape("list", "models").out.split()


@pytest.fixture
def document(hlscape, tiny, finished):
    done = hlscape("run", tiny, "--json", store=finished)
    assert done.code == 0
    return json.loads(done.out)


def test_json(document, tmp_path):
    assert {"metrics", "gate", "stages", "status", "failures", "point", "project", "report"} == set(document)
    assert document["status"] == {"tiny": "ok"}
    assert document["failures"] == {}
    for metric in document["metrics"].values():
        assert isinstance(metric["value"], float)
        assert isinstance(metric["unit"], str)
        assert metric["class"] in ("measured", "estimate", "csynth", "mapped", "routed")
        low, high = metric["ci"] or (metric["value"], metric["value"])
        assert low <= metric["value"] <= high
    assert document["metrics"]["emd"]["unit"] == "TC pitch / 2"
    assert document["metrics"]["lut"]["class"] == "mapped"
    assert document["gate"]["mismatches"] == 0
    assert document["gate"]["samples"] == 16
    assert document["gate"]["levels"]["csim"] == {"mismatches": 0, "samples": 64}
    assert set(document["stages"]) == set(IDS)
    for stage in document["stages"].values():
        assert (stage["status"], stage["cached"]) == ("ok", True)
        assert stage["seconds"] > 0
    assert document["report"] == "reports/tiny/index.html"
    assert (tmp_path / document["report"]).is_file()
    assert (tmp_path / document["project"] / "verilog").is_dir()


def test_second_run(hlscape, tiny, finished, tmp_path):
    first = hlscape("run", tiny, store=finished)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    second = hlscape("run", tiny, store=finished)
    assert first.code == second.code == 0
    assert "Nothing had to be done" in second.err
    assert second.err.count("cached") == len(IDS)
    assert second.out == first.out
    assert "0 mismatches" in second.out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files


def test_report_from_finished_results(hlscape, tiny, finished, tmp_path):
    done = hlscape("report", tiny, "--json", store=finished)
    assert done.code == 0
    document = json.loads(done.out)
    assert document["metrics"]["emd"]["value"] > 0
    assert (tmp_path / document["report"]).is_file()


def test_report_of_a_study_that_is_not_finished(hlscape, tiny, finished, tmp_path):
    study = tiny.with_name("study.toml")
    study.write_text('name = "s"\npoint = "tiny.toml"\n[axes]\n"network.weight_bits" = [3, 4]')
    done = hlscape("report", study, store=finished)
    assert done.code == 1
    assert "s-w4 has not been run (next stage: train)" in done.err
    assert f"hlscape sweep {study}" in done.err
    assert "s-w3" in done.out
    assert (tmp_path / "reports" / "s" / "index.html").is_file()


def test_sweep_of_finished_points(hlscape, tiny, finished, tmp_path):
    study = tiny.with_name("study.toml")
    study.write_text('name = "s"\npoint = "tiny.toml"\n[axes]\nseed = [0]')
    done = hlscape("sweep", study, "-j", "1", "--json", store=finished)
    assert done.code == 0
    assert "1/1 s: done" in done.err
    assert "Nothing had to be done" in done.err
    assert json.loads(done.out)["status"] == {"s": "ok"}


def test_explain(hlscape, tiny, finished):
    done = hlscape("explain", tiny, "--set", "network.weight_bits=4", store=finished)
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert "cached" in rows["data"]
    assert "cached" in rows["pretrain"], "all widths start from the same float network"
    assert "will run" in rows["train"]
    assert "network.weight_bits 3 -> 4" in rows["train"]
    stages = json.loads(hlscape("explain", tiny, "--json", store=finished).out)["stages"]
    assert {s["status"] for s in stages.values()} == {"cached"}


def test_explain_before_the_first_run(hlscape, tiny):
    stages = json.loads(hlscape("explain", tiny, "--json").out)["stages"]
    assert stages["data"] == {"status": "will run", "reasons": ["it never ran for this point"]}


def test_gc(hlscape, tiny, finished, tmp_path):
    store = tmp_path / "store"
    assert hlscape("run", tiny, "--until", "data").code == 0
    assert hlscape("run", tiny, "--until", "data", "--set", "data.seed=1").code == 0
    before = sorted(store.rglob("*"))
    done = hlscape("gc", "--dry-run")
    assert done.out.startswith("would remove 1 folder, ")
    assert sorted(store.rglob("*")) == before
    document = json.loads(hlscape("gc", "--json").out)
    assert document["folders"] == 1
    assert document["bytes"] > 100_000
    assert len(list((store / "data").iterdir())) == 1
    assert "Nothing had to be done" in hlscape("run", tiny, "--until", "data", "--set", "data.seed=1").err
